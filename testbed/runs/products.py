"""The products of a run's stages: the file of each, how it is read, and the verb that writes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from calibration.profiles import store as profiles_store
from calibration.profiles.profile import Profiles
from calibration.scenario.scenario import Scenario
from calibration.schema import Schema, frozen
from calibration.serving.serving import Serving
from calibration.validation.validation import Validation
from solver.allocation import Allocation
from solver.inputs import read_json
from solver.problem import Problem
from testbed.config import Config, from_dict
from testbed.runs import guard

Product = Profiles | Scenario | Problem | Allocation | Serving | Validation


class ProductFile(NamedTuple):
    """A file's ``name``, ``what`` it holds in words, and the ``verb`` that writes it."""

    name: str
    load: Callable[[Path], Any]
    what: str
    verb: str


def _config(path: Path) -> Config:
    return from_dict(guard.read_config(path.parent), str(path))


def _schema(kind: type[Schema]) -> Callable[[Path], Schema]:
    return lambda path: kind.from_dict(read_json(path), str(path))


FILES: dict[type, ProductFile] = {
    Config: ProductFile(guard.CONFIG, _config, "configuration", "calibrate"),
    Profiles: ProductFile("profiles.json", profiles_store.load, "fitted profiles", "calibrate"),
    Scenario: ProductFile("scenario.json", Scenario.load, "scenario", "allocate"),
    Problem: ProductFile("problem.json", Problem.load, "problem", "allocate"),
    Allocation: ProductFile("allocation.json", Allocation.load, "allocation", "allocate"),
    Serving: ProductFile("serving.json", _schema(Serving), "users served in batches", "batch"),
    Validation: ProductFile(
        "validation.json",
        _schema(Validation),
        "predictions held against measurements",
        "validate",
    ),
}


def remedy(kind: type, folder: Path) -> str:
    """What to do where the file of a ``kind`` of product is missing; the scenario of a problem from
    elsewhere is elsewhere too.
    """
    if kind is Config and guard.has_measured(folder):
        return guard.way_out(folder)
    if kind is Scenario and (folder / FILES[Problem].name).exists():
        return "`testbed validate --scenario SCENARIO` makes it"
    return f"`testbed {FILES[kind].verb}` makes it"


#: The products that a report shows, beside records.
SHOWN = (Profiles, Scenario, Problem, Allocation, Validation)


@frozen
class Baseline(Schema):
    """What a method comes to on the run's problem.

    ``time`` in s and ``energy`` in J are sums, ``error`` and ``utility`` means over the users.
    """

    solver: str
    objective: float
    time: float
    energy: float
    error: float
    utility: float
    edge_steps_used: int

    @classmethod
    def of(cls, allocation: Allocation) -> Self:
        """What an allocation comes to."""
        return cls(**{name: getattr(allocation, name) for name in cls.__dataclass_fields__})


@frozen
class TaskList(Schema):
    """The ids of the ``tasks`` that carry out an allocation, in their order."""

    tasks: tuple[str, ...]
