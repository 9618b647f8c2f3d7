"""A whole run: its stages one after the other, on one folder."""

from pathlib import Path

from solver.allocation import Allocation
from solver.methods import find_method, solve
from solver.problem import Problem
from testbed.config import Config
from testbed.config.defaults import settle
from testbed.runs import guard
from testbed.stages.checks import check_calibration, check_problem, check_scenario


def check(
    config: Config, out: str | Path, method: str = "exact", problem: Problem | None = None
) -> tuple[Config, Allocation | None]:
    """``config`` with its defaults settled, and the allocation of a ``problem`` of one's own.

    ``method`` and ``problem``: as :func:`testbed.stages.allocate.allocate` takes them. Raises
    :class:`InputError` for a configuration that cannot be run, a folder of something else, and a
    problem that is infeasible, or that the method cannot solve; nothing is opened or fetched for
    it, and torch is not loaded.
    """
    out = Path(out)
    config = settle(config, out)
    guard.check(config, out)
    check_calibration(config, out=out)
    if problem is not None:
        check_problem(config, problem, out)
        return config, solve(problem, method)
    find_method(method)
    check_scenario(config, out)
    return config, None


def run(
    config: Config, out: str | Path, method: str = "exact", problem: Problem | None = None
) -> Path:
    """Calibrate, allocate, execute, serve in batches, validate, report; returns the report's path.

    ``method`` and ``problem``: as :func:`testbed.stages.allocate.allocate` takes them.
    Where images of users failed, the report shows the others, and nothing is validated. A run that
    was stopped goes on where it was. What ``config`` leaves open is settled as
    :func:`testbed.config.defaults.settle` says. Raises :class:`InputError`, before anything is
    measured, for what :func:`check` refuses.
    """
    config, allocation = check(config, out, method, problem)
    # these load torch: only for a configuration that can be run
    from testbed.processes import on_first_process
    from testbed.report.page import write_report
    from testbed.stages.allocate import allocate
    from testbed.stages.batch import batch
    from testbed.stages.calibrate import calibrate
    from testbed.stages.execute import execute
    from testbed.stages.rig import Rig, open_folder, steps_of_users
    from testbed.stages.validate import validate

    rig = Rig(config, steps=steps_of_users(config, allocation))
    folder = open_folder(config, out)
    calibrate(rig, folder)
    on_first_process(lambda: allocate(config, folder, method, problem, allocation))
    if execute(rig, folder):
        batch(rig, folder)
        validate(config, rig.quality, folder)
    else:
        on_first_process(lambda: (folder.path / "validation.json").unlink(missing_ok=True))
        print("the users' images are not complete: nothing is compared with predictions")
    on_first_process(lambda: write_report(folder.path))
    return folder.report_path
