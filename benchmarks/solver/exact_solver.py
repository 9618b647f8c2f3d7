"""How fast the exact solver is, and what it proves of instances that are made to be hard.

``python -m benchmarks.solver.exact_solver --out benchmarks/results/solver.json`` holds it against
goals: times of HiGHS, of one evaluation of the cost table and of one reading of it, in a
minute. ``--users 10000`` is a trial of a few seconds.
``python -m benchmarks.solver.exact_solver --hard --out benchmarks/results/pisinger.json`` solves
Pisinger's classes of instances, in half a minute. The last line is JSON.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

import solver
from benchmarks.solver import machine, oracles
from solver.choices.scan import CHUNK
from solver.inputs import write_json
from solver.knapsack import cost_table
from solver.problem import PLACES, Problem

#: What a hard instance may take, on a machine of its own: wall seconds, and bytes of memory.
GOAL_SECONDS, GOAL_MB = 10.0, 1000.0

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
#: The least size that counts for the growth: below it the interpreter takes most of the time.
LARGE = 10_000


def crowd(users, edge_steps, kind, seed=0):
    """A problem with 5 edge steps a user to share. ``kind``: "different" (every user has its own
    curves), "classes" (three prompt classes on four devices with three batteries), "tables" (every
    user has its own noisy tables).
    """
    rng = np.random.default_rng(seed)
    one_of = {
        "different": lambda values: rng.uniform(min(values), max(values), users),
        "classes": lambda values: rng.choice(values, users),
    }
    draw = one_of["classes" if kind == "classes" else "different"]
    prompt_class = rng.integers(0, 3, users)
    data = {
        "schema": "problem/1",
        "users": users,
        "edge_budget": 5 * users + 3,
        "weights": {"cost": 0.5, "utility": 0.5, "time": 0.333, "error": 0.333, "energy": 0.333},
    }
    for place, steps in (("local", 20), ("edge", edge_steps)):
        at = np.arange(1, steps + 1)
        decay, rate = (
            (np.array([0.05, 0.12, 0.3])[prompt_class]) if kind == "classes" else draw([0.05, 0.3])
            for _ in range(2)
        )
        data[place] = {
            "max_steps": steps,
            "step_time": draw([0.001, 0.002, 0.004, 0.01]),
            "overhead": 0.01,
            "power": draw([0.1, 1.0, 5.0]),
            "error": {"family": "exponential", "scale": 1.0, "decay": decay},
            "utility": {"family": "saturating", "rate": rate},
        }
        if kind == "tables":
            noise = rng.uniform(0, 0.02, (users, steps))
            data[place]["error"] = {
                "family": "table",
                "values": np.exp(-at * decay[:, None]) + noise,
            }
            data[place]["utility"] = {
                "family": "table",
                "values": 1 - np.exp(-at * rate[:, None]) - noise,
            }
    return Problem.from_dict(data)


def seconds(function, times=3):
    """The least wall time of so many calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def evaluate_table(problem):
    """Compute every option's cost once, in pieces that fit a cache, on all cores; keep nothing."""
    size = max(1, CHUNK // sum(len(problem.steps(place)) for place in PLACES))
    parts = [slice(at, at + size) for at in range(0, problem.users, size)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda part: len(cost_table(problem, part)), parts))


def read_table(problem):
    """Seconds that reading a table of so many costs once takes on all cores: the physical limit for
    whoever is handed one.
    """
    options = sum(len(problem.steps(place)) for place in PLACES)
    table = np.ones((problem.users, options))  # ones: pages of zeros need no memory
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return seconds(lambda: list(threads.map(np.max, np.array_split(table, os.cpu_count()))))


def imported(times=5):
    """Seconds that ``import solver`` adds to a start of the interpreter."""

    def started(code):
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), times)

    return started("import solver") - started("pass")


def few_users(sizes=(30, 100, 300), instances=10):
    """Seconds for problems of a few users, the median of the instances."""
    rows = []
    for users in sizes:
        taken = []
        for seed in range(instances):
            problem = crowd(users, 50, "different", seed)
            taken.append(seconds(partial(solver.solve, problem), 20))
        rows.append({"users": users, "median_seconds": float(np.median(taken)), "seconds": taken})
    return rows


def against_highs(users=1000, steps=150, instances=5):
    rows = []
    for seed in range(instances):
        problem = crowd(users, steps, "different", seed)
        highs = solver.solve(problem, "milp")
        exact = min(
            (solver.solve(problem) for _ in range(20)), key=lambda allocation: allocation.seconds
        )
        assert exact.status == "optimal" and abs(exact.objective - highs.objective) <= 1e-6 * abs(
            highs.objective
        )
        rows.append(
            {
                "highs_seconds": highs.seconds,
                "exact_seconds": exact.seconds,
                "ratio": highs.seconds / exact.seconds,
                "relative_difference_of_objectives": (highs.objective - exact.objective)
                / abs(exact.objective),
                "table_seconds": seconds(partial(evaluate_table, problem), 20),
            }
        )
    return {
        "users": users,
        "edge_options": steps,
        "median_ratio": float(np.median([row["ratio"] for row in rows])),
        "median_seconds": float(np.median([row["exact_seconds"] for row in rows])),
        "instances": rows,
    }


