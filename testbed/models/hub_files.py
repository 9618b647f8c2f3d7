"""Whether the hub can be reached, and single files of it. Nothing here loads torch.

Without a network the hub's client tries again for most of a minute, whenever it is asked. So the
hub is asked once in a process, and where it does not answer only the cache is looked at.
"""

from functools import cache
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

_PATIENCE = 5.0  # seconds in which the hub must answer
#: The files that hold a transformers model's weights, or name those that do.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def is_id(name: str) -> bool:
    """Whether ``name`` may be that of a model on the hub, OWNER/NAME."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def unreachable() -> str | None:
    """Why nothing can be fetched from the hub, in words; None where it can."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return None if answers(constants.ENDPOINT) else f"{constants.ENDPOINT} cannot be reached"


@cache
def answers(address: str) -> bool:
    """Whether a server is there; asked once in a process, by the hub's client, which asks nobody in
    offline mode.
    """
    try:
        status = get_session().head(address, timeout=_PATIENCE).status_code
    except Exception:  # whatever the client's HTTP library raises
        return False
    return status < 500  # as a proxy has it that does not reach the hub either


def file(model: str, name: str, revision: str | None = None) -> Path | None:
    """A file of a model, fetched unless the cache holds it; None where it cannot be had."""
    local = unreachable() is not None
    try:
        return Path(hf_hub_download(model, name, revision=revision, local_files_only=local))
    except Exception:  # whatever the client and its HTTP library raise
        return None


def holds_weights(model: str, revision: str | None = None) -> bool:
    """Whether the cache holds the weights of a transformers model."""
    paths = (try_to_load_from_cache(model, name, revision=revision) for name in _WEIGHTS)
    return any(isinstance(path, str) for path in paths)
