"""What makes a place's images, a pipeline in this process or a server, for the executor."""

from typing import Any, TypeAlias

from diffusers import DiffusionPipeline

from calibration.records.task import Task
from testbed.client.remote import Concurrent, RemotePlace
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import unsupported_reason
from testbed.engines.request import Request
from testbed.models.pipelines import setup

Maker: TypeAlias = DiffusionPipeline | RemotePlace


def setup_of(maker: Maker) -> dict[str, Any]:
    """How it was set up; times compare between equal set-ups."""
    return maker.setup() if isinstance(maker, RemotePlace) else setup(maker).to_dict()


def takes_batches(maker: Maker) -> bool:
    """Whether requests of different steps are made together."""
    if isinstance(maker, RemotePlace):
        return True
    # with offload the engine's calls would move the networks to and fro
    return unsupported_reason(maker) is None and setup(maker).memory != "offload"


def engine_of(maker: Maker, cap: int) -> BatchedEngine | Concurrent:
    """What makes up to ``cap`` images at once."""
    return maker.engine(cap) if isinstance(maker, RemotePlace) else BatchedEngine(maker, cap)


def request_of(task: Task) -> Request:
    """What is asked of the engine."""
    return Request(
        task.prompt, task.seed, task.steps, task.guidance, negative_prompt=task.negative_prompt
    )
