"""How long the exact solver takes under several limits, and what it proves.

``python -m benchmarks.solver.several_limits -o benchmarks/results/several_limits.json`` solves
problems of several edges with own budgets, slots and makespans, and certifies each answer, in about
two minutes. The last line is JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import solver
from benchmarks.solver import machine
from solver.inputs import write_json
from solver.problem import Problem

#: Settings of :func:`several` that are solved.
INSTANCES = (
    {"users": 30, "edges": 2},
    {"users": 300, "edges": 2},
    {"users": 1000, "edges": 2},
    {"users": 1000, "edges": 2, "kinds": 15},
    {"users": 1000, "edges": 2, "slots": True},
    {"users": 300, "edges": 2, "makespan": True},
    {"users": 300, "edges": 3},
    {"users": 1000, "edges": 3},
    {"users": 300, "edges": 4},
    {"users": 300, "edges": 5},
    {"users": 1000, "edges": 5},
    {"users": 300, "edges": 8},
    {"users": 1000, "edges": 5, "alike": True},
)


def several(
    users,
    edge_steps,
    edges,
    seed=0,
    *,
    kinds=None,
    slots=False,
    makespan=False,
    budget=None,
    alike=False,
):
    """A ``problem/2`` with 5 edge steps a user to share between ``edges`` places of own budgets.

    ``kinds``: users are of so many kinds; ``slots``: the first place serves a tenth of the users;
    ``makespan``: its batch's longest user counts as much as 0.2 steps of each; ``alike``: all
    places are servers of one kind, the later ones with a larger budget.
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, kinds, users) if kinds else np.arange(users)

    def place(steps):
        step_time, power, decay, rate = (
            rng.uniform(low, high, kinds or users)[kind].tolist()
            for low, high in ((0.001, 0.01), (0.1, 5.0), (0.05, 0.3), (0.05, 0.3))
        )
        return {
            "max_steps": steps,
            "step_time": step_time,
            "overhead": 0.01,
            "power": power,
            "error": {"family": "exponential", "scale": 1.0, "decay": decay},
            "utility": {"family": "saturating", "rate": rate},
        }

    local, places = place(20), [place(edge_steps) for _ in range(1 if alike else edges)]
    data = {
        "schema": "problem/2",
        "users": users,
        "weights": {"cost": 0.5, "utility": 0.5, "time": 0.333, "error": 0.333, "energy": 0.333},
        "local": local,
        "edges": {
            f"edge{index}": places[index % len(places)]
            | {"budget": budget or 5 * users // edges + 3 + index * alike}
            for index in range(edges)
        },
    }
    if slots:
        data["edges"]["edge0"]["slots"] = max(1, users // 10)
    if makespan:
        data["edges"]["edge0"]["makespan"] = {
            "per_step": 1.0,
            "per_longest_step": users / 5,
            "limit": 3.0 * users,
        }
    return Problem.from_dict(data)


def row(settings, edge_steps=50):
    """One instance, solved and certified; processor seconds."""
    problem = several(edge_steps=edge_steps, **settings)
    start = time.process_time()
    allocation = solver.solve(problem)
    solved = time.process_time()
    proof = solver.certify(problem, allocation) / abs(allocation.objective)
    return settings | {
        "options": edge_steps,
        "status": allocation.status,
        "relative_gap": allocation.gap,
        "certified_relative_gap": proof,
        "processor_seconds": round(solved - start, 3),
        "certificate_processor_seconds": round(time.process_time() - solved, 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    rows = []
    for settings in INSTANCES:
        rows.append(row(settings))
        print(rows[-1], flush=True)
    result = {"machine": machine(), "instances": rows}
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
