"""Open text-to-image pipelines: embedded models, folders and hub ids through the same diffusers
code.
"""

import hashlib
import inspect
import json
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from safetensors import SafetensorError, safe_open

from calibration.schema import Schema, frozen
from solver.inputs import InputError, check_keys
from testbed.config import ModelConfig
from testbed.models import hub, memory
from testbed.nvml import unusable_gpu

WEIGHTS = Path(__file__).parent.parent / "embedded" / "weights"
# never opened: it blackens images that are to be measured, and costs time that is not the model's
#: Latents a side for which PixArt's pipelines have a table of aspect ratios.
_PIXART_SIZES = (32, 64, 128, 256)
_UNUSED = "safety_checker"


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
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device: '{name}' is not usable here ({reason}); allowed: auto, cpu, cuda, cuda:N, mps"
        ) from None
    return device


def check_folder(folder: str | Path, index: str, allow_pickle: bool = False) -> dict[str, Any]:
    """The model's configuration, which ``index`` of ``folder`` holds. Raises :class:`InputError`
    where it or whole weights are missing: safetensors, unless others are allowed.
    """
    folder = Path(folder)
    if not (folder / index).is_file():
        raise InputError(f"{folder}: not a model folder: {index} is missing")
    try:
        config = json.loads((folder / index).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / index}: not valid JSON: {error}") from None
    for part in _weighty(folder, index, config):
        kinds = ("*.safetensors", "*.bin") if allow_pickle else ("*.safetensors",)
        if not any(any(part.glob(kind)) for kind in kinds):
            pickled = (
                "; allow_pickle = true opens pickled ones, which can run any code"
                if any(part.glob("*.bin"))
                else ""
            )
            raise InputError(
                f"{part}: no .safetensors weights; "
                f"allowed: a folder as save_pretrained writes it{pickled}"
            )
    for weights in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(weights, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{weights}: half-written or damaged weights: {error}") from None
    return config


def _weighty(folder: Path, index: str, config: dict[str, Any]) -> Iterator[Path]:
    """The folders that must hold weights: those of a pipeline's networks, or the model's own."""
    if index != "model_index.json":
        yield folder
        return
    for name, kind in config.items():
        if isinstance(kind, list) and kind[0] is not None and name != _UNUSED:
            if not (folder / name).is_dir():
                raise InputError(f"{folder}: half-written model folder: '{name}' is missing")
            if name.startswith(("unet", "vae", "text_encoder", "transformer")):
                yield folder / name


def fingerprint(folder: str | Path) -> str:
    """Twelve hex digits that change when the weights of a local folder do (file sizes, first and
    last MiB).
    """
    digest = hashlib.sha256()
    for path in sorted(
        path for path in Path(folder).rglob("*") if path.suffix in (".safetensors", ".bin")
    ):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size}".encode())
        with open(path, "rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()[:12]


def open_pipeline(config: ModelConfig, device: torch.device) -> tuple[DiffusionPipeline, str]:
    """Open the model that ``config`` names on ``device``.

    Returns ``(pipeline, revision)``. The revision of a hub id is its commit, that of a folder its
    fingerprint, so that records of other weights are never mistaken for these. How the pipeline was
    set up beside that: :func:`setup`. Raises :class:`InputError` in one line for what cannot be
    opened.
    """
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    folder = Path(resolve(config.model))
    local = folder.is_dir()
    if not local:
        if config.model.count("/") != 1 or config.model.startswith((".", "/", "~")):
            raise InputError(
                f"model: {config.model}: no such folder; "
                "allowed: embedded:NAME, a folder, or a hub id OWNER/NAME"
            )
        folder = hub.fetch(
            config.model, config.revision, config.variant, config.allow_pickle, **{_UNUSED: None}
        )
    pipeline = _from_folder(folder, config)
    _check_call(pipeline, config)
    tell_steps(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    if config.scheduler:
        _use_scheduler(pipeline, config.scheduler)
    if config.resolution:
        _use_resolution(pipeline, config.resolution, config.model)
    if config.vae_dtype:
        pipeline.vae.to(getattr(torch, config.vae_dtype))
    memory.guard_decoder(pipeline)
    memory.place(pipeline, device, config.memory, resolution(pipeline), config.model)
    return pipeline, fingerprint(folder) if local else folder.name


def _from_folder(folder: Path, config: ModelConfig) -> DiffusionPipeline:
    hub.check_variant(folder, config.variant)
    index = check_folder(folder, "model_index.json", config.allow_pickle)
    options: dict[str, Any] = {
        "variant": config.variant,
        "use_safetensors": None if config.allow_pickle else True,
    }
    # what the folder leaves out, as Stable Diffusion 3 its T5, diffusers must be told
    options |= {name: None for name, kind in index.items() if kind == [None, None]}
    if _UNUSED in index:
        options |= {_UNUSED: None, "requires_safety_checker": False}
    try:
        return DiffusionPipeline.from_pretrained(
            folder, dtype=getattr(torch, config.dtype), **options
        )
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        RuntimeError,
        TypeError,
        ImportError,
    ) as error:
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise InputError(
            f"model: {config.model}: diffusers cannot open it as a text-to-image pipeline: {reason}"
        ) from None


def _check_call(pipeline: DiffusionPipeline, config: ModelConfig) -> None:
    """Refuse a pipeline that is not called with a prompt alone, or does not tell its steps."""
    taken, kind = set(inspect.signature(pipeline.__call__).parameters), type(pipeline).__name__
    callbacks = {"callback_on_step_end", "callback"}
    if "prompt" not in taken or "image" in taken or not taken & callbacks:
        raise InputError(
            f"model: {config.model}: a {kind} is not a text-to-image pipeline with a per-step "
            "callback"
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


def _use_scheduler(pipeline: DiffusionPipeline, name: str) -> None:
    known = sorted(
        {kind.__name__ for kind in pipeline.scheduler.compatibles}
        | {type(pipeline.scheduler).__name__}
    )
    check_keys("scheduler", [name], known)
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)


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
