"""What a server needs before it listens: the edge's model, what its batches cost, and what steps
are worth.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from calibration.costs.batch import BatchCost, fit_batching
from calibration.costs.drift import drift_expected
from calibration.profiles import store
from calibration.profiles.profile import Place, Profiles
from calibration.scenario.scenario import Scenario
from calibration.scenario.worth import Worth
from calibration.serving.quote import Quoter
from solver.inputs import InputError
from testbed.config import Config, ModelConfig
from testbed.config.paths import same
from testbed.engines import threads
from testbed.engines.networks import Networks, unsupported_reason
from testbed.engines.threads import Threads, using
from testbed.engines.timing import time_batches
from testbed.environment import alike, environment
from testbed.models.pipelines import local_files
from testbed.models.tokenizers import PROMPTS
from testbed.runs import contents
from testbed.runs.folder import RunFolder
from testbed.runs.products import FILES
from testbed.stages.rig import open_device, open_model

SIZES, ROUNDS = (1, 2, 4, 8, 16), 4  # of the timing on start
#: Half of the relative 95 % interval of the speed after a timing on start, which is too short to
#: tell: machines of the log drifted by 1 to 8 %.
DRIFT = 0.1


@dataclass(frozen=True)
class Opened:
    """The served model's ``pipeline``, configuration, and the ``size`` of its images (width,
    height in pixels); what batches cost, and the largest, by ``quoter``; torch's ``threads``; the
    ``scenario``, the ``profiles`` where there are any, and what steps are ``worth`` by them.
    """

    pipeline: DiffusionPipeline
    config: ModelConfig
    size: tuple[int, int]
    quoter: Quoter
    threads: int
    scenario: Scenario
    profiles: Profiles | None
    worth: Worth

    @property
    def name(self) -> str:
        """The model's."""
        return self.config.model

    @property
    def compares(self) -> bool:
        """Whether there are profiles of the local place to compare with."""
        return self.profiles is not None and self.profiles.get("local") is not None


def open_edge(
    config: Config, run: Path | None = None, curves: Path | None = None, batch: int | None = None
) -> Opened:
    """Open the edge's model of a configuration.

    ``run``: a folder whose profiles say what batches cost and steps are worth. ``curves``: a file
    of profiles that says only what steps are worth. Without the former, batches of a few sizes are
    timed. ``batch``: the cap, in place of the measured one. Raises :class:`InputError`.
    """
    if config.edge.url:
        raise InputError(f"edge.url: found {config.edge.url!r}; allowed: a model of this machine")
    profiles = RunFolder(run).need(Profiles) if run else store.load(curves) if curves else None
    edge = profiles.get("edge") if profiles else None
    if edge and not same(edge.model, config.edge.model):
        raise InputError(
            f"{run or curves}: edge: found {edge.model!r}; allowed: {config.edge.model!r}, "
            "the model that is served"
        )
    scenario = open_scenario(config, profiles)
    device = open_device(config)
    if run and profiles and edge and edge.batch:
        check_measured_here(run, profiles, edge, config.edge, device)
    pipeline, spec = open_model(config.edge, device)
    if run and (files := local_files(config.edge)):
        contents.check(run, spec.model, spec.revision, files)
    if reason := unsupported_reason(pipeline):
        raise InputError(f"edge.model: {config.edge.model}: found {reason}")
    own = Threads.current()
    if device.type == "cpu" and not threads.asked_for():
        own = threads.choose(pipeline, batch or SIZES[-1], spec.to_dict())
    cost, drift = (
        (edge.batch, drift_expected(edge.speed_sd, parts=1)) if run and edge else (None, 0)
    )
    if cost is None:
        cost, drift = time_live(pipeline, config.edge.guidance, own.batched, batch), DRIFT
    timed = min(call.sizes[-1] for call in (cost.tick, cost.text, cost.decode))
    if batch and batch > timed:
        raise InputError(f"--batch: found {batch}; allowed: at most {timed}, the largest timed")
    return Opened(
        pipeline,
        config.edge,
        image_size(pipeline),
        Quoter(cost, batch or min(cost.cap, timed), drift),
        own.batched,
        scenario,
        profiles,
        Worth.of(scenario, profiles),
    )


def check_measured_here(
    run: Path, profiles: Profiles, edge: Place, config: ModelConfig, device: torch.device
) -> None:
    """Raise :class:`InputError` where the ``edge`` of a run's ``profiles`` was measured on another
    kind of device, or in another dtype, than it is served: its batches would cost other times.

    Another machine is warned of.
    """
    for name, was, fits, now in (
        ("device", edge.device, edge.device.split(":")[0] == device.type, device.type),
        ("dtype", edge.dtype, edge.dtype == config.dtype, config.dtype),
    ):
        if not fits:
            raise InputError(
                f"{run}: edge.{name}: found {was!r}; allowed: {now!r}, as the model is served, or "
                f"--profiles {run / FILES[Profiles].name}, with which batches are timed on start"
            )
    before = (edge.environment or profiles.environment).get("machine")
    here = str(environment(device)["machine"])
    if isinstance(before, str) and not alike(before, here):
        warnings.warn(
            f"{run}: its batches were timed on {before!r}, and this machine is {here!r}: quoted "
            "times and refusals may be far off",
            stacklevel=2,
        )


def image_size(pipeline: DiffusionPipeline) -> tuple[int, int]:
    """Width and height of the images, in pixels."""
    height, width = Networks(pipeline).adapter.pixels
    return width, height


def open_scenario(config: Config, profiles: Profiles | None) -> Scenario:
    """The configuration's scenario; where it names no prompt classes, those of the profiles."""
    classes = dict.fromkeys(sorted(profiles.classes()), 1) if profiles else {}
    default = {"prompt_classes": classes} if classes else {}
    return Scenario.from_dict({**default, **config.scenario}, "scenario")


def time_live(
    pipeline: DiffusionPipeline, guidance: float, threads: int, largest: int | None
) -> BatchCost:
    """What batches cost now: a few sizes, a few times."""
    most = max(2, largest or SIZES[-1])  # of one size nothing could be fitted
    sizes = [*(size for size in SIZES if size < most), most]
    print(f"serve: timing batches of {', '.join(map(str, sizes))}", flush=True)
    with using(threads), torch.no_grad():
        timings = time_batches(pipeline, PROMPTS[:1], guidance, sizes, ROUNDS)
    if len(set(timings.tick[0])) < 2:
        raise InputError("edge.model: found memory for one image at a time; allowed: at least two")
    return fit_batching(timings.tick, timings.text, timings.decode, timings.memory)
