"""The chain on a run folder: calibrate → problem → solve → execute → serve → validate → report.

Every stage reads files of the run folder and writes files there, so a killed run goes on where it
was.
"""

from pathlib import Path

import solver
from calibration.costs.drift import drift_expected
from calibration.scenario.scenario import Scenario, to_problem
from calibration.validation import validate
from solver.inputs import InputError, read_json, write_json
from solver.problem import Problem
from testbed.config import from_dict
from testbed.data.prompts import open_prompts
from testbed.processes import processes
from testbed.runs.store import RecordStore
from testbed.stages.batch import serve
from testbed.stages.calibrate import calibrate
from testbed.stages.rig import Testbed
from testbed.stages.validate import frechet_total

EXTENT = (
    "steps",
    "prompts_per_class",
    "half_width",
    "most_prompts",
    "seeds",
    "batches",
)  # of a sweep: more can be added to a finished one


def open_run(config, out):
    """Make or reopen the run folder ``out``; raises :class:`InputError` if what was measured there
    would not belong to ``config``.

    The sweep's extent, the execution and the scenario may change: what was measured is kept, and
    more is measured where it is asked for.
    """
    out = Path(out)
    with processes().main_process_first():
        _check_run(out / "config.json", _plain(config.to_dict()))
    return out


def _check_run(path, wanted):
    if path.exists():
        before = read_json(path)
        before["sweep"] = {
            "noise": "shared",
            **before.get("sweep", {}),
        }  # as an older testbed had it
        found = _plain(
            from_dict(before, str(path)).to_dict()
        )  # with what that had no other settings for
        for key in sorted((set(wanted) | set(found)) - {"execute", "scenario"}):
            here, there = (
                {**one[key], **dict.fromkeys(EXTENT)}
                if key == "sweep" and key in one
                else one.get(key)
                for one in (wanted, found)
            )
            if here != there:
                raise InputError(
                    f"{path}: {key}: this run folder was made with {found.get(key)!r}, not {wanted.get(key)!r}; choose another --out or the same configuration"
                )
    elif path.parent.exists() and any(path.parent.iterdir()):
        raise InputError(f"{path.parent}: not empty and not a run folder; choose another --out")
    write_json(path, wanted)


def _plain(value):
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def solve(out, profiles, scenario):
    """Problem from profiles and scenario, its optimum and the simple alternatives, all written to
    the run folder.
    """
    problem_dict = to_problem(profiles, scenario)
    write_json(out / "problem.json", problem_dict)
    write_json(out / "scenario.json", scenario.to_dict())
    problem = Problem.from_dict(problem_dict, "problem.json")
    allocation = solver.solve(problem, "exact")
    allocation.save(out / "allocation.json")
    rows = []
    for name in solver.METHODS:
        if name == "milp":  # the exact solver's oracle in the tests; many equal users make it slow
            continue
        try:
            other = allocation if name == "exact" else solver.solve(problem, name)
        except InputError:  # e.g. all local where only the edge can serve
            continue
        keys = ("solver", "objective", "time", "energy", "error", "utility", "edge_steps_used")
        rows.append({key: getattr(other, key) for key in keys})
    write_json(out / "baselines.json", rows)
    return problem_dict, allocation


def execute(testbed, out, allocation, classes):
    """Generate every UE's images at its place with its steps; returns the records."""
    return testbed.executor.run(
        testbed.users(allocation, classes), RecordStore(out / "execution"), "execute"
    )


def serve_edge(testbed, out, profiles, allocation, classes):
    """Serve the offloaded UEs once more, all by the step engine; ``serving.json``, or None where
    nobody is or the engine cannot.
    """
    tasks = [
        task
        for task in testbed.users(allocation, classes)
        if task.purpose == "user" and task.place == "edge"
    ]
    edge = next(entry for entry in profiles["profiles"] if entry["place"] == "edge")
    fit, drift = edge.get("batching"), drift_expected(edge["time"], parts=1)
    if not tasks or not fit:
        return None
    path, settings = out / "serving.json", testbed.config.execute
    asked = {
        "tasks": [task.id for task in tasks],
        "order": settings.order,
        "arrival_rate": settings.arrival_rate,
    }
    with processes().main_process_first():
        if not path.exists() or read_json(path)["asked"] != asked:
            found = serve(
                testbed.executor.pipelines["edge"],
                fit,
                drift,
                tasks,
                settings.order,
                settings.arrival_rate,
                RecordStore(out / "execution"),
            )
            write_json(
                path,
                {
                    "schema": "serving/1",
                    "asked": asked,
                    "users": [task.user for task in tasks],
                    **found,
                },
            )
    return read_json(path)


def check(testbed, out, profiles, scenario, problem, allocation, records, sweep, serving):
    """Hold the predictions against what was measured; write ``validation.json``."""
    extra = [frechet_total(testbed, RecordStore(out / "execution"), records, sweep)]
    if serving:
        extra += [
            {**row, "quantity": f"edge in batches: {row['quantity']}", "basis": "measured"}
            for row in serving["totals"]
        ]
    result = validate.validate(problem, allocation.to_dict(), profiles, scenario, records, extra)
    write_json(out / "validation.json", {**result, "serving": serving})


def run(config, out):
    """The whole chain; returns the path of the report."""
    from testbed.report import write_report

    classes = open_prompts(config.prompts).classes
    scenario = Scenario.from_dict(
        {"prompt_classes": dict.fromkeys(classes, 1), **config.scenario}, "scenario"
    )
    testbed = Testbed(config)
    testbed.check(scenario)
    out = open_run(config, out)
    profiles, sweep = calibrate(testbed, out)
    problem, allocation = solve(out, profiles, scenario)
    classes = [user["prompt_class"] for user in scenario.users]
    records = execute(testbed, out, allocation, classes)
    serving = serve_edge(testbed, out, profiles, allocation, classes)
    check(testbed, out, profiles, scenario, problem, allocation, records, sweep, serving)
    return write_report(out)
