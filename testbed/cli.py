"""Command line of the testbed: each verb reads files and writes files. Wrong input: one line, exit
code 2.
"""

import argparse
import errno
import json
import os
import sys
import warnings
from pathlib import Path

from solver.inputs import InputError, read_json, write_json
from solver.problem import PLACES

DESCRIPTION = "Calibrate two text-to-image models, allocate denoising steps optimally, generate, and compare with the predictions."


def _run(args):
    from testbed import config

    settings = config.load(args.config, local=args.local, edge=args.edge)
    if args.plan:
        from testbed.commands import estimate_cost as cost

        return print(*cost.say(args.config, args.local, args.edge), sep="\n")
    from calibration.validation.validate import failures
    from testbed.stages import (
        run as chain,
    )  # brings torch: only for a configuration that can be read

    report = chain.run(settings, args.out)
    failed = failures(read_json(args.out / "validation.json"))
    for line in failed:
        print(f"FAIL: {line}", file=sys.stderr)
    print(report)
    return 1 if failed and args.strict else 0


def _calibrate(args):
    from testbed import config

    settings = config.load(args.config, local=args.local, edge=args.edge)
    from testbed.stages import run as chain

    testbed = chain.Testbed(settings, [args.place] if args.place else PLACES)
    testbed.sweep()  # refuses what cannot be swept before a folder is made
    out = chain.open_run(settings, args.out)
    chain.calibrate(testbed, out)
    print(out / "profiles.json")


def _problem(args):
    from calibration.profiles import build as profile
    from calibration.profiles.merge import merge
    from calibration.scenario.scenario import Scenario, to_problem

    profiles = merge([(str(path), place, profile.load(path)) for place, path in args.profiles])
    problem = to_problem(
        profiles,
        Scenario.load(args.scenario, {entry["prompt_class"] for entry in profiles["profiles"]}),
    )
    if args.save_profiles:
        write_json(args.save_profiles, profiles)
    write_json(args.output, problem)
    print(args.output)


def _solve(args):
    import solver
    from solver.problem import Problem
    from testbed.commands import solve as study

    studied = args.compare or args.sweep or args.pareto
    if not studied and not args.output:
        raise InputError(
            "-o: is missing; allowed: a file for the allocation, or one of --compare, --sweep, --pareto"
        )
    if args.output and (args.sweep or args.pareto):
        raise InputError(
            f"-o: found '{args.output}' with --sweep or --pareto, which give no single allocation; allowed: --csv"
        )
    if args.csv and not studied:
        raise InputError("--csv: allowed only with --compare, --sweep or --pareto")
    if args.csv and args.csv.suffix != ".csv":
        raise InputError(
            f"--csv: found '{args.csv}'; allowed: a name that ends in .csv (its plot ends in .svg)"
        )
    if args.pareto and (args.solver != "exact" or args.seed is not None):
        raise InputError(
            "--pareto: found --solver or --seed; allowed: neither, as the front is of proven optima"
        )
    problem = Problem.load(args.problem)
    settings = {} if args.seed is None else {"seed": args.seed}
    if args.output:
        allocation = solver.solve(problem, args.solver, **settings)
        allocation.save(args.output)
        print(
            f"{allocation.solver}: {allocation.status}, objective {allocation.objective:.6g}, {sum(allocation.offload)} of {len(allocation.offload)} "
            f"users on the edge, {allocation.edge_steps_used} edge steps, {allocation.seconds:.3g} s -> {args.output}"
        )
    if args.compare:
        study.compare(problem, args.solver, args.seed or 0, args.csv)
    elif args.sweep:
        study.sweep(problem, args.sweep, args.solver, settings, args.csv)
    elif args.pareto:
        study.pareto(problem, args.csv)


def _figures(args):
    from testbed.commands import solve as study
    from testbed.figures.lines import Unpublished

    study.figures(args.out, args.seeds, Unpublished.parse(args.unpublished))


def _execute(args):
    import solver.allocation
    from solver.problem import Problem
    from testbed import config

    problem = Problem.load(args.problem)
    allocation = solver.allocation.Allocation.load(args.allocation)
    solver.allocation.evaluate(
        problem, allocation.offload, allocation.steps
    )  # refuses what is not feasible
    classes = (problem.labels or {}).get("prompt_class")
    if classes is None:
        raise InputError(
            f"{args.problem}: labels.prompt_class is missing; it names each user's prompt class, as `testbed problem` writes it"
        )
    settings = config.load(args.config, local=args.local, edge=args.edge)
    from testbed.stages import run as chain

    testbed = chain.Testbed(settings)
    testbed.users(allocation, classes)
    out = chain.open_run(settings, args.out)
    chain.execute(testbed, out, allocation, classes)
    print(out / "execution" / "records.jsonl")


