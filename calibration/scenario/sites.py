"""How each user of a scenario is served: device, links and edges, and what the numbers rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.costs.transfer import Payload, TransferFit
from calibration.links import LINKS, Radio
from calibration.profiles.profile import ClassProfile, Profiles
from calibration.scenario.devices import DEVICES, DeviceClass
from calibration.scenario.parts import EdgeSite, User
from calibration.scenario.scenario import Scenario

#: The machine that was measured, as an edge.
MEASURED = DeviceClass("edge", "the machine that was measured, as it is", 0.0, "")


@dataclass(frozen=True)
class Service:
    """How a place serves a user, and what its numbers rest on.

    ``place``: local or edge, whose ``profile`` was measured of the user's prompt class; several
    edges share one. ``speed_sd``: as its :class:`calibration.profiles.profile.Place` has it;
    ``ratio``: the user's seconds over the measured ones, with ``time_basis`` measured, or emulated
    by the device's ratio; ``watts`` while computing, with ``power_basis`` measured where a meter
    measured this very device, else modelled; ``way``: to a place behind a network, None where there
    is none. ``transfer_time`` (s) and ``transfer_energy`` (J) of the scenario's link come on top,
    once for each image; ``rate`` (bit/s) is its own for latents.
    """

    place: str
    profile: ClassProfile
    speed_sd: float
    ratio: float
    time_basis: str
    watts: float
    power_basis: str
    way: "Way | None" = None
    transfer_time: float = 0.0
    transfer_energy: float = 0.0
    rate: float | None = None

    def seconds(self, steps: float) -> float:
        """Predicted seconds of an image with ``steps`` steps, without its way and link."""
        return self.ratio * self.profile.time.seconds(steps)

    @property
    def sent(self) -> float:
        """Predicted seconds of an image's way and link."""
        return self.transfer_time + (self.way.seconds if self.way else 0.0)

    @property
    def bases(self) -> set[str]:
        """What an image's seconds rest on, with its way and link."""
        link = {"modelled"} if self.transfer_time else set()
        return {self.time_basis, *(self.way.bases if self.way else ())} | link

    @property
    def spent(self) -> float:
        """Modelled joules of an image's way and link."""
        return self.transfer_energy + (self.way.joules(self.way.payload.down) if self.way else 0.0)


@dataclass(frozen=True)
class Way:
    """How a user's request and image travel: ``fit`` of the seconds of a ``payload``, and the
    user's ``radio``, *modelled*, whose cold start is part of them (None: no radio counts).
    """

    fit: TransferFit
    payload: Payload
    radio: Radio | None

    @property
    def cold_time(self) -> float:
        """Modelled s that the first packet takes beyond what is measured."""
        return self.radio.cold_time if self.radio else 0.0

    @property
    def seconds(self) -> float:
        """Predicted seconds of a transfer."""
        return self.fit.seconds(self.payload.down) + self.cold_time

    def joules(self, down: float) -> float:
        """Modelled joules that the user's radio spends on an answer of ``down`` bytes."""
        return self.radio.joules(self.payload.up, down) if self.radio else 0.0

    @property
    def own_variance(self) -> float:
        """Of a single transfer about it, in s²: of transfers alike, and of the answers' sizes."""
        return self.fit.sd**2 + (self.fit.per_byte * self.payload.sd) ** 2

    @property
    def variance(self) -> float:
        """Of the fitted seconds, in s²."""
        return self.fit.variance(self.payload.down)

    @property
    def bases(self) -> tuple[str, ...]:
        """What the seconds rest on: measured or emulated, and modelled if a radio counts."""
        return (self.fit.basis, *(("modelled",) if self.radio else ()))


@dataclass(frozen=True)
class Site:
    """A ``user`` with a ``device``, and how each place of the problem serves them, by name."""

    user: User
    device: DeviceClass
    services: Mapping[str, Service]

    @property
    def local(self) -> Service:
        """The user's own device."""
        return self.services["local"]

    @property
    def edge(self) -> Service:
        """The first edge."""
        return next(service for name, service in self.services.items() if name != "local")

    def at(self, place: str) -> Service:
        """The service of a place of the problem; of ``edge``, if none is called so, the first."""
        return self.services.get(place, self.edge)


