"""A whole run: its stages one after the other, on one folder."""

from pathlib import Path

from solver.methods import find_method
from solver.problem import Problem
from testbed.config import Config
from testbed.runs import guard
from testbed.stages.checks import check_calibration, check_problem, check_scenario


def check(
    config: Config, out: str | Path, method: str = "exact", problem: Problem | None = None
) -> None:
    """Raise :class:`InputError` for a configuration that cannot be run, or a folder of something
    else; nothing is opened or fetched for it, and torch is not loaded.

    ``method`` and ``problem``: as :func:`testbed.stages.allocate.allocate` takes them.
    """
    out = Path(out)
    guard.check(config, out)
    check_calibration(config, out=out)
    if problem is None:
        check_scenario(config, out)
    else:
        check_problem(config, problem, out)
    find_method(method)


def run(
    config: Config, out: str | Path, method: str = "exact", problem: Problem | None = None
) -> Path:
    """Calibrate, allocate, execute, serve in batches, validate, report; returns the report's path.

    ``method`` and ``problem``: as :func:`testbed.stages.allocate.allocate` takes them.
    Where images of users failed, the report shows the others, and nothing is validated. A run that
    was stopped goes on where it was. Raises :class:`InputError`, before anything is
    measured, for a configuration that cannot be run, or a folder of something else.
    """
    check(config, out, method, problem)
    # these load torch: only for a configuration that can be run
    from testbed.processes import on_first_process
    from testbed.report.page import write_report
    from testbed.stages.allocate import allocate
    from testbed.stages.batch import batch
    from testbed.stages.calibrate import calibrate
    from testbed.stages.execute import execute
    from testbed.stages.rig import Rig, allocatable_steps, open_folder
    from testbed.stages.validate import validate

    rig = Rig(config, steps=allocatable_steps(config))
    folder = open_folder(config, out)
    calibrate(rig, folder)
    on_first_process(lambda: allocate(config, folder, method, problem))
    if execute(rig, folder):
        batch(rig, folder)
        validate(config, rig.quality, folder)
    else:
        on_first_process(lambda: (folder.path / "validation.json").unlink(missing_ok=True))
        print("the users' images are not complete: nothing is compared with predictions")
    on_first_process(lambda: write_report(folder.path))
    return folder.report_path
