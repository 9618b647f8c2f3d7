"""One look at an opened model before anything is measured, and what can be said before it is
fetched.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from huggingface_hub import try_to_load_from_cache
from numpy.typing import NDArray

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.engines.networks import Networks, least_steps, unsupported_reason
from testbed.engines.request import Request
from testbed.engines.stock import generate, image_name
from testbed.metering.meters import NoMeter
from testbed.models import folders, hub, samplers
from testbed.models.library_errors import told_in_a_line
from testbed.models.pipelines import local_folder, quiet_libraries
from testbed.models.tokenizers import PROMPTS, check_length, check_tokenizer

#: Step counts that each setting asks for, by the setting's name.
Steps = Mapping[str, Iterable[int]]
#: Two images of one seed whose pixels are nowhere further apart, of 0 to 1, are the same.
_SAME = 1e-6
#: The cosine of a network's output and its input, pure noise, from which the output is that noise.
_NOISE = 0.5
_PREDICTIONS = ("epsilon", "sample", "v_prediction")


def check_before_fetching(config: ModelConfig, steps: Steps) -> None:
    """Raise :class:`InputError` for what is wrong with a model and its ``steps`` as far as its
    folder, or the hub's cache, tells. Nothing is fetched.
    """
    quiet_libraries()
    folder = local_folder(config)
    if folder is None:
        path = try_to_load_from_cache(
            config.model, "scheduler/scheduler_config.json", revision=config.revision
        )
        if not isinstance(path, str):
            return
        parent = Path(path).parent
    else:
        hub.check_variant(folder, config.variant)
        folders.check_folder(folder, folders.PIPELINE, config.allow_pickle, config.variant)
        parent = folder / "scheduler"
    with told_in_a_line(f"model: {config.model}", "its scheduler cannot be opened"):
        scheduler = _scheduler(parent)
    if config.scheduler:
        scheduler = samplers.replaced(scheduler, config.scheduler)
    samplers.check_steps(scheduler, steps)


def look(
    pipeline: DiffusionPipeline, steps: Steps, guidance: float, negative_prompt: str | None = None
) -> None:
    """Raise :class:`InputError` for an opened ``pipeline`` that would spoil what is measured.

    That is: a tokenizer that is not whole, a step count that its scheduler does not take, and a
    first image that is not finite, of one colour, or the same for another prompt. What has no
    effect, and a scheduler of another kind than the denoiser, is added to ``pipeline.notes``; all
    of these are said as warnings. Takes the time of two to four images of few steps.
    """
    for name, part in pipeline.components.items():
        encoder = pipeline.components.get(name.replace("tokenizer", "text_encoder"))
        if name.startswith("tokenizer") and part is not None and encoder is not None:
            with told_in_a_line(f"model: {pipeline.model_name}: {name}", "cannot be used"):
                check_tokenizer(f"model: {pipeline.model_name}: {name}", part, encoder)
                check_length(f"model: {pipeline.model_name}: {name}", part, encoder)
    samplers.check_steps(pipeline.scheduler, steps)
    with told_in_a_line(f"model: {pipeline.model_name}", "its first image fails"):
        pipeline.notes += _look_at_images(pipeline, guidance, negative_prompt)
        pipeline.notes += _other_prediction(pipeline)
    for note in pipeline.notes:
        warnings.warn(f"{pipeline.model_name}: {note}", stacklevel=2)


def note_fallback(pipeline: DiffusionPipeline) -> None:
    """Note, and say as a warning, where continuous batching cannot serve ``pipeline``."""
    if reason := unsupported_reason(pipeline):
        note = f"no continuous batching, the stock pipeline makes all images: {reason}"
        pipeline.notes.append(note)
        warnings.warn(f"{pipeline.model_name}: {note}", stacklevel=2)


def _look_at_images(
    pipeline: DiffusionPipeline, guidance: float, negative_prompt: str | None
) -> list[str]:
    """What of guidance and negative prompt has no effect, in sentences."""
    steps = least_steps(pipeline, 1)

    def image(
        prompt: str, guidance: float = guidance, negative: str | None = negative_prompt
    ) -> NDArray[np.floating]:
        done = generate(pipeline, [prompt], [0], steps, guidance, NoMeter(), negative)
        done.image(0)  # refuses what is not finite
        return done.pixels[0]

    first = image(PROMPTS[0])
    name = image_name(pipeline, PROMPTS[0], steps)
    if _same(first, first.mean((0, 1))):
        raise InputError(f"{name}: an image of one colour; allowed: a model with whole weights")
    if _same(first, image(PROMPTS[1])):
        raise InputError(
            f"{name}: the image of {PROMPTS[1]!r} is the same; allowed: a model whose text encoder "
            "and tokenizer are whole"
        )
    notes = []
    if guidance > 1 and _same(first, image(PROMPTS[0], guidance=2 * guidance)):
        notes.append(f"guidance has no effect on it; {guidance:g} is only noted")
    if negative_prompt and _same(first, image(PROMPTS[0], negative=PROMPTS[1])):
        notes.append("negative_prompt has no effect on it as it is set up; it is only noted")
    return notes


@torch.no_grad()
def _other_prediction(pipeline: DiffusionPipeline) -> list[str]:
    """Whether the denoiser puts out something else than the scheduler takes it for, in a sentence.

    At the last timestep the latents are noise and nothing else. A network of "epsilon" gives that
    noise back; what one of "sample" or "v_prediction" gives, the image, has nothing of it.
    """
    config = pipeline.scheduler.config
    kind = config.get("prediction_type")
    if kind not in _PREDICTIONS or unsupported_reason(pipeline):
        return []
    networks = Networks(pipeline)
    (condition,) = networks.encode([Request(PROMPTS[0], 0, 1, 1.0)])
    noise = networks.noise(torch.Generator().manual_seed(0), condition)
    last = torch.full((1,), config.num_train_timesteps - 1)
    output = networks.denoise(noise, last, networks.stack([condition]))
    alike = torch.cosine_similarity(output.flatten().float(), noise.flatten().float(), dim=0)
    if (float(alike) > _NOISE) == (kind == "epsilon"):
        return []
    what = "no noise" if kind == "epsilon" else "noise"
    return [
        f"its denoiser predicts {what}, but its scheduler's prediction_type is {kind!r}: weights "
        "that were not trained, or a scheduler_config.json of another model"
    ]


def _same(image: NDArray[np.floating], other: NDArray[np.floating] | float) -> bool:
    return float(np.abs(image - other).max()) <= _SAME


def _scheduler(folder: Path) -> SchedulerMixin:
    config = folders.read_object(folder / "scheduler_config.json")
    return getattr(diffusers, config["_class_name"]).from_pretrained(folder)
