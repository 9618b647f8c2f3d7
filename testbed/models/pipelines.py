"""Open text-to-image pipelines: embedded models, folders and hub ids through the same diffusers
code.
"""

import inspect
import warnings
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline

from calibration.schema import Schema, frozen
from solver.inputs import InputError, check_keys
from testbed.config import ModelConfig
from testbed.metering.nvml import unusable_gpu
from testbed.models import hub, hub_files, loading, memory, samplers
from testbed.models.folders import fingerprint, read_files
from testbed.models.library_errors import told_in_a_line

WEIGHTS = Path(__file__).parent.parent / "embedded" / "weights"
#: Latents a side for which PixArt's pipelines have a table of aspect ratios.
_PIXART_SIZES = (32, 64, 128, 256)


@frozen
class Setup(Schema):
    """What changes an opened pipeline's times beside model, dtype and scheduler: ``resolution``
    (pixels a side), the dtype of the decoding, and the memory strategy (:mod:`.memory`).
    """

    resolution: int
    vae_dtype: str
    memory: str


def resolve(model: str) -> str:
    """Turn ``embedded:NAME`` into its folder; leave a folder or hub id as it is."""
    if not model.startswith("embedded:"):
        return model
    name = model.removeprefix("embedded:")
    check_keys(
        "embedded model", [name], sorted(path.name for path in WEIGHTS.iterdir() if path.is_dir())
    )
    return str(WEIGHTS / name)