def _generate(args):
    from testbed.commands import generate as requests

    batched = args.engine == "batched"
    if not batched and (args.batch or args.order):
        raise InputError("--engine: found stock with --batch or --order; allowed: batched")
    options = (
        {"batch": args.batch or requests.CAP, "order": args.order or "first_come"}
        if batched
        else {}
    )
    print(
        requests.generate_all(
            args.model,
            args.requests,
            args.output,
            args.dtype,
            args.device,
            args.engine,
            rate=args.arrivals,
            **options,
        )
    )


def _bench(args):
    from testbed.commands import bench

    report = bench.run(
        args.architecture,
        bench.parse_batches(args.batch),
        args.dtype,
        args.steps,
        args.device,
        args.shrink,
        args.compile,
        args.channels_last,
        args.output,
    )
    print(*bench.table(report), sep="\n")


def _fit(args):
    from calibration.fitting import fit

    try:
        wanted = [int(s) for s in args.predict.split(",")] if args.predict else []
    except ValueError:
        raise InputError(
            f"--predict: found '{args.predict}'; allowed: whole numbers separated by commas, e.g. 4,6,8"
        ) from None
    result = fit.fit_report(
        fit.points_from_csv(args.points), predict=wanted, anyway=args.anyway, where=str(args.points)
    )
    if args.output:
        write_json(args.output, result)
        print(args.output)
    else:
        print(json.dumps(result, indent=1))


def _report(args):
    from testbed.report import write_report

    print(write_report(args.run))


def _doctor(args):
    from testbed.commands import doctor

    doctor.print_report()


def _whole(least):
    """The argparse type of an integer >= ``least``."""

    def integer(text):
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"found {text}; allowed: an integer >= {least}")
        return value

    return integer


def _profiles(text):
    """A profiles file, ``local=FILE`` or ``edge=FILE`` for one place of it: (place or None, path)."""
    place, _, path = text.partition("=")
    return (place, Path(path)) if path and place in ("local", "edge") else (None, Path(text))


