"""The examples of docs/solver.md are read and solved, and every field is explained."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np

from solver import Allocation, Problem, certify, solve
from solver.allocation import EXTENDED
from solver.problem import Load, Makespan, Place, Split

PAGE = (Path(__file__).parents[2] / "docs" / "solver.md").read_text(encoding="utf-8")


def examples():
    blocks = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return {data["schema"]: data for data in map(json.loads, blocks)}


def test_the_examples_are_solved():
    assert set(examples()) == {"problem/1", "problem/2"}
    for schema, data in examples().items():
        problem = Problem.from_dict(data)
        assert problem.to_dict()["schema"] == schema
        allocation = solve(problem)
        assert allocation.status == "optimal"
        assert certify(problem, allocation) <= 1e-9 * abs(allocation.objective)
        highs = solve(problem, "milp")
        assert np.isclose(highs.objective, allocation.objective, rtol=1e-6)
        assert Allocation.from_dict(allocation.to_dict()) == allocation


def test_the_example_of_problem_2_uses_what_it_shows():
    """Every limit is one that the optimum meets or could break."""
    data = examples()["problem/2"]
    problem = Problem.from_dict(data)
    best = solve(problem)
    assert set(best.used) == {"near", "far", "near.slots", "far.makespan"}
    assert len(set(best.offload)) >= 2
    for place, name in (("near", "slots"), ("far", "makespan")):
        changed = json.loads(json.dumps(data))
        del changed["edges"][place][name]
        assert solve(Problem.from_dict(changed)).objective <= best.objective


def test_every_field_is_explained():
    section = PAGE.split("## `problem/1`")[1].split("## Your own method")[0]
    names = {
        field.name for kind in (Load, Makespan, Place, Split) for field in dataclasses.fields(kind)
    }
    for name in names | set(EXTENDED):
        assert re.search(rf"[`. ]{name}`", section), name
