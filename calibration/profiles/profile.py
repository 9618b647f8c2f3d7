"""Profiles: what was measured of each place, and of each prompt class there.

Version history of the file format; :mod:`calibration.profiles.store` reads both.

``profiles/2``: ``places``, each with what belongs to a place (model, batch costs, the spread of its
speed, its sweep's outcome, its class tests) and its ``classes``.

``profiles/1``: one flat list of entries, each of a place and a class, which repeated what belongs
to the place; the outcome of the sweep as the sum over places (``plan``).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from calibration.checks import shown
from calibration.costs.batch import BatchCost
from calibration.costs.energy import EnergyFit
from calibration.costs.metering import Power
from calibration.costs.time import TimeFit
from calibration.costs.transfer import Payload, TransferFit
from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.profiles.class_test import ClassDifference
from calibration.records.scale import Scales
from calibration.records.split import Split
from calibration.schema import Schema, frozen, limits
from calibration.sweep.outcome import SweepOutcome
from solver.inputs import InputError
from solver.problem import PLACES

FRECHET_NOTE = "Comparable only at equal sample size, with the same extractor and reference."


@frozen
class Extrapolated(Schema):
    """A Fréchet distance extrapolated to infinitely many images, and its 95 % interval."""

    value: float
    low: float | None
    high: float | None


@frozen
class DistancePoint(Schema):
    """A distance of ``n`` images with ``steps`` steps to the reference, and its 95 % interval.

    Of a Fréchet distance also: is it ``carried`` by its number of images, or why not (``note``),
    and its extrapolation to ``infinity``, or why there is none (``infinity_note``).
    """

    steps: int = limits(least=1)
    value: float
    low: float | None
    high: float | None
    n: int = limits(least=1)
    carried: bool | None = limits(omit_none=True, default=None)
    note: str | None = limits(omit_none=True, default=None)
    infinity: Extrapolated | None = limits(omit_none=True, default=None)
    infinity_note: str | None = limits(omit_none=True, default=None)


@frozen
class MetricDefinition(Schema):
    """What a metric is: enough to tell whether values measured elsewhere can be compared.

    What a path or a hub id names is also told by its content (``..._sha256``, 12 digits).
    """

    name: str | None = limits(omit_none=True, default=None)
    converged_steps: int | None = limits(omit_none=True, default=None)
    noise: str | None = limits(omit_none=True, default=None)
    model: str | None = limits(omit_none=True, default=None)
    model_sha256: str | None = limits(omit_none=True, default=None)
    prompts: str | None = limits(omit_none=True, default=None)
    prompts_sha256: str | None = limits(omit_none=True, default=None)
    extractor: str | None = limits(omit_none=True, default=None)
    extractor_sha256: str | None = limits(omit_none=True, default=None)
    reference: str | None = limits(omit_none=True, default=None)
    reference_size: int | None = limits(omit_none=True, default=None)
    reference_sha256: str | None = limits(omit_none=True, default=None)
    reference_model: str | None = limits(omit_none=True, default=None)
    interval: str | None = limits(omit_none=True, default=None)


@frozen
class Metrics(Schema):
    """The definitions of a profile's metrics."""

    error: MetricDefinition
    utility: MetricDefinition
    frechet: MetricDefinition = field(default_factory=MetricDefinition)
    kid: MetricDefinition = field(default_factory=MetricDefinition)
    cmmd: MetricDefinition = field(default_factory=MetricDefinition)


@dataclass(frozen=True)
class Distances:
    """Distances of one place and class to the reference, by step count."""

    frechet: tuple[DistancePoint, ...] = ()
    kid: tuple[DistancePoint, ...] = ()
    cmmd: tuple[DistancePoint, ...] = ()


@frozen
class ClassProfile(Schema):
    """What was measured of one prompt class at one place, and the curves fitted to it.

    ``utility``: None where it is left out, for the reason in ``scales.utility_note``.
    ``clip_score``: the mean score, by step count. ``payload``: what an image's request and answer
    weigh, None where no server made it.
    """

    prompt_class: str
    time: TimeFit
    power: Power
    energy: EnergyFit | None
    scales: Scales
    error: CurveFit
    utility: CurveFit | None
    clip_score: tuple[CurvePoint, ...]
    frechet: tuple[DistancePoint, ...] = ()
    kid: tuple[DistancePoint, ...] = ()
    cmmd: tuple[DistancePoint, ...] = ()
    payload: Payload | None = limits(omit_none=True, default=None)

    def __post_init__(self) -> None:
        if (self.utility is None) != (self.scales.utility is None):
            raise InputError("utility: found a curve or a scale alone; allowed: both, or neither")


