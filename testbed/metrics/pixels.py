"""The distance between two images, pixel by pixel."""

import numpy as np
from numpy.typing import NDArray


def distance(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Root mean square difference of two images of one shape, on the scale 0 to 1."""
    return float(np.sqrt(np.mean((image / 255.0 - other / 255.0) ** 2)))
