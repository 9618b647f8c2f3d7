"""The calibration: a sweep of images, curves fitted to it, and what batches cost on the edge."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from calibration.costs.batch import BatchCost, fit_batching
from calibration.profiles.build import build
from calibration.profiles.merge import Part, merge
from calibration.profiles.profile import Distances, Profiles
from calibration.records.record import Record
from calibration.records.scale import Scales
from calibration.records.task import POINTS
from calibration.schema import Schema
from calibration.sweep.costs import measured_costs
from calibration.sweep.outcome import SweepOutcome
from solver.inputs import InputError
from testbed.client.batches import time_concurrency
from testbed.client.exchange import ServerFault
from testbed.client.remote import RemotePlace
from testbed.config import defaults
from testbed.data.captioned import LazyImages
from testbed.engines.networks import unsupported_reason
from testbed.engines.threads import using
from testbed.engines.timing import BatchTimings, time_batches
from testbed.metrics.definitions import metrics
from testbed.metrics.distances import ReferenceDistances
from testbed.metrics.extractor import Extractor, Features
from testbed.metrics.reference import (
    References,
    all_features,
    converged_reference,
    given_reference,
    load_reference,
    save_reference,
)
from testbed.metrics.scales import error_and_utility_scales
from testbed.processes import on_first_process, processes
from testbed.runs.damaged import unless_damaged
from testbed.runs.features import SweepFeatures
from testbed.runs.folder import RunFolder
from testbed.runs.products import FILES
from testbed.runs.store import Pixels, RecordStore
from testbed.stages.rig import Rig
from testbed.stages.tasks import (
    adaptive_sweep,
    prompt_repeats,
    sweep_records,
    sweep_tasks,
)


@dataclass(frozen=True)
class TimedBatches(Schema):
    """The file ``batches.json``: the model and the batch sizes ``asked`` for, and the timings."""

    asked: dict[str, Any]
    timings: BatchTimings


def calibrate(rig: Rig, folder: RunFolder) -> None:
    """Run the sweep and fit the curves to all that was ever measured of the opened models.

    Writes ``profiles.json``, in which a place that was calibrated alone before stays, and
    ``calibration/features.npz``.
    """
    config, store = rig.config, folder.store("calibration")
    for notice in defaults.notices(config):
        warnings.warn(notice, stacklevel=2)
    rig.check_contents(folder)
    rig.choose_threads(folder)
    rig.check_link(folder)
    # first: what is wrong with the reference should not show after hours of generation
    given = given_reference(config.quality, rig.prompts, rig.quality)
    if given is None and "edge" not in rig.specs:
        given = load_reference(folder.reference_path, rig.prompts.classes, rig.quality)
    sweeps = _measure(rig, store, given)
    records = sweep_records(store.records(), rig.specs)
    references = _converged(rig, records, store) if given is None else given
    scales = _scales(rig, records, references, store)
    for name, note in {name: scale.utility_note for (_, name), scale in scales.items()}.items():
        if note and rig.quality.clip:
            warnings.warn(f"utility of prompt class {name} is left out: {note}", stacklevel=2)
    repeats, distances = prompt_repeats(config, rig.prompts), {}
    if rig.quality.extractor:
        features = extract_features(records, references, store.image, rig.quality.extractor)
        on_first_process(lambda: folder.save_features(features))
        distances = _all_distances(records, features, references, repeats)
    if given is None:
        on_first_process(lambda: save_reference(folder.reference_path, references, rig.quality))
    definitions = metrics(config, rig.prompts, rig.quality, references)
    batch, note = _edge_batches(rig, folder) if "edge" in rig.specs else (None, None)
    profiles = build(
        records,
        scales,
        distances,
        definitions,
        rig.environment(),
        batch,
        note,
        sweeps,
        repeats,
        rig.shared,
    )
    warn_of_turns(profiles)
    joined = _with_other_places(profiles, folder)
    on_first_process(lambda: folder.save(joined))


def warn_of_turns(profiles: Profiles) -> None:
    """Warn of curves that get worse with more steps, as a distilled model's may."""
    for place in profiles.places:
        for entry in place.classes:
            for name, fit in (("error", entry.error), ("utility", entry.utility)):
                if fit is not None and not fit.monotone:
                    warnings.warn(
                        f"{place.place}/{entry.prompt_class}: {name}: {'; '.join(fit.notes)}; "
                        "it is interpolated between what was measured",
                        stacklevel=2,
                    )


def extract_features(
    records: Sequence[Record],
    references: References,
    image: Callable[[str], Pixels],
    extractor: Extractor,
) -> SweepFeatures:
    """What is kept of a sweep for the validation; ``image`` reads that of a record's id."""
    ids = tuple(record.id for record in records)
    images = extractor.images(LazyImages(ids, image))
    return SweepFeatures(ids, images, all_features(references), extractor.fingerprint)


