"""The report of a run: one self-contained HTML file that is understood in a minute.

It is made from the files of the run folder alone, so it can be made on another machine from a copy.
What the run has not done yet is left out and named, and a value that was not measured is shown as
such.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from calibration.comparison import Total
from calibration.profiles.profile import Metrics
from calibration.records.task import POINTS
from calibration.scenario.problem import Units, to_problem, units
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from calibration.validation.validation import Validation
from solver import Allocation, Problem
from solver.inputs import write_atomic
from testbed.config import defaults
from testbed.report import mlperf, notices, setup
from testbed.report.agreement import AGREEMENT, AgreementPanel, agreement
from testbed.report.allocation import (
    AllocatedUser,
    AllocationPanel,
    ComparedBaseline,
    allocated_users,
    allocation_panels,
    compared_baselines,
)
from testbed.report.curves import fits as fit_tables
from testbed.report.curves import sweeps
from testbed.report.curves.batching import BatchPanel, batching
from testbed.report.curves.equal_time import EqualTime, equal_time
from testbed.report.curves.panels import Curves, curves
from testbed.report.curves.quantities import PLACES, cells, shown_quantities
from testbed.report.format import Table, number, percent, quantity, toml
from testbed.report.gallery import Strip, generated, strips
from testbed.report.judgements import Judgements
from testbed.report.network import Network, network
from testbed.report.run import Run
from testbed.tables import write_csv


@dataclass(frozen=True)
class View:
    """Everything that the templates show, by the names that they use.

    ``given``: the problem is not the one of the profiles and the scenario. ``edge_budget``: of all
    edges; ``limits``: name, what is used, and budget of each. ``path``: the folder, as a shell
    takes it; ``repeat``: the command that runs it again. ``without_utility``: the prompt classes
    whose utility is left out; ``has_utility``: are there others?
    """

    name: str
    missing: Sequence[str]
    places: Mapping[str, str]
    verdicts: Judgements | None
    samples: Sequence[setup.SampleRow]
    samples_table: Table
    models: Sequence[setup.ModelRow]
    calibration_images: int
    execution_images: int
    other_images: int
    bases: Sequence[setup.BasisRow]
    devices: Sequence[setup.DeviceRow]
    scenario: Scenario | None
    units: Units | None
    metrics: Metrics | None
    left_out: Sequence[str]
    has_utility: bool
    without_utility: Sequence[str]
    defaulted: Sequence[str]
    curves: Sequence[Curves]
    equal_time: EqualTime
    fits: Sequence[fit_tables.FitRow]
    families: Sequence[fit_tables.FamilyRow]
    energy: Sequence[fit_tables.EnergyRow]
    batching: Sequence[BatchPanel]
    sweep: sweeps.Sweep | None
    class_differences: Sequence[sweeps.PlaceDifference]
    frechet_notes: Sequence[str]
    mlperf_notes: Sequence[str]
    users: Sequence[AllocatedUser]
    problem: Problem | None
    given: bool
    edge_budget: int
    limits: Sequence[tuple[str, float, int]]
    allocation: Allocation | None
    allocation_panels: Sequence[AllocationPanel]
    baselines: Sequence[ComparedBaseline]
    validation: Validation | None
    totals: Sequence[Total]
    worst_first: Sequence[Total]
    agreement: Sequence[AgreementPanel]
    agreement_names: Mapping[str, tuple[str, str]]
    network: Network | None
    strips: Sequence[Strip]
    environment: Mapping[str, Any]
    config: str | None
    path: str
    repeat: str

    def tables(self) -> list[Table]:
        """The tables that become CSV files."""
        panels = [
            *(panel for row in self.curves for panel in row.panels),
            *self.batching,
            *self.allocation_panels,
            *self.equal_time.panels,
            *self.agreement,
        ]
        if self.network and self.network.panel:
            panels.append(self.network.panel)
        splits = [row.columns() for panel in self.equal_time.panels for row in panel.splits]
        tables = [*(panel.table for panel in panels), self.samples_table]
        tables.append(Table("splits", splits, splits))
        return [table for table in tables if table.rows]


def write_report(run_folder: str | Path) -> Path:
    """Write ``report.html`` into a run folder, complete or not; return its path.

    Beside it, ``report/*.csv`` hold the numbers of each plot and ``report/run.toml`` the
    configuration, from which to run it again. Raises :class:`InputError` where the folder is not a
    run folder or a file in it is not what it should be.
    """
    run = Run.read(run_folder)
    page, folder = view(run), run.folder.path
    names = {f"{table.name}.csv" for table in page.tables()}
    for path in (folder / "report").glob("*.csv"):
        if path.name not in names:  # of an earlier state of the run
            path.unlink()
    for table in page.tables():
        write_csv(folder / "report" / f"{table.name}.csv", table.rows)
    if page.config:
        write_atomic(folder / "report" / "run.toml", _utf8(page.config))
    write_atomic(run.folder.report_path, _utf8(render(page)))
    return run.folder.report_path


def render(page: View) -> str:
    """The HTML of a page."""
    return _templates().get_template("report.html").render(vars(page))


@cache
def _templates() -> Environment:
    """The templates, which are compiled once."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=number, quantity=quantity, percent=percent)
    return templates


def _utf8(text: str) -> bytes:
    """JSON can hold half of a surrogate pair, and UTF-8 cannot."""
    return text.encode("utf-8", "replace")


def view(run: Run) -> View:
    """What the page of a run shows."""
    profiles, scenario, validation = run.profiles, run.scenario, run.validation
    classes = run.classes()
    measured = cells(profiles, classes)
    on_edge = [cell.profile for cell in measured if cell.place == "edge"]
    served = sites(profiles, scenario) if profiles and scenario else []
    users = _users(run, classes)
    totals = validation.totals if validation else ()
    without = {cell.prompt_class for cell in measured if cell.profile.utility is None}
    samples, samples_table = setup.samples(measured, run.calibration)
    of_users = [record for record in run.execution if record.task.purpose == "user"]
    shown = sum(len(user.images) for user in users)
    problem, allocation, path = run.problem, run.allocation, _near(run.folder.path)
    given = False
    if problem and profiles and scenario:
        given = problem.to_dict() != to_problem(profiles, scenario).to_dict()
    budgets = problem.budgets if problem else {}
    used = (allocation.used if allocation else None) or {}
    return View(
        name=run.folder.path.name,
        missing=run.missing,
        places=PLACES,
        verdicts=Judgements.of(validation, profiles),
        samples=samples,
        samples_table=samples_table,
        models=setup.models(run.calibration, run.execution),
        calibration_images=sum(record.task.purpose in POINTS for record in run.calibration),
        execution_images=shown,
        other_images=len(of_users) - shown,
        bases=setup.bases(served, measured),
        devices=setup.devices(served, users, scenario),
        scenario=scenario,
        units=units(profiles, scenario) if profiles and scenario else None,
        metrics=profiles.metrics if profiles else None,
        has_utility=not profiles or without < profiles.classes(),
        without_utility=sorted(without),
        left_out=notices.left_out(profiles, run.config),
        defaulted=defaults.told(run.config) if run.config else [],
        curves=[curves(measured, quantity) for quantity in shown_quantities(measured)],
        equal_time=equal_time(measured, served, profiles),
        fits=fit_tables.fits(measured),
        families=fit_tables.families(measured),
        energy=fit_tables.energy(measured),
        batching=batching(profiles) if profiles else [],
        sweep=sweeps.sweep(profiles) if profiles else None,
        class_differences=sweeps.class_differences(profiles) if profiles else [],
        frechet_notes=setup.frechet_notes(measured, totals),
        mlperf_notes=mlperf.notes(run.calibration, on_edge, profiles.metrics) if profiles else [],
        users=users,
        problem=problem,
        given=given,
        edge_budget=sum(budgets.values()),
        limits=[(name, used[name], budget) for name, budget in budgets.items() if name in used],
        allocation=allocation,
        allocation_panels=allocation_panels(users),
        baselines=compared_baselines(allocation, run.baselines) if allocation else [],
        validation=validation,
        totals=totals,
        worst_first=sorted(totals, key=lambda total: -abs(total.relative_error or 0.0)),
        agreement=agreement(validation) if validation else [],
        agreement_names=AGREEMENT,
        network=network(profiles, scenario, run.calibration, run.execution, run.folder.links()),
        strips=strips(
            run.folder,
            [record for record in run.calibration if not record.task.split],
            {(cell.place, cell.prompt_class): cell.profile.scales.error for cell in measured},
        ),
        environment=_environment(run),
        config=toml(replace(run.config, defaulted=()).to_dict()) if run.config else None,
        path=shlex.quote(str(path)),
        repeat=_repeat(path, allocation, given),
    )


def _near(path: Path) -> Path:
    """A path as seen from here, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _repeat(path: Path, allocation: Allocation | None, given: bool) -> str:
    """The command that runs it again."""
    command = ["testbed", "run", str(path / "report" / "run.toml"), "--out", f"{path}-again"]
    if allocation and allocation.solver != "exact":
        command += ["--solver", allocation.solver]
    if given:
        command += ["--problem", str(path / "problem.json")]
    return shlex.join(command)


def _users(run: Run, classes: Sequence[str]) -> list[AllocatedUser]:
    """The users with the images generated for them."""
    if run.allocation is None:
        return []
    users = allocated_users(
        run.allocation, run.problem, run.scenario, run.validation, run.execution, classes
    )
    return [
        replace(
            user, images=[generated(run.folder, "execution", record) for record in user.records]
        )
        for user in users
    ]


def _environment(run: Run) -> Mapping[str, Any]:
    if run.profiles:
        return run.profiles.environment
    return next((record.environment for record in (*run.calibration, *run.execution)), {})
