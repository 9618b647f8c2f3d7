"""The certificate of problems with several places and limits, attacked."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver.several_limits import several
from solver import Allocation, InputError, Problem, certify, evaluate, limits, solve
from tests.solver.places import enumerated, is_kept, options_of, random_places


def solved(seed, **features):
    """Data, problem and optimum of a drawn problem that is not plain; None if it is infeasible."""
    data = random_places(seed, users=3, edges=2, **features)
    problem = Problem.from_dict(data)
    try:
        return data, problem, solve(problem)
    except InputError:
        return None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_every_mutation_that_costs_more_is_refused(seed):
    """Another option of a user, with all numbers computed again to match: the choice is refused
    where it breaks a limit, and as an optimum where it costs more.
    """
    if (drawn := solved(seed)) is None:
        return
    data, problem, best = drawn
    every = [options_of(data, user) for user in range(problem.users)]
    chosen = [
        next(option for option in own if (option[0], option[2], option[3]) == (name, steps, k))
        for own, name, steps, k in zip(
            every, (best.places[a] for a in best.offload), best.steps, best.edge_steps, strict=True
        )
    ]
    others = [(user, option) for user, own in enumerate(every) for option in own]
    for at in np.random.default_rng(seed).permutation(len(others))[:6]:
        user, option = others[at]
        choice = [*chosen[:user], option, *chosen[user + 1 :]]
        offload = [best.places.index(each[0]) for each in choice]
        steps, on_edge = [each[2] for each in choice], [each[3] for each in choice]

        def given(offload=offload, steps=steps, on_edge=on_edge):
            return evaluate(problem, offload, steps, edge_steps=on_edge, prices=best.prices)

        if not is_kept(data, choice):
            with pytest.raises(InputError, match="allowed: "):
                given()
            forged = replace(best, offload=offload, steps=steps, edge_steps=on_edge)
            with pytest.raises(InputError):
                certify(problem, forged)
            continue
        other = given()
        more = math.fsum(each[-1] for each in choice) - best.objective
        assert other.objective - best.objective == pytest.approx(more, abs=1e-9)
        if more > 1e-7:
            with pytest.raises(InputError, match="lower_bound: found |prices: found "):
                certify(problem, other.bounded(other.objective))
            with pytest.raises(InputError, match="status: found "):
                certify(problem, replace(other, status="optimal"))
            try:
                assert certify(problem, other) >= more - 1e-9
            except InputError as error:
                assert "prices" in str(error)  # under another longest of the batch


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_the_proof_is_never_too_small(seed):
    """Whoever made the choice: HiGHS, all local, or the exact method."""
    if (drawn := solved(seed, limits=False)) is None:
        return
    data, problem, best = drawn
    least = enumerated(data)
    for method in ("exact", "milp", "all_local"):
        try:
            allocation = solve(problem, method)
        except InputError:
            continue
        proof = certify(problem, allocation)
        assert proof >= allocation.objective - least - 1e-9
        assert proof <= allocation.objective - least + 1e-7 * (1 + abs(least))


def test_prices_that_no_dual_has():
    problem = several(40, 12, 2)
    best = solve(problem)
    assert min(best.prices.values()) > 0
    for factor in (0.0, 0.5, 2.0, 1e6):
        forged = {name: factor * price for name, price in best.prices.items()}
        with pytest.raises(InputError, match="prices: found a bound"):
            certify(problem, replace(best, prices=forged))
    for price in (-1e-9, math.nan, math.inf):
        with pytest.raises(InputError, match=r"prices.edge0: found .*; allowed: a finite number"):
            certify(problem, replace(best, prices={**best.prices, "edge0": price}))
    assert certify(problem, replace(best, prices=None)) == math.inf


@pytest.mark.parametrize(
    "change, line",
    [
        ({"used": {"edge0": 1, "edge1": 1, "edge0.slots": 1}}, "used.edge0: found 1"),
        ({"used": {}}, "used.edge0: found None"),
        ({"places": ["local", "edge1", "edge0"]}, "places: found "),
        ({"edge_steps": [0] * 40}, "edge_steps"),
        ({"edge_steps_used": 3}, "edge_steps_used: found 3"),
        ({"objective": 0.0}, "objective: found 0.0"),
    ],
)
def test_a_number_that_the_choice_does_not_give(change, line):
    problem = several(40, 12, 2, slots=True)
    with pytest.raises(InputError, match=line):
        certify(problem, replace(solve(problem), **change))


def test_a_bound_above_the_optimum_under_a_makespan():
    problem = several(12, 8, 2, 3, makespan=True)
    best = solve(problem)
    assert certify(problem, best) <= 1e-9 * abs(best.objective)
    for more in (1e-6, 1e-3, 1.0):
        with pytest.raises(InputError, match="lower_bound: found |gap: found "):
            certify(problem, best.bounded(best.objective + more * abs(best.objective)))


def test_a_proof_that_stops_is_that_of_weak_duality(monkeypatch):
    """It then refuses no bound, and claims no more than it knows."""
    problem = several(30, 8, 2, 4, kinds=3)
    best = solve(problem)
    whole = certify(problem, best)
    monkeypatch.setattr(limits, "PROOF_ADDITIONS", 0)
    assert certify(problem, best) > whole


def test_an_allocation_file_of_several_places(tmp_path):
    """What is written is read again; a plain problem still writes allocation/1."""
    data, problem, best = next(
        drawn for seed in range(50) if (drawn := solved(seed, split=True, slots=True))
    )
    path = tmp_path / "a.json"
    best.save(path)
    again = Allocation.load(path)
    assert again == best and again.to_dict()["schema"] == "allocation/2"
    assert certify(problem, again) <= 1e-8 * max(1, abs(best.objective))
    for name, value, line in [
        ("offload", [9] * 3, r"offload\[0\]: found 9; allowed: an integer >= 0 and <= 4"),
        ("edge_steps", [0.5] * 3, "edge_steps"),
        ("places", 3, "places: found 3; allowed: a list of names"),
        ("used", [], "used: found "),
        ("prices", {"edge": "x"}, r"prices.edge: found 'x'"),
    ]:
        with pytest.raises(InputError, match=line):
            Allocation.from_dict(best.to_dict() | {name: value})


def test_a_split_with_several_options_of_as_many_steps():
    """They are told apart by their edge steps."""
    without = dict.fromkeys(("allowed", "limits", "slots", "makespan"), False)
    data = random_places(1, users=1, edges=1, split=True, **without)
    data["local"]["max_steps"], data["edges"]["edge"]["max_steps"] = [2], [3]
    data["edges"]["edge"]["budget"] = 9
    data["edges"].pop("large", None)
    data["splits"]["shared"]["edge"] = "edge"
    problem = Problem.from_dict(data)
    with pytest.raises(InputError, match=r"steps\[0\]: found 3; allowed: .* told apart by edge"):
        evaluate(problem, [2], [3])
    costs = {evaluate(problem, [2], [3], edge_steps=[k]).objective for k in (1, 2)}
    assert len(costs) == 2
    for k in (1, 2):
        own = solve(problem, lambda _, k=k: {"offload": [2], "steps": [3], "edge_steps": [k]})
        assert own.objective in costs and own.edge_steps == [k] and own.used == {"edge": k}
