"""What steps are worth here: error and utility by step count, its watts, and the units of
the cost.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.fitting.prediction import evaluate
from calibration.profiles.profile import Profiles
from calibration.scenario.problem import Units, units
from calibration.scenario.scenario import Scenario, Weights
from solver.inputs import check_keys

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

    def cost(
        self,
        weights: Weights,
        seconds: Array,
        joules: Array,
        error: Array | None,
        utility: Array | None,
    ) -> Array:
        """Eq. (8) of a request: w1 (c1 T + c2 ε + c3 E) - w2 U; arrays of shape (m,).

        Without curves nothing says what a step is worth, so that more are always better.
        """
        if error is None or utility is None:
            return -np.arange(len(seconds), dtype=float)
        spent = weights.time * seconds / self.unit.time_unit
        spent = spent + weights.energy * joules / self.unit.energy_unit
        return weights.cost * (spent + weights.error * error) - weights.utility * utility

    def price(self, weights: Weights, delays: Array) -> Array:
        """What ``delays`` of others, in seconds, cost them."""
        return weights.cost * weights.time * delays / self.unit.time_unit
