"""What a configuration's stages run on: opened models, prompts, and what measures images."""

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from calibration.links import LINKS
from calibration.records.task import ModelSpec
from calibration.scenario.sites import model_of, step_limits
from solver.allocation import Allocation
from solver.inputs import InputError
from solver.problem import PLACES
from testbed.client.first_look import look as look_at_server
from testbed.client.remote import RemotePlace
from testbed.config import Config, LinkConfig, ModelConfig
from testbed.config.paths import warn_of_namesake
from testbed.data.prompts import open_prompts
from testbed.engines import threads
from testbed.engines.networks import check_call
from testbed.engines.split import check_pipelines
from testbed.engines.threads import Threads
from testbed.environment import environment
from testbed.link.emulated import EmulatedLink
from testbed.link.probe import check
from testbed.metrics.clip import Clip
from testbed.metrics.inception import Inception
from testbed.metrics.quality import QualityModels
from testbed.models.folders import read_files
from testbed.models.inspection import Steps, check_before_fetching, look, note_fallback
from testbed.models.pipelines import local_files, open_pipeline, pick_device, resolve
from testbed.processes import on_first_process, processes
from testbed.runs import contents, guard
from testbed.runs.folder import RunFolder
from testbed.stages.executor import Executor
from testbed.stages.tasks import model_place, run_scenario


class Rig:
    """The models of ``places`` (their ``pipelines``, or servers, and ``specs``), and the
    ``quality`` models. ``link``: the emulated way to the servers, if there is one; ``shared``: what
    the models of both places have in common, where split images are asked for.

    ``steps``: by place, the step counts that are asked for beside those of the sweep. Raises
    :class:`InputError` for what cannot be opened, and for what :mod:`testbed.models.inspection`
    refuses: whatever needs no weights before any are fetched.
    """

    def __init__(
        self,
        config: Config,
        places: Sequence[str] = PLACES,
        steps: Mapping[str, Steps] | None = None,
    ) -> None:
        self.config, self.prompts = config, open_prompts(config.prompts)
        check_models(config, places, steps)
        check_extractor(config)
        self.device = open_device(config)
        self.link = open_link(config.link, [_model(config, place) for place in places])
        self.pipelines: dict[str, DiffusionPipeline | RemotePlace] = {}
        self.specs: dict[str, ModelSpec] = {}
        # servers first: one that is not there is told of before a model is fetched
        for place in sorted(places, key=lambda place: _model(config, place).url is None):
            model, asked = _model(config, place), _steps(config, place, steps)
            if model.url is not None:
                remote = RemotePlace.open(model, self.link, min(chain(*asked.values())))
                look_at_server(remote, asked)
                self.pipelines[place], self.specs[place] = remote, remote.spec
                continue
            pipeline, self.specs[place] = open_model(model, self.device, asked)
            self.pipelines[place] = pipeline
            note_fallback(pipeline)
            for count in (*config.sweep.grid(place), config.sweep.converged(place)):
                check_call(pipeline, count)
        self.pipelines = {place: self.pipelines[place] for place in places}
        self.specs = {place: self.specs[place] for place in places}
        splits = config.sweep.splits if len(places) == len(PLACES) else None
        self.shared = check_pipelines(self.pipelines, splits) if splits else None
        self.threads = {place: Threads.current() for place in places}
        self.quality = QualityModels.open(config.quality, self.device)
        self.executor = Executor(
            self.pipelines,
            self.quality.clip,
            self.device,
            config.sweep.converged_batch,
            threads=self.threads,
        )

    def check_contents(self, folder: RunFolder) -> None:
        """Keep what the files of the models that are folders hold; raises :class:`InputError` where
        ``folder`` was measured with others.
        """
        on_first_process(lambda: self._check_contents(folder.path))

    def _check_contents(self, path: Path) -> None:
        measured, clip = guard.has_measured(path), self.config.quality.clip
        for place, spec in self.specs.items():
            if files := local_files(_model(self.config, place)):
                contents.keep(path, spec.model, spec.revision, files, measured)
        if self.quality.clip and os.path.isdir(source := resolve(clip)):
            contents.keep(path, clip, None, read_files(source), measured)

    def choose_threads(self, folder: RunFolder) -> None:
        """Take the numbers of threads that the folder's images are made with.

        They are chosen once, by what is quicker; a number that the environment asks for is obeyed.
        """
        if self.device.type != "cpu" or threads.asked_for():
            return
        for place, pipeline in self.pipelines.items():
            if isinstance(pipeline, RemotePlace):
                continue
            with processes().main_process_first():
                self.threads[place] = self._threads_of(place, folder)

    def _threads_of(self, place: str, folder: RunFolder) -> Threads:
        batch = self.config.sweep.converged_batch
        asked = {
            "model": self.specs[place].to_dict(),
            "batch": batch,
            "threads": torch.get_num_threads(),
        }
        return folder.once(
            f"threads-{place}.json",
            Threads,
            asked,
            lambda: threads.choose(self.pipelines[place], batch, asked),
        )

    def check_link(self, folder: RunFolder) -> None:
        """Measure the emulated link, say what it does, and keep it in the folder."""
        if self.link is not None:
            measured = check(self.link)
            print(measured.sentence(), flush=True)
            on_first_process(lambda: folder.add_link(measured))

    def environment(self) -> dict[str, Any]:
        """The machine, and the threads of images that are made alone and of batches."""
        told: dict[str, Any] = dict(environment(self.device))
        if self.device.type == "cpu":
            told["threads"] = _told({p: t.single for p, t in self.threads.items()})
            told["batch_threads"] = _told({p: t.batched for p, t in self.threads.items()})
        return told


