"""What a configuration will cost before it runs: evaluations from the planned sweep, gigabytes to
fetch, and modelled minutes.

Minutes are modelled by operations: a GPU is taken to compute the steps of all architectures as fast
as the one step that was published for it.
"""

import shutil
import tomllib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from huggingface_hub import constants

from calibration import checks
from calibration.records.task import ModelSpec
from calibration.schema import Schema, frozen
from solver.allocation import Allocation
from solver.inputs import InputError, read_text
from solver.problem import PLACES, Problem
from testbed import config
from testbed.client.exchange import Server, ServerFault
from testbed.client.remote import served_model
from testbed.config import NONE, Config
from testbed.config.defaults import notices
from testbed.data.prompts import FilePrompts, open_prompts
from testbed.models import hub, hub_files, memory
from testbed.models.pipelines import local_folder, pick_device, resolve
from testbed.models.published import catalogue
from testbed.models.published.operations import operations
from testbed.stages import batch
from testbed.stages.rig import check_extractor, check_models, steps_of_users
from testbed.stages.tasks import ANCHOR_EVERY, adaptive_sweep, run_scenario, sweep_tasks

#: Published: Stable Diffusion 1.5, 512x512, half precision, eager.
GPU, GPU_ARCHITECTURE, GPU_STEPS_PER_SECOND = "RTX 4090", "sd15", 24.9
#: Seconds in which a server must say that it is there.
PATIENCE = 5.0
#: Stored in float32.
CLIP_PARAMETERS = {
    "openai/clip-vit-large-patch14": 427_616_513,
    "openai/clip-vit-base-patch32": 151_277_313,
}


@frozen
class StatedCost(Schema):
    """The ``[cost]`` table of a preset: architectures of both places, and what :func:`expected`
    gives for them.
    """

    local: str
    edge: str
    evaluations: int
    minutes: int
    gigabytes: float


@dataclass(frozen=True)
class Expected:
    """Denoiser evaluations of a calibration, modelled minutes, gigabytes to fetch."""

    evaluations: int
    minutes: int
    gigabytes: float


def stated(name: str | Path | None) -> StatedCost | None:
    """The ``[cost]`` table of a configuration; None without one."""
    path = config.find(name)
    table = tomllib.loads(read_text(path)).get("cost")
    if not table:
        return None
    fields = list(StatedCost.__annotations__)
    checks.table(f"{path}: cost", table, fields)
    if missing := [key for key in fields if key not in table]:
        raise InputError(
            f"{path}: cost: '{missing[0]}' is missing; allowed: all of {', '.join(fields)}, or no "
            "such table"
        )
    return StatedCost.from_dict(table, f"{path}: cost")


class _Counted(FilePrompts):
    """As many made-up prompts of each class as a sweep may use: they are counted, not read."""

    def __init__(self, classes: Sequence[str], most: int) -> None:
        self.path, self.classes = Path(), tuple(classes)
        self._pools = {name: [f"{name} {i}" for i in range(2 * most)] for name in classes}


def evaluations(settings: Config) -> dict[str, Counter[int]]:
    """Images of the calibration sweep (of an adaptive one: its first round) by place and step
    count.
    """
    specs = dict.fromkeys(
        PLACES, ModelSpec("any", device="any", dtype="any", scheduler="any", guidance=1.0)
    )
    sweep = settings.sweep
    most = max(sweep.prompts_per_class, sweep.most_prompts)
    prompts = _Counted(open_prompts(settings.prompts).classes, most)
    if sweep.half_width is None:
        tasks = sweep_tasks(settings, prompts, specs)
    else:
        with warnings.catch_warnings():  # it warns where the real prompts are checked
            warnings.simplefilter("ignore")
            tasks = adaptive_sweep(settings, prompts, specs).tasks()
    counts: dict[str, Counter[int]] = {place: Counter() for place in PLACES}
    for task in tasks:
        parts = task.split.parts(task.steps) if task.split else {task.place: task.steps}
        for place, steps in parts.items():
            counts[place][steps] += 1
    return counts