def parser():
    top = argparse.ArgumentParser(
        prog="testbed", description=DESCRIPTION, epilog="example: testbed run --out runs/first"
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, function, summary, example):
        added = verbs.add_parser(
            name, help=summary, description=summary, epilog=f"example: {example}"
        )
        added.set_defaults(function=function)
        return added

    def with_config(added):
        added.add_argument(
            "config", nargs="?", help="preset name or CONFIG.toml (default: embedded)"
        )
        added.add_argument(
            "--out",
            type=Path,
            default=Path("runs/embedded"),
            help="run folder (default: %(default)s); an unfinished run goes on",
        )
        for place in ("local", "edge"):
            added.add_argument(
                f"--{place}",
                metavar="MODEL",
                help=f"a hub id or folder in place of the configuration's {place} model",
            )

    run = verb(
        "run",
        _run,
        "the whole chain; the last line is the report's path",
        "testbed run embedded --out runs/first",
    )
    with_config(run)
    run.add_argument(
        "--plan",
        action="store_true",
        help="only say what it costs: evaluations, and of a preset modelled minutes and gigabytes",
    )
    run.add_argument(
        "--strict",
        action="store_true",
        help="exit 1 if a prediction fails: a total outside its 95 %% interval, or too many users outside theirs",
    )
    calibrate = verb(
        "calibrate",
        _calibrate,
        "measure the sweep and fit the curves",
        "testbed calibrate my.toml --out runs/mine",
    )
    with_config(calibrate)
    calibrate.add_argument(
        "--place",
        choices=PLACES,
        help="measure this place alone: the other's model is on another machine",
    )
    problem = verb(
        "problem",
        _problem,
        "profiles and a scenario to an allocation problem",
        "testbed problem --profiles runs/mine/profiles.json --scenario s.toml -o problem.json",
    )
    machines = "again for each machine: --profiles local=ue.json --profiles edge=server.json"
    problem.add_argument(
        "--profiles",
        type=_profiles,
        action="append",
        required=True,
        metavar="[PLACE=]FILE",
        help=machines,
    )
    problem.add_argument(
        "--save-profiles", type=Path, metavar="FILE", help="write the joined profiles too"
    )
    problem.add_argument("--scenario", type=Path, required=True)
    problem.add_argument("-o", "--output", type=Path, required=True)
    solve = verb(
        "solve",
        _solve,
        "allocate places and steps",
        "testbed solve problem.json -o allocation.json",
    )
    solve.add_argument("problem", type=Path)
    solve.add_argument(
        "-o",
        "--output",
        type=Path,
        help="allocation/1 JSON; not needed with --compare, --sweep or --pareto",
    )
    solve.add_argument(
        "--solver",
        default="exact",
        help="exact (default), another one, or your own module:function; a wrong name lists them",
    )
    solve.add_argument(
        "--seed",
        type=_whole(0),
        help="of a method that draws; with --compare, random's first (default: 0)",
    )
    study = solve.add_mutually_exclusive_group()
    study.add_argument("--compare", action="store_true", help="print a table of all methods")
    study.add_argument(
        "--sweep", metavar="KEY=START:STOP:STEP", help="print a table, e.g. edge_budget=100:500:50"
    )
    study.add_argument(
        "--pareto",
        action="store_true",
        help="print the front of time, energy, error and utility over the weights",
    )
    solve.add_argument(
        "--csv", type=Path, help="write the table as CSV, and its plot beside it as .svg"
    )
    execute = verb(
        "execute",
        _execute,
        "generate every user's images as allocated",
        "testbed execute --allocation a.json --problem p.json --out runs/mine",
    )
    execute.add_argument("--allocation", type=Path, required=True)
    execute.add_argument("--problem", type=Path, required=True)
    with_config(execute)
    generate = verb(
        "generate",
        _generate,
        "generate images for JSONL requests",
        "testbed generate --model embedded:edge requests.jsonl -o images",
    )
    generate.add_argument("--model", required=True, help="embedded:NAME, a folder, or a hub id")
    generate.add_argument(
        "requests",
        type=Path,
        help='one {"id", "prompt", "seed", "steps"} a line, optional "guidance", "negative_prompt", "arrival" (s)',
    )
    generate.add_argument("-o", "--output", type=Path, required=True)
    generate.add_argument(
        "--engine",
        choices=["stock", "batched"],
        default="stock",
        help="stock (default): diffusers' own pipeline, one request at a time; batched: all at once, step by step",
    )
    generate.add_argument(
        "--batch",
        type=_whole(1),
        metavar="N",
        help="of --engine batched: requests in a batch at most (default: 16)",
    )
    generate.add_argument(
        "--order",
        choices=["first_come", "shortest"],
        help="of --engine batched: who goes first (default: first_come)",
    )
    generate.add_argument(
        "--arrivals",
        type=float,
        metavar="RATE",
        help="let them arrive at RATE a second (Poisson) and wait for them",
    )
    generate.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    generate.add_argument("--device", default="auto")
    bench = verb(
        "bench",
        _bench,
        "time and energy of a published architecture, with random weights",
        "testbed bench --architecture sdxl --batch 1,4 -o sdxl.json",
    )
    bench.add_argument(
        "--architecture",
        required=True,
        help="sd15, sdxl, sd3, pixart, ...; a wrong name lists them",
    )
    bench.add_argument(
        "--batch",
        default="1,2,4,8,16",
        help="images of one call, separated by commas (default: %(default)s)",
    )
    bench.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16")
    bench.add_argument(
        "--steps", type=_whole(1), default=20, help="of each measured image (default: %(default)s)"
    )
    bench.add_argument("--device", default="auto")
    bench.add_argument(
        "--compile", action="store_true", help="compile the denoiser with torch.compile"
    )
    bench.add_argument(
        "--channels-last", action="store_true", help="lay convolutions out with the channels last"
    )
    bench.add_argument(
        "--shrink",
        type=int,
        choices=[1, 2, 4, 8],
        default=1,
        help="divide all widths and take few layers: to try the command",
    )
    bench.add_argument("-o", "--output", type=Path, help="bench/1 JSON, written after each batch")
    fit = verb(
        "fit",
        _fit,
        "fit anyone's quality-against-steps curve",
        "testbed fit points.csv --predict 4,6,8 -o fit.json",
    )
    fit.add_argument("points", type=Path, help="CSV with columns steps,value and optionally sd")
    fit.add_argument("--predict", help="step counts to predict, separated by commas")
    fit.add_argument(
        "--anyway",
        action="store_true",
        help="take an estimate that the points cannot carry, which is refused otherwise",
    )
    fit.add_argument("-o", "--output", type=Path, help="fit/1 JSON (default: print it)")
    report = verb(
        "report", _report, "write report.html of a run folder", "testbed report runs/embedded"
    )
    report.add_argument("run", type=Path)
    figures = verb(
        "figures",
        _figures,
        "the paper's Fig. 1 and Fig. 2, and where its claims are true",
        "testbed figures --out figures",
    )
    figures.add_argument(
        "--out", type=Path, default=Path("figures"), help="folder (default: %(default)s)"
    )
    figures.add_argument(
        "--seeds",
        type=_whole(1),
        default=100,
        help="runs of the random baseline (default: %(default)s)",
    )
    figures.add_argument(
        "--unpublished",
        default="C1=0.1,C2=0.1,S0=20,S1=50,raised=3",
        help="values it does not publish (default: %(default)s)",
    )
    verb(
        "doctor",
        _doctor,
        "what this machine has: device, meters, weights, what is emulated",
        "testbed doctor",
    )
    return top


def main(argv=None):
    """Entry point. Returns 0 when done, 2 when the input is wrong, 1 on anything else."""
    args = parser().parse_args(argv)
    if (
        int(os.environ.get("RANK", "0")) > 0
    ):  # of the processes of `accelerate launch` the first one speaks
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
    warnings.showwarning = lambda message, *_: print(
        f"testbed: warning: {message}", file=sys.stderr
    )
    try:
        return args.function(args) or 0
    except InputError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = (
            "; what was measured is kept: free some space and run the same command again"
            if full
            else ""
        )
        print(f"testbed: {error}{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "testbed: stopped; what was measured is kept: the same command goes on from here",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
