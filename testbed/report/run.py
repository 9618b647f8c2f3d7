"""What a report is made of: the files of a run folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calibration.profiles.profile import Profiles
from calibration.records.record import Record
from calibration.scenario.scenario import Scenario
from calibration.validation.validation import Validation
from solver import Allocation, InputError, Problem
from testbed.config import Config
from testbed.runs.folder import RunFolder, Stage
from testbed.runs.products import FILES, SHOWN, Baseline, remedy
from testbed.stages.checks import check_users


@dataclass(frozen=True)
class Run:
    """What a run folder holds, each None or empty where the run has not come to it."""

    folder: RunFolder
    config: Config | None
    profiles: Profiles | None
    scenario: Scenario | None
    problem: Problem | None
    allocation: Allocation | None
    validation: Validation | None
    baselines: Sequence[Baseline]
    calibration: Sequence[Record]
    execution: Sequence[Record]
    missing: Sequence[str]

    @classmethod
    def read(cls, path: str | Path) -> "Run":
        """Read a run folder; raises :class:`InputError` for one of another kind, and for files
        that do not belong together.
        """
        folder = RunFolder.read(path)
        scenario, allocation = folder.scenario(), folder.allocation()
        if scenario and allocation and len(scenario.users) != len(allocation.offload):
            raise InputError(
                f"{folder.path / 'scenario.json'}: users: found {len(scenario.users)}; "
                f"allowed: {len(allocation.offload)}, as in allocation.json (`testbed allocate` "
                "makes both)"
            )
        problem = folder.problem()
        if scenario and problem:
            check_users(problem, scenario)
        return cls(
            folder,
            folder.config(),
            folder.profiles(),
            scenario,
            problem,
            allocation,
            folder.validation(),
            folder.baselines(),
            folder.records("calibration"),
            folder.of_allocation(),
            missing(folder),
        )

    def classes(self) -> list[str]:
        """The prompt classes, in the order in which they are swept."""
        names = [record.task.prompt_class for record in self.calibration]
        for place in self.profiles.places if self.profiles else ():
            names += [profile.prompt_class for profile in place.classes]
        names += [user.prompt_class for user in self.scenario.users] if self.scenario else []
        names += (self.problem and self.problem.labels or {}).get("prompt_class", [])
        return list(dict.fromkeys(names)) or ["all users"]


def missing(folder: RunFolder) -> list[str]:
    """What a report shows and the run has not produced yet, in words, with what makes it."""
    stages: tuple[tuple[Stage, str], ...] = (("calibration", "calibrate"), ("execution", "execute"))
    absent = [
        f"{stage} records ({stage}/records.jsonl): `testbed {verb}` makes them"
        for stage, verb in stages
        if not folder.records(stage)
    ]
    return absent + [
        f"{FILES[kind].what} ({FILES[kind].name}): {remedy(kind, folder.path)}"
        for kind in SHOWN
        if not (folder.path / FILES[kind].name).exists()
    ]