@frozen
class Place(Schema):
    """A model at a ``place`` (``local`` or ``edge``), and what was measured of it.

    ``speed_sd``: relative standard deviation of the machine's speed from one part of the sweep to
    another. ``batch``: what batches cost; None where they were not timed, with the reason in
    ``batch_note``. ``sweep``: None if the sweep was not adaptive. ``environment``: None if it is
    that of the whole. ``transfer``: what the way to a server takes, None where there is none.
    """

    place: str = limits(choices=PLACES)
    model: str
    device: str
    dtype: str
    speed_sd: float = limits(least=0)
    classes: tuple[ClassProfile, ...] = limits(empty=False)
    batch: BatchCost | None = None
    batch_note: str | None = limits(omit_none=True, default=None)
    sweep: SweepOutcome | None = None
    class_differences: tuple[ClassDifference, ...] = ()
    environment: Mapping[str, Any] | None = limits(omit_none=True, default=None)
    transfer: TransferFit | None = limits(omit_none=True, default=None)

    def __post_init__(self) -> None:
        _check_distinct("classes", (profile.prompt_class for profile in self.classes))

    def find(self, prompt_class: str) -> ClassProfile:
        """The profile of a class; raises :class:`InputError` if there is none."""
        for profile in self.classes:
            if profile.prompt_class == prompt_class:
                return profile
        raise _missing(
            self.place, prompt_class, ", ".join(profile.prompt_class for profile in self.classes)
        )


@frozen
class SharedLatents(Schema):
    """What two models share that make split images: 12 hex digits of the VAE and the scheduler,
    and the shape of an image's ``latents``.
    """

    vae: str
    scheduler: str
    latents: tuple[int, ...]


@frozen
class SplitPoint(Schema):
    """The quality of images that were ``split`` so, with the steps of ``error``: means on the
    scales of the edge. ``utility``: None where it is left out.
    """

    split: Split
    error: CurvePoint
    utility: CurvePoint | None

    @property
    def steps(self) -> int:
        """Of both models together."""
        return self.error.steps

    @property
    def name(self) -> str:
        """As :meth:`calibration.records.split.Split.name` has it."""
        return self.split.name(self.steps)


@frozen
class Splits(Schema):
    """Split images: what the models have in ``shared``, the most ``bytes`` that were handed over,
    and the points of each prompt class.
    """

    shared: SharedLatents
    bytes: int = limits(least=0)
    classes: Mapping[str, tuple[SplitPoint, ...]]

    def find(self, prompt_class: str, split: Split, steps: int) -> SplitPoint | None:
        """The point of a class, if it was measured."""
        points = self.classes.get(prompt_class, ())
        return next((p for p in points if (p.split, p.steps) == (split, steps)), None)


@frozen
class Profiles(Schema):
    """All that was measured, by place; the file format ``profiles/2``.

    ``splits``: None where the models made no images together.
    """

    SCHEMA: ClassVar[str] = "profiles/2"

    environment: Mapping[str, Any]
    metrics: Metrics
    places: tuple[Place, ...] = limits(empty=False)
    splits: Splits | None = limits(omit_none=True, default=None)

    def __post_init__(self) -> None:
        _check_distinct("places", (entry.place for entry in self.places))

    def get(self, place: str) -> Place | None:
        """The place of that name, if it was measured."""
        return next((entry for entry in self.places if entry.place == place), None)

    def find(self, place: str, prompt_class: str) -> ClassProfile:
        """The profile of a class at a place; raises :class:`InputError` if there is none."""
        entry = self.get(place)
        if entry is None:
            raise _missing(place, prompt_class, "none")
        return entry.find(prompt_class)

    def classes(self) -> set[str]:
        """The prompt classes that were measured at any place."""
        return {profile.prompt_class for entry in self.places for profile in entry.classes}

    def times(self) -> dict[tuple[str, str], TimeFit]:
        """The times by place and prompt class."""
        return {
            (entry.place, profile.prompt_class): profile.time
            for entry in self.places
            for profile in entry.classes
        }


def _missing(place: str, prompt_class: str, measured: str) -> InputError:
    return InputError(
        f"profiles: no {place} profile of prompt class '{prompt_class}'; there: {measured}"
    )


def _check_distinct(where: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{where}: found {shown(name)} {count} times; allowed: once")
