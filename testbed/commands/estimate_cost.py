"""What a configuration will cost before it runs: evaluations from the planned sweep, gigabytes to
fetch, and modelled minutes.

Minutes are modelled by operations: a step of each architecture is counted on networks without
memory, and a GPU is taken to compute all of them as fast as the one step that was published for it.
"""

import shutil
import tomllib
from functools import cache
from math import ceil
from pathlib import Path

import torch
from huggingface_hub import constants
from torch.utils.flop_counter import FlopCounterMode

from calibration.scenario.scenario import Scenario
from calibration.sweep import grid as plan
from solver.inputs import InputError, check_keys
from solver.problem import PLACES
from testbed import config
from testbed.data.prompts import open_prompts
from testbed.models import architectures, memory
from testbed.models.pipelines import denoiser, pick_device
from testbed.stages.tasks import ANCHOR_EVERY

GPU, GPU_ARCHITECTURE, GPU_STEPS_PER_SECOND = (
    "RTX 4090",
    "sd15",
    24.9,
)  # published: Stable Diffusion 1.5, 512x512, half precision, eager
CLIP_PARAMETERS = {
    "openai/clip-vit-large-patch14": 427_616_513,
    "openai/clip-vit-base-patch32": 151_277_313,
}  # stored in float32
FIELDS = ("local", "edge", "evaluations", "minutes", "gigabytes")


def stated(name):
    """The ``[cost]`` table of a preset, ``{}`` without one: architectures of both places, and what
    :func:`expected` gives for them.
    """
    path = config.find(name)
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("cost", {})
    check_keys(f"{path}: cost", table, FIELDS)
    if table and (missing := [key for key in FIELDS if key not in table]):
        raise InputError(
            f"{path}: cost: '{missing[0]}' is missing; allowed: all of {', '.join(FIELDS)}, or no such table"
        )
    return table


def evaluations(settings):
    """Denoising steps of the calibration sweep (of an adaptive one: its first round), ``{place:
    {step count: images}}``.
    """
    model = {"model": "any", "device": "any", "dtype": "any", "scheduler": "any", "guidance": 1.0}
    sweep, classes = settings.sweep, open_prompts(settings.prompts).classes
    prompts = {name: [f"{name} {i}" for i in range(sweep.prompts_per_class)] for name in classes}
    counts = {place: {} for place in PLACES}
    for task in plan.sweep(
        dict.fromkeys(PLACES, model),
        prompts,
        list(sweep.seeds),
        list(sweep.steps),
        sweep.converged_steps,
    ):
        counts[task.place][task.steps] = counts[task.place].get(task.steps, 0) + 1
    return counts


def execution(settings):
    """Denoising steps of the execution, at most: all that devices and edge allow, converged images,
    and anchors.
    """
    classes = dict.fromkeys(open_prompts(settings.prompts).classes, 1)
    scenario = Scenario.from_dict({"prompt_classes": classes, **settings.scenario}, "scenario")
    users, grid = len(scenario.users), sorted(settings.sweep.steps)
    images = (
        users * (scenario.local["max_steps"] + settings.sweep.converged_steps)
        + scenario.edge_budget
    )
    return (
        settings.execute.images_per_user * images
        + len(PLACES) * ceil(users / ANCHOR_EVERY) * grid[len(grid) // 2]
    )


def expected(settings, names):
    """``{"evaluations", "minutes", "gigabytes"}`` of calibrating ``settings``; ``names``: the
    architecture of each place.
    """
    speed = GPU_STEPS_PER_SECOND * flops(GPU_ARCHITECTURE)["step"]
    steps, operations, stored = 0, 0.0, 4 * CLIP_PARAMETERS.get(settings.quality.clip, 0)
    for place, counts in evaluations(settings).items():
        once, model = flops(names[place]), getattr(settings, place)
        made = sum(count * images for count, images in counts.items())
        steps += made
        operations += made * once["step"] + sum(counts.values()) * (once["text"] + once["decode"])
        stored += sum(architectures.find(names[place]).parameters.values()) * (
            2 if model.variant == "fp16" else 4
        )
    return {
        "evaluations": steps,
        "minutes": round(operations / speed / 60),
        "gigabytes": round(stored / 1e9, 1),
    }


@cache
def flops(name):
    """Floating-point operations of one image at an architecture's resolution: ``{"text", "step",
    "decode"}``, with its guidance.
    """
    architecture = architectures.find(name)
    pipeline = architectures.assemble(name, "meta", torch.float16)
    rows = 2 if architecture.guidance > 1 else 1
    side = architecture.resolution // pipeline.vae_scale_factor
    texts = [
        (part, network)
        for part, network in pipeline.components.items()
        if part.startswith("text_encoder")
    ]
    with torch.no_grad(), torch.device("meta"):
        latents = torch.empty(
            rows, denoiser(pipeline).config.in_channels, side, side, dtype=torch.float16
        )
        return {
            "text": rows
            * sum(
                _count(network, torch.zeros(1, _tokens(architecture, part), dtype=torch.int64))
                for part, network in texts
            ),
            "step": _count(
                denoiser(pipeline),
                latents,
                **_conditions(architecture, denoiser(pipeline).config, rows),
            ),
            "decode": _count(pipeline.vae.decode, latents[:1]),
        }


def _count(call, *args, **kwargs):
    with FlopCounterMode(display=False) as counter:
        call(*args, **kwargs)
    return counter.get_total_flops()


def _tokens(architecture, part):
    """Tokens that the pipeline pads a prompt to."""
    if architecture.parts[part][0] != "T5EncoderModel":
        return 77
    return 300 if architecture.pipeline == "PixArtSigmaPipeline" else 256


def _conditions(architecture, config, rows):
    """The denoiser's other arguments, as the pipeline gives them, without values."""

    def of(*shape):
        return torch.empty(rows, *shape, dtype=torch.float16)

    if architecture.pipeline == "StableDiffusion3Pipeline":
        texts = {
            "encoder_hidden_states": of(77 + 256, config.joint_attention_dim),
            "pooled_projections": of(config.pooled_projection_dim),
        }
    elif architecture.pipeline == "PixArtSigmaPipeline":
        texts = {
            "encoder_hidden_states": of(300, config.caption_channels),
            "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
        }
    else:
        added = {"text_embeds": of(1280), "time_ids": of(6)} if config.addition_embed_type else None
        texts = {
            "encoder_hidden_states": of(77, config.cross_attention_dim),
            "added_cond_kwargs": added,
        }
    return {"timestep": of(), **texts}


def say(name, local=None, edge=None):
    """Lines that tell what calibrating and executing a configuration costs, and what is free here."""
    settings, table = config.load(name, local=local, edge=edge), stated(name)
    made = sum(
        steps * images
        for counts in evaluations(settings).values()
        for steps, images in counts.items()
    )
    lines = [
        f"calibration: {made} evaluations of a denoiser; execution: at most {execution(settings)} more"
    ]
    disk = (
        shutil.disk_usage(
            next(path for path in Path(constants.HF_HUB_CACHE).parents if path.exists())
        ).free
        / 1e9
    )
    device = pick_device(settings.device)
    room = f"free: {disk:.0f} GB of disk for the hub's cache"
    if (left := memory.free(device)) is not None:
        room += f", {left / 1e9:.1f} GB on {device}"
    if table and not (local or edge):
        lines.append(
            f"about {table['minutes']} minutes on an {GPU} (modelled), {table['gigabytes']} GB to fetch if they are not in the cache"
        )
        room += "; too little to fetch all" if disk < table["gigabytes"] else ""
    return [*lines, room]
