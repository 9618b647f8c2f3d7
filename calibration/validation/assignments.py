"""What an allocation gives each user, and what each place has to do of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibration.profiles.profile import SplitPoint, Splits
from calibration.records.record import Record
from calibration.records.split import Split
from calibration.scenario.parts import User
from calibration.scenario.sites import Service, Site
from calibration.scenario.splits import part_services
from solver.allocation import Allocation
from solver.inputs import InputError
from solver.problem import Problem
from solver.problem.usage import option_numbers


@dataclass(frozen=True)
class Assignment:
    """The place (``service``) and ``steps`` that an allocation gives a ``user``, and what the
    problem predicts of an image there: ``time`` (s), ``energy`` (J), ``error`` and ``utility``.

    Of a ``split`` the place is the edge, and ``services`` are those of both parts.
    """

    user: User
    service: Service
    steps: int
    time: float
    energy: float
    error: float
    utility: float
    split: SplitPoint | None = None
    services: Mapping[str, Service] = field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...]:
        """What tells the user's images from others."""
        split = self.split.split if self.split else None
        return self.user.user, self.service.place, self.steps, split


def assignments(
    problem: Problem, allocation: Allocation, sites: Sequence[Site], splits: Splits | None
) -> list[Assignment]:
    """What the allocation gives each user; ``splits``: what was measured of split images.

    Raises :class:`InputError` for a split that was not measured.
    """
    tables = {
        name: [
            quantity(name)
            for quantity in (problem.time, problem.energy, problem.error, problem.utility)
        ]
        for name in problem.names
    }
    numbers, edge_steps = option_numbers(
        problem,
        np.array(allocation.offload),
        np.array(allocation.steps),
        allocation.edge_steps,
        "allocation",
    )
    given = []
    for n, (site, offload, steps) in enumerate(
        zip(sites, allocation.offload, allocation.steps, strict=True)
    ):
        name, user = problem.names[offload], site.user
        shared = problem.splits.get(name)
        place = shared.edge if shared else name
        time, energy, error, utility = (
            float(table[user.user, numbers[n] - 1]) for table in tables[name]
        )
        own = Assignment(user, site.at(place), steps, time, energy, error, utility)
        if shared:
            split = Split(shared.first, int(edge_steps[n]))
            point = splits.find(user.prompt_class, split, steps) if splits else None
            if splits is None or point is None:
                raise InputError(
                    f"profiles: splits: found no {split.name(steps)} of {user.prompt_class}, as "
                    f"user {user.user} was allocated; allowed: what sweep.splits measures"
                )
            services = part_services(site, place, split, splits.bytes)
            own = replace(own, split=point, services=services)
        given.append(own)
    return given


def parts_of(
    assignment: Assignment, records: Sequence[Record]
) -> list[tuple[Assignment, Sequence[Record]]]:
    """What each place has to do, with its part of the ``records``."""
    if assignment.split is None:
        return [(assignment, records)]
    parts: list[tuple[Assignment, Sequence[Record]]] = []
    for place, steps in assignment.split.split.parts(assignment.steps).items():
        service = assignment.services[place]
        seconds = service.seconds(steps)
        own = replace(
            assignment,
            service=service,
            steps=steps,
            time=seconds + service.sent,
            energy=service.watts * seconds + service.spent,
            split=None,
        )
        parts.append((own, [_part(record, place, assignment.services) for record in records]))
    return parts


def _part(record: Record, place: str, services: Mapping[str, Service]) -> Record:
    """What was measured of the part of a ``place``; joules by the watts of both."""
    measured, handover = record.measured, record.measured.handover
    assert handover is not None, "a split image's record has one"
    joules, shares = (
        measured.energy_j,
        {
            name: (service.profile.power.watts or 0.0) * handover.time(name)
            for name, service in services.items()
        },
    )
    if joules is not None:
        joules *= shares[place] / max(sum(shares.values()), 1e-300)
    own = replace(measured, time=handover.time(place), energy_j=joules, handover=None)
    return replace(record, measured=own)
