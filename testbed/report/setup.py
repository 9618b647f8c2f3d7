"""What a run was made with: models, how each quantity comes about, devices, sample sizes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from calibration.comparison import Total
from calibration.profiles.profile import FRECHET_NOTE
from calibration.records.record import Record
from calibration.records.task import POINTS
from calibration.scenario.devices import DeviceClass
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import Site, model_of
from testbed.report.allocation import AllocatedUser
from testbed.report.curves.quantities import PLACES, Cell, shown_quantities
from testbed.report.format import Cell as TableCell
from testbed.report.format import Table


@dataclass(frozen=True)
class ModelRow:
    """A model at a place, and how many images each stage made with it; ``notes``: what of it was
    not as asked, in sentences.
    """

    place: str
    model: str
    revision: str | None
    device: str
    dtype: str
    scheduler: str
    guidance: float
    calibration: int
    execution: int
    notes: Sequence[str] = ()

    @property
    def served(self) -> bool:
        """Whether a server made its images."""
        return "://" in self.device


@dataclass(frozen=True)
class BasisRow:
    """How a quantity comes about at each place: measured, emulated, modelled or none."""

    title: str
    bases: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class DeviceRow:
    """A device class: its modelled or metered power, and its users."""

    device: DeviceClass
    watts: float
    power_basis: str
    watts_source: str
    users: int
    offloaded: int


@dataclass(frozen=True)
class SampleRow:
    """How much the curves of a cell rest on; ranges of numbers as text.

    ``steps``: the step counts; ``prompts``, ``seeds`` of a prompt and ``images`` of a step count;
    ``total`` images, of which ``timed``; ``frechet``: images of a Fréchet distance.
    """

    prompt_class: str
    place: str
    steps: Sequence[int]
    prompts: str
    seeds: str
    images: str
    total: int
    timed: int
    frechet: str


def models(calibration: Iterable[Record], execution: Iterable[Record]) -> list[ModelRow]:
    """A row for each place and model that there are records of."""
    counts: dict[tuple[str, str, str | None, str, str, str, float], list[int]] = {}
    notes: dict[tuple[object, ...], dict[str, None]] = defaultdict(dict)
    for stage, records in enumerate((calibration, execution)):
        for record in records:
            task = record.task
            model = task.place, task.model, task.revision, task.device, task.dtype
            key = *model, task.scheduler, task.guidance
            counts.setdefault(key, [0, 0])[stage] += 1
            notes[key].update(dict.fromkeys(record.environment.get("notes", ())))
    return [
        ModelRow(*key, calibration, execution, tuple(notes[key]))
        for key, (calibration, execution) in counts.items()
    ]


def frechet_notes(cells: Sequence[Cell], totals: Iterable[Total]) -> list[str]:
    """What is to be known of the Fréchet distances, in sentences.

    How they compare, which of them too few images support, and those extrapolated.
    """
    notes = [FRECHET_NOTE] if cells else []
    notes += [point.note for cell in cells for point in cell.profile.frechet if point.note]
    notes += [total.note for total in totals if total.note]
    for cell in cells:
        for point in cell.profile.frechet[-1:]:
            if point.infinity:
                ends = point.infinity.low, point.infinity.high
                low, high = ("unknown" if end is None else f"{end:.3g}" for end in ends)
                notes.append(
                    f"extrapolated to infinitely many images, {cell.prompt_class}, "
                    f"{PLACES[cell.place]}, {point.steps} steps: "
                    f"{point.infinity.value:.3g} [{low}, {high}]."
                )
    return list(dict.fromkeys(notes))


def bases(sites: Sequence[Site], cells: Sequence[Cell]) -> list[BasisRow]:
    """A row for each quantity; times and energies as the users are served, if there are any."""
    kinds: dict[str, dict[str, set[str]]] = {}
    for title in ("Time", "Energy"):
        kinds[title] = {place: set() for place in PLACES}
    for quantity in shown_quantities(cells):
        if not quantity.affine:
            row = kinds[quantity.title] = {place: set() for place in PLACES}
            for cell in cells:
                row[cell.place].add("measured" if cell.points(quantity.name) else "none")
    if not sites:
        for cell in cells:
            kinds["Time"][cell.place].add("measured")
            kinds["Energy"][cell.place].add(cell.profile.power.basis)
    for site in sites:
        for name, service in site.services.items():
            place = model_of(name)
            kinds["Time"][place] |= service.bases
            kinds["Energy"][place].add(service.power_basis)
            if service.spent:
                kinds["Energy"][place].add("modelled")
    return [
        BasisRow(title, {place: sorted(words) for place, words in row.items()})
        for title, row in kinds.items()
    ]


def devices(
    sites: Sequence[Site], users: Sequence[AllocatedUser], scenario: Scenario | None
) -> list[DeviceRow]:
    """A row for each device class of the scenario, the fastest first."""
    rows = []
    for site in {site.device.name: site for site in sites}.values():  # a user of each class
        device, service = site.device, site.local
        source = device.watts_source
        if scenario and device.name in scenario.watts:
            source = "as the scenario has it"
        if service.power_basis == "measured":
            source = f"metered by {service.profile.power.meter}"
        own = [user for user in users if user.device_class == device.name]
        offloaded = sum(user.place == "edge" for user in own)
        row = DeviceRow(device, service.watts, service.power_basis, source, len(own), offloaded)
        rows.append(row)
    return sorted(rows, key=lambda row: row.device.ratio)


def samples(cells: Sequence[Cell], records: Iterable[Record]) -> tuple[list[SampleRow], Table]:
    """A row for each cell, and a table with one for each step count too.

    ``records``: of the calibration; without them the seeds are not known.
    """
    seeds: dict[tuple[str, str, int], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        task = record.task
        if task.purpose in POINTS:
            seeds[task.prompt_class, task.place, task.steps][task.prompt].add(task.seed)
    rows: list[SampleRow] = []
    table: list[dict[str, TableCell]] = []
    for cell in cells:
        points = cell.profile.error.points
        counts = [
            max(map(len, seeds[key].values())) if key in seeds else None
            for key in ((cell.prompt_class, cell.place, point.steps) for point in points)
        ]
        rows.append(
            SampleRow(
                prompt_class=cell.prompt_class,
                place=cell.place,
                steps=[point.steps for point in points],
                prompts=_span([point.prompts for point in points]),
                seeds=_span(counts),
                images=_span([point.n for point in points]),
                total=sum(point.n or 0 for point in points),
                timed=cell.profile.time.n,
                frechet=_span([point.n for point in cell.profile.frechet]),
            )
        )
        table += [
            {
                "prompt_class": cell.prompt_class,
                "place": cell.place,
                "steps": point.steps,
                "prompts": point.prompts,
                "seeds": count,
                "images": point.n,
            }
            for point, count in zip(points, counts, strict=True)
        ]
    return rows, Table("samples", table, table)


def _span(values: Sequence[int | None]) -> str:
    """Numbers as their range: 24, or 12 to 48; a dash where one is unknown."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "–"
    low, high = min(known), max(known)
    return f"{low}" if low == high else f"{low} to {high}"
