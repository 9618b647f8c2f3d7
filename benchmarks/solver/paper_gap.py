"""What the paper's method costs: its gap to the optimum, where that comes from, the time of P2.

    python -m benchmarks.solver.paper_gap -o benchmarks/results/paper_gap.json

``--plot docs/paper_convergence.svg`` draws the convergence as well. The last line printed is the
result as JSON. Gaps are (objective - optimum) / |optimum|, in percent.
"""

import argparse
import importlib.util
import itertools
import json
import platform
import time
from pathlib import Path

import numpy as np

from benchmarks.solver import convergence, oracles
from solver import Problem, solve
from solver.inputs import write_json
from solver.paper import paper_instance
from solver.paper.algorithms import algorithm_1, algorithm_3
from solver.paper.p2 import algorithm_2
from solver.paper.relaxation import Relaxation
from solver.problem import PLACES

SEEDS = 3
#: line -> (method, its settings, one run for each)
RUNS = {
    "half": ("paper", [{}]),
    "random": ("paper", [{"start": "random", "seed": seed} for seed in range(SEEDS)]),
    "0.3": ("paper", [{"start": 0.3}]),
    "grown, half": ("paper_grown", [{"start": 0.5}]),
    "grown, random": ("paper_grown", [{"seed": seed} for seed in range(SEEDS)]),
    "baseline": ("random", [{"seed": seed} for seed in range(SEEDS)]),
}
BUDGETS = range(100, 501, 50)
UNPUBLISHED = tuple(itertools.product((0.05, 0.1, 0.3), (0.05, 0.1, 0.3), (30, 50)))  # C1, C2, S1


def drawn(seed, users=30, budget=None, w=None):
    """The paper's instance with C1, C2 that differ by up to half from user to user.

    Their level is drawn from 0.05..0.2; weights and budget are drawn if not given. A level of at
    least 0.05 and w1 <= w2 keep eq. (8) away from 0, where a relative gap says nothing.
    """
    rng = np.random.default_rng(seed)
    c1, c2 = np.exp(rng.uniform(*np.log((0.05, 0.2)), (2, 1))) * rng.uniform(0.5, 1.5, (2, users))
    share = rng.uniform(0.2, 0.5)
    weights = (*(w or (share, 1 - share)), *((1 / 3,) * 3 if w else rng.dirichlet((1, 1, 1))))
    edge_budget = int(budget or rng.integers(100, 501))
    return paper_instance(edge_budget, users=users, decay=c1, rate=c2, weights=weights)


def steps_exact(problem, offload):
    """The least objective with the places kept."""
    data = problem.to_dict()
    for place, keep in zip(PLACES, (0, 1)):
        data[place]["max_steps"] = np.where(
            np.array(offload) == keep, getattr(problem, place).max_steps, 0
        )
    return solve(Problem.from_dict(data)).objective


def spread(values):
    values = np.asarray(values, dtype=float).ravel()
    quartiles = dict(
        zip(
            ("min", "q1", "median", "q3", "max"),
            np.round(np.quantile(values, (0, 0.25, 0.5, 0.75, 1)), 4).tolist(),
        )
    )
    return {"n": len(values), "mean": round(float(values.mean()), 4)} | quartiles


def study(name, problems):
    """Gaps of all runs over the problems, what is left of them with exact steps, and each line
    against the baseline's mean.
    """
    gaps, kept = ({line: [] for line in RUNS} for _ in range(2))
    for problem in problems:
        best = solve(problem).objective
        for line, (method, runs) in RUNS.items():
            choices = [solve(problem, method, **settings) for settings in runs]
            gaps[line].append([100 * (choice.objective - best) / abs(best) for choice in choices])
            exact_steps = [steps_exact(problem, choice.offload) for choice in choices]
            kept[line].append([100 * (objective - best) / abs(best) for objective in exact_steps])
    baseline, places_only = (np.mean(table["baseline"], axis=1)[:, None] for table in (gaps, kept))
    result = {}
    print(
        f"\n{name}, {len(problems)} problems: gap in %; of it by the places; "
        "better than the baseline, and than its places with exact steps"
    )
    print(
        f"  {'':14} {'mean':>7} {'median':>7} {'max':>7} {'places':>7} {'better':>7} {'better':>7}"
    )
    for line in RUNS:
        gap, places = np.array(gaps[line]), np.array(kept[line])
        result[line] = summary = {"gap": spread(gap), "gap_by_places": spread(places)}
        row = [
            *(summary["gap"][key] for key in ("mean", "median", "max")),
            summary["gap_by_places"]["mean"],
        ]
        if line != "baseline":
            summary["better_than_baseline"] = {
                "share": float((gap < baseline).mean()),
                "by": float((baseline - gap).mean()),
            }
            summary["better_than_random_places"] = {
                "share": float((gap < places_only).mean()),
                "by": float((places_only - gap).mean()),
            }
            row += [
                100 * summary[key]["share"]
                for key in ("better_than_baseline", "better_than_random_places")
            ]
        print(f"  {line:14}" + "".join(f" {value:7.2f}" for value in row), flush=True)
    return result


def decided(problems):
    """How often, at tau = 1e5, a user changes its side of 1/2.

    After the first round, or at all from a random start.
    """
    half = [algorithm_3(problem) for problem in problems]
    first = [[i for i in trace if i.outer == 0][-1].a >= 0.5 for trace in half]
    random = [algorithm_3(problem, "random") for problem in problems]
    low = [algorithm_3(problem, 0.3)[-1].a for problem in problems]
    return {
        "half_changed_after_round_1": float(
            np.mean([a != (t[-1].a >= 0.5) for a, t in zip(first, half)])
        ),
        "random_changed_from_start": float(
            np.mean([(t[0].a >= 0.5) != (t[-1].a >= 0.5) for t in random])
        ),
        "start_0.3_on_the_edge": float(np.mean([a >= 0.5 for a in low])),
    }


