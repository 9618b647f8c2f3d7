"""Many sets of points at once, a part of them at a time."""

import numpy as np
import pytest

from calibration.fitting import profile_likelihood
from calibration.fitting.families import families
from calibration.fitting.profile_likelihood import best


@pytest.mark.parametrize("family", families("error"), ids=lambda family: family.name)
def test_sets_that_are_fitted_in_parts_are_fitted_as_all_at_once(family, monkeypatch):
    """Without each of 5,000 points, as many sets of them, took arrays of 12 GB."""
    steps = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    draws = (np.exp(-0.2 * steps) + 0.1) * np.random.default_rng(0).uniform(0.9, 1.1, (7, 5))
    without_each = (1 - np.eye(6, 5, k=-1)) / draws[0]
    given = [(draws, 1 / draws[:1]), (draws[:1], without_each), (draws, 1 / draws)]
    together = [best(family, steps, *sets) for sets in given]
    monkeypatch.setattr(profile_likelihood, "_AT_ONCE", 2 * 5 * 60)
    solved, solve = [], profile_likelihood._solve

    def counting(family, steps, values, weights, shapes):
        solved.append(max(len(values), len(weights)))
        return solve(family, steps, values, weights, shapes)

    monkeypatch.setattr(profile_likelihood, "_solve", counting)
    for sets, whole in zip(given, together):
        assert best(family, steps, *sets) == pytest.approx(whole, rel=1e-12)
    assert max(solved) == 2
