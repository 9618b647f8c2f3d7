"""Distances between a set of generated images and a reference set, on extracted features, each with
an interval.

An interval says where the expected distance to *this* reference lies, for as many images as there
were, had other prompts been drawn. It is a delete-group jackknife over prompts (:func:`_interval`),
because prompts are the independent observations, and because a bootstrap does not fit: a prompt
drawn twice adds an image but nothing to the rank of the covariance, so a resampled Fréchet distance
lies above the original one by about its bias again. The jackknife only looks at *differences*
between samples of one and the same size, all of different prompts, in which that bias cancels; for
any symmetric statistic its variance is on average not too small (Efron and Stein, 1981). Where a
Fréchet distance without the bias of its sample size is wanted, :meth:`Reference.frechet`
extrapolates to it.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import t as student
from torchmetrics.image.kid import poly_kernel

from solver.inputs import InputError
from testbed.metrics.quality import frechet

GROUPS = 20  # at most, of prompts deleted together
BLOCKS = (1, 2, 3, 4)  # disjoint parts of the images, whose Fréchet distances are extrapolated
# images for each feature, below which they are not: the smallest part then has twice as many images
# as features
LEAST_PER_FEATURE = 8
CMMD_SCALE, CMMD_WIDTH = 1000.0, 10.0  # as published with it
_ROWS = 1024  # of a kernel matrix at a time


class Estimate(NamedTuple):
    """A distance, its 95 % interval (None with fewer than 3 prompts) and the number of images it is
    from.
    """

    value: float
    low: float | None
    high: float | None
    n: int


class _Groups:
    """Prompts dealt at random into at most ``GROUPS`` groups of equally many; those left over
    belong to none.

    ``of``: for each image its group, ``count`` for none; ``place``: the place of its prompt in the
    random order; ``prompts``: how many; ``size``: prompts in a group.
    """

    def __init__(self, prompts):
        names, index = np.unique(np.asarray(prompts), return_inverse=True)
        self.prompts = len(names)
        self.size = -(-self.prompts // GROUPS)
        self.count = self.prompts // self.size
        self.place = np.random.default_rng(0).permutation(self.prompts)[index]
        self.of = np.minimum(self.place // self.size, self.count)


def _interval(value, deleted, groups):
    """Student interval about ``value`` from its values with each of the groups deleted.

    For an average over P prompts and groups of k, the sd of the deleted values over P - k, times (P
    - k) / √(k P), is exactly the standard error; with k = 1 this is the ordinary jackknife.
    """
    if groups.prompts < 3:
        return None, None
    kept = groups.prompts - groups.size
    half = (
        student.ppf(0.975, groups.count - 1)
        * np.std(deleted, ddof=1)
        * kept
        / np.sqrt(groups.size * groups.prompts)
    )
    return float(value - half), float(value + half)


def shortage(n, m, width):
    """Why ``n`` images and ``m`` of the reference cannot carry a Fréchet distance over ``width``
    features, or None if they can.

    A covariance of no more images than features has not full rank, and the distance has more of
    bias in it than of distance.
    """
    few = [
        f"{count} {what}"
        for count, what in ((n, "images"), (m, "reference images"))
        if count <= width
    ]
    return (
        f"{' and '.join(few)} cannot carry a Fréchet distance over {width} features; needed: more than {width}"
        if few
        else None
    )


def polynomial(a, b):
    """The kernel of KID, (a · b / width + 1)³, by torchmetrics; shape (len(a), len(b))."""
    return poly_kernel(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def gaussian(a, b):
    """The kernel of CMMD, exp(-|a - b|² / 2σ²) with σ = 10, of features scaled to length 1; shape
    (len(a), len(b)).
    """
    a, b = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (a, b))
    return np.exp((a @ b.T - 1) / CMMD_WIDTH**2)


def _sums(kernel, a, b, left, right):
    """Sums of the kernel over groups: ``leftᵀ k(a, b) right`` for indicators (n, groups), without
    holding all of k.
    """
    return sum(
        left[i : i + _ROWS].T @ (kernel(a[i : i + _ROWS], b) @ right)
        for i in range(0, len(a), _ROWS)
    )


def _diagonal(kernel, features):
    return np.array([kernel(row[None], row[None])[0, 0] for row in features])


class Reference:
    """A reference set, float (m, width), and the distances of other sets to it.

    Each method takes ``features``, float (n, width), and ``prompts``: of which prompt each image is
    (default: each of its own).
    """

    def __init__(self, features):
        self.features = np.asarray(features, float)
        if self.features.ndim != 2 or len(self.features) < 2:
            raise InputError(
                f"reference: found features of shape {self.features.shape}; allowed: (images, width) of at least 2 images"
            )
        self.mean = self.features.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(self.features.T).reshape(self.width, -1))
        values = np.maximum(values, 0)
        self._root, self._trace = (vectors * np.sqrt(values)) @ vectors.T, values.sum()
        self._own = {}  # kernel -> mean over pairs of different images

    @property
    def width(self):
        return self.features.shape[1]

    def _checked(self, features, prompts):
        features = np.asarray(features, float)
        if features.ndim != 2 or len(features) < 2 or features.shape[1] != self.width:
            raise InputError(
                f"distance: found features of shape {features.shape}; allowed: (at least 2, {self.width})"
            )
        prompts = range(len(features)) if prompts is None else prompts
        if len(prompts) != len(features):
            raise InputError(
                f"distance: found {len(prompts)} prompts; allowed: {len(features)}, one for each image"
            )
        return features, _Groups(prompts)

    def plain_frechet(self, x):
        """Fréchet distance of ``x``, float (n, width), without interval: |μ - μ'|² + tr Σ + tr Σ' -
        2 tr (Σ'^½ Σ Σ'^½)^½.

        torchmetrics' value, from symmetric or thin matrices only, which of few images is much
        quicker.
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

    def frechet(self, features, prompts=None):
        """Fréchet distance (torchmetrics) as ``{"value", "low", "high", "n", "carried", "note",
        "infinity"}``.

        It is biased upward at small n: compare it only at equal n, with the same extractor and
        reference. ``carried`` is False, and ``note`` says why, where a covariance cannot have full
        rank: with no more images than features on either side. ``infinity``: ``{"value", "low",
        "high"}`` extrapolated to infinitely many images, or None and ``infinity_note`` says why.
        """
        x, groups = self._checked(features, prompts)
        value = frechet(x.astype(np.float32), self.features.astype(np.float32))
        deleted = (
            [self.plain_frechet(x[groups.of != group]) for group in range(groups.count)]
            if groups.prompts > 2
            else []
        )
        low, high = _interval(value, deleted, groups)
        note, least = (
            shortage(len(x), len(self.features), self.width),
            LEAST_PER_FEATURE * self.width,
        )
        missing = note
        if not note and (len(x) < least or groups.prompts < GROUPS):
            missing = f"found {len(x)} images of {groups.prompts} prompts; needed: {least} ({LEAST_PER_FEATURE} for each feature) of {GROUPS}"
        return {
            "value": value,
            "low": None if low is None else max(0.0, low),
            "high": high,
            "n": len(x),
            "carried": note is None,
            "note": note,
            "infinity": None if missing else self._infinity(x, groups),
            "infinity_note": missing,
        }

    def _infinity(self, x, groups):
        """FID∞ of Chong and Forsyth (CVPR 2020): the intercept of a line in 1/n through Fréchet
        distances of parts of the images.

        At each size all the images are used, in disjoint parts whose distances are averaged: what
        is linear in the sample is then the same at every size and does not disturb the slope. The
        interval deletes groups from the whole procedure.
        """

        # in this order those of one group are far from each other, so that each part loses about as
        # many
        place = groups.place % groups.size * groups.prompts + groups.place // groups.size
        rank = np.unique(place, return_inverse=True)[1]

        def extrapolate(keep):
            inverse, values = [], []
            for blocks in BLOCKS:
                parts = [
                    keep & (rank * blocks // groups.prompts == block) for block in range(blocks)
                ]
                inverse.append(np.mean([1 / part.sum() for part in parts]))
                values.append(np.mean([self.plain_frechet(x[part]) for part in parts]))
            return np.polyfit(inverse, values, 1)[1]

        value = float(extrapolate(groups.of >= 0))
        deleted = [extrapolate(groups.of != group) for group in range(groups.count)]
        low, high = _interval(value, deleted, groups)
        return {"value": value, "low": low, "high": high}

    def kid(self, features, prompts=None):
        """Kernel distance (KID; Bińkowski et al. 2018): unbiased squared MMD with the kernel
        :func:`polynomial`.

        It equals torchmetrics' of one subset of all images where both sets are of one size. As both
        need not be, all of the reference is used, where torchmetrics would draw subsets as small as
        the smaller set. Returns an :class:`Estimate`.
        """
        return self._discrepancy(polynomial, features, prompts)

    def cmmd(self, features, prompts=None):
        """CMMD (Jayasumana et al., arXiv 2401.09603): 1000 × squared MMD with the kernel
        :func:`gaussian`, as an :class:`Estimate`.

        The published value is the V-statistic, which counts each image's kernel with itself and is
        too high at small n. This is the U-statistic, unbiased at any n and below zero by chance.
        Published values are from ViT-L/14 at 336 pixels.
        """
        found = self._discrepancy(gaussian, features, prompts)
        return Estimate(*(None if one is None else CMMD_SCALE * one for one in found[:3]), found.n)

    def _discrepancy(self, kernel, features, prompts):
        """U-statistic of the squared maximum mean discrepancy, Σ_{i≠j} k(x_i, x_j) / n(n-1) + the
        like of y - 2 Σ k(x_i, y_j) / n m.
        """
        x, groups = self._checked(features, prompts)
        one, m = np.ones((len(self.features), 1)), len(self.features)
        if kernel not in self._own:
            total = (
                _sums(kernel, self.features, self.features, one, one)[0, 0]
                - _diagonal(kernel, self.features).sum()
            )
            self._own[kernel] = total / (m * (m - 1))
        member = np.eye(groups.count + 1)[groups.of]
        within = _sums(kernel, x, x, member, member) - np.diag(member.T @ _diagonal(kernel, x))
        across, sizes = _sums(kernel, x, self.features, member, one)[:, 0], member.sum(axis=0)

        def distance(keep):
            n = keep @ sizes
            return float(
                keep @ within @ keep / (n * (n - 1))
                + self._own[kernel]
                - 2 * keep @ across / (n * m)
            )

        value = distance(np.ones(groups.count + 1))
        deleted = (
            [distance(1 - row) for row in np.eye(groups.count + 1)[:-1]]
            if groups.prompts > 2
            else []
        )
        return Estimate(value, *_interval(value, deleted, groups), len(x))
