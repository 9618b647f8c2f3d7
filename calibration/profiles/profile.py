"""Profiles: what was measured of each place, and of each prompt class there.

Version history of the file format:

``profiles/2``: ``places``, each with what belongs to a place once (model, batch costs, the spread
of its speed, its sweep's outcome, its class tests) and its ``classes``.

``profiles/1``: one flat list of (place, class) entries, which repeated it. Still read.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

from calibration.costs.batch import BatchCost
from calibration.costs.energy import EnergyFit
from calibration.costs.metering import Power
from calibration.costs.time import TimeFit
from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.records.scale import Scales
from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError
from solver.problem import PLACES


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

    steps: int
    value: float
    low: float | None
    high: float | None
    n: int
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


@frozen
class ClassDifference(Schema):
    """A permutation test of whether prompt classes differ in a quantity at one place."""

    quantity: str
    prompts: int
    p: float
    differ: bool
    share: float


@frozen
class SweepRound(Schema):
    """What a place's sweep had come to after a round."""

    images: int
    evaluations: int


@frozen
class SweepWidth(Schema):
    """A parameter's value and the relative half-width of its 95 % interval (None: not known)."""

    prompt_class: str
    quantity: str
    parameter: str
    value: float | None
    half_width: float | None
    reached: bool


@frozen
class SweepOutcome(Schema):
    """What an adaptive sweep came to at one place.

    ``target``: the half-width asked for; ``evaluations`` of the denoiser; ``uniform_evaluations``:
    modelled, what the uniform grid over 1 to 50 would take. Both are None, and ``rounds`` empty, in
    a profile of the old format, which told only the sum over places.
    """

    target: float
    rounds: tuple[SweepRound, ...]
    evaluations: int | None
    uniform_evaluations: int | None
    widths: tuple[SweepWidth, ...]


@frozen
class ClassProfile(Schema):
    """What was measured of one prompt class at one place, and the curves fitted to it."""

    prompt_class: str
    time: TimeFit
    power: Power
    energy: EnergyFit | None
    scales: Scales
    error: CurveFit
    utility: CurveFit
    clip_score: tuple[CurvePoint, ...]
    frechet: tuple[DistancePoint, ...] = ()
    kid: tuple[DistancePoint, ...] = ()
    cmmd: tuple[DistancePoint, ...] = ()


@frozen
class Place(Schema):
    """A model at a place (``local`` or ``edge``), and what was measured of it.

    ``speed_sd``: relative standard deviation of the machine's speed from one part of the sweep to
    another. ``batch``: None where batches were not timed, with the reason in ``batch_note``.
    ``environment``: where it differs from that of the whole.
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

    def find(self, prompt_class: str) -> ClassProfile:
        """The profile of a class; raises :class:`InputError` if there is none."""
        for profile in self.classes:
            if profile.prompt_class == prompt_class:
                return profile
        known = ", ".join(profile.prompt_class for profile in self.classes)
        raise InputError(
            f"profiles: no {self.place} profile of prompt class '{prompt_class}'; there: {known}"
        )


@frozen
class Profiles(Schema):
    """All that was measured, by place; the file format ``profiles/2``."""

    SCHEMA: ClassVar[str] = "profiles/2"

    environment: Mapping[str, Any]
    metrics: Metrics
    places: tuple[Place, ...] = limits(empty=False)

    def get(self, place: str) -> Place | None:
        """The place of that name, if it was measured."""
        return next((entry for entry in self.places if entry.place == place), None)

    def find(self, place: str, prompt_class: str) -> ClassProfile:
        """The profile of a class at a place; raises :class:`InputError` if there is none."""
        entry = self.get(place)
        if entry is None:
            raise InputError(
                f"profiles: no {place} profile of prompt class '{prompt_class}'; there: none"
            )
        return entry.find(prompt_class)
