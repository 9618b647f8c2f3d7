"""The distance between two images, pixel by pixel."""

import numpy as np
from numpy.typing import NDArray

from solver.inputs import InputError


def distance(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Root mean square difference of two images of one shape, on the scale 0 to 1.

    Raises :class:`InputError` for images of two shapes, which NumPy might stretch to one.
    """
    if image.shape != other.shape:
        raise InputError(
            f"distance: found images of {image.shape} and {other.shape}; allowed: of one shape (an "
            "image file was changed: remove its line from records.jsonl to make it again)"
        )
    return float(np.sqrt(np.mean((image / 255.0 - other / 255.0) ** 2)))
