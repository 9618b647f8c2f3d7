"""What the report plots against the number of denoising steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calibration.costs.energy import EnergyFit
from calibration.costs.time import TimeFit
from calibration.fitting.curve_fit import CurveFit, CurvePoint
from calibration.profiles.profile import ClassProfile, DistancePoint, Profiles

#: Place -> what the page calls it, in the order in which places are shown.
PLACES = {"edge": "edge server", "local": "own device"}


@dataclass(frozen=True)
class Quantity:
    """A measured quantity; ``axis`` is the label of its axis, ``about`` says what it is.

    ``affine``: a straight line is fitted to it; ``kind``: which families are; without either there
    is no fit.
    """

    name: str
    title: str
    axis: str
    about: str
    unit: str = ""
    affine: bool = False
    kind: str | None = None

    @property
    def fitted(self) -> bool:
        """Whether a curve is fitted to it."""
        return self.affine or self.kind is not None


QUANTITIES = (
    Quantity(
        "time",
        "Time",
        "time per image, {unit}",
        "Median time of one image, from text to pixels.",
        unit="s",
        affine=True,
    ),
    Quantity(
        "energy",
        "Energy",
        "energy per image, {unit}",
        "Median energy of one image, idling included.",
        unit="J",
        affine=True,
    ),
    Quantity(
        "error",
        "Error",
        "error",
        "Distance to the same model's converged image of the same seed; "
        "1 is as far off as another image.",
        kind="error",
    ),
    Quantity(
        "utility",
        "Utility",
        "utility",
        "Rescaled CLIP score: 0 is a real image with a wrong caption, 1 is one with its own.",
        kind="utility",
    ),
    Quantity(
        "clip_score",
        "CLIP score",
        "CLIP score",
        "Agreement of image and prompt. No curve is fitted to it.",
    ),
    Quantity(
        "frechet",
        "Fréchet distance",
        "Fréchet distance",
        "Distance of the generated set to the reference. No curve is fitted to it.",
    ),
    Quantity(
        "kid",
        "Kernel distance (KID)",
        "kernel distance",
        "The same, without bias at any number of images.",
    ),
    Quantity(
        "cmmd",
        "CMMD",
        "CMMD",
        "The same, with a kernel that assumes nothing about the features' distribution.",
    ),
)


@dataclass(frozen=True)
class Cell:
    """A prompt class at a place."""

    place: str
    profile: ClassProfile

    @property
    def prompt_class(self) -> str:
        """Its name."""
        return self.profile.prompt_class

    def line(self, name: str) -> TimeFit | EnergyFit | None:
        """The straight line through ``time`` or ``energy`` (None: not metered)."""
        return self.profile.time if name == "time" else self.profile.energy

    def fit(self, name: str) -> CurveFit | None:
        """The curve of ``error`` or ``utility`` (None: left out)."""
        return self.profile.error if name == "error" else self.profile.utility

    def points(self, name: str) -> Sequence[CurvePoint] | Sequence[DistancePoint]:
        """The points of a quantity without a straight line."""
        if name in ("error", "utility"):
            return fit.points if (fit := self.fit(name)) else ()
        if name == "clip_score":
            return self.profile.clip_score
        distances = {
            "frechet": self.profile.frechet,
            "kid": self.profile.kid,
            "cmmd": self.profile.cmmd,
        }
        return distances[name]


def cells(profiles: Profiles | None, classes: Sequence[str]) -> list[Cell]:
    """Every prompt class at every place, in the order of ``classes``."""
    measured = [
        Cell(place.place, profile)
        for place in (profiles.places if profiles else ())
        for profile in place.classes
    ]
    return sorted(measured, key=lambda cell: classes.index(cell.prompt_class))


def shown_quantities(cells: Iterable[Cell]) -> list[Quantity]:
    """The quantities to show: energy needs a meter, and old profiles have no kernel distances."""
    cells = list(cells)
    absent = {
        name
        for name in ("energy", "kid", "cmmd")
        if not any(cell.line(name) if name == "energy" else cell.points(name) for cell in cells)
    }
    return [quantity for quantity in QUANTITIES if cells and quantity.name not in absent]
