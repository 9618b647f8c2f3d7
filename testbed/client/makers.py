"""What makes a place's images, a pipeline in this process or a server, for the executor."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from diffusers import DiffusionPipeline

from calibration.records.record import Measured
from calibration.records.split import Split
from calibration.records.task import Task
from solver.problem import PLACES
from testbed.client.remote import Concurrent, RemotePlace
from testbed.engines import split
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import unsupported_reason
from testbed.engines.request import Failed, Made, Request, outcomes_of
from testbed.engines.threads import Threads
from testbed.metering.meters import AnyMeter
from testbed.models.pipelines import setup

Maker: TypeAlias = DiffusionPipeline | RemotePlace


def setup_of(maker: Maker) -> dict[str, Any]:
    """How it was set up; times compare between equal set-ups."""
    return maker.setup() if isinstance(maker, RemotePlace) else setup(maker).to_dict()


def takes_batches(maker: Maker) -> bool:
    """Whether requests of different steps are made together."""
    return isinstance(maker, RemotePlace) or unsupported_reason(maker) is None


def engine_of(maker: Maker, cap: int) -> BatchedEngine | Concurrent:
    """What makes up to ``cap`` images at once."""
    return maker.engine(cap) if isinstance(maker, RemotePlace) else BatchedEngine(maker, cap)


def request_of(task: Task, place: str = "edge") -> Request:
    """What is asked of the engine; of a split image that of a ``place``."""
    model = task.local_model if task.local_model and place == "local" else task
    return Request(
        task.prompt, task.seed, task.steps, model.guidance, negative_prompt=model.negative_prompt
    )


def make_split(
    tasks: Sequence[Task],
    how: Split,
    makers: Mapping[str, Maker],
    threads: Mapping[str, Threads],
    meter: AnyMeter | None,
) -> tuple[Measured, list[Made | Failed]]:
    """The images of ``tasks``, split alike, by the pipelines of both places: what was measured of
    the call, and the outcome of each.
    """
    pipelines = {place: makers[place] for place in PLACES}
    used = {place: threads.get(place) or Threads.current() for place in PLACES}
    requests = {place: [request_of(task, place) for task in tasks] for place in PLACES}
    alone = len(tasks) == 1
    counts = {place: each.single if alone else each.batched for place, each in used.items()}
    assert meter is not None, "a call follows the warm-up"
    done, measured = split.generate(pipelines, how, requests, counts, meter)
    return measured, outcomes_of(done, measured)