def execution(settings: Config, problem: Problem | None = None) -> int:
    """Denoising steps of the execution, at most: all that devices and edge allow, by the scenario
    or a ``problem`` of one's own, converged images, and control images.
    """
    scenario = run_scenario(settings, open_prompts(settings.prompts))
    users, local, edge = len(scenario.users), scenario.local.max_steps, scenario.edge_budget
    allowed = users * local + edge
    if problem is not None:
        users = problem.users
        local_steps = np.broadcast_to(problem.local.max_steps, users)
        allowed = int(local_steps.sum()) + sum(problem.budgets.values())
    sweep = settings.sweep
    steps = users * max(map(sweep.converged, PLACES))
    grids = [sorted(sweep.grid(place)) for place in PLACES]
    control = ceil(users / ANCHOR_EVERY) * sum(grid[len(grid) // 2] for grid in grids)
    return settings.execute.images_per_user * (steps + allowed) + control


def expected(settings: Config, names: StatedCost) -> Expected:
    """What calibrating ``settings`` costs with the architectures ``names``."""
    speed = GPU_STEPS_PER_SECOND * operations(GPU_ARCHITECTURE).step
    steps, computed, stored = 0, 0.0, 4 * CLIP_PARAMETERS.get(settings.quality.clip, 0)
    for place, counts in evaluations(settings).items():
        name, model = getattr(names, place), getattr(settings, place)
        once, made = operations(name), _evaluations(counts)
        steps += made
        computed += made * once.step + counts.total() * (once.text + once.decode)
        architecture = catalogue.find(name)
        size = 2 if model.variant in ("fp16", "bf16") else architecture.stored
        stored += sum(architecture.parameters.values()) * size
    return Expected(steps, round(computed / speed / 60), round(stored / 1e9, 1))


def _evaluations(counts: Counter[int]) -> int:
    return sum(steps * images for steps, images in counts.items())


def say(
    settings: Config,
    cost: StatedCost | None = None,
    problem: Problem | None = None,
    allocation: Allocation | None = None,
) -> list[str]:
    """Lines that tell what calibrating and executing settled ``settings`` costs, and what is free.

    ``cost``: what a preset states; ``problem``: one's own, in place of the scenario's, and its
    ``allocation``.
    """
    check_models(settings, steps=steps_of_users(settings, allocation))
    calibrating = sum(_evaluations(counts) for counts in evaluations(settings).values())
    lines = [
        f"calibration: {calibrating} evaluations of a denoiser; "
        f"execution: at most {execution(settings, problem)} more"
    ]
    if rate := settings.execute.arrival_rate:
        users = len(run_scenario(settings, open_prompts(settings.prompts), problem).users)
        images = users * settings.execute.images_per_user
        lines.append(
            f"serving: at most {images} requests, arriving over about {images / rate:.0f} s, "
            f"{batch.RUNS + 1} times; {batch.WAITED if settings.edge.url else batch.SKIPPED}"
        )
    cache = next(path for path in Path(constants.HF_HUB_CACHE).parents if path.exists())
    disk = shutil.disk_usage(cache).free / 1e9
    device = pick_device(settings.device)
    room = f"free: {disk:.0f} GB of disk for the hub's cache"
    if (left := memory.free(device)) is not None:
        room += f", {left / 1e9:.1f} GB on {device}"
    if cost:
        lines.append(
            f"about {cost.minutes} minutes on an {GPU} (modelled), {cost.gigabytes} GB to fetch "
            "if they are not in the cache"
        )
        room += "; too little to fetch all" if disk < cost.gigabytes else ""
    return [*lines, *_fetching(settings), *_absent(settings), room, *notices(settings)]


def _fetching(settings: Config) -> list[str]:
    """What a run would fetch, and whether it could now."""
    missing = [
        model.model
        for model in (settings.local, settings.edge)
        if model.url is None
        and local_folder(model) is None
        and not hub.in_cache(model.model, model.revision, model.variant, model.allow_pickle)
    ]
    clip, revision = settings.quality.clip, settings.quality.clip_revision
    if clip != NONE and not Path(resolve(clip)).is_dir():
        missing += [] if hub_files.holds_weights(clip, revision) else [clip]
    if not missing:
        return []
    reason = hub_files.unreachable()
    cannot = f"; {reason}: a run would stop there" if reason else ""
    return [f"to fetch: {', '.join(dict.fromkeys(missing))}{cannot}"]


def _absent(settings: Config) -> list[str]:
    """What a run would hear of an extractor that is not there, and of a server that is not, or
    serves another model.
    """
    lines = []
    try:
        check_extractor(settings)
    except InputError as error:
        lines.append(f"{error}; a run would stop there")
    for model in (settings.local, settings.edge):
        if model.url is not None:
            try:
                served_model(model, Server(model.url), PATIENCE)
            except ServerFault as fault:
                lines.append(f"url: {fault}; a run would stop there")
            except InputError as error:
                lines.append(f"{error}; a run would stop there")
    return list(dict.fromkeys(lines))
