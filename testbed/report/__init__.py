"""The report of a run: one self-contained HTML file that is understood in a minute.

It is made from the files of the run folder alone, so it can be made on another machine from a copy.
Whatever the run has not done yet is left out and named; a value that was not measured is shown as
such.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from calibration.checks import need
from calibration.profiles import build as profile
from calibration.scenario.scenario import Scenario
from solver import Allocation, InputError, Problem, certify
from solver.inputs import read_json, write_atomic
from testbed.report.format import number, percent, quantity
from testbed.report.view import view
from testbed.tables import write_csv

RECORDS = {"calibration": "calibration records", "execution": "execution records"}
FILES = {  # what each file of a run holds, in the words of the list of what is missing
    "profiles": "fitted profiles",
    "scenario": "scenario",
    "problem": "problem",
    "allocation": "allocation",
    "validation": "predictions held against measurements",
}


@dataclass(frozen=True)
class Run:
    """What a run folder holds; what the run has not produced yet is None or empty, and named in
    ``missing``.

    ``config``, ``profiles`` and ``validation`` are dicts as in their files, ``records`` maps
    ``calibration`` and ``execution`` to lists of records, ``baselines`` are the other solvers'
    results.
    """

    folder: Path
    config: dict | None
    profiles: dict | None
    scenario: Scenario | None
    problem: Problem | None
    allocation: Allocation | None
    validation: dict | None
    records: dict
    baselines: list
    missing: list


def write_report(run_folder):
    """Write ``report.html`` into a run folder, complete or not; return its path.

    Beside it, ``report/*.csv`` hold the numbers of each plot and ``report/run.toml`` the
    configuration, from which to run it again.

    Raises :class:`InputError` where the folder is not a run folder or a file in it is not what it
    should be.
    """
    run = load_run(run_folder)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=number, quantity=quantity, percent=percent)
    shown, path = view(run), run.folder / "report.html"
    for table in shown["tables"]:
        write_csv(run.folder / "report" / f"{table['name']}.csv", table["rows"])
    if shown["config"]:
        write_atomic(run.folder / "report" / "run.toml", shown["config"])
    write_atomic(path, templates.get_template("report.html").render(shown))
    return path


def load_run(folder):
    """Read a run folder. Raises :class:`InputError` for a folder or a file of another kind."""
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    names = (
        "config.json",
        *(f"{name}.json" for name in FILES),
        *(f"{stage}/records.jsonl" for stage in RECORDS),
    )
    if not any((folder / name).exists() for name in names):
        raise InputError(f"{folder}: not a run folder: it has none of {', '.join(names)}")
    readers = (profile.load, Scenario.load, Problem.load, Allocation.load, _validation)
    paths = {name: folder / f"{name}.json" for name in FILES}
    files = {
        name: read(path) if path.exists() else None
        for (name, path), read in zip(paths.items(), readers, strict=True)
    }
    if files["problem"] and files["allocation"]:
        certify(files["problem"], files["allocation"])  # refuses files of two different runs
    config = _schema(folder / "config.json", "run/1") if (folder / "config.json").exists() else None
    baselines = read_json(folder / "baselines.json") if (folder / "baselines.json").exists() else []
    if not isinstance(baselines, list):
        raise InputError(
            f"{folder / 'baselines.json'}: found {type(baselines).__name__}; allowed: a list, one entry for each solver"
        )
    records = {stage: _records(folder / stage / "records.jsonl") for stage in RECORDS}
    missing = [
        f"{what} ({stage}/records.jsonl)" for stage, what in RECORDS.items() if not records[stage]
    ]
    missing += [f"{what} ({name}.json)" for name, what in FILES.items() if files[name] is None]
    return Run(folder, config, **files, records=records, baselines=baselines, missing=missing)


def _schema(path, schema):
    content = read_json(path)
    found = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if found != schema:
        raise InputError(f"{path}: schema: found {found!r}; allowed: {schema!r}")
    return content


def _validation(path):
    content = _schema(path, "validation/1")
    need(str(path), content, ("users", "totals", "median_absolute_error", "coverage", "notes"))
    return content


def _records(path):
    """The records of one stage, read only; of lines with the same id the last. A torn last line is
    what ``kill -9`` leaves: no record.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    records = {}
    for index, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: line {index}: not valid JSON: {error}") from None
        need(f"{path}: line {index}", record, ("asked", "measured", "image"))
        records[record.get("id", index)] = record
    return list(records.values())
