"""What is predicted of one user and what was measured: means over the images, with variances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.fitting.prediction import evaluate
from calibration.records.record import Record
from calibration.scenario.problem import Service
from calibration.scenario.scenario import User


@dataclass(frozen=True)
class Estimate:
    """One quantity of one user: the mean over the images, predicted and measured (None: not
    measured).

    The predicted mean's variance is ``own`` (of these few images and this prompt) plus ``scale``²
    times the variance of the fitted curve at the user's steps. ``dof``: degrees of freedom with
    which ``own`` was estimated. ``paper``: what the paper's own forms predict.
    """

    predicted: float
    measured: float | None
    own: float
    scale: float
    dof: int | None
    paper: float
    basis: str | None = None


@dataclass(frozen=True)
class Promise:
    """What the problem says of an image of a ``user`` whom ``service`` serves with ``steps`` steps:
    seconds, joules, error and utility.
    """

    user: User
    service: Service
    steps: int
    time: float
    energy: float
    error: float
    utility: float


@dataclass(frozen=True)
class UserEstimates:
    """The estimates of a user, and the ids of the ``records`` of their images."""

    user: User
    service: Service
    steps: int
    records: tuple[str, ...]
    time: Estimate
    energy: Estimate
    error: Estimate
    utility: Estimate
    clip_score: Estimate

    def quantity(self, name: str) -> Estimate:
        """The estimate of one of :data:`calibration.validation.validation.QUANTITIES`."""
        return getattr(self, name)


def estimate(promise: Promise, records: Sequence[Record]) -> UserEstimates:
    """What was promised to a user and what the ``records`` of their images say."""
    time, energy = _costs(promise, records)
    error, utility, clip_score = _quality(promise, records)
    return UserEstimates(
        promise.user,
        promise.service,
        promise.steps,
        tuple(record.id for record in records),
        time,
        energy,
        error,
        utility,
        clip_score,
    )


def _costs(promise: Promise, records: Sequence[Record]) -> tuple[Estimate, Estimate]:
    """Time and energy."""
    service, images = promise.service, max(1, len(records))
    fit, power, watts = service.profile.time, service.profile.power, service.watts
    times = [service.ratio * record.measured.time for record in records]
    joules = [record.measured.energy_j for record in records]
    # The spread of images over the whole sweep holds the machine's changes of speed, which all
    # images of an execution share: calibration.validation.totals adds them.
    variance = max(0.0, fit.relative_sd**2 - service.speed_sd**2)
    spread, dof = np.sqrt(variance), fit.n - 2
    own = (spread * promise.time) ** 2 / images
    by_paper = service.ratio * fit.paper.step_time * promise.steps
    time = Estimate(
        promise.time, _mean(times), own, service.ratio, dof, by_paper, service.time_basis
    )
    if service.power_basis == "measured" and None not in joules:
        relative = spread**2 + (power.relative_sd or 0.0) ** 2
        energy = Estimate(
            promise.energy,
            _mean(joules),
            relative * promise.energy**2 / images,
            watts,
            dof,
            watts * by_paper,
            "measured",
        )
    else:
        energy = Estimate(
            promise.energy,
            _mean([watts * seconds for seconds in times]),
            watts**2 * own,
            watts * service.ratio,
            dof,
            watts * by_paper,
            "modelled",
        )
    return time, energy


def _quality(promise: Promise, records: Sequence[Record]) -> tuple[Estimate, Estimate, Estimate]:
    """Error, utility, and the CLIP score, which is the utility on its measured scale."""
    profile, steps, images = promise.service.profile, promise.steps, max(1, len(records))
    scales = profile.scales
    prompts = max(1, len({record.task.prompt for record in records}))
    distance = _mean([record.measured.distance for record in records])
    clip = _mean([record.measured.clip_score for record in records])
    own, dof = _image_variance(profile.error.points, steps, images, prompts)
    error = Estimate(
        promise.error,
        scales.error.of(distance),
        own,
        1.0,
        dof,
        _at(profile.error, steps, profile.error.paper),
    )
    own, dof = _image_variance(profile.utility.points, steps, images, prompts)
    by_paper = _at(profile.utility, steps, profile.utility.paper)
    zero, unit = scales.utility.zero, scales.utility.unit
    utility = Estimate(promise.utility, scales.utility.of(clip), own, 1.0, dof, by_paper)
    clip_score = Estimate(
        zero + unit * _at(profile.utility, steps),
        clip,
        unit**2 * own,
        unit,
        dof,
        zero + unit * by_paper,
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
