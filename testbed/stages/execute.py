"""The execution of an allocation: every user's images at its place with its steps."""

from solver.allocation import Allocation
from solver.problem import Problem
from testbed.processes import on_first_process
from testbed.runs.damaged import unless_damaged
from testbed.runs.folder import RunFolder
from testbed.stages.rig import Rig
from testbed.stages.tasks import check_calibrated, user_tasks


def execute(rig: Rig, folder: RunFolder) -> bool:
    """Generate the images of the folder's allocation; writes records, images and their list.

    Returns whether all of them were made. Raises :class:`InputError` for models that are not those
    that the folder has calibrated.
    """
    check_calibrated(folder.records("calibration"), rig.specs, folder.path)
    allocation, problem = folder.need(Allocation), folder.need(Problem)
    unless_damaged(folder.asked, folder.tasks_path)  # what is left of it says nothing
    before = {record.id for record in folder.of_allocation()}
    tasks = user_tasks(rig.config, rig.prompts, rig.specs, allocation, problem, before)
    on_first_process(lambda: folder.save_tasks(tasks))
    rig.check_contents(folder)
    rig.choose_threads(folder)
    rig.check_link(folder)
    return len(rig.executor.run(tasks, folder.store("execution"), "execute")) == len(tasks)
