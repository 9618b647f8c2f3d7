"""Open text-to-image pipelines: embedded models, folders and hub ids through the same diffusers code."""

import hashlib
import inspect
import json
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoPipelineForText2Image, DiffusionPipeline
from safetensors import SafetensorError, safe_open

from solver.inputs import InputError, check_keys

WEIGHTS = Path(__file__).parent / "embedded" / "weights"


def resolve(model):
    """Turn ``embedded:NAME`` into its folder; leave a folder or hub id as it is."""
    if not model.startswith("embedded:"):
        return model
    name = model.removeprefix("embedded:")
    check_keys("embedded model", [name], sorted(path.name for path in WEIGHTS.iterdir() if path.is_dir()))
    return str(WEIGHTS / name)


def pick_device(name="auto"):
    """A ``torch.device`` from ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device: '{name}' is not usable here ({str(error).splitlines()[0]}); allowed: auto, cpu, cuda, cuda:N, mps") from None
    return device


def check_folder(folder, index):
    """Raise :class:`InputError` unless ``folder`` holds ``index`` and whole safetensors weights."""
    folder = Path(folder)
    if not (folder / index).is_file():
        raise InputError(f"{folder}: not a model folder: {index} is missing")
    try:
        config = json.loads((folder / index).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / index}: not valid JSON: {error}") from None
    if index == "model_index.json":  # every part that it names has a folder of its own
        parts = [name for name, kind in config.items() if isinstance(kind, list) and kind[0] is not None]
        missing = [name for name in parts if not (folder / name).is_dir()]
        if missing:
            raise InputError(f"{folder}: half-written model folder: '{missing[0]}' is missing")
        for name in ("unet", "vae", "text_encoder", "transformer"):
            if name in parts and not any((folder / name).glob("*.safetensors")):
                raise InputError(f"{folder / name}: no .safetensors weights; allowed: a folder as save_pretrained writes it")
    elif not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder}: no .safetensors weights; allowed: a folder as save_pretrained writes it")
    for weights in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(weights, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{weights}: half-written or damaged weights: {error}") from None


def fingerprint(folder):
    """Twelve hex digits that change when the weights of a local folder do (file sizes, first and last MiB)."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size}".encode())
        with open(path, "rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()[:12]


def open_pipeline(config, device):
    """Open a :class:`testbed.config.ModelConfig` on ``device``.

    Returns ``(pipeline, revision)``; the revision of a folder is its fingerprint, so that records of other
    weights are never mistaken for these. Raises :class:`InputError` in one line for what cannot be opened.
    """
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    source = resolve(config.model)
    local = Path(source).is_dir()
    if local:
        check_folder(source, "model_index.json")
    elif source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise InputError(f"model: {source}: no such folder; allowed: embedded:NAME, a folder, or a hub id OWNER/NAME")
    options = {} if config.variant is None else {"variant": config.variant}
    if not local:
        options["revision"] = config.revision
    try:
        # a folder holds just what was saved: opened as it is; a hub id may also be a set of weights of several tasks
        opener = DiffusionPipeline if local else AutoPipelineForText2Image
        pipeline = opener.from_pretrained(source, dtype=getattr(torch, config.dtype), use_safetensors=True, **options)
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"model: {config.model}: diffusers cannot open it as a text-to-image pipeline: {reason}") from None
    if not {"prompt", "callback_on_step_end"} <= set(inspect.signature(pipeline.__call__).parameters):
        raise InputError(f"model: {config.model}: a {type(pipeline).__name__} is not a text-to-image pipeline with a per-step callback")
    pipeline.set_progress_bar_config(disable=True)
    revision = fingerprint(source) if local else config.revision or getattr(pipeline.config, "_commit_hash", None)
    return pipeline.to(device), revision
