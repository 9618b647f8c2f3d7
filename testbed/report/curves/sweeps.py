"""What an adaptive sweep came to, and whether the prompt classes differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from calibration.profiles.class_test import ClassDifference
from calibration.profiles.profile import Profiles
from calibration.sweep.outcome import SweepRound, SweepWidth


@dataclass(frozen=True)
class PlaceWidth:
    """A width reached at a place."""

    place: str
    width: SweepWidth


@dataclass(frozen=True)
class PlaceRound:
    """The end of round ``index`` at a place."""

    place: str
    index: int
    round: SweepRound


@dataclass(frozen=True)
class Sweep:
    """The adaptive sweeps of all places.

    ``targets``: the half-widths asked for; ``evaluations`` of the denoiser, and what the uniform
    grid would take, in all (None: not known); ``widths``, the widest first.
    """

    targets: Sequence[float]
    evaluations: int | None
    uniform_evaluations: int | None
    widths: Sequence[PlaceWidth]
    rounds: Sequence[PlaceRound]

    @property
    def round_count(self) -> int:
        """The rounds of the place that had most of them."""
        return max((row.index for row in self.rounds), default=0)

    @property
    def times(self) -> float | None:
        """How many times as many evaluations the uniform grid would take."""
        if not self.evaluations or self.uniform_evaluations is None:
            return None
        return self.uniform_evaluations / self.evaluations


@dataclass(frozen=True)
class PlaceDifference:
    """A test of whether the classes differ at a place."""

    place: str
    test: ClassDifference


def sweep(profiles: Profiles) -> Sweep | None:
    """The outcome of the adaptive sweeps, if there were any."""
    outcomes = [(place.place, place.sweep) for place in profiles.places if place.sweep]
    if not outcomes:
        return None
    widths = [PlaceWidth(place, width) for place, outcome in outcomes for width in outcome.widths]
    return Sweep(
        targets=sorted({outcome.target for _, outcome in outcomes}),
        evaluations=_sum([outcome.evaluations for _, outcome in outcomes]),
        uniform_evaluations=_sum([outcome.uniform_evaluations for _, outcome in outcomes]),
        widths=sorted(widths, key=_widest_first),
        rounds=[
            PlaceRound(place, index, each)
            for place, outcome in outcomes
            for index, each in enumerate(outcome.rounds, start=1)
        ],
    )


def class_differences(profiles: Profiles) -> list[PlaceDifference]:
    """The tests of all places."""
    return [
        PlaceDifference(place.place, test)
        for place in profiles.places
        for test in place.class_differences
    ]


def _widest_first(row: PlaceWidth) -> float:
    half_width = row.width.half_width
    return float("-inf") if half_width is None else -half_width


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
