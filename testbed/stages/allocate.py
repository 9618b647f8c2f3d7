"""The allocation: the problem of profiles and a scenario, its optimum, and other methods."""

import solver
from calibration.profiles.profile import Profiles
from calibration.scenario.problem import to_problem
from solver.allocation import Allocation
from solver.inputs import InputError
from solver.problem import Problem
from testbed.config import Config
from testbed.data.prompts import open_prompts
from testbed.runs.folder import RunFolder
from testbed.runs.products import Baseline
from testbed.stages.tasks import run_scenario


def allocate(
    config: Config,
    folder: RunFolder,
    method: str = "exact",
    given: Problem | None = None,
    solved: Allocation | None = None,
) -> None:
    """Make the problem of the folder's profiles and the configuration's scenario, and solve it.

    ``method``: as :func:`solver.solve` takes it; ``given``: a problem in place of that one, and its
    allocation where it is ``solved`` already. Writes ``scenario.json``, ``problem.json``,
    ``allocation.json`` and ``baselines.json``.
    """
    scenario = run_scenario(config, open_prompts(config.prompts), given)
    problem = to_problem(folder.need(Profiles), scenario) if given is None else given
    allocation = solved or solver.solve(problem, method)
    folder.save(scenario)
    folder.adopt(problem, allocation)
    methods = [allocation]
    for name in solver.METHODS:
        # milp is the exact solver's oracle in the tests; many identical users make it slow
        if name not in (method, "milp"):
            try:
                methods.append(solver.solve(problem, name))
            except InputError:  # e.g. all_local where only the edge can serve some users
                continue
    folder.save_baselines(map(Baseline.of, methods))
