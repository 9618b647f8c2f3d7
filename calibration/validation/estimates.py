"""What a problem predicts of each user, and what was measured: means over a user's images."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.fitting.prediction import evaluate
from calibration.profiles.profile import Splits
from calibration.records.record import Record
from calibration.scenario.sites import Site, Way
from calibration.validation.assignments import Assignment, assignments, parts_of
from solver.allocation import Allocation
from solver.problem import Problem

#: A CLIP score is a hundred times a cosine.
MOST_CLIP_SCORE = 100.0


@dataclass(frozen=True)
class Estimate:
    """One quantity of one user: the mean over the images, predicted and measured (None: not
    measured).

    The predicted mean's variance is ``own`` (of these few images and this prompt), plus ``scale``²
    times the variance of the fitted curve at the user's steps, plus ``travel``² of a way that was
    fitted for all users. ``dof``: degrees of freedom with which ``own`` was estimated. ``paper``:
    what the paper's own forms predict. ``fixed``: how much of the prediction the machine's speed
    does not change. ``most``: the largest possible value, if there is one.
    """

    predicted: float
    measured: float | None
    own: float
    scale: float
    dof: int | None
    paper: float
    basis: str | None = None
    fixed: float = 0.0
    most: float | None = None
    travel: float = 0.0


@dataclass(frozen=True)
class PartEstimates:
    """What a place's part of a user's images takes."""

    assignment: Assignment
    time: Estimate
    energy: Estimate


@dataclass(frozen=True)
class UserEstimates:
    """The estimates of the images of one user, and the ids of their ``records``; None of what the
    profiles leave out. ``parts``: what ``time`` and ``energy`` are the sums of, one a place.
    """

    assignment: Assignment
    records: tuple[str, ...]
    parts: tuple[PartEstimates, ...]
    time: Estimate
    energy: Estimate
    error: Estimate
    utility: Estimate | None
    clip_score: Estimate | None

    def quantity(self, name: str) -> Estimate | None:
        """The estimate of one of :data:`calibration.validation.validation.QUANTITIES`."""
        return getattr(self, name)

    def estimates(self, name: str) -> list[tuple[Assignment, Estimate]]:
        """The estimates of a quantity: of time and energy one of each part."""
        if name in ("time", "energy"):
            return [(part.assignment, getattr(part, name)) for part in self.parts]
        estimate = self.quantity(name)
        return [] if estimate is None else [(self.assignment, estimate)]


def estimate_users(
    problem: Problem,
    allocation: Allocation,
    sites: Sequence[Site],
    records: Sequence[Record],
    splits: Splits | None = None,
) -> list[UserEstimates]:
    """The estimates of all users, in their order; ``sites``: how each of them can be served;
    ``splits``: what was measured of split images.

    Of the ``records`` those of a user's images count that were made at the user's place with the
    user's steps, each once. Raises :class:`InputError` for a split that was not measured.
    """
    images: dict[tuple[object, ...], dict[str, Record]] = defaultdict(dict)
    for record in records:
        task = record.task
        if task.purpose == "user":
            key = task.user, task.place, task.steps, task.split
            images[key].setdefault(record.id, record)
    return [
        _estimates(each, list(images[each.key].values()))
        for each in assignments(problem, allocation, sites, splits)
    ]


def _estimates(assignment: Assignment, records: Sequence[Record]) -> UserEstimates:
    ids = tuple(record.id for record in records)
    parts = tuple(PartEstimates(own, *_costs(own, of)) for own, of in parts_of(assignment, records))
    time, energy = _sum([part.time for part in parts]), _sum([part.energy for part in parts])
    error, utility, clip_score = _quality(assignment, records)
    return UserEstimates(assignment, ids, parts, time, energy, error, utility, clip_score)


def _sum(parts: Sequence[Estimate]) -> Estimate:
    """The whole of its parts, but for what is shared with other users."""
    if len(parts) == 1:
        return parts[0]
    measured = [part.measured for part in parts if part.measured is not None]
    known = [part.dof for part in parts if part.dof is not None]
    return Estimate(
        predicted=sum(part.predicted for part in parts),
        measured=sum(measured) if len(measured) == len(parts) else None,
        own=sum(part.own for part in parts),
        scale=0.0,
        dof=min(known, default=None),
        paper=sum(part.paper for part in parts),
        basis=" and ".join(
            sorted({w for part in parts for w in (part.basis or "").split(" and ")})
        ),
        fixed=sum(part.fixed for part in parts),
    )


def _costs(assignment: Assignment, records: Sequence[Record]) -> tuple[Estimate, Estimate]:
    """Time and energy."""
    service, images = assignment.service, max(1, len(records))
    fit, power, watts = service.profile.time, service.profile.power, service.watts
    way = service.way
    times = [service.ratio * record.measured.time for record in records]
    joules = [record.measured.energy_j for record in records]
    carried = [_carried(way, record) for record in records]
    # what the link adds is the scenario's, predicted and measured alike
    sent, spent = (
        link + (_mean([each[index] for each in carried]) or 0.0)
        for index, link in enumerate((service.transfer_time, service.transfer_energy))
    )
    # The spread of images over the whole sweep holds the machine's changes of speed. All images of
    # an execution share these, so calibration.validation.totals adds them.
    spread = np.sqrt(max(0.0, fit.relative_sd**2 - service.speed_sd**2))
    computed = (spread * service.seconds(assignment.steps)) ** 2 / images
    time = Estimate(
        predicted=assignment.time,
        measured=_plus(_mean(times), sent),
        own=computed + (way.own_variance / images if way else 0.0),
        scale=service.ratio,
        dof=fit.n - 2,
        paper=service.ratio * fit.paper.step_time * assignment.steps + service.sent,
        basis=" and ".join(sorted(service.bases)),
        fixed=service.sent,
        travel=math.sqrt(way.variance) if way else 0.0,
    )
    metered = service.power_basis == "measured" and None not in joules
    if metered:
        relative = spread**2 + (power.relative_sd or 0.0) ** 2
        own = relative * (assignment.energy - service.spent) ** 2 / images
    else:
        own = watts**2 * computed
    energy = Estimate(
        predicted=assignment.energy,
        measured=_plus(_mean(joules if metered else [watts * seconds for seconds in times]), spent),
        own=own,
        scale=watts if metered else watts * service.ratio,
        dof=time.dof,
        paper=watts * (time.paper - service.sent) + service.spent,
        basis="modelled"
        if not metered
        else "measured and modelled"
        if service.spent
        else "measured",
        fixed=service.spent,
    )
    return time, energy


def _carried(way: Way | None, record: Record) -> tuple[float, float]:
    """Seconds of an image's transfer, as measured, with the modelled start of a cold radio, and the
    modelled joules of the radio.
    """
    transfer = record.measured.transfer
    if way is None or transfer is None:
        return 0.0, 0.0
    return transfer.seconds + way.cold_time, way.joules(transfer.bytes_down)


def _quality(
    assignment: Assignment, records: Sequence[Record]
) -> tuple[Estimate, Estimate | None, Estimate | None]:
    """Error, utility, and the CLIP score, which is the utility on its measured scale.

    The paper has no forms of split images: there it predicts what we do.
    """
    profile, steps, split = assignment.service.profile, assignment.steps, assignment.split
    images, prompts = max(1, len(records)), max(1, len({record.task.prompt for record in records}))
    points = (split.error,) if split else profile.error.points
    own, dof = _image_variance(points, steps, images, prompts)
    error = Estimate(
        predicted=assignment.error,
        measured=profile.scales.error.of(_mean([record.measured.distance for record in records])),
        own=own,
        scale=1.0,
        dof=dof,
        paper=assignment.error if split else _at(profile.error, steps, profile.error.paper),
    )
    curve, scale = profile.utility, profile.scales.utility
    if curve is None or scale is None or (split and split.utility is None):
        return error, None, None
    points = (split.utility,) if split and split.utility else curve.points
    own, dof = _image_variance(points, steps, images, prompts)
    score = _mean([record.measured.clip_score for record in records])
    utility = Estimate(
        predicted=assignment.utility,
        measured=scale.of(score),
        own=own,
        scale=1.0,
        dof=dof,
        paper=assignment.utility if split else _at(curve, steps, curve.paper),
        most=scale.of(MOST_CLIP_SCORE),
    )
    fitted = split.utility.value if split and split.utility else _at(curve, steps)
    clip_score = Estimate(
        predicted=scale.zero + scale.unit * fitted,
        measured=score,
        own=scale.unit**2 * own,
        scale=scale.unit,
        dof=dof,
        paper=scale.zero + scale.unit * utility.paper,
        most=MOST_CLIP_SCORE,
    )
    return error, utility, clip_score


def _image_variance(
    points: Sequence[CurvePoint], steps: int, images: int, prompts: int
) -> tuple[float, int | None]:
    """Variance of the mean over ``images`` of ``prompts`` different prompts at ``steps``, and its
    degrees of freedom.
    """
    grid = [point.steps for point in points]
    image = float(np.interp(steps, grid, [point.sd or 0.0 for point in points])) ** 2
    prompt = float(np.interp(steps, grid, [point.sd_prompt or 0.0 for point in points])) ** 2
    nearest = min(points, key=lambda point: abs(point.steps - steps))
    # prompts, not images, are independent of each other
    independent = nearest.n if nearest.prompts is None else nearest.prompts
    dof = None if independent is None else max(1, independent - 1)
    return prompt / prompts + max(0.0, image - prompt) / images, dof


def _at(fit: CurveFit, steps: int, family: str | None = None) -> float:
    """The value of a fitted curve, or of one of its families, at ``steps``."""
    values, _ = evaluate(fit, [steps], family)
    return float(values[0])


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, or None if there are no values or one is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _plus(value: float | None, more: float) -> float | None:
    return None if value is None else value + more
