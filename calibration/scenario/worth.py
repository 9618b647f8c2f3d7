"""What steps are worth at a place: error and utility by step count, its watts, what they cost."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.fitting.prediction import evaluate
from calibration.profiles.profile import Profiles
from calibration.scenario.problem import Units, units
from calibration.scenario.scenario import Scenario, Weights
from solver.inputs import InputError, check_keys
from solver.online import Tables
from solver.problem import Problem

Array = NDArray[np.float64]
#: The curves of all prompt classes together.
ALL = ""


@dataclass(frozen=True)
class Worth:
    """``steps`` (n,) that may be chosen; ``errors`` and ``utilities`` by prompt class, (n,) each,
    both empty without profiles; ``watts`` of the place, with their ``basis``; ``unit`` of the cost.
    """

    steps: NDArray[np.int_]
    errors: dict[str, Array]
    utilities: dict[str, Array]
    watts: float
    basis: str
    unit: Units

    @classmethod
    def of(cls, scenario: Scenario, profiles: Profiles | None, place: str = "edge") -> "Worth":
        """What the profiles of a ``place`` say, up to the scenario's ``max_steps`` there."""
        measured = profiles.get(place) if profiles else None
        most = max(1, (scenario.edge if place == "edge" else scenario.local).max_steps)
        if profiles is None or measured is None:
            steps = np.arange(1, most + 1)
            return cls(steps, {}, {}, scenario.edge_watts, "modelled", Units(1.0, 1.0))
        grids = [
            [point.steps for point in fit.points]
            for profile in measured.classes
            for fit in (profile.error, profile.utility)
            if fit
        ]
        least, most = max(map(min, grids)), min(most, *map(max, grids))
        if most < least:
            raise InputError(
                f"scenario: {place}.max_steps: found {most}; allowed: at least {least}, the least "
                "step count that was measured of each prompt class"
            )
        steps = np.arange(least, most + 1)
        errors = {
            profile.prompt_class: np.maximum(evaluate(profile.error, steps)[0], 0.0)
            for profile in measured.classes
        }
        utilities = {
            profile.prompt_class: np.clip(evaluate(profile.utility, steps)[0], 0.0, 1.0)
            if profile.utility
            else np.zeros(len(steps))  # left out: the same at all steps, so it decides nothing
            for profile in measured.classes
        }
        for curves in (errors, utilities):
            curves[ALL] = np.mean(list(curves.values()), axis=0)
        power = measured.classes[0].power
        watts = scenario.edge_watts if power.watts is None else power.watts
        basis = "modelled" if power.watts is None else "measured"
        unit = units(profiles, scenario) if profiles.get("local") else Units(1.0, 1.0)
        return cls(steps, errors, utilities, watts, basis, unit)

    @property
    def classes(self) -> list[str]:
        """The prompt classes that have curves of their own."""
        return [name for name in self.errors if name != ALL]

    def curves(
        self, prompt_class: str | None, steps: NDArray[np.int_]
    ) -> tuple[Array | None, Array | None]:
        """Error and utility at ``steps`` (m,), beyond the measured ones those of the last; None
        without profiles. Raises :class:`InputError` for a class that was not measured.
        """
        if not self.errors:
            return None, None
        if prompt_class is not None:
            check_keys("prompt_class", [prompt_class], self.classes)
        at = np.clip(steps - self.steps[0], 0, len(self.steps) - 1)
        name = prompt_class or ALL
        return self.errors[name][at], self.utilities[name][at]

    def kind(self, prompt_class: str | None) -> int:
        """The row of a prompt class in :meth:`tables`; without curves of its own, that of all."""
        names = [*self.classes, prompt_class]
        return names.index(prompt_class)

    def tables(self, weights: Weights) -> Tables:
        """What requests cost that this place alone serves: a kind for each prompt class, and one
        for all together.

        Without curves nothing says what a step is worth: then more are always better, and time is
        worth nothing.
        """
        scales = weights.to_dict() | {
            "time": weights.time / self.unit.time_unit,
            "energy": weights.energy / self.unit.energy_unit,
        }
        errors, utilities = list(self.errors.values()), list(self.utilities.values())
        if not errors:
            scales = {**dict.fromkeys(scales, 0.0), "utility": 1.0}
            errors, utilities = [np.zeros(len(self.steps))], [self.steps / self.steps[-1]]
        least, most = int(self.steps[0]), int(self.steps[-1])
        error, utility = (
            {"family": "table", "values": [[0.0] * (least - 1) + row.tolist() for row in rows]}
            for rows in (errors, utilities)
        )
        # the batch says what steps take
        place: dict[str, Any] = {
            "min_steps": least,
            "step_time": 1.0,
            "overhead": 0.0,
            "power": self.watts,
        }
        place |= {"error": error, "utility": utility}
        problem = {
            "schema": "problem/1",
            "users": len(errors),
            "edge_budget": 1,
            "weights": scales,
            "local": place | {"max_steps": 0},
            "edge": place | {"max_steps": most},
        }
        return Tables.of(Problem.from_dict(problem))
