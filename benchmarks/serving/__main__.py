"""The command; see the package's head."""

import argparse
import asyncio
import json
import time
from pathlib import Path

import torch

import benchmarks.serving
from benchmarks.serving.images import Reference
from benchmarks.serving.jobs import JOBS, Size
from solver.inputs import check_keys, write_json
from testbed.environment import environment, machine_load


def main() -> int:
    """Run the jobs; returns 1 where a goal was missed."""
    parser = argparse.ArgumentParser(
        description=benchmarks.serving.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--jobs", nargs="+", default=list(JOBS), metavar="JOB", help=", ".join(JOBS)
    )
    parser.add_argument("--seconds", type=float, default=Size.seconds, help="of a load")
    parser.add_argument("--requests", type=int, default=Size.requests)
    parser.add_argument(
        "--crowd", type=int, default=Size.crowd, help="requests, a fifth of whom leave"
    )
    parser.add_argument("--repeats", type=int, default=Size.repeats)
    parser.add_argument("-o", "--out", type=Path, help="JSON result")
    args = parser.parse_args()
    check_keys("--jobs", args.jobs, JOBS)
    size = Size(args.requests, args.crowd, args.seconds, repeats=args.repeats)
    result = {
        "environment": environment(torch.device("cpu")),
        "load_before": machine_load(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "size": vars(size),
        "jobs": {},
    }
    reference, missed = Reference(), 0
    for name in args.jobs:
        start = time.perf_counter()
        done = asyncio.run(JOBS[name](size, reference))
        result["jobs"][name] = {
            "measured": done.measured,
            "goals": done.goals,
            "seconds": time.perf_counter() - start,
        }
        for goal, met in done.goals.items():
            print(f"{name:12} {'met   ' if met else 'MISSED'} {goal}", flush=True)
            missed += not met
        if args.out:
            write_json(args.out, result)
    print(json.dumps(result))
    return int(missed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
