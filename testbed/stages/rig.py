"""What a configuration's stages run on: opened models, prompts, and what measures images."""

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from calibration.records.task import ModelSpec
from solver.problem import PLACES
from testbed.config import Config, ModelConfig
from testbed.data.prompts import open_prompts
from testbed.metrics.quality import QualityModels
from testbed.models.pipelines import open_pipeline, pick_device
from testbed.processes import processes
from testbed.runs.folder import RunFolder
from testbed.stages.executor import Executor


class Rig:
    """The models of ``places`` (their ``pipelines`` and ``specs``), and the ``quality`` models.

    Raises :class:`InputError` for what cannot be opened.
    """

    def __init__(self, config: Config, places: Sequence[str] = PLACES) -> None:
        self.config, self.prompts = config, open_prompts(config.prompts)
        self.device = open_device(config)
        self.pipelines: dict[str, DiffusionPipeline] = {}
        self.specs: dict[str, ModelSpec] = {}
        for place in places:
            model = config.local if place == "local" else config.edge
            self.pipelines[place], self.specs[place] = open_model(model, self.device)
        self.quality = QualityModels.open(config.quality, self.device)
        self.executor = Executor(
            self.pipelines, self.quality.clip, self.device, config.sweep.converged_batch
        )


def open_device(config: Config) -> torch.device:
    """The device of this process."""
    processes()  # first: it gives each process its GPU
    return pick_device(config.device)


def open_folder(config: Config, out: str | Path) -> RunFolder:
    """Make or reopen a run folder; of several processes the first one does."""
    with processes().main_process_first():
        return RunFolder.open(config, out)


def open_model(config: ModelConfig, device: torch.device) -> tuple[DiffusionPipeline, ModelSpec]:
    """Open a model; the spec names it, with its revision, in tasks and records."""
    pipeline, revision = open_pipeline(config, device)
    return pipeline, ModelSpec(
        model=config.model,
        device=str(device),
        dtype=config.dtype,
        scheduler=type(pipeline.scheduler).__name__,
        guidance=config.guidance,
        revision=revision,
        negative_prompt=config.negative_prompt,
    )
