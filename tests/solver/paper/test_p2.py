"""P2 and Algorithm 2: against Clarabel, its KKT conditions, and the surrogates."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.solver.oracles import P2_CASES, clarabel, sub_problem, varied
from solver.paper.algorithms import algorithm_1
from solver.paper.p2 import algorithm_2
from solver.paper.relaxation import FLOOR


@pytest.mark.parametrize("case", P2_CASES)
@pytest.mark.parametrize("seed, tau", [(0, 0.0), (2, 10.0)])
def test_p2_is_that_of_a_convex_solver(case, seed, tau):
    """Objective, a, s and the price, on problems whose every kind of limit is tight somewhere."""
    problem = varied(seed, **P2_CASES[case])
    p2, relaxation, _, _ = sub_problem(seed, tau, **P2_CASES[case])
    point = algorithm_2(p2)
    value, a, s, delta = clarabel(problem, p2, relaxation.unit)
    assert point.objective == pytest.approx(value, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(point.a, a, atol=2e-5)
    np.testing.assert_allclose(point.s, s, atol=2e-3)
    assert point.delta == pytest.approx(delta, rel=1e-3, abs=1e-6)
    residuals = point.residuals()
    assert max(residuals.values()) < 1e-9
    slack = case == "slack"
    assert slack == (point.delta == 0) and slack == (p2.used(point.a, point.s) < p2.budget - 1e-6)
    if case == "tight (16c)":
        assert (point.zeta > 0).any()
    if case == "lower limits":
        assert (point.eta > 0).any()


def test_kkt_residuals_find_a_wrong_solution():
    """A thousandth off in any variable or multiplier shows in the condition that it breaks."""
    point = algorithm_2(sub_problem(2, 10.0, **P2_CASES["tight (16c)"])[0])
    assert max(point.residuals().values()) < 1e-9
    assert point.delta > 0 and all(
        (getattr(point, name) > 0).any() for name in ("zeta", "beta", "gamma")
    )
    for name, factor, broken in [
        ("a", 1.001, ("stationarity_a", "primal")),
        ("s", 1.001, ("stationarity_s", "primal")),
        ("s", 0.999, ("stationarity_s", "slackness")),
        ("delta", 1.001, ("stationarity_a", "stationarity_s")),
        ("zeta", 0.999, ("stationarity_s",)),
        ("beta", 0.999, ("stationarity_a",)),
        ("gamma", -1.0, ("stationarity_a", "dual")),
    ]:
        residuals = replace(point, **{name: factor * getattr(point, name)}).residuals()
        assert all(residuals[condition] > 1e-6 for condition in broken), (name, residuals)


def test_the_price_does_not_depend_on_the_guess():
    p2 = sub_problem(3)[0]
    prices = [algorithm_2(p2, guess).delta for guess in (0.0, 1e-6, 1.0, 1e9)]
    np.testing.assert_allclose(prices, prices[0], rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_surrogates_touch_and_lie_above(seed):
    """(10) and (11): equal in value and slope at the point, nowhere below. (14): a line above the
    concave penalty.
    """
    tau = 2.0
    p2, relaxation, a, s = sub_problem(seed, 0.0)
    penalised = replace(p2, tau=tau)
    rng = np.random.default_rng(seed)

    def true(a, s):
        return (relaxation.objective(a, s) + relaxation.shift.sum()) / relaxation.unit

    assert p2.objective(a, s) == pytest.approx(true(a, s), rel=1e-12)
    assert p2.used(a, s) == pytest.approx(a @ s, rel=1e-12)
    assert penalised.objective(a, s) == pytest.approx(
        true(a, s) - tau * (a * (a - 1)).sum(), rel=1e-12
    )
    for _ in range(50):
        other, steps = rng.random(8), rng.uniform(1, 50, 8)
        assert p2.objective(other, steps) >= true(other, steps)
        assert p2.used(other, steps) >= other @ steps
        assert (
            penalised.objective(other, steps)
            >= true(other, steps) - tau * (other * (other - 1)).sum()
        )
        da, ds = 1e-6 * rng.normal(size=(2, 8))
        for above, below in [(p2.objective, true), (p2.used, lambda a, s: a @ s)]:
            rise = [f(a + da, s + ds) - f(a - da, s - ds) for f in (above, below)]
            assert rise[0] == pytest.approx(rise[1], abs=1e-10)


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_algorithm_1_descends_and_keeps_the_budget(tau):
    """From pass to pass eq. (8) - tau H falls, but for what the floor on a costs; and (1) holds."""
    for seed in range(5):
        _, relaxation, a, s = sub_problem(seed)
        around, last = a, relaxation.objective(a, s) - tau * (a * (a - 1)).sum()
        points = list(algorithm_1(relaxation, a, s, tau, passes=30, tolerance=1e-6))
        for point in points:
            line = around * (around - 1) + (2 * around - 1) * (point.a - around)
            value = relaxation.objective(point.a, point.s) - tau * line.sum()
            assert (
                value <= last + FLOOR * relaxation.unit
                and point.a @ point.s <= relaxation.budget * (1 + 1e-9)
            )
            last = value
        assert len(points) > 1 and last < relaxation.objective(a, s) - tau * (a * (a - 1)).sum()
