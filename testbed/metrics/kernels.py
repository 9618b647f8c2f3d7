"""The kernels of KID and CMMD, and the unbiased squared maximum mean discrepancy of either."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.image.kid import poly_kernel

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]

#: The published width of CMMD's kernel.
CMMD_WIDTH = 10.0
#: Rows of a kernel matrix that are held at a time.
_ROWS = 512


def polynomial(a: Array, b: Array) -> Array:
    """The kernel of KID, (a · b / width + 1)³, by torchmetrics; shape (len(a), len(b))."""
    return poly_kernel(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def gaussian(a: Array, b: Array) -> Array:
    """The kernel of CMMD, exp(-|a - b|² / 2σ²) with σ = 10, of features scaled to length 1.

    Its shape is (len(a), len(b)).
    """
    lengths = (np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (a, b))
    # features that are all 0 have no direction: they stay 0
    a, b = (vectors / np.where(length, length, 1.0) for vectors, length in zip((a, b), lengths))
    return np.exp((a @ b.T - 1) / CMMD_WIDTH**2)


def sums(
    kernel: Kernel,
    a: Array,
    b: Array,
    left: Array,
    right: Array,
    of_a: Sequence[object],
    of_b: Sequence[object],
) -> tuple[Array, Array]:
    """``leftᵀ k(a, b) right`` for indicators of groups, (len(a), groups) and (len(b), groups),
    without pairs of one prompt, and how many pairs are left in each.

    ``of_a``, ``of_b``: the prompts of the rows of ``a`` and of ``b``. Only a part of the kernel's
    matrix is held at a time.
    """
    total, pairs = np.zeros((2, left.shape[1], right.shape[1]))
    prompts = np.asarray(of_b)
    for start in range(0, len(a), _ROWS):
        rows = slice(start, start + _ROWS)
        values, own = kernel(a[rows], b), left[rows]
        i, j = np.nonzero(np.asarray(of_a[rows])[:, None] == prompts)
        values[i, j] = 0.0
        total += own.T @ (values @ right)
        pairs += np.outer(own.sum(axis=0), right.sum(axis=0)) - own[i].T @ right[j]
    return total, pairs