def _model(config: Config, place: str) -> ModelConfig:
    return config.local if place == "local" else config.edge


def open_link(config: LinkConfig | None, models: Sequence[ModelConfig]) -> EmulatedLink | None:
    """The configured link, if a server is among ``models``; it lasts as long as this process."""
    if config is None or not any(model.url for model in models):
        return None
    return EmulatedLink(LINKS[config.preset], config.method)


def open_device(config: Config) -> torch.device:
    """The device of this process.

    Raises :class:`InputError` for a GPU's number where several processes would share that GPU.
    """
    count = processes().num_processes  # first: it gives each process its GPU
    if count > 1 and ":" in config.device:
        raise InputError(
            f"device: found {config.device!r} with {count} processes, which would all compute on "
            "it; allowed: auto, cuda (each process takes a GPU of its own)"
        )
    return pick_device(config.device)


def open_folder(config: Config, out: str | Path) -> RunFolder:
    """Make or reopen a run folder; of several processes the first one does."""
    with processes().main_process_first():
        return RunFolder.open(config, out)


def check_models(
    config: Config, places: Sequence[str] = PLACES, steps: Mapping[str, Steps] | None = None
) -> None:
    """Raise :class:`InputError` for what is wrong with the models as far as that can be told before
    anything is fetched; the arguments are those of :class:`Rig`.
    """
    for place in places:
        if (model := _model(config, place)).url is None:
            check_before_fetching(model, _steps(config, place, steps))
    Clip.check_before_fetching(config.quality.clip, config.quality.allow_pickle)


def check_extractor(config: Config) -> None:
    """Raise :class:`InputError` for an extractor of the Fréchet distance that cannot be had."""
    if config.quality.extractor == "inception":
        Inception.check_before_fetching()


def steps_of_users(config: Config, allocation: Allocation | None = None) -> Mapping[str, Steps]:
    """The step counts that users may be given, by place: those of the ``allocation`` of a problem
    of one's own, else all that the configuration's scenario allows.
    """
    if allocation is not None:
        return allocated_steps(allocation)
    steps: dict[str, dict[str, range]] = {place: {} for place in PLACES}
    for name, most in step_limits(run_scenario(config, open_prompts(config.prompts))).items():
        said = f"scenario: {name}.max_steps = {most} allows each count up to it"
        steps[model_of(name)][said] = range(1, most + 1)
    return steps


def allocated_steps(allocation: Allocation) -> dict[str, Steps]:
    """The step counts that an allocation asks for, by place."""
    pairs = list(zip(allocation.offload, allocation.steps, strict=True))
    return {
        place: {"allocation: steps": [int(n) for at, n in pairs if model_place(at) == place]}
        for place in PLACES
    }


def _steps(config: Config, place: str, more: Mapping[str, Steps] | None) -> Steps:
    sweep = config.sweep
    return {
        "sweep.steps": sweep.grid(place),
        "sweep.converged_steps": (sweep.converged(place),),
        **(more or {}).get(place, {}),
    }


def open_model(
    config: ModelConfig, device: torch.device, steps: Steps | None = None
) -> tuple[DiffusionPipeline, ModelSpec]:
    """Open a model and look at it; ``steps``: the counts that it is asked for. The spec names it,
    with its revision, in tasks and records.
    """
    warn_of_namesake(config.model)
    pipeline, revision = open_pipeline(config, device)
    look(pipeline, steps or {}, config.guidance, config.negative_prompt)
    return pipeline, ModelSpec(
        model=config.model,
        device=str(device),
        dtype=config.dtype,
        scheduler=type(pipeline.scheduler).__name__,
        guidance=config.guidance,
        revision=revision,
        negative_prompt=config.negative_prompt,
    )


def _told(numbers: dict[str, int]) -> int | str:
    """A number of each place in one cell: once if they are alike."""
    if len(set(numbers.values())) == 1:
        return next(iter(numbers.values()))
    return ", ".join(f"{number} ({place})" for place, number in numbers.items())
