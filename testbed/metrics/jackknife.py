"""95 % intervals of statistics of images, by a delete-group jackknife over their prompts.

Prompts are the independent observations. A bootstrap does not fit: a prompt drawn twice adds an
image but nothing to the rank of the covariance, so a resampled Fréchet distance lies above the
original one by about its bias again. The jackknife only compares samples of one size, all of
different prompts, in which that bias cancels. For any symmetric statistic its variance is on
average not too small (Efron and Stein, 1981).
"""

from collections.abc import Sequence

import numpy as np

from calibration.statistics import t_quantile

#: Groups of prompts that are deleted together, at most.
GROUPS = 20


class PromptGroups:
    """Prompts dealt at random into at most ``GROUPS`` groups of equal size; the rest is in none.

    ``group``, shape (n,): each image's group, ``count`` for none. ``position``, shape (n,): where
    each image's prompt stands in the random order. ``prompts``: how many there are, ``size`` of
    them in a group.
    """

    def __init__(self, prompts: Sequence[object]) -> None:
        names, index = np.unique(np.asarray(prompts), return_inverse=True)
        self.prompts = len(names)
        self.size = -(-self.prompts // GROUPS)
        self.count = self.prompts // self.size
        self.position = np.random.default_rng(0).permutation(self.prompts)[index]
        self.group = np.minimum(self.position // self.size, self.count)

    @property
    def enough(self) -> bool:
        """Whether an interval can be had: it takes three prompts."""
        return self.prompts > 2


def interval(
    value: float, deleted: Sequence[float], groups: PromptGroups
) -> tuple[float | None, float | None]:
    """Student's interval about ``value``; ``deleted``: the values with each of the groups deleted.

    For an average over P prompts and groups of k, the sd of the deleted values over P - k, times
    (P - k) / √(k P), is exactly the standard error; with k = 1 this is the ordinary jackknife.
    Both ends are None with fewer than three prompts.
    """
    if not groups.enough:
        return None, None
    kept = groups.prompts - groups.size
    half = (
        t_quantile(groups.count - 1)
        * np.std(deleted, ddof=1)
        * kept
        / np.sqrt(groups.size * groups.prompts)
    )
    return float(value - half), float(value + half)
