"""The reader of ``profiles/1``; see :mod:`calibration.profiles.profile`."""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, ClassVar, TypeVar

from calibration.checks import shown
from calibration.costs.batch import BatchCost, CallCost, Ratio, Throughput
from calibration.costs.energy import EnergyFit
from calibration.costs.metering import Power
from calibration.costs.time import TimeFit
from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.profiles.class_test import ClassDifference
from calibration.profiles.profile import ClassProfile, DistancePoint, Metrics, Place, Profiles
from calibration.records.scale import Scales
from calibration.schema import Schema, frozen, limits
from calibration.sweep.outcome import SweepOutcome, SweepRound, SweepWidth
from solver.inputs import InputError
from solver.problem import PLACES

SCHEMA = "profiles/1"
# Fields that the first files of the format did not have, by part of an entry.
_ADDED: dict[str, dict[str, Any]] = {
    "time": {"lack_of_fit": None},
    "error": {"misfit": 0.0},
    "utility": {"misfit": 0.0},
}
T = TypeVar("T", bound=Schema)


def read(values: object, where: str) -> Profiles:
    """The profiles in the JSON object of a ``profiles/1`` file.

    A place's sweep has neither rounds nor evaluations if the file tells their sums over two places.
    Raises :class:`InputError` naming ``where`` for a missing or wrong field, and where a place's
    entries differ in what belongs to the place.
    """
    file = _File.from_dict(_with_added(values), where)
    try:
        places = tuple(
            _place(place, file)
            for place in PLACES
            if any(entry.place == place for entry in file.profiles)
        )
        return Profiles(environment=file.environment, metrics=file.metrics, places=places)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


@frozen
class _Time(TimeFit):
    wander: float = limits(least=0, default=0.0)


@frozen
class _Error(CurveFit):
    unit: float = limits(above=0)


@frozen
class _Utility(CurveFit):
    floor: float
    ceiling: float


@frozen
class _Scores(Schema):
    points: tuple[CurvePoint, ...]


@frozen
class _Distances(Schema):
    points: tuple[DistancePoint, ...] = ()
    note: str | None = None


@frozen
class _Batching(CallCost):
    """The cost of an iteration, and of the rest."""

    throughput: tuple[Throughput, ...]
    cap: int
    gain: Ratio
    verdict: str
    text: CallCost
    decode: CallCost
    memory: float | None


@frozen
class _Entry(Schema):
    place: str = limits(choices=PLACES)
    model: str
    device: str
    dtype: str
    prompt_class: str
    time: _Time
    power: Power
    error: _Error
    utility: _Utility
    clip_score: _Scores
    frechet: _Distances
    energy: EnergyFit | None = None
    kid: _Distances = field(default_factory=_Distances)
    cmmd: _Distances = field(default_factory=_Distances)
    batching: _Batching | None = None
    batching_note: str | None = None
    environment: Mapping[str, Any] | None = None


@frozen
class _ClassDifference(ClassDifference):
    place: str


@frozen
class _Width(SweepWidth):
    place: str


@frozen
class _Plan(Schema):
    target: float
    rounds: tuple[SweepRound, ...]
    evaluations: int
    uniform_evaluations: int
    widths: tuple[_Width, ...]


@frozen
class _File(Schema):
    SCHEMA: ClassVar[str] = SCHEMA

    environment: Mapping[str, Any]
    metrics: Metrics
    profiles: tuple[_Entry, ...] = limits(empty=False)
    class_differences: tuple[_ClassDifference, ...] = ()
    plan: _Plan | None = None


def _with_added(values: object) -> object:
    """The file with the fields that were added to the format later."""
    if not isinstance(values, dict) or not isinstance(values.get("profiles"), list):
        return values
    entries = [
        {
            **entry,
            **{
                part: {**added, **entry[part]}
                for part, added in _ADDED.items()
                if isinstance(entry.get(part), dict)
            },
        }
        if isinstance(entry, dict)
        else entry
        for entry in values["profiles"]
    ]
    return {**values, "profiles": entries}


def _place(place: str, file: _File) -> Place:
    entries = {index: entry for index, entry in enumerate(file.profiles) if entry.place == place}
    first = next(iter(entries.values()))
    for index, entry in entries.items():
        for name in ("model", "device", "dtype", "environment", "batching"):
            if getattr(entry, name) != getattr(first, name):
                raise InputError(
                    f"profiles[{index}].{name}: found {shown(getattr(entry, name))}; "
                    f"allowed: as in the other classes of {place}"
                )
    same = first.environment is None or first.environment == file.environment
    return Place(
        place=place,
        model=first.model,
        device=first.device,
        dtype=first.dtype,
        speed_sd=first.time.wander,
        classes=tuple(_class_profile(index, entry) for index, entry in entries.items()),
        batch=None if first.batching is None else _batch(first.batching),
        batch_note=first.batching_note,
        sweep=_outcome(place, file.plan),
        class_differences=tuple(
            _part(ClassDifference, row) for row in file.class_differences if row.place == place
        ),
        environment=None if same else first.environment,
    )


def _class_profile(index: int, entry: _Entry) -> ClassProfile:
    try:
        scales = Scales.of(entry.error.unit, entry.utility.floor, entry.utility.ceiling)
    except InputError:
        floor, ceiling = entry.utility.floor, entry.utility.ceiling
        raise InputError(
            f"profiles[{index}].utility.ceiling: found {ceiling}; allowed: a number above {floor:g}"
        ) from None
    return ClassProfile(
        prompt_class=entry.prompt_class,
        time=_part(TimeFit, entry.time),
        power=entry.power,
        energy=entry.energy,
        scales=scales,
        error=_part(CurveFit, entry.error),
        utility=_part(CurveFit, entry.utility),
        clip_score=entry.clip_score.points,
        frechet=entry.frechet.points,
        kid=entry.kid.points,
        cmmd=entry.cmmd.points,
    )


def _batch(batching: _Batching) -> BatchCost:
    rest = {
        entry.name: getattr(batching, entry.name)
        for entry in fields(BatchCost)
        if entry.name != "tick"
    }
    return BatchCost(tick=_part(CallCost, batching), **rest)


def _outcome(place: str, plan: _Plan | None) -> SweepOutcome | None:
    if plan is None or not any(row.place == place for row in plan.widths):
        return None
    alone = all(row.place == place for row in plan.widths)
    return SweepOutcome(
        target=plan.target,
        rounds=plan.rounds if alone else (),
        evaluations=plan.evaluations if alone else None,
        uniform_evaluations=plan.uniform_evaluations if alone else None,
        widths=tuple(_part(SweepWidth, row) for row in plan.widths if row.place == place),
    )


def _part(cls: type[T], value: T) -> T:
    """The ``cls`` that ``value``, an instance of a subclass, extends."""
    return cls(**{entry.name: getattr(value, entry.name) for entry in fields(cls)})