def _measure(
    rig: Rig, store: RecordStore, given: References | None
) -> dict[str, SweepOutcome] | None:
    """Run the sweep; returns what an adaptive one came to by place, else None."""
    config, prompts, specs = rig.config, rig.prompts, rig.specs
    if config.sweep.half_width is None:
        rig.executor.run(sweep_tasks(config, prompts, specs), store, "calibrate")
        return None
    sweep = adaptive_sweep(config, prompts, specs)
    while True:
        records = rig.executor.run(sweep.tasks(), store, "calibrate")
        references = _converged(rig, records, store) if given is None else given
        scales = _scales(rig, records, references, store)
        if not sweep.grow(records, scales, measured_costs(records)):
            return sweep.outcome()
        print(sweep.forecast(), flush=True)


def _converged(rig: Rig, records: Sequence[Record], store: RecordStore) -> References:
    return converged_reference(records, rig.prompts.classes, store.image, rig.quality)


def _scales(
    rig: Rig, records: Sequence[Record], references: References, store: RecordStore
) -> dict[tuple[str, str], Scales]:
    return error_and_utility_scales(
        records, rig.specs, rig.prompts.classes, references, store.image, rig.quality.clip
    )


def _all_distances(
    records: Sequence[Record],
    features: SweepFeatures,
    references: References,
    repeats: Mapping[str, Mapping[str, int]],
) -> dict[tuple[str, str], Distances]:
    """The distances of each place and class; ``repeats`` by class, as :func:`_distances` has it."""
    images = dict(zip(features.ids, features.images))
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.task.purpose in POINTS:
            groups[record.task.place, record.task.prompt_class].append(record)
    against = {
        name: ReferenceDistances(
            reference.features,
            # those that a model made are of the sweep's own prompts
            reference.captions if reference.model is not None else None,
        )
        for name, reference in references.items()
    }
    return {
        (place, name): _distances(group, images, against[name], repeats[name])
        for (place, name), group in groups.items()
    }


def _distances(
    records: Sequence[Record],
    features: Mapping[str, Features],
    reference: ReferenceDistances,
    repeats: Mapping[str, int],
) -> Distances:
    """The distances of a place's images of a class to the reference, at each step count that has
    two of them; an image counts as often as ``repeats`` says of its prompt.
    """
    frechet, kid, cmmd = [], [], []
    for steps in sorted({record.task.steps for record in records}):
        chosen = [
            record
            for record in records
            if record.task.steps == steps
            for _ in range(repeats.get(record.task.prompt, 1))
        ]
        if len(chosen) < 2:  # the others failed
            continue
        images = np.stack([features[record.id] for record in chosen])
        prompts = [record.task.prompt for record in chosen]
        frechet.append(reference.frechet(images, prompts).at(steps))
        kid.append(reference.kid(images, prompts).at(steps))
        cmmd.append(reference.cmmd(images, prompts).at(steps))
    return Distances(tuple(frechet), tuple(kid), tuple(cmmd))


def _edge_batches(rig: Rig, folder: RunFolder) -> tuple[BatchCost | None, str | None]:
    """What batches cost on the edge's model, timed once for a run folder, or why not."""
    pipeline, config = rig.pipelines["edge"], rig.config
    remote = isinstance(pipeline, RemotePlace)
    if not remote and (reason := unsupported_reason(pipeline)):
        return None, reason
    asked = {**rig.specs["edge"].to_dict(), "sizes": list(config.sweep.batches)}
    grid = sorted(config.sweep.grid("edge"))
    if remote:
        asked["steps"] = [grid[0], grid[-1]]

    def time() -> TimedBatches:
        prompts = rig.prompts.calibration(rig.prompts.classes[0], config.sweep.prompts_per_class)
        sizes = config.sweep.batches
        print(f"batches: up to {max(sizes)} at a time on the edge's model", flush=True)
        with using(rig.threads["edge"].batched):
            timed = partial(time_concurrency, grid=grid) if remote else time_batches
            timings = timed(pipeline, prompts, config.edge.guidance, sizes)
        return TimedBatches(asked, timings)

    try:
        with processes().main_process_first():
            kept = folder.once("calibration/batches.json", TimedBatches, asked, time)
    except ServerFault as fault:
        warnings.warn(
            f"batches are left out, as the server did not take them: {fault}", stacklevel=2
        )
        return None, str(fault)
    timings = kept.timings
    if len(set(timings.tick[0])) < 2:
        return None, "memory holds one image at a time"
    return fit_batching(timings.tick, timings.text, timings.decode, timings.memory), None


def _with_other_places(profiles: Profiles, folder: RunFolder) -> Profiles:
    """``profiles`` with those of a place that was calibrated alone in ``folder`` before; without
    them, with a warning, where they do not compare until what is new is measured there, too.
    """
    measured = {entry.place for entry in profiles.places}
    path = folder.path / FILES[Profiles].name
    before = unless_damaged(folder.profiles, path)
    kept = [entry.place for entry in before.places if entry.place not in measured] if before else []
    if before is None or not kept:
        return profiles
    parts = [Part(str(path), place, before) for place in kept]
    try:
        return merge([*parts, Part("this calibration", None, profiles)])
    except InputError as error:
        if not set(kept) <= {record.task.place for record in folder.records("calibration")}:
            raise
        warnings.warn(
            f"{', '.join(kept)}: left out of the profiles until `testbed calibrate --place "
            f"{kept[0]}` measures what is new there: {error}",
            stacklevel=2,
        )
        return profiles
