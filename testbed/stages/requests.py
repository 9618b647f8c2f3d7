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

from calibration.records.record import Measured, Record
from calibration.records.task import ModelSpec, Task
from testbed.config import ModelConfig
from testbed.data.image_requests import ImageRequest
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import check_call, unsupported_reason
from testbed.engines.request import Finished, Request
from testbed.engines.stock import generate
from testbed.environment import environment
from testbed.metering.meters import open_meter
from testbed.models.pipelines import pick_device
from testbed.runs.failures import FailureLog
from testbed.runs.store import ForeignFile, Pixels, RecordStore
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
    model: str,
    out: Path,
    dtype: str,
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
    Returns the path of the records.
    """
    where = pick_device(device)
    negative = next((r.negative_prompt for r in requests if r.negative_prompt), None)
    config = ModelConfig(model=model, dtype=dtype, negative_prompt=negative)
    pipeline, spec = open_model(config, where, {"steps": {r.steps for r in requests}})
    store, failures = RecordStore(out, images=""), FailureLog(out)
    failures.forget()
    wanted = [
        item
        for item in (_wanted(spec, request) for request in requests)
        if item.name not in store or store[item.name].task != item.task
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

    def add(index: int, image: Pixels, measured: Measured) -> None:
        item = wanted[index]
        said = replace(measured, engine_note=note)
        store.add(Record(item.name, item.task, said, info), image)

    def fail(index: int, error: Exception) -> None:
        if isinstance(error, (OSError, ForeignFile)):  # of the disk: no other would be spared it
            raise error
        failures.add(wanted[index].name, wanted[index].task, error)

    if engine == "stock" or reason is not None:
        _one_by_one(pipeline, coming, where, add, fail)
    else:
        _batched(BatchedEngine(pipeline, batch, order), coming, add, fail)
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


def _batched(
    engine: BatchedEngine,
    requests: Sequence[Request],
    add: Callable[[int, Pixels, Measured], None],
    fail: Callable[[int, Exception], None],
) -> None:
    """Serve ``requests`` by continuous batching.

    Where that fails, those that have arrived are served one by one, so that each fails alone; then
    the others in batches again.
    """
    waiting, start = set(range(len(requests))), time.perf_counter()

    def serve(indices: Sequence[int]) -> None:
        passed = time.perf_counter() - start
        coming = [
            replace(requests[index], arrival=max(0.0, requests[index].arrival - passed))
            for index in indices
        ]

        def added(position: int, image: Pixels, measured: Measured) -> None:
            index = indices[position]
            waiting.discard(index)
            late = max(0.0, passed - requests[index].arrival)
            add(index, image, _arrived(measured, requests[index].arrival, late))

        _write_beside(engine.run(coming), added)

    while waiting:
        try:
            return serve(sorted(waiting))
        except (OSError, ForeignFile):
            raise
        except Exception:
            passed = time.perf_counter() - start
            present = [index for index in sorted(waiting) if requests[index].arrival <= passed]
        for index in present or sorted(waiting):
            try:
                serve([index])
            except Exception as error:
                waiting.discard(index)
                fail(index, error)


def _arrived(measured: Measured, arrival: float, late: float) -> Measured:
    """``measured`` of a request that arrived ``late`` seconds before the engine knew of it."""
    queued, ended = (
        None if seconds is None else seconds + late
        for seconds in (measured.queue_time, measured.end_to_end_time)
    )
    return replace(measured, arrival=arrival, queue_time=queued, end_to_end_time=ended)


def _write_beside(
    finished: Iterator[Finished], add: Callable[[int, Pixels, Measured], None]
) -> None:
    """Add images in a thread: to encode a large one takes longer than an iteration."""
    with ThreadPoolExecutor(1) as writer:
        writes: deque[Future[None]] = deque()
        for done in finished:
            writes.append(writer.submit(add, done.index, done.image, done.measured()))
            while writes and writes[0].done():
                writes.popleft().result()
        for write in writes:
            write.result()


def _one_by_one(
    pipeline: DiffusionPipeline,
    requests: Sequence[Request],
    device: torch.device,
    add: Callable[[int, Pixels, Measured], None],
    fail: Callable[[int, Exception], None],
) -> None:
    """Make and add each image by a call of the pipeline itself, in the order of the arrivals."""
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
            fail(index, error)
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
        add(index, done.image(0), measured)