def at_scale(kind, users=1_000_000, steps=50):
    problem = crowd(users, steps, kind)
    allocation, taken = None, np.inf
    table = np.inf
    for _ in range(3):  # in turn, so that a drift of the machine hits both
        table = min(table, seconds(lambda: evaluate_table(problem), 1))
        allocation = solver.solve(problem)
        taken = min(taken, allocation.seconds)
    reading = read_table(problem)
    return {
        "users": users,
        "edge_options": steps,
        "exact_seconds": taken,
        "table_seconds": table,
        "ratio_to_table": taken / table,
        "read_seconds": reading,
        "ratio_to_reading": taken / reading,
        "status": allocation.status,
        "relative_gap": allocation.gap,
        "independently_proven_relative_gap": solver.certify(problem, allocation)
        / abs(allocation.objective),
    }


def growth(kind, most):
    sizes, taken = [users for users in SIZES if users <= most], []
    for users in sizes:
        problem = crowd(users, 50, kind)
        taken.append(seconds(partial(solver.solve, problem), 5 if users < 100_000 else 2))
    large = [index for index, users in enumerate(sizes) if users >= min(LARGE, most // 10)]
    exponent = np.polyfit(np.log(sizes)[large], np.log(taken)[large], 1)[0]
    return {"users": sizes, "seconds": taken, "exponent": float(exponent)}


def solve_hard(kind, users):
    """One of Pisinger's classes, in a process of its own: what is proven, and what it took."""
    steps, profit, budget = oracles.hard_instance(kind, users)
    problem = oracles.table_problem(oracles.hard_table(steps, profit), budget)
    before, start = peak_mb(), time.process_time()
    allocation = solver.solve(problem)
    solved, peak = time.process_time(), peak_mb()
    proof = solver.certify(problem, allocation) / allocation.objective
    return {
        "class": kind,
        "users": users,
        "seconds": round(allocation.seconds, 3),
        "goal_seconds": GOAL_SECONDS,
        "processor_seconds": round(solved - start, 3),
        "peak_mb": round(peak, 1),
        "goal_mb": GOAL_MB,
        "peak_mb_before": round(before, 1),
        "within_goal": allocation.seconds <= GOAL_SECONDS and peak <= GOAL_MB,
        "status": allocation.status,
        "relative_gap": allocation.gap,
        "unused_edge_steps": budget - allocation.edge_steps_used,
        "certified_relative_gap": proof,
        "certificate_processor_seconds": round(time.process_time() - solved, 3),
    }


def peak_mb():
    """The largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def hard(sizes=(1_000, 10_000)):
    """Every class at every size: 10 options a user, with up to 200 (or 300) steps."""
    rows = []
    spawn = multiprocessing.get_context("spawn")
    for users in sizes:
        for kind in oracles.HARD:
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                row = process.submit(solve_hard, kind, users).result()
            print(
                "{class:28} {users:6} users {seconds:8.3f} s of {goal_seconds:g} ({kept}), "
                "{processor_seconds:.3f} s of the processor, {peak_mb:.1f} MB of {goal_mb:g}, "
                "{status}, gap {relative_gap:.2g}, certified {certified_relative_gap:.2g} "
                "in {certificate_processor_seconds:.3f} s of the processor".format(
                    kept="kept" if row["within_goal"] else "MISSED", **row
                ),
                flush=True,
            )
            rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hard", action="store_true", help="Pisinger's instances instead")
    parser.add_argument("--users", type=int, default=SIZES[-1], help="of the largest problem")
    parser.add_argument("--note", default="", help="what to say about the machine")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = {"machine": machine(), "note": args.note}
    result |= {"instances": hard()} if args.hard else at_all_sizes(args.users)
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


def at_all_sizes(users):
    """All measurements; each is printed beside its goal, if it has one."""
    goals = []

    def line(text, value, goal=None, least=False):
        if goal is None:
            print(text.format(value), flush=True)
            return
        met = value >= goal if least else value <= goal
        goals.append({"what": text.format(value), "goal": goal, "met": bool(met)})
        side = f"goal: at {'least' if least else 'most'} {goal}, {'met' if met else 'missed'}"
        print(f"{text.format(value)} ({side})", flush=True)

    result = {"import_seconds": imported()}
    line("import solver: {:.2f} s", result["import_seconds"], 0.2)
    result["few_users"] = few_users()
    for row in result["few_users"]:
        line(f"{row['users']} users x 50 options: {{:.2f}} ms", row["median_seconds"] * 1e3, 0.5)
    highs = result["against_highs"] = against_highs(instances=5 if users == SIZES[-1] else 1)
    line("1000 users x 150 options: {:.2f} ms", highs["median_seconds"] * 1e3, 3)
    line("the same: {:.0f} times as fast as HiGHS", highs["median_ratio"], 600, least=True)
    for kind in ("different", "classes", "tables"):
        row = result[kind] = at_scale(kind, users)
        name = f"{users} users x 50 options, {kind}, {row['status']}"
        goal = 30 if kind == "different" else None
        line(f"{name}: {{:.2f}} s", row["exact_seconds"])
        line(f"{name}: {{:.2f}} times one evaluation of the table", row["ratio_to_table"])
        line(f"{name}: {{:.1f}} times one reading of the table", row["ratio_to_reading"], goal)
    result["growth"] = growth("different", users)
    line(f"time grows as users^{{:.2f}} up to {users}", result["growth"]["exponent"], 1.05)
    result |= {"goals": goals, "peak_memory_gib": peak_mb() / 1024}
    return result


if __name__ == "__main__":
    main()
