"""The way to the edge: what the link did, what came from the server and how long it travelled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.links import LINKS, Link
from calibration.profiles.profile import Place, Profiles
from calibration.records.record import Record, Transfer
from calibration.scenario.scenario import Scenario
from testbed.link.probe import LinkCheck
from testbed.report.agreement import Agreement, AgreementPanel, agreement_panel


@dataclass(frozen=True)
class TransferRow:
    """What ``images`` of a stage took on the way: medians of seconds and bytes.

    ``server``: seconds that count as the server's, ``told`` by it or taken from the wait.
    ``quotes``: how many came with a completion quoted on arrival, of which ``kept`` held, with the
    median relative error ``off`` of the server's own seconds; None without any.
    """

    stage: str
    images: int
    connect: float
    wait: float
    receive: float
    server: float
    told: bool
    seconds: float
    up: float
    down: float
    retries: int
    quotes: int
    kept: int
    off: float | None


@dataclass(frozen=True)
class RadioRow:
    """A radio's *modelled* share of an offloaded image: seconds, joules, and their source."""

    link: Link
    cold_time: float
    joules: float
    source: str


@dataclass(frozen=True)
class Network:
    """The section's contents; ``panel``: users' transfers, None where there are none."""

    url: str
    place: Place
    checks: Sequence[LinkCheck]
    rows: Sequence[TransferRow]
    panel: AgreementPanel | None
    radio: RadioRow | None


def network(
    profiles: Profiles | None,
    scenario: Scenario | None,
    calibration: Sequence[Record],
    execution: Sequence[Record],
    checks: Sequence[LinkCheck],
) -> Network | None:
    """The section, None where the edge's images did not come from a server."""
    place = profiles.get("edge") if profiles else None
    if place is None or place.transfer is None:
        return None
    users = [record for record in _on_edge(execution) if record.task.purpose == "user"]
    alone = [record for record in _on_edge(calibration) if record.task.purpose == "sweep"]
    rows = [_row(stage, of) for stage, of in (("calibration", alone), ("users", users)) if of]
    return Network(place.device, place, checks, rows, _panel(place, users), _radio(place, scenario))


def _on_edge(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.task.place == "edge" and _way(record)]


def _way(record: Record) -> Transfer | None:
    return record.measured.transfer


def _row(stage: str, records: Sequence[Record]) -> TransferRow:
    ways = [way for record in records if (way := _way(record))]

    off = [abs(way.quoted / way.service - 1) for way in ways if way.quoted and way.service]

    def median(name: str) -> float:
        return float(np.median([getattr(way, name) for way in ways]))

    return TransferRow(
        stage=stage,
        images=len(ways),
        connect=median("connect"),
        wait=median("wait"),
        receive=median("receive"),
        server=median("service"),
        told=all(way.server is not None for way in ways),
        seconds=median("seconds"),
        up=median("bytes_up"),
        down=median("bytes_down"),
        retries=sum(way.retries for way in ways),
        quotes=len(off),
        kept=sum(way.kept is True for way in ways),
        off=float(np.median(off)) if off else None,
    )


def _panel(place: Place, users: Sequence[Record]) -> AgreementPanel | None:
    fit = place.transfer
    points = [
        Agreement(record.task.user or 0, "edge", record.task.steps, fit.compare(way))
        for record in users
        if fit and (way := _way(record))
    ]
    if not points:
        return None
    off = [abs(point.compared.relative_error or 0.0) for point in points]
    inside = float(np.mean([bool(point.compared.inside) for point in points]))
    return agreement_panel(
        "transfer", "On the way", "s", points, inside, float(np.median(off)), None
    )


def _radio(place: Place, scenario: Scenario | None) -> RadioRow | None:
    link = LINKS[scenario.radio] if scenario and scenario.radio else None
    weighs = [profile.payload for profile in place.classes if profile.payload]
    if link is None or link.radio is None or not weighs:
        return None
    up, down = (float(np.mean([getattr(each, name) for each in weighs])) for name in ("up", "down"))
    return RadioRow(link, link.radio.cold_time, link.radio.joules(up, down), link.radio.source)
