"""Load a pipeline's networks, each with every one of its weights."""

import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from transformers import PreTrainedModel

from solver.inputs import InputError
from testbed.config import ModelConfig
from testbed.models import folders, hub
from testbed.models.library_errors import told_in_a_line

_SHOWN = 3  # keys in a message
#: The share of a network's weights in matrices that are zero all over, from which it is refused.
_MOST_ZERO = 0.05
_HEAD = 1024  # of a matrix's values, among which nearly always one is not zero


def load(folder: Path, config: ModelConfig) -> DiffusionPipeline:
    """The pipeline in ``folder``, on the CPU, without a safety checker.

    Raises :class:`InputError` for what cannot be opened, and for a part that lacks weights:
    libraries would draw them at random.
    """
    hub.check_variant(folder, config.variant)
    index = folders.check_folder(folder, folders.PIPELINE, config.allow_pickle, config.variant)
    dtype = getattr(torch, config.dtype)
    options: dict[str, Any] = {
        "variant": config.variant,
        "use_safetensors": None if config.allow_pickle else True,
    }
    # what the folder leaves out, as Stable Diffusion 3 its T5, diffusers must be told
    parts: dict[str, Any] = {name: None for name, kind in index.items() if kind == [None, None]}
    if folders.UNUSED in index:
        parts |= {folders.UNUSED: None, "requires_safety_checker": False}
    with told_in_a_line(
        f"model: {config.model}", "diffusers cannot open it as a text-to-image pipeline"
    ):
        for name, kind in index.items():
            network = folders.network_class(kind)
            if network is not None and name != folders.UNUSED:
                parts[name] = _network(network, folder / name, dtype, **options)
        pipeline = DiffusionPipeline.from_pretrained(folder, dtype=dtype, **options, **parts)
    pipeline.notes = []
    if index.get(folders.UNUSED) not in (None, [None, None]):
        pipeline.notes.append("its safety checker is left out: it would blacken images")
    return pipeline


def check_keys_loaded(where: str, model: torch.nn.Module, info: Any) -> None:
    """Raise :class:`InputError` where ``info``, as from_pretrained gives it, tells of weights of
    ``model`` that its files lack, or of weights in them that the model has no place for.

    A transformers model may be read from the file of a larger one, say a text encoder from a whole
    CLIP: left over are only weights like those that it has, of more layers.
    """
    missing = {str(key) for key in info["missing_keys"]}
    if missing:
        raise InputError(f"{where}: weights are missing: {_listed(missing)}")
    if info.get("mismatched_keys"):
        keys = {str(key[0] if isinstance(key, tuple) else key) for key in info["mismatched_keys"]}
        raise InputError(f"{where}: weights of another size than its config says: {_listed(keys)}")
    left = {str(key) for key in info["unexpected_keys"]}
    if isinstance(model, PreTrainedModel):
        known = {_kind(key) for key in model.state_dict()}
        left = {key for key in left if _kind(key) in known}
    if left:
        raise InputError(f"{where}: weights that its config has no place for: {_listed(left)}")


def check_filled(where: str, model: torch.nn.Module) -> None:
    """Raise :class:`InputError` where much of ``model`` is matrices of zeros, which no training
    leaves, but a file does that was laid out and not written to its end; warn of a few.
    """
    matrices = {name: value for name, value in model.named_parameters() if value.dim() > 1}
    empty = [name for name, value in matrices.items() if _is_zero(value)]
    if not empty:
        return
    share = sum(matrices[name].numel() for name in empty) / sum(
        value.numel() for value in matrices.values()
    )
    said = f"{where}: {share:.0%} of its weights are zero, all of {_listed(empty)}"
    if share > _MOST_ZERO:
        raise InputError(f"{said}; fetch its file again, whole")
    warnings.warn(f"{said}; is its file whole?", stacklevel=2)


def _is_zero(value: torch.Tensor) -> bool:
    return not bool(value.flatten()[:_HEAD].any()) and not bool(value.any())


def _network(
    kind: type[Any], part: Path, dtype: torch.dtype, variant: str | None, **options: Any
) -> torch.nn.Module:
    if variant and f".{variant}" not in folders.weight_files(part, variant)[0].name:
        variant = None  # a pipeline may have some parts of the variant only
    # sizes are refused below, by their names; diffusers names one itself
    own = {"dtype": dtype, "ignore_mismatched_sizes": True}
    if not issubclass(kind, PreTrainedModel):
        own = {"torch_dtype": dtype}
    model, info = kind.from_pretrained(
        part, variant=variant, output_loading_info=True, **own, **options
    )
    check_keys_loaded(str(part), model, info)
    check_filled(str(part), model)
    return model


def _kind(key: str) -> str:
    """A weight's name without the number of its layer, and without what stands before layers."""
    return re.sub(r"\d+", "N", key)


def _listed(keys: Collection[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(sorted(keys)[:_SHOWN]) + more
