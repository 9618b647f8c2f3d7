"""Means over prompts per step count, their covariance, and the weights of a curve through them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calibration.fitting.curve_fit import CurvePoint
from calibration.records.record import Record
from calibration.records.scale import Scale
from solver.inputs import InputError

_REPLICATES = 400


@dataclass(frozen=True, eq=False)
class PromptMeans:
    """Points of a curve and their uncertainty.

    ``covariance``, shape (points, points), of the points' values; None where two step counts have
    fewer than three prompts in common. ``dof``: degrees of freedom of the standard errors.
    ``means``, shape (prompts, points), of each prompt; nan: not run.
    """

    points: tuple[CurvePoint, ...]
    covariance: NDArray[np.float64] | None
    dof: int
    means: NDArray[np.float64]

    @cached_property
    def replicates(self) -> NDArray[np.float64] | None:
        """Bootstrap means, shape (samples, points); None where the covariance is.

        A replicate is a sample of prompts with replacement, each with all its seeds and step
        counts, among those that were run at the same step counts.
        """
        return None if self.covariance is None else _replicates(self.means)


def prompt_means(
    records: Sequence[Record], scale: Scale, repeats: Mapping[str, int] | None = None
) -> PromptMeans:
    """The means of the records' values on ``scale``.

    ``repeats``: how often each prompt counts in the points' values (default: once), where a
    benchmark repeats prompts whose images are made once; covariance and replicates ignore it.

    A prompt's images resemble each other, so prompts, not images, are the independent observations:
    ``se`` is the standard error of the mean over prompts. The same prompts appear at several step
    counts, so the means are correlated, and the covariance says so. Raises :class:`InputError` if
    no record has a value.
    """
    values: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        value = scale.of(getattr(record.measured, scale.field))
        if value is not None:
            values[record.task.steps][record.task.prompt].append(value)
    if not values:
        raise InputError(f"found no record with a value of {scale.field}")
    grid = sorted(values)
    rows = {
        prompt: row
        for row, prompt in enumerate(dict.fromkeys(p for steps in grid for p in values[steps]))
    }
    points, means = [], np.full((len(rows), len(grid)), np.nan)
    for column, steps in enumerate(grid):
        by_prompt = values[steps]
        of_prompts = np.array([np.mean(of_prompt) for of_prompt in by_prompt.values()])
        means[[rows[prompt] for prompt in by_prompt], column] = of_prompts
        points.append(_point(steps, by_prompt, of_prompts, repeats or {}))
    measured = ~np.isnan(means)
    common = measured.T.astype(int) @ measured
    # Step counts with more prompts say more about a curve and about the spread, in proportion.
    counts = measured.sum(axis=0)
    dof = max(1, int(counts @ (counts - 1) / counts.sum()))
    covariance = _covariance(means, measured, common) if common.min() >= 3 else None
    return PromptMeans(tuple(points), covariance, dof, means)


def covariance_between_prompts(
    means: NDArray[np.float64], measured: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Covariance of single prompts' values between step counts, shape (points, points).

    ``means``, shape (prompts, points), is used where ``measured``, of the same shape; each pair of
    step counts from the prompts that have both.
    """
    filled = np.where(measured, means, 0.0)
    common = measured.T.astype(float) @ measured
    mean = (filled.T @ measured) / common  # of column i over the prompts that also have column j
    return (filled.T @ filled / common - mean * mean.T) * common / np.maximum(common - 1, 1)


def fit_weights(points: Sequence[CurvePoint], kind: str) -> NDArray[np.float64] | None:
    """Standard errors to weight by, shape (points,), or None where there are none.

    A standard error from a few prompts may be small by chance, and would force the curve through
    its point: none counts as less than a third of the typical one (relative to the value for an
    error, absolute for a utility).
    """
    known = [point.se for point in points if point.se is not None]
    if len(known) < len(points):
        return None
    se = np.array(known)
    scale = np.abs([point.value for point in points]) if kind == "error" else np.ones(len(points))
    least = np.median(se / np.where(scale > 0, scale, np.inf)) / 3 * scale
    bounded = np.maximum(se, least)
    return bounded if (bounded > 0).all() else None


def _point(
    steps: int,
    by_prompt: Mapping[str, Sequence[float]],
    means: NDArray[np.float64],
    repeats: Mapping[str, int],
) -> CurvePoint:
    """The point of ``by_prompt``, the values of each prompt, with these ``means``."""
    images = np.concatenate(list(by_prompt.values()))
    between = np.var(means, ddof=1) if len(means) > 1 else None
    times = np.array([repeats.get(prompt, 1) for prompt in by_prompt], float)
    independent = times.sum() ** 2 / (times**2).sum()  # prompts that are worth as much
    return CurvePoint(
        steps=steps,
        value=float(np.average(means, weights=times)),
        sd=float(np.std(images, ddof=1)) if len(images) > 1 else None,
        sd_prompt=None if between is None else _sd_between_prompts(by_prompt, float(between)),
        se=None if between is None else float(np.sqrt(between / independent)),
        n=sum(len(values) * repeats.get(prompt, 1) for prompt, values in by_prompt.items()),
        prompts=len(means),
    )


def _sd_between_prompts(by_prompt: Mapping[str, Sequence[float]], between: float) -> float:
    """The sd between prompts' expected values, without the noise of a few seeds.

    ``between``: the variance of the prompts' means. With one seed per prompt the two cannot be
    told apart, and all of it is taken as the prompts'.
    """
    within = [
        np.var(values, ddof=1) / len(values) for values in by_prompt.values() if len(values) > 1
    ]
    return float(np.sqrt(max(0.0, between - (np.mean(within) if within else 0.0))))


def _covariance(
    means: NDArray[np.float64], measured: NDArray[np.bool_], common: NDArray[np.int_]
) -> NDArray[np.float64]:
    counts = np.diag(common)
    spread = covariance_between_prompts(means - np.nanmean(means, axis=0), measured)
    covariance = spread * common / np.outer(counts, counts)
    if (common == counts[0]).all():
        return covariance
    # Pairs from different prompts may give a matrix that is slightly indefinite.
    value, vector = np.linalg.eigh(covariance)
    return (vector * np.maximum(value, 0.0)) @ vector.T


def _replicates(means: NDArray[np.float64]) -> NDArray[np.float64]:
    rng, measured = np.random.default_rng(0), ~np.isnan(means)
    totals, weights = np.zeros((_REPLICATES, means.shape[1])), np.zeros(means.shape[1])
    # Prompts are drawn within groups of equal step counts, so that no step count is left empty.
    for pattern in np.unique(measured, axis=0):
        group = means[(measured == pattern).all(axis=1)]
        shares = np.full(len(group), 1 / len(group))
        drawn = rng.multinomial(len(group), shares, _REPLICATES).astype(float)
        totals = totals + drawn @ np.where(pattern, group, 0.0)
        weights = weights + len(group) * pattern
    return totals / weights
