"""Means over prompts per step count, how they err together, and what to weight them by."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from solver.inputs import InputError

_REPLICATES = 400


@dataclass(frozen=True)
class Sample:
    """Points of a curve and their uncertainty.

    ``points``: [{steps, value, sd (of an image), sd_prompt (of a prompt), se, n (images),
    prompts}]. ``covariance``, shape (points, points), of their values, and ``replicates``, shape
    (samples, points), bootstrap means; both None where fewer than three prompts are common to two
    step counts. ``freedom``: degrees of freedom of the standard errors.
    """

    points: list
    covariance: np.ndarray | None
    replicates: np.ndarray | None
    freedom: int


def sample(records, field, zero, unit):
    """The :class:`Sample` of (value - zero) / unit, value being a record's measured ``field``;
    raises :class:`InputError` if none has it.

    A prompt's images resemble each other, so prompts, not images, are the independent observations:
    ``se`` is the standard error of the mean over prompts. The same prompts appear at several step
    counts, so the means err together, and the covariance says so. A replicate is of prompts drawn
    with replacement, each with all its seeds and step counts, among those that were run at the same
    step counts.
    """
    values = defaultdict(lambda: defaultdict(list))
    for record in records:
        value = record["measured"][field]
        if value is not None:
            values[record["asked"]["steps"]][record["asked"]["prompt"]].append(
                (value - zero) / unit
            )
    if not values:
        raise InputError(f"found no record with a value of {field}")
    prompts = {
        prompt: row
        for row, prompt in enumerate(
            dict.fromkeys(p for steps in sorted(values) for p in values[steps])
        )
    }
    points, means = [], np.full((len(prompts), len(values)), np.nan)
    for column, steps in enumerate(sorted(values)):
        by_prompt = values[steps]
        images = np.concatenate(list(by_prompt.values()))
        own = np.array([np.mean(found) for found in by_prompt.values()])
        means[[prompts[prompt] for prompt in by_prompt], column] = own
        between = np.var(own, ddof=1) if len(own) > 1 else None
        points.append(
            {
                "steps": steps,
                "value": float(own.mean()),
                "sd": float(np.std(images, ddof=1)) if len(images) > 1 else None,
                "sd_prompt": _between_prompts(by_prompt, between),
                "se": float(np.sqrt(between / len(own))) if between is not None else None,
                "n": len(images),
                "prompts": len(own),
            }
        )
    there = ~np.isnan(means)
    common = there.T.astype(int) @ there
    # step counts with more prompts tell more of a curve, and of the spread, in proportion
    counts = there.sum(axis=0)
    freedom = max(1, int(counts @ (counts - 1) / counts.sum()))
    if common.min() < 3:
        return Sample(points, None, None, freedom)
    return Sample(points, _covariance(means, there, common), _replicates(means, there), freedom)


def spread_between(means, there):
    """Covariance of single prompts' values between step counts, shape (points, points), each pair
    from the prompts that have both.
    """
    filled = np.where(there, means, 0.0)
    common = there.T.astype(float) @ there
    mean = (filled.T @ there) / common  # of column i over the prompts that also have column j
    return (filled.T @ filled / common - mean * mean.T) * common / np.maximum(common - 1, 1)


def _covariance(means, there, common):
    counts = np.diag(common)
    covariance = (
        spread_between(means - np.nanmean(means, axis=0), there) * common / np.outer(counts, counts)
    )
    if (common == counts[0]).all():
        return covariance
    value, vector = np.linalg.eigh(
        covariance
    )  # pairs from different prompts may contradict each other a little
    return (vector * np.maximum(value, 0.0)) @ vector.T


def _replicates(means, there):
    rng, totals, weights = np.random.default_rng(0), 0.0, 0.0
    for pattern in np.unique(
        there, axis=0
    ):  # each group of prompts by itself: no step count is ever left without one
        group = means[(there == pattern).all(axis=1)]
        drawn = rng.multinomial(
            len(group), np.full(len(group), 1 / len(group)), _REPLICATES
        ).astype(float)
        totals = totals + drawn @ np.where(pattern, group, 0.0)
        weights = weights + len(group) * pattern
    return totals / weights


def _between_prompts(by_prompt, between):
    """The sd between prompts' own means, without the noise of a few seeds; of single images where
    each prompt has but one.

    With one seed per prompt the two cannot be told apart; taking all of it as the prompt's is the
    cautious side.
    """
    if between is None:
        return None
    within = [np.var(found, ddof=1) / len(found) for found in by_prompt.values() if len(found) > 1]
    return float(np.sqrt(max(0.0, between - (np.mean(within) if within else 0.0))))


def weights(points, kind):
    """Standard errors to weight by, shape (points,), or None where there are none.

    A standard error from a few prompts may be small by chance, and would nail the curve to its
    point: none counts as less than a third of the typical one (relative to the value for an error,
    absolute for a utility).
    """
    if any(point["se"] is None for point in points):
        return None
    se = np.array([point["se"] for point in points])
    scale = (
        np.abs([point["value"] for point in points]) if kind == "error" else np.ones(len(points))
    )
    least = np.median(se / np.where(scale > 0, scale, np.inf)) / 3 * scale
    bounded = np.maximum(se, least)
    return bounded if (bounded > 0).all() else None
