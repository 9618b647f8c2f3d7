"""The verbs of a run's stages: ``run``, and each stage alone.

A configuration, an allocation or a folder that is wrong is refused before torch is loaded.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from solver.inputs import InputError
from solver.problem import PLACES, Problem
from testbed import config
from testbed.commands.parsing import (
    Verb,
    add_allocation,
    add_configuration,
    add_risk,
    add_verb,
    joined,
    load_configuration,
    load_scenario,
    load_settled,
    profiles_file,
)

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs
    from testbed.runs.folder import RunFolder


def add_parsers(verbs: "Verbs") -> None:
    """Add the verbs, in the order of the stages."""
    run = add_verb(
        verbs,
        "run",
        _run,
        "the whole chain; the last line is the report's path",
        "testbed run embedded --out runs/first",
    )
    add_configuration(run)
    run.add_argument(
        "--plan",
        action="store_true",
        help="only say what it costs: evaluations, and of a preset modelled minutes and gigabytes",
    )
    add_allocation(run)
    _add_strict(run)
    calibrate = add_verb(
        verbs,
        "calibrate",
        _calibrate,
        "measure the sweep and fit the curves",
        "testbed calibrate my.toml --out runs/mine",
    )
    add_configuration(calibrate)
    calibrate.add_argument(
        "--place",
        choices=PLACES,
        help="measure this place alone: the other's model is on another machine",
    )
    _add_problem(verbs)
    _add_of_folder(
        verbs, "allocate", _allocate, "allocate the users of a run's scenario, from its profiles"
    )
    _add_execute(verbs)
    _add_of_folder(
        verbs, "batch", _batch, "serve a run's offloaded users by continuous batching, and time it"
    )
    validate = _add_of_folder(
        verbs, "validate", _validate, "hold a run's predictions against what was measured"
    )
    validate.add_argument(
        "--profiles",
        type=profiles_file,
        action="append",
        metavar="[PLACE=]FILE",
        help="what the problem was made of, where the places were calibrated on other machines",
    )
    validate.add_argument(
        "--scenario", type=Path, help="what the problem was made of, where the run holds another"
    )
    _add_strict(validate)
    report = add_verb(
        verbs,
        "report",
        _report,
        "write report.html of a run folder",
        "testbed report runs/embedded",
    )
    report.add_argument("run", type=Path)


def _add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit 1 if a prediction fails: a total further off, or more users outside their 95 %% "
        "intervals, than chance explains",
    )


def _add_of_folder(
    verbs: "Verbs", name: str, function: Verb, summary: str
) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, function, summary, f"testbed {name} runs/embedded")
    parser.add_argument("run", type=Path, help="run folder")
    return parser


def _add_problem(verbs: "Verbs") -> None:
    parser = add_verb(
        verbs,
        "problem",
        _problem,
        "profiles and a scenario to an allocation problem",
        "testbed problem --profiles runs/mine/profiles.json --scenario s.toml -o problem.json",
    )
    parser.add_argument(
        "--profiles",
        type=profiles_file,
        action="append",
        required=True,
        metavar="[PLACE=]FILE",
        help="again for each machine: --profiles local=ue.json --profiles edge=server.json",
    )
    parser.add_argument(
        "--save-profiles", type=Path, metavar="FILE", help="write the joined profiles too"
    )
    parser.add_argument("--scenario", type=Path, required=True)
    add_risk(parser)
    parser.add_argument("-o", "--output", type=Path, required=True)


def _add_execute(verbs: "Verbs") -> None:
    parser = add_verb(
        verbs,
        "execute",
        _execute,
        "generate every user's images as allocated",
        "testbed execute --allocation a.json --problem p.json --out runs/mine",
    )
    parser.add_argument("--allocation", type=Path, required=True)
    parser.add_argument("--problem", type=Path, required=True)
    add_configuration(parser)


def _run(args: argparse.Namespace) -> int:
    settings = load_configuration(args)
    problem = None if args.problem is None else Problem.load(args.problem)
    if args.plan:
        from testbed.stages.run import check

        settings, allocation = check(settings, args.out, args.solver, problem)
        from testbed.commands import estimate_cost

        cost = None if args.local or args.edge else estimate_cost.stated(args.config)
        print(*estimate_cost.say(settings, cost, problem, allocation), sep="\n")
        return 0
    from testbed.runs.folder import RunFolder
    from testbed.stages.run import run

    report = run(settings, args.out, args.solver, problem)
    folder = RunFolder(args.out)
    wrong = folder.validation() is not None and _say_verdicts(folder)
    print(report)
    failed = folder.failures("calibration", "execution")
    return int(bool(failed) or (wrong and args.strict))


def _calibrate(args: argparse.Namespace) -> int:
    settings = load_settled(args)
    from testbed.runs import guard
    from testbed.stages.checks import check_calibration

    places = [args.place] if args.place else PLACES
    guard.check(settings, args.out)
    check_calibration(settings, places, args.out)
    from testbed.stages.calibrate import calibrate
    from testbed.stages.rig import Rig, open_folder

    rig = Rig(settings, places)
    folder = open_folder(settings, args.out)
    calibrate(rig, folder)
    print(folder.path / "profiles.json")
    return int(bool(folder.failures("calibration")))


def _problem(args: argparse.Namespace) -> None:
    from calibration.profiles import store
    from calibration.scenario.problem import to_problem

    profiles = joined(args.profiles)
    problem = to_problem(profiles, load_scenario(args, profiles))
    if args.save_profiles:
        store.save(args.save_profiles, profiles)
    problem.save(args.output)
    print(args.output)


def _allocate(args: argparse.Namespace) -> None:
    from testbed.stages.allocate import allocate

    folder, settings = _open(args.run)
    allocate(settings, folder)
    print(folder.path / "allocation.json")


def _execute(args: argparse.Namespace) -> int:
    from solver import Allocation, evaluate

    problem, allocation = Problem.load(args.problem), Allocation.load(args.allocation)
    # refuses what is not feasible
    evaluate(problem, allocation.offload, allocation.steps, edge_steps=allocation.edge_steps)
    settings = load_settled(args)
    from testbed.runs import guard
    from testbed.stages.checks import check_execution

    guard.check(settings, args.out)
    check_execution(settings, problem, allocation, args.out)
    from testbed.processes import on_first_process
    from testbed.stages.execute import execute
    from testbed.stages.rig import Rig, allocated_steps, open_folder

    rig = Rig(settings, steps=allocated_steps(allocation))
    folder = open_folder(settings, args.out)
    on_first_process(lambda: folder.adopt(problem, allocation))
    execute(rig, folder)
    print(folder.path / "execution" / "records.jsonl")
    return int(bool(folder.failures("execution")))


def _batch(args: argparse.Namespace) -> None:
    folder, settings = _open(args.run)
    folder.executed()  # refuses what was not executed before torch is loaded
    from testbed.stages.batch import batch
    from testbed.stages.rig import Rig

    if batch(Rig(settings, ["edge"]), folder) is None:
        print("nothing to serve: no user is offloaded, or the edge's model takes no batches")
    else:
        print(folder.path / "serving.json")


def _validate(args: argparse.Namespace) -> int:
    from calibration.profiles.profile import Profiles
    from testbed.stages.checks import check_users

    folder, settings = _open(args.run)
    if args.profiles:
        if folder.records("calibration"):
            raise InputError(
                f"{folder.path}: found profiles of its own; allowed: no --profiles there"
            )
        folder.save(joined(args.profiles))
    if args.scenario:
        scenario = load_scenario(args, folder.need(Profiles))
        check_users(folder.need(Problem), scenario)
        folder.save(scenario)
    folder.executed()  # refuses what was not executed before torch is loaded
    from testbed.metrics.quality import QualityModels
    from testbed.stages.rig import open_device
    from testbed.stages.validate import validate

    validate(settings, QualityModels.open(settings.quality, open_device(settings)), folder)
    failed = _say_verdicts(folder)
    print(folder.path / "validation.json")
    return int(failed and args.strict)


def _report(args: argparse.Namespace) -> None:
    from testbed.report.page import write_report

    print(write_report(args.run))


def _open(path: Path) -> "tuple[RunFolder, config.Config]":
    """A folder that a run has begun, locked, and its configuration."""
    from testbed.runs.folder import RunFolder

    folder = RunFolder(path)
    settings = folder.need(config.Config)
    return folder.lock(), settings


def _say_verdicts(folder: "RunFolder") -> bool:
    """Say on stderr whether the predictions hold, and which fail; whether any does."""
    from calibration.validation.validation import Validation
    from calibration.validation.verdicts import failures, headline, verdicts

    validation = folder.need(Validation)
    failed = failures(validation)
    print(headline(verdicts(validation)), file=sys.stderr)
    for line in failed:
        print(f"FAIL: {line}", file=sys.stderr)
    return bool(failed)
