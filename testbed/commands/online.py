"""``testbed online``: requests that arrive one by one, and policies that decide on each."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solver.inputs import InputError
from testbed import tables
from testbed.commands.parsing import add_verb, integer, number

if TYPE_CHECKING:
    from calibration.serving.online_run import Asked, PolicyRun
    from testbed.commands.parsing import Verbs
    from testbed.runs.folder import RunFolder

#: Requests of each stream: simulated, and executed, where each takes its real time.
SIMULATED, EXECUTED = 2000, 200
#: Of the options, those that go together with the ones that ask for something else.
_WITH = {"check": (), "stored": ("policy", "requests", "seed")}


def add_parsers(verbs: "Verbs") -> None:
    """Add ``testbed online``."""
    parser = add_verb(
        verbs,
        "online",
        lambda args: _online(args, parser),
        "requests that arrive: policies compared, each with its proven regret",
        "testbed online runs/embedded --policy externality_price,selfish --load 0.5,1,2",
    )
    parser.add_argument("run", type=Path, help="run folder with profiles and a scenario")
    parser.add_argument(
        "--policy",
        default="all",
        metavar="NAME[,NAME...]",
        help="or your own module:function; a wrong name lists them (default: all of them)",
    )
    parser.add_argument(
        "--load",
        default="0.25,0.5,1,2,4",
        metavar="X[,X...]",
        help="arrivals over what the full edge can serve (default: %(default)s)",
    )
    parser.add_argument(
        "--arrivals",
        default="poisson",
        help="poisson (default), bursts, diurnal, or a trace file: vLLM-Omni's Request(...) lines, "
        "or Azure Functions' CSV of counts a minute; a trace keeps its pattern at each load",
    )
    parser.add_argument(
        "--requests",
        type=integer(1),
        help=f"of each stream (default: {SIMULATED}, with --execute {EXECUTED})",
    )
    parser.add_argument(
        "--seed", type=integer(0), default=0, help="of the arrivals (default: %(default)s)"
    )
    parser.add_argument(
        "--deadline",
        type=number,
        help="seconds, for every request (default: the scenario's, or none)",
    )
    parser.add_argument(
        "--late",
        type=number,
        default=1.0,
        help="what a missed deadline costs, in units of eq. (8)'s cost (default: 1)",
    )
    parser.add_argument(
        "--window",
        type=number,
        help="seconds for which the policy `window` holds requests (default: 0.6 of a mean local "
        "request)",
    )
    parser.add_argument(
        "--stored",
        metavar="AMOUNT",
        help="a budget that stays until it is used, so much a request in the mean, e.g. 3steps or "
        "20joules; nobody waits, and the policies are others",
    )
    parser.add_argument(
        "--execute",
        action="store_true",
        help="serve the requests in real time, and score the images, instead of simulating",
    )
    parser.add_argument(
        "--url",
        help="execute with the server there as the edge, e.g. http://127.0.0.1:8000, which "
        "`testbed serve --run RUN` starts",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="only prove the regret of the folder's last runs again, from their records",
    )


def _online(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    for mode, used in _WITH.items():
        if getattr(args, mode) != parser.get_default(mode):
            _refuse_others(args, parser, mode, used)
    from testbed.runs.folder import RunFolder

    if args.check:
        _check(RunFolder.read(args.run))
        return
    if args.stored is not None:
        _stored(args)
        return
    asked = _asked(args)
    from testbed.stages.online.results import Results
    from testbed.stages.online.simulate import World, simulate

    folder = RunFolder.read(args.run).lock()
    world = World.read(folder)
    results = Results(folder, world, asked)
    if results:
        print(f"{len(results)} streams are kept; without {results.path} they are executed again")
    if not asked.executed:
        runs = simulate(world, asked)
    elif results.complete:
        runs = iter(())
    else:
        from testbed.stages.online.execute import Stage

        runs = Stage(folder, world, args.url).runs(asked, results)
    for run in runs:
        results.add(run)
    result = results.save()
    print(tables.text([row_of(row) for row in result.runs]))
    kind = "executed" if asked.executed else "simulated"
    print(
        f"{kind}; capacity {result.capacity:.3g} requests/s; gain over all_local as a share of "
        "the proven most"
    )
    from testbed.figures.online import plot

    plot(result, [picture := results.path.with_suffix(".svg")])
    print(picture, results.path, sep="\n")


def _refuse_others(
    args: argparse.Namespace, parser: argparse.ArgumentParser, mode: str, used: Sequence[str]
) -> None:
    """Raise :class:`InputError` for an option that ``mode`` does not use."""
    for name, value in vars(args).items():
        if name not in ("verb", "run", mode, *used) and value != parser.get_default(name):
            allowed = ", ".join(f"--{each}" for each in used) or "no other option"
            raise InputError(f"--{name}: found with --{mode}; allowed with it: {allowed}")


def _check(folder: "RunFolder") -> None:
    from testbed.stages.online.results import check

    for records, proofs in check(folder).items():
        print(f"{len(proofs)} runs proven again from {records}")


def _stored(args: argparse.Namespace) -> None:
    from solver.inputs import check_keys
    from solver.online.stored import POLICIES, UNITS
    from testbed.runs.folder import RunFolder
    from testbed.stages.online import stored
    from testbed.stages.online.simulate import World

    unit = next((unit for unit in UNITS if args.stored.endswith(unit)), "")
    try:
        each = float(args.stored.removesuffix(unit))
    except ValueError:
        each = -1.0
    if not unit or not 0 <= each < 1e300:
        raise InputError(f"--stored: found '{args.stored}'; allowed: e.g. 3steps, 20joules")
    names = list(POLICIES) if args.policy == "all" else args.policy.split(",")
    check_keys("--policy", names, POLICIES)
    folder = RunFolder.read(args.run).lock()
    requests = args.requests or SIMULATED
    result = stored.simulate(World.read(folder), names, unit, each, requests, args.seed)
    stored.save(folder, result)
    print(tables.text([vars(row) for row in result.runs]))
    print(folder.path / stored.FILE)


def _asked(args: argparse.Namespace) -> "Asked":
    """What was asked for; raises :class:`InputError`."""
    from calibration.arrivals import located
    from calibration.serving.online_run import Asked
    from solver.inputs import check_keys
    from solver.online import POLICIES

    executed = args.execute or args.url is not None
    names = list(POLICIES) if args.policy == "all" else [*dict.fromkeys(args.policy.split(","))]
    check_keys("--policy", [name for name in names if ":" not in name], POLICIES)
    try:
        loads = list(dict.fromkeys(float(load) for load in args.load.split(",")))
    except ValueError:
        raise InputError(f"--load: found '{args.load}'; allowed: numbers, e.g. 0.5,1,2") from None
    values = {
        "policies": names,
        "loads": loads,
        "arrivals": located(args.arrivals),
        "requests": args.requests or (EXECUTED if executed else SIMULATED),
        "seed": args.seed,
        "executed": executed,
        "window": args.window,
        "deadline": args.deadline,
        "late": args.late,
        "url": args.url,
    }
    return Asked.from_dict(values, "online")


def row_of(run: "PolicyRun") -> dict[str, object]:
    """A row of the table."""
    row: dict[str, object] = {
        "load": run.load,
        "policy": run.policy,
        "offloaded": run.offloaded,
        "steps": run.steps,
        "time": run.time,
        "p95": run.time_p95,
        "energy": run.energy,
        "error": run.error,
        "utility": run.utility,
        "met": run.met,
        "gain": run.gain,
        "regret": run.regret,
        "quote_error": run.quote_error,
        "coverage": run.coverage,
    }
    if run.executed is not None:
        row |= {
            "measured_utility": run.executed.utility.value,
            "simulated_time": run.executed.simulated_time,
            "cost": run.cost,
            "simulated_cost": run.executed.simulated_cost,
            "speed": run.executed.speed,
        }
    return row