def p2_times():
    """Milliseconds of one P2 at N = 30; seconds of a pass of Algorithm 1 by N, and the exponent of
    N.
    """
    each, worst = [], {}
    for seed in range(20):
        relaxation = Relaxation.of(drawn(seed))
        a, s = around, _ = relaxation.start(0.5)
        delta = 0.0
        for _ in range(10):
            p2 = relaxation.p2(a, s, around, 0.0)
            begin = time.perf_counter()
            point = algorithm_2(p2, delta)
            each.append(1e3 * (time.perf_counter() - begin))
            a, s, delta = point.a, point.s, point.delta
            worst = {
                name: max(value, worst.get(name, 0.0)) for name, value in point.residuals().items()
            }
    passes = {}
    for users in (10**2, 10**3, 10**4, 10**5):
        relaxation = Relaxation.of(drawn(0, users, 10 * users))
        a, s = relaxation.start(0.5)
        begin = time.perf_counter()
        done = len(list(algorithm_1(relaxation, a, s, 0.0, passes=10, tolerance=0.0)))
        passes[users] = (time.perf_counter() - begin) / done
    return each, passes, worst


def convexity(problems):
    """The share of users and steps of each place where R~ < 0, and where (R~^2)'' < 0.

    As in the paper, and shifted.
    """
    negative, bent = {"paper": [], "shifted": []}, {"paper": [], "shifted": []}
    for problem in problems:
        relaxation = Relaxation.of(problem)
        for cost, most in zip(relaxation.costs, relaxation.most):
            for s in np.linspace(1, most, 40):
                value, slope, bend = cost(s)
                for name, r in (
                    ("paper", value - relaxation.shift / relaxation.unit),
                    ("shifted", value),
                ):
                    negative[name].append(r < 0)
                    bent[name].append(slope**2 + r * bend < 0)
    return {
        name: {
            "negative": float(np.mean(negative[name])),
            "square_not_convex": float(np.mean(bent[name])),
        }
        for name in negative
    }


def clarabel_differences():
    """The largest differences from Clarabel over random sub-problems, or None without cvxpy."""
    if importlib.util.find_spec("cvxpy") is None:
        return None
    off = {"objective": 0.0, "a": 0.0, "s": 0.0, "n": 0}
    for changes, seed in itertools.product(oracles.P2_CASES.values(), range(5)):
        tau = (0.0, 0.1, 0.3, 1.0, 10.0)[seed]
        p2, relaxation, _, _ = oracles.sub_problem(seed, tau, **changes)
        point = algorithm_2(p2)
        value, a, s, _ = oracles.clarabel(oracles.varied(seed, **changes), p2, relaxation.unit)
        off_now = {
            "objective": abs(point.objective - value) / max(1, abs(value)),
            "a": np.abs(point.a - a).max(),
            "s": np.abs(point.s - s).max(),
            "n": 1,
        }
        off = {
            name: off[name] + 1 if name == "n" else float(max(off[name], off_now[name]))
            for name in off
        }
    return off


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, help="JSON result")
    parser.add_argument("--plot", type=Path, help="SVG of convergence")
    args = parser.parse_args()
    begin = time.perf_counter()
    random_problems = [drawn(seed) for seed in range(60)]
    paper_problems = [
        paper_instance(budget, decay=c1, rate=c2, max_steps=(20, s1))
        for budget in BUDGETS
        for c1, c2, s1 in UNPUBLISHED
    ]
    trial = [drawn(seed, 10, budget, (0.3, 0.7)) for seed in range(10) for budget in (50, 100, 150)]
    each, passes, worst = p2_times()
    sizes = np.log10(list(passes))
    result = {
        "machine": f"{platform.platform()}, {platform.machine()}, "
        f"Python {platform.python_version()}, numpy {np.__version__}",
        "p2_ms_at_30": {
            "median": round(float(np.median(each)), 3),
            "p95": round(float(np.quantile(each, 0.95)), 3),
            "n": len(each),
        },
        "pass_s_by_users": {str(n): round(seconds, 5) for n, seconds in passes.items()},
        "pass_exponent": {
            "1e2..1e5": round(float(np.polyfit(sizes, np.log10(list(passes.values())), 1)[0]), 3),
            "1e4..1e5": round(float(np.log10(passes[10**5] / passes[10**4])), 3),
        },
        "p2_residuals": worst,
        "p2_against_clarabel": clarabel_differences(),
        "convexity": {"random": convexity(random_problems), "paper": convexity(paper_problems)},
        "decided_by_tau": decided(random_problems[:30]),
    }
    for name in (
        "p2_ms_at_30",
        "pass_s_by_users",
        "pass_exponent",
        "p2_residuals",
        "p2_against_clarabel",
        "convexity",
        "decided_by_tau",
    ):
        print(f"{name}: {result[name]}", flush=True)
    result["random"] = study("random instances, N = 30", random_problems)
    result["paper"] = study("the paper's settings, N = 30, equal users", paper_problems)
    result["trial"] = study("N = 10, w = (0.3, 0.7), budgets 50, 100, 150", trial)
    if args.plot:
        convergence.plot(args.plot, random_problems[0])
    result["seconds"] = round(time.perf_counter() - begin, 1)
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
