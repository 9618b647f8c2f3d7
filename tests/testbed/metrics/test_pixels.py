"""The distance between two images."""

import numpy as np
import pytest

from testbed.metrics.pixels import distance


def test_distance_is_root_mean_square_on_the_unit_scale():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    half = black.copy()
    half[:2] = 255
    assert distance(black, white) == 1.0
    assert distance(black, half) == pytest.approx(np.sqrt(0.5))
    assert distance(half, half) == 0.0
