"""A run folder: which file holds what, each read and written by its type.

::

    config.json  profiles.json  scenario.json  problem.json  allocation.json  baselines.json
    serving.json  validation.json  report.html  report/  threads-PLACE.json  link.json  models.json
    calibration/  records.jsonl  images/  failures.jsonl  batches.json  features.npz  reference.npz
    execution/    records.jsonl  images/  failures.jsonl  tasks.json

A stage reads what earlier ones left here and writes its own files, so a killed run goes on where it
was.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from calibration.profiles.profile import Profiles
from calibration.records.record import Record, as_of
from calibration.records.task import Task
from calibration.scenario.scenario import Scenario
from calibration.schema import Schema, plain
from calibration.serving.serving import Serving
from calibration.validation.validation import Validation
from solver.allocation import Allocation
from solver.certificate import certify
from solver.inputs import InputError, read_json, write_json
from solver.problem import Problem
from testbed.config import Config
from testbed.link.probe import LinkCheck
from testbed.runs import guard
from testbed.runs.damaged import unless_damaged
from testbed.runs.failures import Failure, FailureLog
from testbed.runs.features import NAME as FEATURES
from testbed.runs.features import SweepFeatures
from testbed.runs.lock import FolderLock, lock
from testbed.runs.products import FILES, SHOWN, Baseline, Product, TaskList, remedy
from testbed.runs.store import Pixels, RecordStore, read_image, read_records

Stage = Literal["calibration", "execution"]
T = TypeVar("T")
S = TypeVar("S", bound=Schema)


class RunFolder:
    """The files of one run in the folder ``path``; each is None where the run has none yet.

    :meth:`open` gives a folder to write in, :meth:`read` one to read from.
    """

    def __init__(self, path: str | Path, held: FolderLock | None = None) -> None:
        self.path = Path(path)
        self._held = held

    @classmethod
    def open(cls, config: Config, path: str | Path) -> Self:
        """Make or reopen the folder of a run of ``config``, and lock it for this process.

        Raises :class:`InputError` for what :func:`testbed.runs.guard.check` refuses, and where
        another process runs in it.
        """
        guard.check(config, Path(path))
        folder = cls(path, lock(Path(path)))
        guard.check(config, folder.path)  # another run may have begun between the two lines above
        if folder._held:
            guard.sweep_parts(folder.path)
            write_json(folder.path / guard.CONFIG, plain(config.to_dict()))
        return folder

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The folder of a run, finished or not, to read from.

        Raises :class:`InputError` for a folder of another kind, and for a problem and an allocation
        of two different runs.
        """
        folder = cls(Path(path).resolve())
        if not folder.path.is_dir():
            raise InputError(f"{folder.path}: no such folder")
        names = (guard.CONFIG, *(FILES[kind].name for kind in SHOWN), *guard.RECORDS)
        if not any((folder.path / name).exists() for name in names):
            raise InputError(f"{folder.path}: not a run folder: it has none of {', '.join(names)}")
        problem, allocation = folder.problem(), folder.allocation()
        if problem and allocation:
            certify(problem, allocation)
        return folder

    def lock(self) -> Self:
        """This folder, locked for this process; raises :class:`InputError` where another has it."""
        self._held = lock(self.path)
        return self

    @property
    def report_path(self) -> Path:
        """Where the report is written."""
        return self.path.resolve() / "report.html"

    @property
    def reference_path(self) -> Path:
        """Where the edge's converged images are kept as reference, for a place measured alone."""
        return self.path / "calibration" / "reference.npz"

    def config(self) -> Config | None:
        """The configuration."""
        return self._load(Config)

    def profiles(self) -> Profiles | None:
        """What was measured of each place, and the curves fitted to it."""
        return self._load(Profiles)

    def scenario(self) -> Scenario | None:
        """Who asks for what, and what counts."""
        return self._load(Scenario)

    def problem(self) -> Problem | None:
        """The allocation problem."""
        return self._load(Problem)

    def allocation(self) -> Allocation | None:
        """Where each user is served, and with how many steps."""
        return self._load(Allocation)

    def serving(self) -> Serving | None:
        """How the offloaded users were served in batches."""
        return self._load(Serving)

    def validation(self) -> Validation | None:
        """The predictions held against what was measured."""
        return self._load(Validation)

    def need(self, kind: type[T]) -> T:
        """What the file of a ``kind`` of product holds.

        Raises :class:`InputError` where there is none, and says what to do.
        """
        product = self._load(kind)
        if product is None:
            file = FILES[kind]
            said = f"{self.path}: {file.name} ({file.what}) is missing"
            raise InputError(f"{said}; {remedy(kind, self.path)}")
        return product

    def baselines(self) -> tuple[Baseline, ...]:
        """What each method comes to on the problem."""
        return self._rows("baselines.json", Baseline)

    def features(self) -> SweepFeatures | None:
        """What the calibration extracted of its images and of the reference."""
        path = self.path / FEATURES
        return SweepFeatures.load(path) if path.exists() else None

    def save(self, product: Product) -> None:
        """Write a product's file, in place of an earlier one; other profiles have no verdicts."""
        path = self._path(type(product))
        if isinstance(product, (Problem, Allocation)):
            product.save(path)
        elif isinstance(product, Profiles):
            self._replace(path, product.to_dict())
        else:
            write_json(path, product.to_dict())

    def _replace(self, path: Path, values: dict[str, Any]) -> None:
        """Write a file; where it was another one, what was judged by it is removed."""
        before = path.read_bytes() if path.exists() else None
        write_json(path, values)
        if before != path.read_bytes():
            self._forget_verdicts()

    def _forget_verdicts(self) -> None:
        for path in (self._path(Validation), self.report_path):
            path.unlink(missing_ok=True)

    def adopt(self, problem: Problem, allocation: Allocation) -> None:
        """Write a problem and its allocation; what was made of another one is removed, but for
        images and their records, which :meth:`of_allocation` tells apart.
        """
        before = unless_damaged(self.problem, self._path(Problem))
        old = unless_damaged(self.allocation, self._path(Allocation))
        same = before is not None and before.to_dict() == problem.to_dict()
        if not same:
            (self.path / "baselines.json").unlink(missing_ok=True)
        choice = attrgetter("offload", "steps", "edge_steps")
        if not same or old is None or choice(old) != choice(allocation):
            self._forget_verdicts()
        scenario = unless_damaged(self.scenario, path := self._path(Scenario))
        if scenario is not None and len(scenario.users) != problem.users:
            path.unlink()
        self.save(problem)
        self.save(allocation)

    def save_baselines(self, baselines: Iterable[Baseline]) -> None:
        """Write ``baselines.json``."""
        write_json(self.path / "baselines.json", [baseline.to_dict() for baseline in baselines])

    def add_link(self, check: LinkCheck) -> None:
        """Add what an emulated link was measured to do to ``link.json``."""
        path = self.path / "link.json"
        rows = (*(unless_damaged(self.links, path) or ()), check)
        write_json(path, [row.to_dict() for row in rows])

    def links(self) -> tuple[LinkCheck, ...]:
        """What the emulated link did, at each opening of the run, in their order."""
        return self._rows("link.json", LinkCheck)

    def _rows(self, name: str, kind: type[S]) -> tuple[S, ...]:
        """What the file ``name`` lists; nothing where it is not there."""
        path = self.path / name
        rows = read_json(path) if path.exists() else []
        if not isinstance(rows, list):
            raise InputError(f"{path}: found {type(rows).__name__}; allowed: a list")
        return tuple(kind.from_dict(row, f"{path}: [{i}]") for i, row in enumerate(rows))

    def save_features(self, features: SweepFeatures) -> None:
        """Write ``calibration/features.npz``."""
        features.save(self.path / FEATURES)

    def once(self, name: str, kind: type[S], asked: Mapping[str, Any], make: Callable[[], S]) -> S:
        """What the file ``name`` holds, of a ``kind`` with a field ``asked``; made by ``make``
        unless it was made of the same before, or if it is damaged.
        """
        path = self.path / name

        def kept() -> S | None:
            values = read_json(path) if path.exists() else {}
            other = isinstance(values, dict) and values.get("asked") != plain(asked)
            return None if other else kind.from_dict(values, str(path))

        if (product := unless_damaged(kept, path)) is not None:
            return product
        write_json(path, make().to_dict())
        return kind.from_dict(read_json(path), str(path))

    def records(self, stage: Stage) -> list[Record]:
        """The records of a stage; nothing is locked or cut."""
        return read_records(self.path / stage / "records.jsonl")

    def store(self, stage: Stage) -> RecordStore:
        """The records of a stage, to add to."""
        return RecordStore(self.path / stage)

    def failures(self, *stages: Stage) -> list[Failure]:
        """The images of ``stages`` that could not be made."""
        logs = [FailureLog(self.path / stage) for stage in stages]
        return [failure for log in logs for failure in log.failures()]

    def image_path(self, stage: Stage, record: Record) -> Path:
        """Where the image of a stage's record lies."""
        return self.path / stage / str(record.image)

    def image(self, stage: Stage, record: Record) -> Pixels:
        """The image of a stage's record, shape (height, width, 3)."""
        return read_image(self.image_path(stage, record))

    def save_tasks(self, tasks: Iterable[Task]) -> None:
        """Write ``execution/tasks.json``: which tasks carry out the allocation."""
        self._replace(self.tasks_path, TaskList(tuple(task.id for task in tasks)).to_dict())

    def executed(self) -> list[Record]:
        """The records of the allocation's execution, in the order of its tasks.

        Raises :class:`InputError` where it was not executed, or not to its end.
        """
        ids = self.asked()
        if ids is None:
            raise InputError(f"{self.tasks_path}: no such file; `testbed execute` makes it")
        records = {record.id: record for record in self.records("execution")}
        if missing := sum(key not in records for key in ids):
            raise InputError(
                f"{self.path}: {missing} of {len(ids)} images are missing; "
                "`testbed execute` makes them"
            )
        executed = [records[key] for key in ids]
        return as_of([record.task for record in executed], executed)

    def of_allocation(self) -> list[Record]:
        """The records of the last allocation's execution that there are, without those of earlier
        ones in the same folder.
        """
        asked, records = self.asked(), self.records("execution")
        ids = None if asked is None else set(asked)
        return [record for record in records if ids is None or record.id in ids]

    @property
    def tasks_path(self) -> Path:
        """Where the ids of the tasks that carry out the allocation are kept."""
        return self.path / "execution" / "tasks.json"

    def asked(self) -> tuple[str, ...] | None:
        """The ids of the tasks that carry out the allocation, where it was begun."""
        path = self.tasks_path
        return TaskList.from_dict(read_json(path), str(path)).tasks if path.exists() else None

    def _load(self, kind: type[T]) -> T | None:
        path = self._path(kind)
        return FILES[kind].load(path) if path.exists() else None

    def _path(self, kind: type) -> Path:
        return self.path / FILES[kind].name
