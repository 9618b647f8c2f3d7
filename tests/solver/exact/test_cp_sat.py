"""Several places and limits against CP-SAT, which is given our own reading of the file."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import InputError, Problem, certify, solve
from tests.solver.places import options_of, random_places

cp_model = pytest.importorskip(
    "ortools.sat.python.cp_model", reason="no CP-SAT here: python -m pip install ortools"
)

#: CP-SAT takes whole numbers: a cost of 1 is so many, and a second of a makespan.
COST, SECOND = 10**10, 10**6


def least_cost(data):
    """What CP-SAT's optimum costs; None where it proves that nothing keeps all limits."""
    model, taken = cp_model.CpModel(), []
    for user in range(data["users"]):
        own = [(model.new_bool_var(""), option) for option in options_of(data, user)]
        model.add_exactly_one(variable for variable, _ in own)
        taken += own
    for name, edge in data["edges"].items():
        here = [(variable, option[3]) for variable, option in taken if option[1] == name]
        if "slots" in edge:
            model.add(sum(variable for variable, _ in here) <= edge["slots"])
        if span := edge.get("makespan"):
            longest = model.new_int_var(0, 100, "")
            for variable, steps in here:
                model.add(longest >= steps * variable)
            per_step, per_longest = (
                round(SECOND * span[key]) for key in ("per_step", "per_longest_step")
            )
            seconds = sum(per_step * steps * variable for variable, steps in here)
            most = math.floor(SECOND * span["limit"] * (1 + 1e-12))
            model.add(seconds + per_longest * longest <= most)
        if not isinstance(edge["budget"], str):
            weights = {
                other: own.get("step_weight", 1)
                for other, own in data["edges"].items()
                if name in (other, own["budget"])
            }
            model.add(
                sum(
                    weights[option[1]] * option[3] * variable
                    for variable, option in taken
                    if option[1] in weights
                )
                <= edge["budget"]
            )
    model.minimize(sum(round(COST * option[-1]) * variable for variable, option in taken))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    assert status == cp_model.OPTIMAL
    return math.fsum(option[-1] for variable, option in taken if solver.value(variable))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 9), st.integers(1, 3), st.booleans())
def test_exact_is_cp_sat(seed, users, edges, whole):
    """Every feature drawn: tiers, splits, slots, makespans, transfers, deadlines, error limits."""
    data = random_places(seed, users=users, edges=edges, whole=whole)
    problem, best = Problem.from_dict(data), least_cost(data)
    if best is None:
        with pytest.raises(InputError) as error:
            solve(problem)
        assert "\n" not in str(error.value)
        return
    allocation = solve(problem)
    assert allocation.status == "optimal" or abs(best) < 1e-12
    assert best - 2 * users / COST <= allocation.objective <= best + 1e-9
    assert certify(problem, allocation) <= 1e-8 * max(1, abs(best))