def pick_device(name: str = "auto") -> torch.device:
    """A ``torch.device`` from ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    if name == "auto":
        here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind, usable in here.items() if usable), "cpu")
        if name == "cpu" and (reason := unusable_gpu()):
            warnings.warn(f"device: auto takes the CPU: {reason}", stacklevel=2)
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError("no clock here waits for it")
        torch.ones(1, device=device).item()  # computes: a build of torch may lack a card's kernels
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device: '{name}' is not usable here ({reason}); allowed: auto, cpu, cuda, cuda:N, mps"
        ) from None
    return device


def local_folder(config: ModelConfig) -> Path | None:
    """The folder that ``config`` names; None for a hub id.

    Raises :class:`InputError` for neither.
    """
    folder = Path(resolve(config.model))
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise InputError(
            f"model: {config.model}: a file; allowed: embedded:NAME, a folder as save_pretrained "
            "writes it, or a hub id OWNER/NAME"
        )
    if not hub_files.is_id(config.model):
        raise InputError(
            f"model: {config.model}: no such folder; "
            "allowed: embedded:NAME, a folder, or a hub id OWNER/NAME"
        )
    return None


def local_files(config: ModelConfig) -> dict[str, Path]:
    """The files that are read of the folder that ``config`` names, by their names in it; none of a
    server, and of a hub id, whose revision is a commit.
    """
    folder = local_folder(config) if config.url is None else None
    return read_files(folder, config.variant) if folder else {}


def quiet_libraries() -> None:
    """Let the libraries be silent: what matters of what they say is raised as an error."""
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def open_pipeline(config: ModelConfig, device: torch.device) -> tuple[DiffusionPipeline, str]:
    """Open the model that ``config`` names on ``device``.

    Returns ``(pipeline, revision)``. The revision of a hub id is its commit, that of a folder its
    fingerprint, so that records of other weights are never mistaken for these. How the pipeline was
    set up beside that: :func:`setup`. ``pipeline.notes``: what of it is not as asked, in sentences.
    Raises :class:`InputError` in one line for what cannot be opened.
    """
    quiet_libraries()
    folder = local_folder(config)
    revision = None
    if folder is None:
        folder = hub.fetch(config.model, config.revision, config.variant, config.allow_pickle)
        revision = folder.name
    pipeline = loading.load(folder, config)
    with told_in_a_line(f"model: {config.model}", "cannot be set up"):
        _set_up(pipeline, config, device)
    return pipeline, revision or fingerprint(folder, config.variant)


def _set_up(pipeline: DiffusionPipeline, config: ModelConfig, device: torch.device) -> None:
    _check_call(pipeline, config)
    tell_steps(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.model_name = config.model
    if config.scheduler:
        pipeline.scheduler = samplers.replaced(pipeline.scheduler, config.scheduler)
    elif said := samplers.misfit(pipeline.scheduler):
        pipeline.notes.append(f"its {type(pipeline.scheduler).__name__}: {said}")
    if config.resolution:
        _use_resolution(pipeline, config.resolution, config.model)
    if config.vae_dtype:
        pipeline.vae.to(getattr(torch, config.vae_dtype))
    memory.guard_decoder(pipeline)
    memory.place(pipeline, device, config.memory, resolution(pipeline), config.model)


def _check_call(pipeline: DiffusionPipeline, config: ModelConfig) -> None:
    """Refuse a pipeline that is not called with a prompt alone, or does not tell its steps."""
    taken, kind = set(inspect.signature(pipeline.__call__).parameters), type(pipeline).__name__
    callbacks = {"callback_on_step_end", "callback"}
    if "prompt" not in taken or "image" in taken or not taken & callbacks:
        raise InputError(
            f"model: {config.model}: a {kind} is not a text-to-image pipeline with a per-step "
            "callback"
        )
    parts = {name for name, part in pipeline.components.items() if part is not None}
    if "vae" not in parts or not parts & {"unet", "transformer"}:
        raise InputError(
            f"model: {config.model}: a {kind} has {', '.join(sorted(parts))}; "
            "allowed: a pipeline with a vae, and a unet or transformer"
        )
    size = denoiser(pipeline).config.sample_size if kind.startswith("PixArt") else None
    if size not in (None, *_PIXART_SIZES):
        raise InputError(
            f"model: {config.model}: transformer.sample_size: found {size}; allowed: "
            f"{', '.join(map(str, _PIXART_SIZES))}, for which a {kind} has sizes of images"
        )
    if config.negative_prompt and "negative_prompt" not in taken:
        raise InputError(f"negative_prompt: {config.model}: a {kind} takes none; leave it out")


def tell_steps(pipeline: DiffusionPipeline) -> None:
    """Let a pipeline that has only the older ``callback(step, timestep, latents)``, as PixArt's,
    take ``callback_on_step_end`` too.
    """
    kind = type(pipeline)
    if "callback_on_step_end" in inspect.signature(kind.__call__).parameters:
        return

    def call(self: Any, *args: Any, callback_on_step_end: Any, **kwargs: Any) -> Any:
        def callback(step: int, timestep: Any, latents: torch.Tensor) -> None:
            callback_on_step_end(self, step, timestep, {"latents": latents})

        return kind.__call__(self, *args, callback=callback, callback_steps=1, **kwargs)

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": call})


def denoiser(pipeline: DiffusionPipeline) -> torch.nn.Module:
    """The network that is called once a step."""
    return getattr(pipeline, "unet", None) or pipeline.transformer


def resolution(pipeline: DiffusionPipeline) -> int:
    """Pixels a side of the images that ``pipeline`` makes when it is not told otherwise."""
    size = getattr(pipeline, "default_sample_size", None) or denoiser(pipeline).config.sample_size
    return (size if isinstance(size, int) else size[0]) * pipeline.vae_scale_factor


def setup(pipeline: DiffusionPipeline) -> Setup:
    """How an opened pipeline was set up."""
    vae_dtype = str(pipeline.vae.dtype).removeprefix("torch.")
    return Setup(resolution(pipeline), vae_dtype, pipeline.memory)


def _use_resolution(pipeline: DiffusionPipeline, pixels: int, model: str) -> None:
    """Make images of ``pixels`` a side by default, so that no call has to be told."""
    if pixels == resolution(pipeline):
        return
    if not hasattr(pipeline, "unet") and not hasattr(pipeline, "default_sample_size"):
        raise InputError(
            f"resolution: found {pixels}; allowed: {resolution(pipeline)}, for which {model} was "
            "made (leave it out)"
        )
    size = pixels // pipeline.vae_scale_factor
    denoiser(pipeline).register_to_config(sample_size=size)
    if hasattr(pipeline, "default_sample_size"):
        pipeline.default_sample_size = size
