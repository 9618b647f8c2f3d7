"""Distances between generated images and a reference set, on extracted features, with intervals.

An interval says where the expected distance to *this* reference lies, for as many images as there
were, had other prompts been drawn (:mod:`testbed.metrics.jackknife`). A Fréchet distance has a bias
that falls with the number of images; :meth:`ReferenceDistances.frechet` extrapolates to the value
without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.image.fid import FrechetInceptionDistance

from calibration.profiles.profile import DistancePoint, Extrapolated
from solver.inputs import InputError
from testbed.metrics.extractor import Features
from testbed.metrics.jackknife import GROUPS, PromptGroups, interval
from testbed.metrics.kernels import Array, Kernel, gaussian, polynomial, sums

#: Into how many disjoint parts the images are divided, whose Fréchet distances are extrapolated.
BLOCKS = (1, 2, 3, 4)
#: Images for each feature that an extrapolation takes: the smallest part then has twice as many
#: images as there are features.
LEAST_PER_FEATURE = 8
#: What the published CMMD multiplies with.
CMMD_SCALE = 1000.0


@dataclass(frozen=True)
class DistanceEstimate:
    """A distance of ``n`` images and its 95 % interval (None with fewer than 3 prompts).

    The other fields are those of a Fréchet distance; see
    :class:`calibration.profiles.profile.DistancePoint`.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    carried: bool | None = None
    note: str | None = None
    infinity: Extrapolated | None = None
    infinity_note: str | None = None

    def at(self, steps: int) -> DistancePoint:
        """The distance as a profile holds it, of images with ``steps`` steps."""
        return DistancePoint(steps, **vars(self))


def frechet(features: Features, reference: Features) -> float:
    """Fréchet distance between two feature sets, (n, width) and (m, width), by torchmetrics.

    It is biased upward at small n: compare it only at equal n, with the same extractor and
    reference.
    """
    if len(features) < 2 or len(reference) < 2:
        raise InputError(
            f"frechet: found {len(features)} and {len(reference)} images; "
            "at least 2 of each are needed"
        )
    # every process has all features already
    metric = FrechetInceptionDistance(_Identity(features.shape[1]), sync_on_compute=False)
    metric.update(torch.from_numpy(reference), real=True)
    metric.update(torch.from_numpy(features), real=False)
    return float(metric.compute())


def shortage(n: int, m: int, width: int) -> str | None:
    """Why ``n`` images and ``m`` of the reference do not support a Fréchet distance, else None.

    A covariance of no more images than the ``width`` features has not full rank, and the distance
    has more of bias in it than of distance.
    """
    few = [
        f"{count} {what}"
        for count, what in ((n, "images"), (m, "reference images"))
        if count <= width
    ]
    if not few:
        return None
    return (
        f"{' and '.join(few)} cannot carry a Fréchet distance over {width} features; "
        f"needed: more than {width}"
    )


