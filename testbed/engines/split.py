"""Split images: a model makes the first steps, and another goes on with its latents.

Both must share their latents and their schedule, as the fingerprints of VAE and scheduler tell.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from diffusers import DiffusionPipeline

from calibration.profiles.profile import SharedLatents
from calibration.records.record import Measured
from calibration.records.split import HandOver, Split
from solver.inputs import InputError
from solver.problem import PLACES
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import Networks, unsupported_reason
from testbed.engines.request import Finished, Request, all_made
from testbed.engines.stock import Generated, image_name, synchronised_clock
from testbed.engines.threads import using
from testbed.metering.meters import AnyMeter
from testbed.models.pipelines import denoiser


def fingerprint(networks: Networks) -> SharedLatents:
    """Twelve hex digits of the VAE's weights and configuration, and of the scheduler's class and
    configuration, with the latents' shape.
    """
    vae = hashlib.sha256(_configuration(networks.pipeline.vae))
    for name, weights in sorted(networks.pipeline.vae.state_dict().items()):
        vae.update(name.encode() + np.ascontiguousarray(weights.float().cpu()).tobytes())
    schedule = hashlib.sha256(_configuration(networks.pipeline.scheduler))
    return SharedLatents(
        vae.hexdigest()[:12], schedule.hexdigest()[:12], tuple(networks.latent_shape)
    )


def check_shared(models: Mapping[str, Networks]) -> SharedLatents:
    """What both models share; raises :class:`InputError` where they differ."""
    local, edge = (fingerprint(models[place]) for place in PLACES)
    for part in ("latents", "vae", "scheduler"):
        if getattr(local, part) != getattr(edge, part):
            raise InputError(
                f"sweep.splits: {part}: found {getattr(local, part)} of the local model and "
                f"{getattr(edge, part)} of the edge's; allowed: one and the same, or one model "
                "cannot go on with the other's latents"
            )
    return local


def check_pipelines(
    pipelines: Mapping[str, DiffusionPipeline], totals: Sequence[int]
) -> SharedLatents:
    """What the pipelines share that make split images of ``totals`` steps.

    Raises :class:`InputError` where one of them cannot.
    """
    for place in PLACES:
        if reason := unsupported_reason(pipelines[place]):
            raise InputError(f"sweep.splits: {place}: found a {reason}")
    local, edge = (str(denoiser(pipelines[place]).dtype) for place in PLACES)
    if local != edge:
        raise InputError(
            f"sweep.splits: dtype: found {local} of the local model and {edge} of the edge's; "
            "allowed: one and the same"
        )
    shared = check_shared({place: Networks(pipelines[place]) for place in PLACES})
    engine = BatchedEngine(pipelines["edge"])
    for steps in totals:
        taken = engine.iterations(steps)
        if taken != steps:
            raise InputError(
                f"sweep.splits: found {steps} steps, for which the sampler takes {taken} "
                "iterations; allowed: a sampler of first order"
            )
    return shared


def _configuration(part: Any) -> bytes:
    """The class and settings of a part, without what its file was saved with."""
    settings = {key: value for key, value in part.config.items() if not key.startswith("_")}
    return json.dumps([type(part).__name__, settings], sort_keys=True, default=str).encode()


def generate(
    pipelines: Mapping[str, DiffusionPipeline],
    split: Split,
    requests: Mapping[str, Sequence[Request]],
    threads: Mapping[str, int],
    meter: AnyMeter,
) -> tuple[Generated, Measured]:
    """Split images, all with as many steps, and what they took together.

    By place: ``pipelines``, what each is asked for of the same images (``requests``), and the
    ``threads`` of a CPU. What is handed over stays in this process.
    """
    asked = requests["edge"]
    (first, before), (last, _) = split.parts(asked[0].steps).items()
    engines = {place: BatchedEngine(pipelines[place], len(asked)) for place in PLACES}
    meter.start()
    with using(threads[first]):
        begun = _clock(engines[first])
        for index, request in enumerate(requests[first]):
            engines[first].add(index, request)
        for _ in range(before):
            _advance(engines[first])
        handed_over = _clock(engines[first])
    running = engines[first].present
    size = running[0].state.bytes
    with using(threads[last]):
        taken_over, finished = _clock(engines[last]), list[Finished]()
        engines[last].take_over(running, requests[last])
        while engines[last].present:
            finished += _advance(engines[last])
        ended = _clock(engines[last])
    energy_j = meter.stop()
    finished.sort(key=lambda image: image.index)
    pipeline = pipelines[last]
    done = Generated(
        np.stack([image.pixels for image in finished]),
        [image_name(pipeline, request.prompt, request.steps) for request in asked],
        finished[0].text_time,
        finished[0].tick_times,
        finished[0].decode_time,
        energy_j,
    )
    seconds = {first: handed_over - begun, last: ended - taken_over}
    measured = replace(
        done.measured(meter),
        time=sum(seconds.values()),
        handover=HandOver(seconds["local"], seconds["edge"], size),
    )
    return done, measured


def _clock(engine: BatchedEngine) -> float:
    return synchronised_clock(engine.networks.device)


def _advance(engine: BatchedEngine) -> list[Finished]:
    """An iteration of all that are present, who keep together; raises what one of them fails of."""
    count = len(engine.present)
    finished = all_made(engine.advance())
    if min(engine.caps.values()) < count:
        raise MemoryError("the batch does not fit into memory")
    return finished
