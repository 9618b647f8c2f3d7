"""A calibrated world with its problem and allocation, and what it is validated against."""

from dataclasses import dataclass

from calibration.profiles.profile import Profiles
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.validation.validate import validate
from solver import Allocation, Problem, solve
from tests.calibration.world import CLASSES, MODELS
from tests.calibration.world import profiles as profiles_of


@dataclass(frozen=True)
class Setting:
    profiles: Profiles
    scenario: Scenario
    problem: Problem
    allocation: Allocation

    def validate(self, records, **extra):
        return validate(
            self.problem, self.allocation, self.profiles, self.scenario, records, **extra
        )

    def run(self, world, images=2, **extra):
        """Execute the allocation in ``world``, and validate it."""
        return self.validate(world.execute(self.scenario, self.allocation, images), **extra)


def chain(world, classes=CLASSES, steps=None, prompts=12, seeds=(0,), **settings):
    """Calibrate, make the problem, solve it."""
    grid = {"steps": steps} if steps else {}
    records = world.calibrate(classes, prompts, seeds, **grid)
    return allocated(profiles_of(records, classes), classes, **settings)


def allocated(profiles, classes, **settings):
    """Make the problem of these profiles, solve it."""
    scenario = Scenario.from_dict({"prompt_classes": dict.fromkeys(classes, 1), **settings})
    problem = to_problem(profiles, scenario)
    return Setting(profiles, scenario, problem, solve(problem))


def anchors(world, places, count):
    """Records of control images, which tell the machine's speed."""
    return [
        world.record(
            MODELS[place].task(
                place=place,
                prompt="object 0",
                prompt_class="object",
                seed=seed,
                steps=6,
                purpose="anchor",
            )
        )
        for seed in range(count)
        for place in places
    ]


def total(validation, name):
    return next(row for row in validation.totals if row.quantity.startswith(name))
