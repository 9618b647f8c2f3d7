"""An allocation: what a choice costs, what is refused, its certificate, and its file."""

import json
import math

import numpy as np
import pytest

from solver import Allocation, InputError, Problem, certify, evaluate, solve
from solver.allocation import _quantities
from tests.solver.problems import crowd, example


def test_evaluate_by_hand():
    """Totals are sums, qualities means, one user at each place."""
    problem = Problem.from_dict(example(users=2, edge_budget=5, edge__overhead=0.5))
    allocation = evaluate(problem, [0, 1], [10, 5], lower_bound=-1.0)
    time, energy = [0.02, 0.505], [0.03375 * 0.02, 5.05]
    error, utility = [math.exp(-1), math.exp(-0.5)], [1 - math.exp(-1), 1 - math.exp(-0.5)]
    assert (allocation.time, allocation.energy) == pytest.approx(
        (sum(time), sum(energy)), rel=1e-14
    )
    assert (allocation.error, allocation.utility) == pytest.approx(
        (sum(error) / 2, sum(utility) / 2), rel=1e-14
    )
    objective = 0.5 * 0.333 * (sum(time) + sum(error) + sum(energy)) - 0.5 * sum(utility)
    assert allocation.objective == pytest.approx(objective, rel=1e-14)
    assert (allocation.edge_steps_used, allocation.gap, allocation.status) == (
        5,
        pytest.approx((objective + 1) / max(1, abs(objective))),
        "feasible",
    )
    assert all(type(value) is int for value in allocation.offload + allocation.steps)


@pytest.mark.parametrize(
    "offload, steps, line",
    [
        (
            [0, 1],
            [10, 6],
            "allocation: steps: found 6 steps on the edge; allowed: edge_budget of problem, 5",
        ),
        (
            [0, 1],
            [21, 5],
            "allocation: steps[0]: found 21 at the local place; allowed: what min_steps, "
            "max_steps, ",
        ),
        ([0, 1], [0, 5], "allocation: steps[0]: found 0; allowed: an integer >= 1"),
        ([0, 2], [1, 5], "allocation: offload[1]: found 2; allowed: an integer >= 0 and <= 1"),
        ([0], [1, 5], "allocation: offload: found a list of 1; allowed: "),
        ([0, True], [1, 5], "allocation: offload[1]: found True; allowed: "),
    ],
)
def test_evaluate_refuses(offload, steps, line):
    with pytest.raises(InputError) as error:
        evaluate(Problem.from_dict(example(users=2, edge_budget=5)), offload, steps)
    assert str(error.value).startswith(line)


def test_certificate_finds_lies():
    problem = Problem.from_dict(example())
    data = solve(problem).to_dict()
    good = Allocation.from_dict(data)
    assert 0 <= certify(problem, good) <= 1e-9
    assert certify(problem, Allocation.from_dict({**data, "edge_price": None})) == math.inf
    for name, value in [
        ("objective", data["objective"] - 1e-6),
        ("energy", 0.0),
        ("edge_steps_used", 1),
        ("lower_bound", -13.0),
    ]:
        with pytest.raises(InputError, match="^allocation: .*which the choices give$"):
            certify(problem, Allocation.from_dict({**data, name: value}))
    with pytest.raises(InputError, match="edge_budget of problem, 100$"):
        certify(Problem.from_dict(example(edge_budget=100)), good)


def test_allocation_file(tmp_path):
    """Written and read again it is the same; the fields are those of the format, and a wrong one
    has its line.
    """
    path = tmp_path / "a.json"
    allocation = solve(Problem.from_dict(example(users=3)), "greedy")
    allocation.save(path)
    assert (
        Allocation.load(path) == allocation
        and allocation.lower_bound is None
        and allocation.gap is None
    )
    data = json.loads(path.read_text())
    assert list(data) == (
        "schema solver status offload steps objective lower_bound gap edge_steps_used "
        "edge_price time error energy utility seconds".split()
    )
    for name, value, line in [
        ("schema", "allocation/3", "schema: found 'allocation/3'; allowed: allocation/1"),
        ("status", "done", "status: 'done' is unknown; allowed: optimal, feasible"),
        ("steps", [1, 2], "steps: found a list of 2; allowed: an integer >= 1, or a list of 3"),
        ("steps", [1, 2, 2.5], "steps[2]: found 2.5; allowed: an integer >= 1"),
        ("offload", 1, "offload: found 1; allowed: a list of integers, one for each user"),
        ("time", math.nan, "time: found nan; allowed: a finite number >= 0"),
        ("energy", None, "energy: found None; allowed: a finite number >= 0"),
        ("solver", 3, "solver: found 3; allowed: a name"),
        ("stepps", [], "'stepps' is unknown; perhaps you meant 'steps'"),
    ]:
        path.write_text(json.dumps(data | {name: value}))
        with pytest.raises(InputError) as error:
            Allocation.load(path)
        assert str(error.value).startswith(f"{path}: {line}")


def test_a_sum_that_is_too_large_is_named(tmp_path):
    """Of energy without a weight, which no cost is made of."""
    data = example(users=2, edge__power=1e300, edge__step_time=1e10)
    problem = Problem.from_dict(data | {"weights": data["weights"] | {"energy": 0.0, "time": 0.0}})
    path = tmp_path / "a.json"
    with np.errstate(over="ignore"):
        allocation = evaluate(problem, [1, 1], [1, 1])
    with pytest.raises(InputError, match=f"^{path}: energy: found inf; allowed: a finite number"):
        allocation.save(path)
    assert not path.exists()


def test_what_is_looked_at_in_pieces_is_as_in_one():
    """20,000 users: every number to its user, and so are errors."""
    rng = np.random.default_rng(1)
    power = rng.uniform(0.1, 5, 20_000)
    offload, steps = rng.integers(0, 2, 20_000), rng.integers(1, 21, 20_000)
    problem = Problem.from_dict(example(users=20_000, edge_budget=10**6, edge__power=power))
    allocation = evaluate(problem, offload, steps)
    seconds = np.where(offload == 1, 0.001, 0.002) * steps
    watts = np.where(offload == 1, power, 0.01 * 1.5**3)
    assert allocation.energy == pytest.approx((watts * seconds).sum(), rel=1e-12)
    assert allocation.error == pytest.approx(np.exp(-0.1 * steps).mean(), rel=1e-12)
    power[19_000], offload[19_000] = 1e300, 1
    heavy = example(users=20_000, edge_budget=10**6, edge__power=power, edge__step_time=1e9)
    with pytest.raises(InputError, match="edge: user 19000: the cost of [0-9]+ steps is too large"):
        evaluate(Problem.from_dict(heavy), offload, steps)
    with pytest.raises(InputError, match=r"steps\[12345\]: found 60 at the edge place"):
        offload[12_345], steps[12_345] = 1, 60
        evaluate(problem, offload, steps)


def test_places_with_the_same_curves_are_looked_at_together():
    """As each by itself, to the last bit; also with steps that only the other place allows."""
    rng = np.random.default_rng(1)
    problem = Problem.from_dict(crowd(50, 1, edge__max_steps=rng.integers(0, 60, 50)))
    places, steps = rng.integers(0, 2, 50), rng.integers(1, 61, 50)
    together, alone = np.full((2, 5, 50), np.inf)
    _quantities(problem, places, steps, together)
    _quantities(problem, places, steps, alone, together=False)
    allowed = np.isfinite(alone[0])
    assert 10 < allowed.sum() < 40 and (np.isfinite(together[0]) == allowed).all()
    assert (together[:, allowed] == alone[:, allowed]).all()
