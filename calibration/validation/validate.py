"""Predicted against measured: do the images that an allocation led to cost and look as its problem
promised?
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isclose

import numpy as np

from calibration.comparison import Comparison, Total
from calibration.costs.drift import Drift, drifts
from calibration.profiles.profile import Profiles
from calibration.records.record import Record
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from calibration.serving.serving import Serving
from calibration.validation.estimates import UserEstimates, estimate_users
from calibration.validation.totals import compare_user, objective, time_without_drift, totals
from calibration.validation.validation import QUANTITIES, UserValidation, Validation
from solver.allocation import Allocation
from solver.certificate import certify
from solver.inputs import InputError
from solver.problem import Problem

_EMULATED = "Emulated: local times are measured times multiplied by the device's published ratio."
_MODELLED = (
    "Modelled: energy without a meter on the device is assumed watts times the "
    "(measured or emulated) time."
)
_UNSERVED = (
    "Some users have no image made at their place with their steps; "
    "they are left out of the measured totals."
)
_SHARED_NOISE = (
    "All prompts of a seed begin with the same noise, on which error and utility depend: "
    "their intervals do not hold that."
)


def validate(
    problem: Problem,
    allocation: Allocation,
    profiles: Profiles,
    scenario: Scenario,
    records: Sequence[Record],
    extra_totals: Sequence[Total] = (),
    serving: Serving | None = None,
) -> Validation:
    """Compare an ``allocation`` with the ``records`` of its execution.

    ``profiles``, ``scenario``: what the ``problem`` was made of. As there, local times are
    multiplied by the device's ratio (*emulated*). Energy is measured where a meter measured this
    very device, else the modelled watts times the (measured or emulated) time.

    The totals are followed by ``extra_totals`` and by those of ``serving``. Control images among
    the records (:mod:`calibration.costs.drift`) give one more: the total time without the machine's
    drift since the calibration.

    The 95 % intervals are for the mean over a user's images. They hold the spread of single images,
    where images of one prompt are not taken as independent, and the fitted curve's uncertainty.
    ``paper`` is what the paper's own forms, fitted to the same records, predict: T = s Δt, eq. (3),
    exponentials for error and utility, eqs. (4) and (7).

    Raises :class:`InputError` if the inputs do not belong together.
    """
    certify(problem, allocation)
    if problem.users != len(scenario.users):
        raise InputError(
            f"scenario: users: found {len(scenario.users)}; "
            f"allowed: {problem.users}, as in the problem"
        )
    served = sites(profiles, scenario)
    estimates = estimate_users(problem, allocation, served, records, profiles.splits)
    users = tuple(_user(estimated) for estimated in estimates)
    rows = {name: [row for user in users if (row := user.quantity(name))] for name in QUANTITIES}
    drift = drifts(records, profiles.times())
    time, *others = totals(estimates)
    at_speed = time_without_drift(estimates, drift)
    return Validation(
        users=users,
        totals=(
            time,
            *([at_speed] if at_speed else []),
            *others,
            objective(problem, estimates),
            *extra_totals,
            *(_in_batches(total, profiles) for total in (serving.totals if serving else ())),
        ),
        median_absolute_error={
            name: _median_absolute(row.relative_error for row in of) for name, of in rows.items()
        },
        paper_median_absolute_error={
            name: _median_absolute(row.paper_relative_error for row in of)
            for name, of in rows.items()
        },
        coverage={name: _coverage(of) for name, of in rows.items()},
        drift=drift,
        notes=_notes(users, profiles, drift, _others(estimates)),
        serving=serving,
    )


def _user(estimates: UserEstimates) -> UserValidation:
    assignment = estimates.assignment
    utility, clip_score = estimates.utility, estimates.clip_score
    return UserValidation(
        user=assignment.user.user,
        prompt_class=assignment.user.prompt_class,
        device_class=assignment.user.device_class,
        place=assignment.service.place,
        steps=assignment.steps,
        images=len(estimates.records),
        time=compare_user(estimates, "time", estimates.time),
        energy=compare_user(estimates, "energy", estimates.energy),
        error=compare_user(estimates, "error", estimates.error),
        utility=compare_user(estimates, "utility", utility) if utility else None,
        clip_score=compare_user(estimates, "clip_score", clip_score) if clip_score else None,
        records=estimates.records,
        split=assignment.split.split if assignment.split else None,
    )


def _others(estimates: Iterable[UserEstimates]) -> int:
    """How many users are not served as the problem has it."""
    alone = [each.assignment for each in estimates if each.assignment.split is None]
    told = [(each.service.seconds(each.steps) + each.service.sent, each.time) for each in alone]
    return sum(not isclose(*pair, rel_tol=1e-6) for pair in told)


def _in_batches(total: Total, profiles: Profiles) -> Total:
    edge = profiles.get("edge")
    basis = edge.transfer.basis if edge and edge.transfer else "measured"
    return replace(total, quantity=f"edge in batches: {total.quantity}", basis=basis)


def _median_absolute(errors: Iterable[float | None]) -> float | None:
    known = [abs(error) for error in errors if error is not None]
    return float(np.median(known)) if known else None


def _coverage(rows: Iterable[Comparison]) -> float | None:
    inside = [row.inside for row in rows if row.inside is not None]
    return float(np.mean(inside)) if inside else None


def _notes(
    users: Sequence[UserValidation], profiles: Profiles, drift: Mapping[str, Drift], others: int
) -> tuple[str, ...]:
    """What else is to be known, in sentences; ``others``: users of another scenario."""
    notes = {
        f"The machine ran the {place} model {abs(change.ratio - 1):.1%} "
        f"{'slower' if change.ratio > 1 else 'quicker'} while the allocation was executed than "
        f"while it was calibrated ({change.n} images in between, of the same kind at both times)."
        for place, change in drift.items()
    }
    if others:
        notes.add(
            f"The problem predicts times of {others} users that profiles.json and scenario.json do "
            "not: what it has of its own, as links and edges, is not in what was measured; "
            "`testbed validate --scenario` takes the scenario that it was made of."
        )
    if any(not user.images for user in users):
        notes.add(_UNSERVED)
    if any("emulated" in (user.time.basis or "") for user in users):
        notes.add(_EMULATED)
    if any(user.energy.basis == "modelled" for user in users):
        notes.add(_MODELLED)
    if profiles.metrics.error.noise == "shared":
        notes.add(_SHARED_NOISE)
    return tuple(sorted(notes))
