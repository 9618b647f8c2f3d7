"""Predictions of single users and of their sums and means, with 95 % intervals.

Users of one class and place share the uncertainty of its fitted curve, so that it does not average
out in a total.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.comparison import Comparison, Total
from calibration.costs.drift import Drift, drift_expected
from calibration.fitting.prediction import degrees_of_freedom, evaluate
from calibration.profiles.profile import SplitPoint
from calibration.scenario.sites import Service
from calibration.statistics import t_quantile
from calibration.validation.assignments import Assignment
from calibration.validation.estimates import Estimate, UserEstimates
from solver.problem import Problem

#: What is summed up, or averaged, over the users: (quantity, form, unit).
TOTALS = (
    ("time", "sum", "s"),
    ("energy", "sum", "J"),
    ("error", "mean", "1"),
    ("utility", "mean", "1"),
    ("clip_score", "mean", "1"),
)
_NOTHING = Estimate(0.0, 0.0, 0.0, 0.0, None, 0.0)


@dataclass(frozen=True)
class _Term:
    """``factor`` times an ``estimate`` of a user with an ``assignment``."""

    assignment: Assignment
    estimate: Estimate
    factor: float = 1.0

    @property
    def place(self) -> str:
        return self.assignment.service.place


@dataclass(frozen=True)
class _Sum:
    """A sum of terms with the interval ``predicted`` ± ``half``; measured if there are terms."""

    predicted: float
    measured: float | None
    half: float
    paper: float
    most: float | None


def compare_user(user: UserEstimates, name: str, estimate: Estimate) -> Comparison:
    """The quantity ``name`` of one user, predicted and measured."""
    parts = [_Term(*part) for part in user.estimates(name)]
    half = _half(name, *parts) if len(parts) == 1 else _sum(name, parts).half
    return Comparison.of(
        estimate.predicted,
        estimate.measured,
        half,
        estimate.paper,
        _positive(name),
        estimate.most,
        basis=estimate.basis,
        fixed=(estimate.fixed or None) if name == "time" else None,
    )


def _half(name: str, term: _Term) -> float:
    """Half of the 95 % interval of a single estimate."""
    assignment, estimate = term.assignment, term.estimate
    covariance, quantile = _curve_covariance(assignment, name)
    own = t_quantile(estimate.dof) ** 2 * (estimate.own + estimate.travel**2)
    drift = _drift_half(name, assignment.service, estimate.predicted - estimate.fixed)
    shared = max(0.0, float(covariance([assignment.steps])[0, 0]))
    return float(np.sqrt(own + (quantile * estimate.scale) ** 2 * shared + drift**2))


def totals(users: Sequence[UserEstimates]) -> list[Total]:
    """The sums and means over the users who were measured; none of what is left out of all."""
    rows = []
    for name, form, unit in TOTALS:
        if users and all(user.quantity(name) is None for user in users):
            continue
        terms = _terms(users, name)
        count = len(terms) if form == "mean" and terms else 1
        total = _sum(name, terms)
        rows.append(
            Total.of(
                total.predicted / count,
                None if total.measured is None else total.measured / count,
                total.half / count,
                total.paper / count,
                _positive(name),
                None if total.most is None else total.most / count,
                quantity=f"{name} ({form})",
                unit=unit,
                basis=_basis(terms),
            )
        )
    return rows


def time_without_drift(users: Sequence[UserEstimates], drift: Mapping[str, Drift]) -> Total | None:
    """The total time as predicted at the speed that the machine had during the execution.

    ``drift``: by place; without one for every place of a measured user the result is None.
    """
    terms = _terms(users, "time")
    predicted: dict[str, float] = defaultdict(float)
    for term in terms:
        predicted[term.place] += term.estimate.predicted - term.estimate.fixed
    if not terms or not predicted.keys() <= drift.keys():
        return None
    total = _sum("time", [_at_speed(term, drift[term.place].ratio) for term in terms], False)
    errors = [drift[place].half_width(seconds) for place, seconds in predicted.items()]
    return Total.of(
        total.predicted,
        total.measured,
        float(np.linalg.norm([total.half, *errors])),
        total.paper,
        positive=True,
        quantity="time (sum), drift removed",
        unit="s",
        basis=_basis(terms),
    )


def objective(problem: Problem, users: Sequence[UserEstimates]) -> Total:
    """The objective of eq. (8), the sum of w1 (c1 T + c2 eps + c3 E) - w2 U, over the users of whom
    all four were measured. A utility that is left out has weight 0, and is not asked for.

    A picture that is another than expected has more error and less utility, so that both raise the
    objective together: by how much is not known, so their half-widths are added.
    """
    weights = {key: np.broadcast_to(value, problem.users) for key, value in problem.weights.items()}
    costs, errors, utilities = [], [], []
    for n, user in enumerate(users):
        w1, w2, c1, c2, c3 = (
            float(weights[name][n]) for name in ("cost", "utility", "time", "error", "energy")
        )
        utility = user.utility or (_NOTHING if w2 == 0 else None)
        if utility is None or None in (
            each.measured for each in (user.time, user.energy, user.error, utility)
        ):
            continue
        for part in user.parts:
            together = _together(part.time, w1 * c1, part.energy, w1 * c3)
            costs.append(_Term(part.assignment, together))
        errors.append(_Term(user.assignment, user.error, w1 * c2))
        if user.utility:
            utilities.append(_Term(user.assignment, user.utility, -w2))
    parts = [_sum("time", costs), _sum("error", errors), _sum("utility", utilities)]
    cost, wrong, missed = (part.half for part in parts)
    return Total.of(
        sum(part.predicted for part in parts),
        sum(part.measured for part in parts if part.measured is not None) if costs else None,
        float(np.hypot(cost, wrong + missed)),
        sum(part.paper for part in parts),
        quantity="objective",
        unit="1",
        basis=_basis(costs),
    )


def _terms(users: Iterable[UserEstimates], name: str) -> list[_Term]:
    """The estimates of ``name`` of the users of whom it was measured."""
    return [
        _Term(assignment, estimate)
        for user in users
        for assignment, estimate in user.estimates(name)
        if estimate.measured is not None
    ]


def _at_speed(term: _Term, ratio: float) -> _Term:
    """A time on a machine that takes ``ratio`` times as long."""
    time = term.estimate
    moved = replace(
        time,
        predicted=ratio * (time.predicted - time.fixed) + time.fixed,
        own=ratio**2 * time.own,
        scale=ratio * time.scale,
        paper=ratio * (time.paper - time.fixed) + time.fixed,
    )
    return replace(term, estimate=moved)


def _together(time: Estimate, a: float, energy: Estimate, b: float) -> Estimate:
    """a T + b E as one estimate of measured ones: energy is watts times time, so both err alike."""
    measured = a * (time.measured or 0.0) + b * (energy.measured or 0.0)
    return Estimate(
        a * time.predicted + b * energy.predicted,
        measured,
        (a * np.sqrt(time.own) + b * np.sqrt(energy.own)) ** 2,
        a * time.scale + b * energy.scale,
        time.dof,
        a * time.paper + b * energy.paper,
        _words(time.basis, energy.basis),
        a * time.fixed + b * energy.fixed,
        travel=a * time.travel,
    )


def _basis(terms: Iterable[_Term]) -> str:
    """``measured``, or all that the terms rest on, as in ``emulated and measured``."""
    return _words(*(term.estimate.basis for term in terms)) or "none"


def _words(*bases: str | None) -> str:
    words = {word for basis in bases for word in (basis or "measured").split(" and ")}
    return " and ".join(sorted(words))


def _positive(name: str) -> bool:
    """Times, energies and distances are; a utility or a CLIP score is bounded above."""
    return name in ("time", "energy", "error")


def _drift_half(name: str, service: Service, predicted: float) -> float:
    """Half of the 95 % interval of a predicted time for the machine's speed alone, which may have
    changed since the calibration. Metered joules are taken to change by no more.
    """
    if name not in ("time", "energy"):
        return 0.0
    return drift_expected(service.speed_sd) * abs(predicted)


def _curve_covariance(
    assignment: Assignment, name: str
) -> tuple[Callable[[Sequence[int]], NDArray[np.float64]], float]:
    """The covariance of the fitted values of ``name`` at given steps, as a function of these, and
    the t quantile of its degrees of freedom. Of a split these are all its own measured mean.
    """
    profile, split = assignment.service.profile, assignment.split
    if split is not None:
        point = split.error if name == "error" else split.utility
        assert point is not None, "what is left out is not estimated"
        variance = (point.se or 0.0) ** 2
        dof = None if point.prompts is None else point.prompts - 1
        return lambda steps: np.full((len(steps), len(steps)), variance), t_quantile(dof)
    if name in ("time", "energy"):
        time, parameters = profile.time, np.array(profile.time.covariance)

        def affine(steps: Sequence[int]) -> NDArray[np.float64]:
            design = np.stack([np.ones(len(steps)), np.asarray(steps, float)], axis=1)
            return design @ parameters @ design.T

        return affine, t_quantile(time.dof)
    fit = profile.error if name == "error" else profile.utility
    assert fit is not None, "what is left out is not estimated"
    return lambda steps: evaluate(fit, steps)[1], t_quantile(degrees_of_freedom(fit))


def _sum(name: str, terms: Sequence[_Term], drifting: bool = True) -> _Sum:
    """The sum of terms of the quantity ``name``; ``drifting``: the speed may have changed since.

    The curves of one class at its two places come from the same prompts, so their uncertainties
    add. The machine's speed is the same for all, and so is the way to a place behind a network.
    """
    owns = [(each.factor * t_quantile(each.estimate.dof), each.estimate) for each in terms]
    own = sum(factor**2 * estimate.own for factor, estimate in owns)
    travel = sum(factor * estimate.travel for factor, estimate in owns)
    cells: dict[tuple[str, str, SplitPoint | None], list[_Term]] = defaultdict(list)
    for term in terms:
        cells[term.assignment.user.prompt_class, term.place, term.assignment.split].append(term)
    shared: dict[str, float] = defaultdict(float)
    for (prompt_class, *_), group in cells.items():
        covariance, quantile = _curve_covariance(group[0].assignment, name)
        # of users with as many steps one row: there may be thousands
        steps, at = np.unique([term.assignment.steps for term in group], return_inverse=True)
        scale = np.bincount(at, [term.factor * term.estimate.scale for term in group])
        variance = float(scale @ covariance(steps.tolist()) @ scale)  # below 0 by rounding only
        shared[prompt_class] += quantile * np.sqrt(max(0.0, variance))
    speed = drifting * sum(
        _drift_half(
            name,
            term.assignment.service,
            term.factor * (term.estimate.predicted - term.estimate.fixed),
        )
        for term in terms
    )
    measured = sum(term.factor * (term.estimate.measured or 0.0) for term in terms)
    mosts = [term.factor * term.estimate.most for term in terms if term.estimate.most is not None]
    return _Sum(
        predicted=sum(term.factor * term.estimate.predicted for term in terms),
        measured=measured if terms else None,
        half=float(np.sqrt(own + sum(half**2 for half in shared.values()) + speed**2 + travel**2)),
        paper=sum(term.factor * term.estimate.paper for term in terms),
        most=sum(mosts) if mosts and len(mosts) == len(terms) else None,
    )
