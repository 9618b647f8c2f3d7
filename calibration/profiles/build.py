"""Profiles fitted to calibration records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from calibration.costs.batch import BatchCost
from calibration.costs.drift import ratio, speed_sd
from calibration.costs.energy import fit_energy
from calibration.costs.metering import metered, power
from calibration.costs.time import StageTimes, TimeFit, fit_time
from calibration.costs.transfer import fit_transfers, payload
from calibration.fitting.curve_fit import CurveFit
from calibration.fitting.fit import fit_curve
from calibration.profiles.class_test import differences
from calibration.profiles.profile import (
    ClassProfile,
    Distances,
    Metrics,
    Place,
    Profiles,
    SharedLatents,
)
from calibration.profiles.splits import fit_splits
from calibration.records.prompt_means import PromptMeans, fit_weights, prompt_means
from calibration.records.record import Record
from calibration.records.scale import Scale, Scales
from calibration.records.task import POINTS
from calibration.sweep.outcome import SweepOutcome
from solver.inputs import InputError
from solver.problem import PLACES

_CLIP_SCORE = Scale("clip_score", 0.0, 1.0)


def build(
    records: Sequence[Record],
    scales: Mapping[tuple[str, str], Scales],
    distances: Mapping[tuple[str, str], Distances],
    metrics: Metrics,
    environment: Mapping[str, Any],
    batch: BatchCost | None = None,
    batch_note: str | None = None,
    sweeps: Mapping[str, SweepOutcome] | None = None,
    repeats: Mapping[str, Mapping[str, int]] | None = None,
    shared: SharedLatents | None = None,
) -> Profiles:
    """Fit profiles to calibration records.

    ``records``: in the order in which they were made; of repeated ids the last counts, images made
    for users do not count. ``scales`` and ``distances``, where there are any: by place and prompt
    class. ``batch``, ``batch_note``: what batches cost on the edge, or why that is not known.
    ``sweeps``: the outcomes of an adaptive sweep, by place. ``repeats``: by prompt class, how often
    each prompt counts in the mean CLIP score (default: once). ``shared``: what both models have in
    common, where they made split images. Raises :class:`InputError` naming place and class for what
    is missing.
    """
    made = [
        record
        for record in {record.id: record for record in records}.values()
        if record.task.user is None
    ]
    if not made:
        raise InputError(
            "records: found no calibration record; allowed: at least one place and prompt class"
        )
    places = []
    for place in PLACES:
        if of_place := [record for record in made if record.task.place == place]:
            fitted = _place(place, of_place, scales, distances, repeats or {})
            if place == "edge":
                fitted = replace(fitted, batch=batch, batch_note=batch_note)
            places.append(replace(fitted, sweep=(sweeps or {}).get(place)))
    return Profiles(
        environment=environment,
        metrics=metrics,
        places=_one_speed(places),
        splits=fit_splits(made, scales, shared) if shared else None,
    )


def _place(
    place: str,
    records: Sequence[Record],
    scales: Mapping[tuple[str, str], Scales],
    distances: Mapping[tuple[str, str], Distances],
    repeats: Mapping[str, Mapping[str, int]],
) -> Place:
    model, device, dtype = (_only(place, name, records) for name in ("model", "device", "dtype"))
    by_class: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_class[record.task.prompt_class].append(record)
    profiles = {}
    for name in sorted(by_class):
        where, key = f"records: {place}/{name}", (place, name)
        if key not in scales:
            raise InputError(f"{where}: the scales of error and utility are missing")
        try:
            profiles[name] = _class_profile(
                name,
                by_class[name],
                scales[key],
                distances.get(key, Distances()),
                repeats.get(name, {}),
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    timed = [record for record in records if record.task.purpose == "sweep"]
    ratios = [ratio(record, profiles[record.task.prompt_class].time) for record in timed]
    carried = [record.measured.transfer for record in timed if record.measured.transfer]
    # The permutations of the class test depend on the order of its records: class by class.
    grouped = [record for of_class in by_class.values() for record in of_class]
    return Place(
        place=place,
        model=model,
        device=device,
        dtype=dtype,
        speed_sd=speed_sd(ratios),
        classes=tuple(profiles.values()),
        class_differences=differences(grouped, {name: scales[place, name] for name in by_class}),
        transfer=fit_transfers(carried) if carried else None,
    )


def _one_speed(places: Sequence[Place]) -> tuple[Place, ...]:
    """The places, those on one device with one spread of its speed.

    A sweep has few parts, so that each place alone knows the spread to a factor of two.
    """
    known: dict[str, list[float]] = defaultdict(list)
    for place in places:
        if place.speed_sd > 0:  # 0: there were too few images to tell
            known[place.device].append(place.speed_sd)
    spread = {device: float(np.sqrt(np.mean(np.square(sds)))) for device, sds in known.items()}
    return tuple(replace(place, speed_sd=spread.get(place.device, 0.0)) for place in places)


def _only(place: str, name: str, records: Sequence[Record]) -> str:
    """The value of a task's field, which must be the same in all ``records``."""
    first: str = getattr(records[0].task, name)
    for record in records:
        if (value := getattr(record.task, name)) != first:
            raise InputError(
                f"records: {place}: {name}: found {value!r} and {first!r}; allowed: one per place"
            )
    return first


def _class_profile(
    name: str,
    records: Sequence[Record],
    scales: Scales,
    distances: Distances,
    repeats: Mapping[str, int],
) -> ClassProfile:
    points = [record for record in records if record.task.purpose in POINTS]
    if not points:
        raise InputError("found no record of a sweep")
    timed = [record for record in points if record.task.purpose == "sweep"]
    time, images = _time(timed), metered(timed)
    answers = [record.measured.transfer for record in points if record.measured.transfer]
    scored = any(record.measured.clip_score is not None for record in points)
    return ClassProfile(
        prompt_class=name,
        time=time,
        power=power(images),
        energy=fit_energy(images, time),
        scales=scales,
        error=_curve(prompt_means(points, scales.error), "error"),
        utility=_curve(prompt_means(points, scales.utility), "utility") if scales.utility else None,
        clip_score=prompt_means(points, _CLIP_SCORE, repeats).points if scored else (),
        frechet=distances.frechet,
        kid=distances.kid,
        cmmd=distances.cmmd,
        payload=payload(answers) if answers else None,
    )


def _time(records: Sequence[Record]) -> TimeFit:
    measured = [record.measured for record in records]
    fit = fit_time([record.task.steps for record in records], [image.time for image in measured])
    if not all(image.step_times for image in measured):  # a server that does not tell its stages
        return fit
    stages = StageTimes(
        text=float(np.median([image.text_time for image in measured])),
        step=float(np.median(np.concatenate([image.step_times for image in measured]))),
        decode=float(np.median([image.decode_time for image in measured])),
    )
    return replace(fit, stages=stages)


def _curve(means: PromptMeans, kind: str) -> CurveFit:
    """The curve through the means, which stand as its points: they say more than a fit's own."""
    weights = fit_weights(means.points, kind)
    fit = fit_curve(
        [point.steps for point in means.points],
        [point.value for point in means.points],
        weights,
        kind,
        covariance=None if weights is None else means.covariance,
        dof=means.dof,
        replicates=means.replicates,
    )
    points = means.points
    if weights is None:  # standard errors of one prompt, or of none, are not known ones
        points = tuple(replace(point, se=None) for point in points)
    return replace(fit, points=points)
