"""Open text-to-image pipelines: embedded models, folders and hub ids through the same diffusers
code.
"""

import hashlib
import inspect
import json
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from safetensors import SafetensorError, safe_open

from solver.inputs import InputError, check_keys
from testbed.models import hub, memory

WEIGHTS = Path(__file__).parent.parent / "embedded" / "weights"
# never opened: it blackens images that are to be measured, and costs time that is not the model's
_UNUSED = "safety_checker"


def resolve(model):
    """Turn ``embedded:NAME`` into its folder; leave a folder or hub id as it is."""
    if not model.startswith("embedded:"):
        return model
    name = model.removeprefix("embedded:")
    check_keys(
        "embedded model", [name], sorted(path.name for path in WEIGHTS.iterdir() if path.is_dir())
    )
    return str(WEIGHTS / name)


def pick_device(name="auto"):
    """A ``torch.device`` from ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device: '{name}' is not usable here ({str(error).splitlines()[0]}); allowed: auto, cpu, cuda, cuda:N, mps"
        ) from None
    return device


def check_folder(folder, index, allow_pickle=False):
    """Raise :class:`InputError` unless ``folder`` holds ``index`` and whole weights, safetensors
    unless others are allowed.
    """
    folder = Path(folder)
    if not (folder / index).is_file():
        raise InputError(f"{folder}: not a model folder: {index} is missing")
    try:
        config = json.loads((folder / index).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / index}: not valid JSON: {error}") from None
    if index == "model_index.json":  # every part that it names has a folder of its own
        parts = [
            name
            for name, kind in config.items()
            if isinstance(kind, list) and kind[0] is not None and name != _UNUSED
        ]
        missing = [name for name in parts if not (folder / name).is_dir()]
        if missing:
            raise InputError(f"{folder}: half-written model folder: '{missing[0]}' is missing")
        weighty = [
            folder / name
            for name in parts
            if name.startswith(("unet", "vae", "text_encoder", "transformer"))
        ]
    else:
        weighty = [folder]
    kinds = ("*.safetensors", "*.bin") if allow_pickle else ("*.safetensors",)
    for place in weighty:
        if not any(any(place.glob(kind)) for kind in kinds):
            pickled = (
                "; allow_pickle = true opens pickled ones, which can run any code"
                if any(place.glob("*.bin"))
                else ""
            )
            raise InputError(
                f"{place}: no .safetensors weights; allowed: a folder as save_pretrained writes it{pickled}"
            )
    for weights in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(weights, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{weights}: half-written or damaged weights: {error}") from None
    return config


def fingerprint(folder):
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


def open_pipeline(config, device):
    """Open a :class:`testbed.config.ModelConfig` on ``device``.

    Returns ``(pipeline, revision)``; the revision of a folder is its fingerprint, so that records
    of other weights are never mistaken for these, that of a hub id its commit. How the pipeline was
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
                f"model: {config.model}: no such folder; allowed: embedded:NAME, a folder, or a hub id OWNER/NAME"
            )
        folder = hub.fetch(
            config.model, config.revision, config.variant, config.allow_pickle, **{_UNUSED: None}
        )
    index = check_folder(folder, "model_index.json", config.allow_pickle)
    options = {_UNUSED: None, "requires_safety_checker": False} if _UNUSED in index else {}
    options |= {"variant": config.variant, "use_safetensors": None if config.allow_pickle else True}
    try:
        pipeline = DiffusionPipeline.from_pretrained(
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
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"model: {config.model}: diffusers cannot open it as a text-to-image pipeline: {reason}"
        ) from None
    asked = set(inspect.signature(pipeline.__call__).parameters)
    if (
        "prompt" not in asked
        or "image" in asked
        or not asked & {"callback_on_step_end", "callback"}
    ):
        raise InputError(
            f"model: {config.model}: a {type(pipeline).__name__} is not a text-to-image pipeline with a per-step callback"
        )
    if config.negative_prompt and "negative_prompt" not in asked:
        raise InputError(
            f"negative_prompt: {config.model}: a {type(pipeline).__name__} takes none; leave it out"
        )
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


def tell_steps(pipeline):
    """Let a pipeline that has only the older ``callback(step, timestep, latents)``, as PixArt's,
    take ``callback_on_step_end`` too.
    """
    kind = type(pipeline)
    if "callback_on_step_end" in inspect.signature(kind.__call__).parameters:
        return

    def call(self, *args, callback_on_step_end, **kwargs):
        def callback(step, timestep, latents):
            callback_on_step_end(self, step, timestep, {"latents": latents})

        return kind.__call__(self, *args, callback=callback, callback_steps=1, **kwargs)

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": call})


def denoiser(pipeline):
    """The network that is called once a step."""
    return getattr(pipeline, "unet", None) or pipeline.transformer


def resolution(pipeline):
    """Pixels a side of the images that ``pipeline`` makes when it is not told otherwise."""
    size = getattr(pipeline, "default_sample_size", None) or denoiser(pipeline).config.sample_size
    return (size if isinstance(size, int) else size[0]) * pipeline.vae_scale_factor


def setup(pipeline):
    """What changes an opened pipeline's times beside model, dtype and scheduler: ``{"resolution",
    "vae_dtype", "memory"}``.
    """
    vae_dtype = str(pipeline.vae.dtype).removeprefix("torch.")
    return {"resolution": resolution(pipeline), "vae_dtype": vae_dtype, "memory": pipeline.memory}


def _use_scheduler(pipeline, name):
    known = sorted(
        {kind.__name__ for kind in pipeline.scheduler.compatibles}
        | {type(pipeline.scheduler).__name__}
    )
    check_keys("scheduler", [name], known)
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)


def _use_resolution(pipeline, pixels, model):
    """Make images of ``pixels`` a side by default, so that neither calls nor the step engine have
    to be told.
    """
    if pixels == resolution(pipeline):
        return
    if not hasattr(pipeline, "unet") and not hasattr(pipeline, "default_sample_size"):
        raise InputError(
            f"resolution: found {pixels}; allowed: {resolution(pipeline)}, for which {model} was made (leave it out)"
        )
    size = pixels // pipeline.vae_scale_factor
    denoiser(pipeline).register_to_config(sample_size=size)
    if hasattr(pipeline, "default_sample_size"):
        pipeline.default_sample_size = size
