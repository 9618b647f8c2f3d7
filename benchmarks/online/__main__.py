"""The command; see the package's head."""

import argparse
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import benchmarks.online
from benchmarks.online import executed
from benchmarks.online.frontier import frontier
from benchmarks.online.quotes import quoted
from benchmarks.online.rate import decision_time, rate_budget
from benchmarks.online.setting import LOADS, PROCESSES, world
from benchmarks.online.speeds import at_speeds
from benchmarks.online.stored_budget import stored_budget
from benchmarks.solver import machine
from solver.inputs import InputError, check_keys, read_json, write_json
from solver.online import DEFAULT, POLICIES
from testbed.runs.folder import RunFolder
from testbed.stages.online.simulate import World

PARTS = ("rate", "stored", "decision", "frontier", "quotes", "speeds")


def main() -> None:
    """Run the benchmark."""
    args = _arguments()
    result: dict[str, Any] = read_json(args.out) if args.out and args.out.exists() else {}

    def keep(part: str, values: Any) -> None:
        result[part] = values
        result["goals"] = goals(result)
        if args.out:
            write_json(args.out, result)

    cells = list(itertools.product(args.processes, args.loads))
    if args.run:
        folder, kept = RunFolder.read(args.run).lock(), None
        place, seeds = World.read(folder), args.seeds or 5
        if "executed" in result:
            told = result["executed"]["streams"]
            kept = executed.Streams.from_dict(told, f"{args.out}: executed: streams")

        def keep_streams(streams: executed.Streams) -> None:
            keep("executed", {"machine": machine(), "streams": streams.to_dict()})

        streams = executed.execute(
            folder, place, kept, cells, args.policies, seeds, args.seconds, keep_streams
        )
        keep("executed", result["executed"] | executed.compared(streams, place))
    else:
        place, seeds = world(), args.seeds or 3
        parts = {
            "rate": partial(rate_budget, place, cells, args.requests, seeds),
            "stored": partial(stored_budget, 2 * seeds),
            "decision": partial(decision_time, place),
            "frontier": partial(frontier, place, args.requests, 2 * seeds),
            "quotes": partial(quoted, place, cells, args.requests, seeds),
            "speeds": partial(at_speeds, place, cells, args.requests, seeds),
        }
        result |= {"machine": machine(), "capacity": place.capacity}
        for name in args.parts:
            keep(name, parts[name]())
    print(json.dumps({key: value for key, value in result.items() if key != "executed"}))


def goals(result: dict[str, Any]) -> dict[str, bool]:
    """Which of the goals are met, of those whose part is there."""
    told: dict[str, bool] = {}
    if (rate := result.get("rate")) and len(rate["cells"]) == 10:
        told["as good as every other in 9 of 10 cells"] = rate["as_good_in"] >= 9
        told["better than the held window in all"] = rate["beats_window_in"] == 10
    if stored := result.get("stored"):
        few, many = (row["regret"] for row in stored["rows"])
        moving = [
            each[f"resolve, {name}"]["value"]
            for each in (few, many)
            for name in ("drift", "swing", "jump")
        ]
        told["stored, 1,000 iid: 1 %"] = few["resolve, iid"]["value"] <= 0.01
        told["stored, 10,000 iid: 0.2 %"] = many["resolve, iid"]["value"] <= 0.002
        told["stored, moving: 3 %"] = max(moving) <= 0.03
    if decision := result.get("decision"):
        told["a decision in 1 ms at p99"] = decision["p99"] <= 1e-3
    if curves := result.get("frontier"):
        for name in ("utility", "error"):
            shipped, tuned = (
                {row["load"]: row["ratio"]["low"] for row in curves[name][kind]["rows"]}
                for kind in ("shipped", "tuned")
            )
            told[f"1.3 x the threshold's goodput at equal {name}"] = shipped[2.0] >= 1.3
            told[f"at equal {name} no less than a tuned threshold's"] = min(tuned.values()) >= 1
    if quotes := result.get("quotes"):
        cells = [cell for cell in quotes["cells"] if cell["load"] <= 1.5]
        told["quotes hold 93 to 97 %, to load 1"] = all(
            0.93 <= cell["coverage"] <= 0.97 for cell in cells
        )
        told["quotes are off by 10 %, to load 1"] = all(
            cell["quote"]["error"] <= 0.1 for cell in cells
        )
    if (live := result.get("executed")) and "cells" in live:
        told |= executed.goals(live)
    return told


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.online",
        description=benchmarks.online.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="JSON; what it has already is kept")
    parser.add_argument(
        "--parts", nargs="+", default=PARTS, metavar="PART", help=f"simulated: {', '.join(PARTS)}"
    )
    parser.add_argument("--requests", type=int, default=1000, help="of a simulated stream")
    parser.add_argument("--run", type=Path, help="a run folder, to execute on")
    parser.add_argument("--seconds", type=float, default=8.0, help="of an executed stream")
    parser.add_argument("--seeds", type=int, help="streams a cell (default: 3; executed: 5)")
    parser.add_argument("--processes", nargs="+", default=PROCESSES, metavar="PROCESS")
    parser.add_argument("--loads", nargs="+", type=float, default=LOADS, metavar="LOAD")
    parser.add_argument(
        "--policies",
        nargs="+",
        default=[DEFAULT, *(name for name in POLICIES if name not in (DEFAULT, "all_local"))],
        metavar="POLICY",
        help="executed",
    )
    args = parser.parse_args()
    check_keys("--parts", args.parts, PARTS)
    check_keys("--policies", args.policies, POLICIES)
    check_keys("--processes", args.processes, PROCESSES)
    return args


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"{error}") from None
