"""The distances of a sweep whose images failed in part."""

import numpy as np

from testbed.metrics.distances import ReferenceDistances
from testbed.stages.calibrate import _distances
from tests.calibration.world import record


def test_a_step_count_of_which_one_image_is_left_has_no_distance():
    """Its failed images once ended a calibration after the whole sweep."""
    draw = np.random.default_rng(0)
    made = [
        record(steps=steps, purpose="untimed", prompt=f"p {prompt}")
        for steps, prompts in ((1, 3), (2, 1), (4, 2))
        for prompt in range(prompts)
    ]
    features = {each.id: draw.normal(0, 1, 4).astype(np.float32) for each in made}
    reference = ReferenceDistances(draw.normal(0, 1, (20, 4)).astype(np.float32))
    distances = _distances(made, features, reference, {})
    for points in (distances.frechet, distances.kid, distances.cmmd):
        assert [(point.steps, point.n) for point in points] == [(1, 3), (4, 2)]
    twice = _distances(made, features, reference, {"p 0": 2})
    assert [point.steps for point in twice.frechet] == [1, 2, 4]
