"""Fetch models from the hub through its own client, and say in one line what to do where it fails.

Network, cache, mirror and token are those of the client's ordinary environment: HF_HUB_OFFLINE,
HF_HOME, HF_ENDPOINT, HF_TOKEN.
"""

import errno
import re
from collections.abc import Sequence
from pathlib import Path

from diffusers import DiffusionPipeline
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from solver.inputs import InputError
from testbed.models import folders, hub_files

#: The variant in the name of a file of weights, which may be one of several shards.
_VARIANT = re.compile(r"\.([a-z]\w*)(?:-\d+-of-\d+)?\.safetensors$")


def fetch(
    model: str,
    revision: str | None = None,
    variant: str | None = None,
    allow_pickle: bool = False,
) -> Path:
    """The folder in the hub's cache that holds what a text-to-image pipeline of ``model`` needs,
    fetched if it is missing; without its safety checker.

    Its folder is named by the commit. Raises :class:`InputError` in one line.
    """
    try:
        cached = hub_files.unreachable() is not None
        return _download(model, revision, variant, allow_pickle, cached)
    # whatever the client, diffusers and their HTTP library raise; only a full disk is no matter of
    # the model
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"model: {model}: {_advice(error, model, revision, variant)}") from None


def in_cache(model: str, revision: str | None, variant: str | None, allow_pickle: bool) -> bool:
    """Whether :func:`fetch` would fetch nothing."""
    try:
        _download(model, revision, variant, allow_pickle, True)
    except Exception:  # as above
        return False
    return True


def _download(
    model: str, revision: str | None, variant: str | None, allow_pickle: bool, cached: bool
) -> Path:
    """As :func:`fetch`; ``cached``: of what the cache holds, which must be whole."""
    folder = Path(
        DiffusionPipeline.download(
            model,
            revision=revision,
            variant=variant,
            use_safetensors=None if allow_pickle else True,
            local_files_only=cached,
            **{folders.UNUSED: None},
        )
    )
    if cached:
        folders.check_folder(folder, folders.PIPELINE, allow_pickle, variant)
    return folder


def check_variant(folder: Path, variant: str | None) -> None:
    """Raise :class:`InputError` where all weights of a model's ``folder`` are of a variant that was
    not asked for.
    """
    if variant:
        return
    names = [path.name for path in folder.glob("*/*.safetensors") if path.name[0] != "."]
    variants = {match[1] if (match := _VARIANT.search(name)) else None for name in names}
    if len(variants) == 1 and (only := variants.pop()):
        raise InputError(
            f"variant: found none, but all weights in {folder} are of one; allowed: "
            f'variant = "{only}"'
        )


def _advice(error: BaseException, model: str, revision: str | None, variant: str | None) -> str:
    """What to do about ``error``. Diffusers wraps the client's own in others, so that its causes
    are looked through.
    """
    causes = [error]
    while nested := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(nested)

    def caused(kind: type[BaseException]) -> bool:
        return any(isinstance(cause, kind) for cause in causes)

    page = f"{constants.ENDPOINT}/{model}"
    if caused(GatedRepoError):
        return (
            f"gated: accept its conditions at {page}, and set HF_TOKEN to a token of that account"
        )
    if caused(RevisionNotFoundError):
        return (
            f"revision '{revision}' does not exist; "
            f"allowed: a branch, tag or commit of {page}/commits"
        )
    if caused(RepositoryNotFoundError):
        return (
            "no such model on the hub, or a private one: correct the id, or set HF_TOKEN to a "
            "token that may read it; there is no folder of that name either"
        )
    if status := _status(causes):
        return (
            "the hub does not accept the token in HF_TOKEN"
            if status == 401
            else f"the hub answers status {status}: try again later"
        )
    if constants.HF_HUB_OFFLINE:
        fetching = f"hf download {model}" + (f" --revision {revision}" if revision else "")
        return (
            f"not wholly in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set: unset it, or run "
            f"`{fetching}` where there is a network"
        )
    if caused(LocalEntryNotFoundError) or _unreachable(causes) or hub_files.unreachable():
        return (
            f"{constants.ENDPOINT} cannot be reached, and the cache does not hold it all: check "
            "the network, or give a folder"
        )
    if caused(EntryNotFoundError):
        return "no model_index.json in it; allowed: a text-to-image model in diffusers' format"
    reason = " ".join(str(error).split())
    if variant and "variant" in reason:
        return f"no weights of variant '{variant}': leave variant out, or choose another"
    if "safetensors" in reason:
        return (
            "no safetensors weights; allow_pickle = true opens pickled ones, which can run any "
            "code: only for a source that you trust"
        )
    return f"cannot be fetched: {reason[:300]}"


def _status(causes: Sequence[BaseException]) -> int | None:
    """The status that the hub answered with; None where it is no matter of one request."""
    failed = next((cause for cause in reversed(causes) if isinstance(cause, HfHubHTTPError)), None)
    if failed is None or isinstance(failed, EntryNotFoundError) or failed.response is None:
        return None
    return failed.response.status_code


def _unreachable(causes: Sequence[BaseException]) -> bool:
    kinds = ("ConnectError", "ConnectTimeout")  # of the client's HTTP library
    return any(
        isinstance(cause, (ConnectionError, TimeoutError)) or type(cause).__name__ in kinds
        for cause in causes
    )
