"""What a problem predicts of each user, and what was measured: means over a user's images."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.fitting.prediction import evaluate
from calibration.records.record import Record
from calibration.scenario.parts import User
from calibration.scenario.sites import Service, Site, Way
from solver.allocation import Allocation
from solver.problem import Problem


@dataclass(frozen=True)
class Assignment:
    """The place (``service``) and ``steps`` that an allocation gives a ``user``, and what the
    problem predicts of an image there: ``time`` (s), ``energy`` (J), ``error`` and ``utility``.
    """

    user: User
    service: Service
    steps: int
    time: float
    energy: float
    error: float
    utility: float


@dataclass(frozen=True)
class Estimate:
    """One quantity of one user: the mean over the images, predicted and measured (None: not
    measured).

    The predicted mean's variance is ``own`` (of these few images and this prompt) plus ``scale``²
    times the variance of the fitted curve at the user's steps. ``dof``: degrees of freedom with
    which ``own`` was estimated. ``paper``: what the paper's own forms predict. ``fixed``: how much
    of the prediction the machine's speed does not change.
    """

    predicted: float
    measured: float | None
    own: float
    scale: float
    dof: int | None
    paper: float
    basis: str | None = None
    fixed: float = 0.0


@dataclass(frozen=True)
class UserEstimates:
    """The estimates of the images of one user, and the ids of their ``records``; None of what the
    profiles leave out.
    """

    assignment: Assignment
    records: tuple[str, ...]
    time: Estimate
    energy: Estimate
    error: Estimate
    utility: Estimate | None
    clip_score: Estimate | None

    def quantity(self, name: str) -> Estimate | None:
        """The estimate of one of :data:`calibration.validation.validation.QUANTITIES`."""
        return getattr(self, name)


def estimate_users(
    problem: Problem, allocation: Allocation, sites: Sequence[Site], records: Sequence[Record]
) -> list[UserEstimates]:
    """The estimates of all users, in their order; ``sites``: how each of them can be served.

    Of the ``records`` those of a user's images count that were made at the user's place with the
    user's steps, each once.
    """
    images: dict[tuple[int | None, str, int], dict[str, Record]] = defaultdict(dict)
    for record in records:
        task = record.task
        if task.purpose == "user":
            images[task.user, task.place, task.steps].setdefault(record.id, record)
    return [
        _estimates(each, list(images[each.user.user, each.service.place, each.steps].values()))
        for each in _assignments(problem, allocation, sites)
    ]


def _assignments(
    problem: Problem, allocation: Allocation, sites: Sequence[Site]
) -> list[Assignment]:
    tables = {
        place: [
            quantity(place)
            for quantity in (problem.time, problem.energy, problem.error, problem.utility)
        ]
        for place in problem.names
    }
    assignments = []
    for site, offload, steps in zip(sites, allocation.offload, allocation.steps, strict=True):
        place = problem.names[offload]
        values = (float(table[site.user.user, steps - 1]) for table in tables[place])
        assignments.append(Assignment(site.user, site.at(place), steps, *values))
    return assignments


def _estimates(assignment: Assignment, records: Sequence[Record]) -> UserEstimates:
    ids = tuple(record.id for record in records)
    time, energy = _costs(assignment, records)
    error, utility, clip_score = _quality(assignment, records)
    return UserEstimates(assignment, ids, time, energy, error, utility, clip_score)


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
    travel = (way.own_variance + images * way.variance) if way else 0.0
    computed = (spread * service.seconds(assignment.steps)) ** 2 / images
    time = Estimate(
        predicted=assignment.time,
        measured=_plus(_mean(times), sent),
        own=computed + travel / images,
        scale=service.ratio,
        dof=fit.n - 2,
        paper=service.ratio * fit.paper.step_time * assignment.steps + service.sent,
        basis=" and ".join(sorted({service.time_basis, *(way.bases if way else ())})),
        fixed=service.sent,
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
        basis="measured" if metered else "modelled",
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
    """Error, utility, and the CLIP score, which is the utility on its measured scale."""
    profile, steps = assignment.service.profile, assignment.steps
    images, prompts = max(1, len(records)), max(1, len({record.task.prompt for record in records}))
    own, dof = _image_variance(profile.error.points, steps, images, prompts)
    error = Estimate(
        predicted=assignment.error,
        measured=profile.scales.error.of(_mean([record.measured.distance for record in records])),
        own=own,
        scale=1.0,
        dof=dof,
        paper=_at(profile.error, steps, profile.error.paper),
    )
    curve, scale = profile.utility, profile.scales.utility
    if curve is None or scale is None:
        return error, None, None
    own, dof = _image_variance(curve.points, steps, images, prompts)
    score = _mean([record.measured.clip_score for record in records])
    utility = Estimate(
        predicted=assignment.utility,
        measured=scale.of(score),
        own=own,
        scale=1.0,
        dof=dof,
        paper=_at(curve, steps, curve.paper),
    )
    clip_score = Estimate(
        predicted=scale.zero + scale.unit * _at(curve, steps),
        measured=score,
        own=scale.unit**2 * own,
        scale=scale.unit,
        dof=dof,
        paper=scale.zero + scale.unit * utility.paper,
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
    dof = None if nearest.n is None else nearest.n - 1
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
