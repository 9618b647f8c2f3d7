"""Generate images for a file of requests with one model: ``testbed generate``."""

import dataclasses
import math
import time
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from calibration.records.task import Task
from calibration.serving.simulator import poisson
from solver.inputs import InputError, read_lines
from testbed.config import ModelConfig
from testbed.engines.batched import CAP, BatchedEngine, Request
from testbed.engines.networks import unsupported_reason
from testbed.engines.stock import generate
from testbed.environment import environment
from testbed.meters import open_meter
from testbed.models.pipelines import open_pipeline, pick_device
from testbed.runs.store import RecordStore

_FIELDS = {"id": str, "prompt": str, "seed": int, "steps": int}


def read_requests(path):
    """Parse requests, one JSON object a line; raises :class:`InputError` naming file, line and
    field.
    """
    requests = {}
    for where, request in read_lines(path, [*_FIELDS, "guidance", "negative_prompt", "arrival"]):
        for name, kind in _FIELDS.items():
            value = request.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InputError(
                    f"{where}: {name}: found {value!r}; allowed: {'text' if kind is str else 'a whole number'}"
                )
        if request["steps"] < 1 or not 0 <= request["seed"] < 2**63:
            raise InputError(
                f"{where}: steps {request['steps']}, seed {request['seed']}; allowed: steps of at least 1, seeds from 0"
            )
        if (
            not request["id"]
            or request["id"].startswith(".")
            or "/" in request["id"]
            or "\\" in request["id"]
        ):
            raise InputError(f"{where}: id: found {request['id']!r}; allowed: a plain file name")
        if not isinstance(request.get("guidance", 1.0), (int, float)):
            raise InputError(f"{where}: guidance: found {request['guidance']!r}; allowed: a number")
        away = request.get("negative_prompt")
        if away is not None and (not isinstance(away, str) or not away):
            raise InputError(f"{where}: negative_prompt: found {away!r}; allowed: non-empty text")
        arrival = request.get("arrival", 0)
        if (
            not isinstance(arrival, (int, float))
            or isinstance(arrival, bool)
            or not 0 <= arrival < math.inf
        ):
            raise InputError(f"{where}: arrival: found {arrival!r}; allowed: seconds of at least 0")
        if request["id"] in requests:
            raise InputError(f"{where}: id: '{request['id']}' is used twice")
        requests[request["id"]] = request
    return list(requests.values())


def generate_all(
    model,
    path,
    out,
    dtype="float32",
    device="auto",
    engine="stock",
    batch=CAP,
    order="first_come",
    rate=None,
):
    """Write ``out/<id>.png`` and one line in ``out/records.jsonl`` for each request; finished ones
    are skipped.

    ``engine``: ``stock``, or ``batched`` in batches of up to ``batch`` and an ``order`` of
    :data:`calibration.serving.simulator.ORDERS`; a pipeline that the step engine cannot serve falls
    back to stock, said in a warning and the records. ``rate``: requests a second of a Poisson
    stream, in place of the requests' own ``arrival``. Requests are waited for in real time; the
    clock starts with the first that is not finished.
    """
    requests = read_requests(path)
    if rate is not None:
        if any("arrival" in request for request in requests):
            raise InputError(f"{path}: arrival: found with --arrivals; allowed: one of the two")
        for request, arrival in zip(requests, poisson(rate, len(requests), seed=0)):
            request["arrival"] = float(arrival)
    device = pick_device(device)
    settings = ModelConfig(model=model, dtype=dtype)
    pipeline, revision = open_pipeline(settings, device)
    store = RecordStore(out, images="")
    todo = []
    for request in requests:
        task = Task(
            place="edge",
            model=model,
            revision=revision,
            device=str(device),
            dtype=dtype,
            scheduler=type(pipeline.scheduler).__name__,
            prompt=request["prompt"],
            prompt_class="request",
            seed=request["seed"],
            steps=request["steps"],
            guidance=float(request.get("guidance", settings.guidance)),
            user=None,
            purpose="user",
            negative_prompt=request.get("negative_prompt"),
        )
        asked = task.to_dict()
        if request["id"] not in store or store[request["id"]]["asked"] != asked:
            wanted = Request(
                task.prompt,
                task.seed,
                task.steps,
                task.guidance,
                float(request.get("arrival", 0.0)),
                task.negative_prompt,
            )
            todo.append((request["id"], asked, wanted))
    first = min((request.arrival for *_, request in todo), default=0.0)
    coming = [dataclasses.replace(request, arrival=request.arrival - first) for *_, request in todo]
    info, reason = environment(device), unsupported_reason(pipeline) if engine == "batched" else None
    note = {} if reason is None else {"engine_note": f"fell back to stock: {reason}"}

    def add(index, image, measured):
        name, asked, _ = todo[index]
        store.add(
            {"id": name, "asked": asked, "measured": {**measured, **note}, "environment": info},
            image,
        )

    if reason is not None:
        warnings.warn(
            f"the step engine cannot serve this pipeline, so the stock pipeline does: {reason}",
            stacklevel=2,
        )
    if engine == "stock" or reason is not None:
        for done in _one_by_one(pipeline, coming, device):
            add(*done)
        return store.path
    with ThreadPoolExecutor(1) as writer:  # encoding a large image takes longer than a tick
        writes = deque()
        for done in BatchedEngine(pipeline, batch, order).run(coming):
            writes.append(writer.submit(add, done.index, done.image, _shared(done)))
            while writes and writes[0].done():
                writes.popleft().result()
        for write in writes:
            write.result()
    return store.path


def _shared(done):
    """What was measured of a request served among others: its seconds of text, steps and decode are
    those of calls that it shared with ``batch`` requests on average, ``time`` is all of its
    service, and no meter can tell its energy from theirs: null.
    """
    return {
        "text_time": done.text_time,
        "step_times": done.tick_times,
        "decode_time": done.decode_time,
        "time": done.service_time,
        "energy_j": None,
        "energy_parts_j": None,
        "clock_hz": None,
        "meter": None,
        "batch": done.batch,
        "engine": "batched",
        **_times(done.arrival, done.joined, done.finished),
    }


def _one_by_one(pipeline, requests, device):
    """Each request by a call of the pipeline itself, in the order of their arrivals: ``(index,
    image, measured)``.
    """
    meter, start = open_meter(device), time.perf_counter()
    for index in sorted(range(len(requests)), key=lambda i: requests[i].arrival):
        request = requests[index]
        time.sleep(max(0.0, request.arrival - (time.perf_counter() - start)))
        joined = time.perf_counter() - start
        done = generate(
            pipeline,
            [request.prompt],
            [request.seed],
            request.steps,
            request.guidance,
            meter,
            request.negative_prompt,
        )
        times = _times(request.arrival, joined, time.perf_counter() - start)
        yield index, done.images[0], {**done.measured(meter), "engine": "stock", **times}


def _times(arrival, joined, finished):
    return {
        "arrival": arrival,
        "queue_time": joined - arrival,
        "service_time": finished - joined,
        "end_to_end_time": finished - arrival,
    }
