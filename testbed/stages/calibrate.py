"""The calibration of a testbed: its sweep, the units and distances of its images, what batches cost
on the edge; all of it as profiles.
"""

import numpy as np

from calibration.costs.batch import fit_batching
from calibration.profiles import build as profile
from calibration.records.task import POINTS
from solver.inputs import read_json, write_json
from solver.problem import PLACES
from testbed.data.captioned import Pictures
from testbed.engines.networks import unsupported_reason
from testbed.engines.timing import time_batches
from testbed.environment import environment
from testbed.metrics import quality
from testbed.metrics.definitions import metrics
from testbed.metrics.distances import Reference
from testbed.processes import processes
from testbed.runs.store import RecordStore
from testbed.stages.rig import EXECUTION_SEED

UNIT_IMAGES = 100  # of each class, all pairs of which tell how far other pictures are apart


def _utility_units(reference, clip):
    """CLIP score of a reference's images with their own captions (ceiling) and with others'
    captions (floor).
    """
    captions = reference.captions
    scores = np.maximum(0, 100 * _unit(reference.clip) @ _unit(clip.texts(captions)).T)
    other = np.array([[a != b for b in captions] for a in captions])
    return {
        "utility_floor": float(scores[other].mean()),
        "utility_ceiling": float(np.diag(scores).mean()),
    }


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _error_unit(images):
    """Mean distance between converged images of different prompts: the scale on which an error of 1
    is 'another picture'.
    """
    pairs = [quality.distance(a, b) for i, a in enumerate(images) for b in images[:i]]
    return float(np.mean(pairs))


def measure(testbed, store, given):
    """Run the sweep; returns what an adaptive one came to, else None. ``given``: the reference, if
    it is there before the sweep.
    """
    if testbed.config.sweep.half_width is None:
        testbed.executor.run(testbed.sweep(), store, "calibrate")
        return None
    sweep = testbed.adaptive_sweep()
    while True:
        records = testbed.executor.run(sweep.tasks(), store, "calibrate")
        if not sweep.grow(
            records,
            error_and_utility_units(
                testbed, records, store, given or testbed.converged_reference(records, store)
            ),
        ):
            return sweep.outcome()
        print(sweep.forecast(), flush=True)


def calibrate(testbed, out):
    """Run the sweep, fit the curves to all that was ever measured of the opened models in ``out``,
    write ``profiles.json``.

    Returns ``(profiles, sweep)`` for what follows.
    """
    store = RecordStore(out / "calibration")
    given = (
        testbed.given_reference()
    )  # first: what is wrong with it should not show after hours of generation
    outcome = measure(testbed, store, given)
    records = [
        r
        for r in store.records()
        if r["asked"]["seed"] < EXECUTION_SEED and _of_these_models(testbed, r["asked"])
    ]
    reference = given or testbed.converged_reference(records, store)
    ids = [r["id"] for r in records]
    features = dict(zip(ids, testbed.extractor.images(Pictures(ids, store.image))))
    units, frechet, kernels = error_and_utility_units(testbed, records, store, reference), {}, {}
    against = {name: Reference(of.features) for name, of in reference.items()}
    for place, name in units:
        own = [
            r
            for r in records
            if r["asked"]["place"] == place
            and r["asked"]["prompt_class"] == name
            and r["asked"]["purpose"] in POINTS
        ]
        points = [
            _distance_point(own, steps, features, against[name])
            for steps in sorted({r["asked"]["steps"] for r in own})
        ]
        frechet[place, name] = [{"steps": point["steps"], **point["frechet"]} for point in points]
        kernels[place, name] = {
            kind: [{"steps": point["steps"], **point[kind]} for point in points]
            for kind in ("kid", "cmmd")
        }
    profiles = {
        **profile.build(
            records,
            units,
            frechet,
            metrics(testbed, reference),
            environment(testbed.device),
            kernels,
        ),
        "plan": outcome,
    }
    batching = (
        edge_batches(testbed, out / "calibration" / "batches.json")
        if "edge" in testbed.models
        else {}
    )
    profiles["profiles"] = [
        {**entry, **(batching if entry["place"] == "edge" else {})}
        for entry in profiles["profiles"]
    ]
    if (path := out / "profiles.json").exists():  # a place that was calibrated alone before stays
        before = read_json(path)
        for part in ("profiles", "class_differences"):
            kept = [row for row in before.get(part, []) if row["place"] not in testbed.models]
            profiles[part] = sorted(
                kept + profiles[part], key=lambda row: PLACES.index(row["place"])
            )
    write_json(path, profiles)
    return profiles, {"records": records, "features": features, "reference": reference}


def _of_these_models(testbed, asked):
    return (
        asked["place"] in testbed.models and testbed.models[asked["place"]].items() <= asked.items()
    )


def error_and_utility_units(testbed, records, store, reference):
    """{(place, prompt class): units of error and utility}, as
    :func:`calibration.profiles.build.build` takes them.
    """
    units = {}
    for name in testbed.prompts.classes:
        utility = _utility_units(reference[name], testbed.clip)
        for place in testbed.models:
            own = [
                r
                for r in records
                if r["asked"]["place"] == place and r["asked"]["prompt_class"] == name
            ]
            converged = {
                r["asked"]["prompt"]: r["id"] for r in own if r["asked"]["purpose"] == "converged"
            }
            units[place, name] = {
                "error_unit": _error_unit(
                    [store.image(one) for one in list(converged.values())[:UNIT_IMAGES]]
                ),
                **utility,
            }
    return units


def _distance_point(records, steps, features, reference):
    """Distances of the sweep's images with ``steps`` steps to a
    :class:`testbed.metrics.distances.Reference`.
    """
    chosen = [r for r in records if r["asked"]["steps"] == steps]
    found, prompts = (
        np.stack([features[r["id"]] for r in chosen]),
        [r["asked"]["prompt"] for r in chosen],
    )
    kernels = {
        "kid": reference.kid(found, prompts)._asdict(),
        "cmmd": reference.cmmd(found, prompts)._asdict(),
    }
    return {"steps": steps, "frechet": reference.frechet(found, prompts), **kernels}


def edge_batches(testbed, path):
    """What batches cost on the edge's pipeline: {"batching": see :mod:`calibration.costs.batch`, or
    None, with the reason as "batching_note"}.

    Measured once for a run folder, and kept in ``path``.
    """
    pipeline, sizes = testbed.executor.pipelines["edge"], list(testbed.config.sweep.batches)
    if reason := unsupported_reason(pipeline):
        return {"batching": None, "batching_note": reason}
    asked = {**testbed.models["edge"], "sizes": sizes}
    with processes().main_process_first():
        if not path.exists() or read_json(path)["asked"] != asked:
            prompts = testbed.prompts.calibration(
                testbed.prompts.classes[0], testbed.config.sweep.prompts_per_class
            )
            print(f"batches: up to {max(sizes)} at a time on the edge's model", flush=True)
            write_json(
                path,
                {
                    "asked": asked,
                    "timings": time_batches(
                        pipeline, prompts, testbed.config.edge.guidance, sizes
                    ).to_dict(),
                },
            )
    timings = read_json(path)["timings"]
    if len(set(timings["tick"][0])) < 2:
        return {"batching": None, "batching_note": "memory holds one image at a time"}
    return {"batching": fit_batching(**timings)}