def measured_steps(profiles: Profiles) -> dict[str, int]:
    """The largest step count that was measured of every prompt class, by place."""
    return {
        place.place: min(
            max(point.steps for point in fit.points)
            for entry in place.classes
            for fit in (entry.error, entry.utility)
            if fit is not None
        )
        for place in profiles.places
    }


def edges_of(scenario: Scenario) -> tuple[EdgeSite, ...]:
    """The edges of a scenario: where it lists none, one with all of its budget."""
    return scenario.edges or (EdgeSite("edge", scenario.edge_budget),)


def model_of(name: str) -> str:
    """The place whose model a problem's place of that ``name`` has: all edges have the edge's."""
    return "local" if name == "local" else "edge"


def step_limits(scenario: Scenario) -> dict[str, int]:
    """The most steps of an image, by place of the problem: ``local``, and each edge's name."""
    return {"local": scenario.local.max_steps} | {
        edge.name: scenario.edge.max_steps if edge.max_steps is None else edge.max_steps
        for edge in edges_of(scenario)
    }


def sites(profiles: Profiles, scenario: Scenario) -> list[Site]:
    """How each user of the scenario is served, in their order.

    Users of one kind share their services. Raises :class:`InputError` for a prompt class without a
    profile.
    """
    kinds: dict[tuple[str, str, str | None], Site] = {}
    served = []
    for user in scenario.users:
        kind = user.kind
        if kind not in kinds:
            kinds[kind] = _site(profiles, scenario, user)
        served.append(Site(user, kinds[kind].device, kinds[kind].services))
    return served


def kinds_of(served: Sequence[Site]) -> tuple[list[Site], NDArray[np.int_]]:
    """The first site of each kind of users, in their order, and the kind of each user, (users,)."""
    number: dict[tuple[str, str, str | None], int] = {}
    kind = np.array([number.setdefault(site.user.kind, len(number)) for site in served])
    return [served[first] for first in np.unique(kind, return_index=True)[1]], kind


def _site(profiles: Profiles, scenario: Scenario, user: User) -> Site:
    profile = profiles.find("local", user.prompt_class)
    device = _device(scenario, user.device_class, profile)
    watts = scenario.watts.get(device.name, device.watts)
    services = {"local": _service(profiles, "local", user, device, watts)}
    link = scenario.links.get(user.link or scenario.link or "")
    for edge in edges_of(scenario):
        name = edge.device_class
        machine = MEASURED if name is None else _device(scenario, name, profile)
        modelled = scenario.edge_watts if name is None else machine.watts
        modelled = modelled if edge.watts is None else edge.watts
        service = _service(profiles, "edge", user, machine, modelled)
        services[edge.name] = replace(
            service,
            way=_way(profiles, scenario, service),
            transfer_time=link.transfer_time if link else 0.0,
            transfer_energy=link.transfer_energy if link else 0.0,
            rate=link.rate if link else None,
        )
    return Site(user, device, services)


def _way(profiles: Profiles, scenario: Scenario, edge: Service) -> Way | None:
    place, weighs = profiles.get("edge"), edge.profile.payload
    if place is None or place.transfer is None or weighs is None:
        return None
    radio = LINKS[scenario.radio].radio if scenario.radio else None
    return Way(place.transfer, weighs, radio)


def _device(scenario: Scenario, name: str, profile: ClassProfile) -> DeviceClass:
    """A device class, of the scenario's own or a published one."""
    if name in scenario.devices:
        return scenario.devices[name].device(name, profile.time.step_time)
    return DEVICES[name]


def _service(
    profiles: Profiles, place: str, user: User, device: DeviceClass, modelled: float
) -> Service:
    """``modelled``: the watts that count unless a meter measured this very device."""
    profile = profiles.find(place, user.prompt_class)
    measured = profile.power.watts if device.basis == "measured" else None
    return Service(
        place=place,
        profile=profile,
        speed_sd=next(entry.speed_sd for entry in profiles.places if entry.place == place),
        ratio=device.ratio,
        time_basis=device.basis,
        watts=modelled if measured is None else measured,
        power_basis="modelled" if measured is None else "measured",
    )