class ReferenceDistances:
    """The distances of feature sets to a reference, ``features`` of shape (m, width).

    ``prompts``: of which prompt each reference image is, where images of one prompt are twins, as
    converged images are: the unbiased distances then compare images of different prompts alone.

    Each method takes ``features``, shape (n, width), and ``prompts``: of which prompt each image is
    (default: each of its own). Raises :class:`InputError` for shapes that do not fit.
    """

    def __init__(
        self, features: NDArray[np.floating], prompts: Sequence[object] | None = None
    ) -> None:
        self.prompts = prompts
        self.features: Array = _finite(features, "reference images")
        if self.features.ndim != 2 or len(self.features) < 2:
            raise InputError(
                f"reference: found features of shape {self.features.shape}; "
                "allowed: (images, width) of at least 2 images"
            )
        self.mean = self.features.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(self.features.T).reshape(self.width, -1))
        values = np.maximum(values, 0)
        self._root, self._trace = (vectors * np.sqrt(values)) @ vectors.T, values.sum()
        self._within: dict[tuple[Kernel, bool], float] = {}  # mean over pairs of the reference

    @property
    def width(self) -> int:
        """How many features there are."""
        return self.features.shape[1]

    def plain_frechet(self, x: Array) -> float:
        """Fréchet distance of ``x``, shape (n, width), without interval, for resampling.

        |μ - μ'|² + tr Σ + tr Σ' - 2 tr (Σ'^½ Σ Σ'^½)^½ is torchmetrics' value, here from symmetric
        or thin matrices only, which of few images is much quicker.
        """
        mean = x.mean(axis=0)
        half = (x - mean) @ self._root / np.sqrt(len(x) - 1)
        if len(x) > self.width:
            cross = np.sqrt(np.maximum(np.linalg.eigvalsh(half.T @ half), 0)).sum()
        else:
            cross = np.linalg.svd(half, compute_uv=False).sum()
        return (
            ((mean - self.mean) ** 2).sum()
            + ((x - mean) ** 2).sum() / (len(x) - 1)
            + self._trace
            - 2 * cross
        )

    def frechet(
        self, features: NDArray[np.floating], prompts: Sequence[object] | None = None
    ) -> DistanceEstimate:
        """Fréchet distance, by :func:`frechet`, with what its number of images supports.

        ``carried`` is False, and ``note`` says why, where a covariance cannot have full rank: with
        no more images than features on either side. ``infinity`` is the distance extrapolated to
        infinitely many images; without it, ``infinity_note`` says why.
        """
        x, groups = self._checked(features, prompts)
        value = frechet(x.astype(np.float32), self.features.astype(np.float32))
        deleted = (
            [self.plain_frechet(x[groups.group != group]) for group in range(groups.count)]
            if groups.enough
            else []
        )
        low, high = interval(value, deleted, groups)
        note = missing = shortage(len(x), len(self.features), self.width)
        least = LEAST_PER_FEATURE * self.width
        if not note and (len(x) < least or groups.prompts < GROUPS):
            missing = (
                f"found {len(x)} images of {groups.prompts} prompts; "
                f"needed: {least} ({LEAST_PER_FEATURE} for each feature) of {GROUPS}"
            )
        return DistanceEstimate(
            value,
            None if low is None else max(0.0, low),
            high,
            len(x),
            carried=note is None,
            note=note,
            infinity=None if missing else self._infinity(x, groups),
            infinity_note=missing,
        )

    def kid(
        self, features: NDArray[np.floating], prompts: Sequence[object] | None = None
    ) -> DistanceEstimate:
        """Kernel distance (KID; Bińkowski et al. 2018): unbiased squared MMD with a cubic kernel.

        It equals torchmetrics' of one subset of all images where both sets are of one size. As both
        need not be, all of the reference is used, where torchmetrics would draw subsets as small as
        the smaller set.
        """
        return self._discrepancy(polynomial, features, prompts)

    def cmmd(
        self, features: NDArray[np.floating], prompts: Sequence[object] | None = None
    ) -> DistanceEstimate:
        """CMMD (Jayasumana et al., arXiv 2401.09603): 1000 × squared MMD with a Gaussian kernel.

        The published value is the V-statistic, which counts each image's kernel with itself and is
        too high at small n. This is the U-statistic, unbiased at any n and below zero by chance.
        Published values are from ViT-L/14 at 336 pixels.
        """
        plain = self._discrepancy(gaussian, features, prompts)
        low, high = (None if end is None else CMMD_SCALE * end for end in (plain.low, plain.high))
        return replace(plain, value=CMMD_SCALE * plain.value, low=low, high=high)

    def _checked(
        self, features: NDArray[np.floating], prompts: Sequence[object] | None
    ) -> tuple[Array, PromptGroups]:
        x = _finite(features, "images")
        if x.ndim != 2 or len(x) < 2 or x.shape[1] != self.width:
            raise InputError(
                f"distance: found features of shape {x.shape}; allowed: (at least 2, {self.width})"
            )
        prompts = range(len(x)) if prompts is None else prompts
        if len(prompts) != len(x):
            raise InputError(
                f"distance: found {len(prompts)} prompts; allowed: {len(x)}, one for each image"
            )
        return x, PromptGroups(prompts)

    def _infinity(self, x: Array, groups: PromptGroups) -> Extrapolated:
        """FID∞ of Chong and Forsyth (CVPR 2020): the intercept of a line in 1/n.

        The line goes through Fréchet distances of parts of the images. At each size all the images
        are used, in disjoint parts whose distances are averaged: what is linear in the sample is
        then the same at every size and does not disturb the slope. The interval deletes groups from
        the whole procedure.
        """
        # in this order the prompts of one group are far from each other, so that each part loses
        # about as many
        order = groups.position % groups.size * groups.prompts + groups.position // groups.size
        rank = np.unique(order, return_inverse=True)[1]

        def extrapolate(keep: NDArray[np.bool_]) -> float:
            inverse, values = [], []
            for blocks in BLOCKS:
                parts = [
                    keep & (rank * blocks // groups.prompts == block) for block in range(blocks)
                ]
                inverse.append(np.mean([1 / part.sum() for part in parts]))
                values.append(np.mean([self.plain_frechet(x[part]) for part in parts]))
            return np.polyfit(inverse, values, 1)[1]

        value = float(extrapolate(groups.group >= 0))
        deleted = [extrapolate(groups.group != group) for group in range(groups.count)]
        return Extrapolated(value, *interval(value, deleted, groups))

    def _discrepancy(
        self, kernel: Kernel, features: NDArray[np.floating], prompts: Sequence[object] | None
    ) -> DistanceEstimate:
        """U-statistic of the squared maximum mean discrepancy, Σ_{i≠j} k(x_i, x_j) / n(n-1) + the
        like of y - 2 Σ k(x_i, y_j) / n m; of pairs of different prompts where those are known.
        """
        x, groups = self._checked(features, prompts)
        y, everyone = self.features, np.ones((len(self.features), 1))
        of_x: Sequence[object] = range(len(x))  # each its own
        of_y: Sequence[object] = range(len(x), len(x) + len(y))
        if prompts is not None and self.prompts is not None:
            if min(len(set(prompts)), len(set(self.prompts))) > 1:
                of_x, of_y = prompts, self.prompts
        key = kernel, of_y is self.prompts
        if key not in self._within:
            total, pairs = sums(kernel, y, y, everyone, everyone, of_y, of_y)
            self._within[key] = (total / pairs).item()
        member = np.eye(groups.count + 1)[groups.group]
        within, inner = sums(kernel, x, x, member, member, of_x, of_x)
        across, outer = sums(kernel, x, y, member, everyone, of_x, of_y)

        def discrepancy(keep: Array) -> float:
            return float(
                keep @ within @ keep / (keep @ inner @ keep)
                + self._within[key]
                - 2 * (keep @ across / (keep @ outer))[0]
            )

        value = discrepancy(np.ones(groups.count + 1))
        deleted = (
            [discrepancy(1 - row) for row in np.eye(groups.count + 1)[:-1]] if groups.enough else []
        )
        return DistanceEstimate(value, *interval(value, deleted, groups), len(x))


def _finite(features: NDArray[np.floating], what: str) -> Array:
    """``features`` in double precision; raises :class:`InputError` where they are no numbers, of
    which linear algebra ends the process.
    """
    values = np.asarray(features, float)
    if not np.isfinite(values).all():
        raise InputError(
            f"distance: found features of {what} that are not finite; "
            "allowed: an extractor (quality.clip, quality.extractor) that gives numbers"
        )
    return values


class _Identity(torch.nn.Module):
    """Lets torchmetrics work on features that were extracted before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features
