"""Images for requests with one model, one by one or by continuous batching."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from calibration.records.record import Record
from calibration.records.task import ModelSpec, Task
from testbed.config import ModelConfig
from testbed.config.defaults import own_guidance
from testbed.data.image_requests import ImageRequest
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import check_call, unsupported_reason
from testbed.engines.request import Failed, Made, Outcome, Request, all_made, outcomes_of
from testbed.engines.stock import generate
from testbed.environment import environment
from testbed.metering.meters import open_meter
from testbed.models.pipelines import local_files, pick_device
from testbed.runs import contents, guard
from testbed.runs.failures import FailureLog
from testbed.runs.lock import lock
from testbed.runs.store import RecordStore
from testbed.stages.rig import open_model


@dataclass(frozen=True)
class _Wanted:
    """An image that is not there yet: its file's ``name``, and its ``arrival`` (s)."""

    name: str
    task: Task
    arrival: float

    def request(self, start: float) -> Request:
        """The request, on a clock that begins at ``start`` s."""
        task = self.task
        return Request(
            task.prompt,
            task.seed,
            task.steps,
            task.guidance,
            self.arrival - start,
            task.negative_prompt,
        )


def serve_requests(
    requests: Sequence[ImageRequest],
    config: ModelConfig,
    out: Path,
    device: str,
    engine: str,
    batch: int,
    order: str,
) -> Path:
    """Write ``out/<id>.png`` and a line in ``out/records.jsonl`` for each request that has none.

    ``engine``: ``stock``, or ``batched`` in batches of up to ``batch`` and an ``order`` of
    :data:`calibration.serving.simulator.ORDERS`. A pipeline that cannot be served in batches falls
    back to stock, which a warning and the records say. Requests are waited for in real time; the
    clock starts with the first that is not finished. A request that fails is written down in
    ``out/failures.jsonl``, a warning tells how many did, and the same call tries these again.
    Returns the path of the records. Raises :class:`InputError` where another process runs in
    ``out``.
    """
    if _held := lock(out):
        guard.sweep_parts(out, depth=0)
    where = pick_device(device)
    negative = next((r.negative_prompt for r in requests if r.negative_prompt), None)
    config = replace(config, negative_prompt=negative, guidance=own_guidance(config))
    pipeline, spec = open_model(config, where, {"steps": {r.steps for r in requests}})
    store, failures = RecordStore(out, images=""), FailureLog(out)
    if files := local_files(config):
        contents.keep(out, spec.model, spec.revision, files, measured=len(store) > 0)
    failures.forget()
    wanted = [
        item
        for item in (_wanted(spec, request) for request in requests)
        if item.name not in store
        or store[item.name].task != item.task
        or not (out / f"{item.name}.png").exists()
    ]
    for item in wanted:
        check_call(pipeline, item.task.steps, item.task.negative_prompt)
    start = min((item.arrival for item in wanted), default=0.0)
    coming = [item.request(start) for item in wanted]
    reason, info = unsupported_reason(pipeline) if engine == "batched" else None, environment(where)
    if pipeline.notes:
        info = {**info, "notes": pipeline.notes}
    note = None
    if reason is not None:
        note = f"fell back to stock: {reason}"
        warnings.warn(
            "the pipeline cannot be served by continuous batching, so the stock pipeline does: "
            f"{reason}",
            stacklevel=2,
        )

    def write(outcome: Outcome | Made) -> None:
        item = wanted[outcome.index]
        with failures.attempt(item.name, item.task):
            (made,) = all_made([outcome])
            measured = replace(made.measured(), engine_note=note)
            record = Record(item.name, item.task, measured, info)
            if item.name in store:  # of another request: its line must not keep the new image
                (out / f"{item.name}.png").unlink(missing_ok=True)
                store.write(replace(record, image=f"{item.name}.png"))
            store.add(record, made.image)

    if engine == "stock" or reason is not None:
        for outcome in _one_by_one(pipeline, coming, where):
            write(outcome)
    else:
        _write_beside(BatchedEngine(pipeline, batch, order).run(coming), write)
    if failures.failures():
        warnings.warn(failures.summary("generate", len(requests)), stacklevel=2)
    return store.path


def _wanted(spec: ModelSpec, request: ImageRequest) -> _Wanted:
    own = replace(
        spec,
        guidance=spec.guidance if request.guidance is None else float(request.guidance),
        negative_prompt=request.negative_prompt,
    )
    task = own.task(
        place="edge",
        prompt=request.prompt,
        prompt_class="request",
        seed=request.seed,
        steps=request.steps,
        purpose="user",
    )
    return _Wanted(request.id, task, float(request.arrival or 0.0))


def _write_beside(outcomes: Iterator[Outcome], write: Callable[[Outcome], None]) -> None:
    """Write images in a thread: to encode a large one takes longer than an iteration."""
    with ThreadPoolExecutor(1) as writer:
        writes: deque[Future[None]] = deque()
        for outcome in outcomes:
            writes.append(writer.submit(write, outcome))
            while writes and writes[0].done():
                writes.popleft().result()
        for waiting in writes:
            waiting.result()


def _one_by_one(
    pipeline: DiffusionPipeline, requests: Sequence[Request], device: torch.device
) -> Iterator[Made | Failed]:
    """Make each image by a call of the pipeline itself, in the order of the arrivals."""
    meter, start = open_meter(device), time.perf_counter()
    for index in sorted(range(len(requests)), key=lambda i: requests[i].arrival):
        request = requests[index]
        time.sleep(max(0.0, request.arrival - (time.perf_counter() - start)))
        joined = time.perf_counter() - start
        try:
            done = generate(
                pipeline,
                [request.prompt],
                [request.seed],
                request.steps,
                request.guidance,
                meter,
                request.negative_prompt,
            )
        except Exception as error:
            yield Failed(index, error)
            continue
        finished = time.perf_counter() - start
        measured = replace(
            done.measured(meter),
            engine="stock",
            arrival=request.arrival,
            queue_time=joined - request.arrival,
            service_time=finished - joined,
            end_to_end_time=finished - request.arrival,
        )
        yield from outcomes_of(done, measured, index)
