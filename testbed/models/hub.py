"""Fetch models from the hub through its own client, and say in one line what to do where it fails.

Network, cache, mirror and token are those of the client's ordinary environment: HF_HUB_OFFLINE,
HF_HOME, HF_ENDPOINT, HF_TOKEN.
"""

import errno
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


def fetch(model, revision=None, variant=None, allow_pickle=False, **passed):
    """The folder in the hub's cache that holds what a text-to-image pipeline of ``model`` needs,
    fetched if it is missing.

    ``passed``: parts that are given otherwise. Its folder is named by the commit. Raises
    :class:`InputError` in one line.
    """
    kinds = None if allow_pickle else True
    try:
        return Path(
            DiffusionPipeline.download(
                model, revision=revision, variant=variant, use_safetensors=kinds, **passed
            )
        )
    # whatever the client, diffusers and their HTTP library raise; only a full disk is no matter of
    # the model
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"model: {model}: {_advice(error, model, revision, variant)}") from None


def _advice(error, model, revision, variant):
    """What to do about ``error``; diffusers wraps the client's own in others, so its causes are
    looked through.
    """
    causes = [error]
    while nested := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(nested)

    def found(kind):
        return next((one for one in reversed(causes) if isinstance(one, kind)), None)

    page = f"{constants.ENDPOINT}/{model}"
    if found(GatedRepoError):
        return (
            f"gated: accept its conditions at {page}, and set HF_TOKEN to a token of that account"
        )
    if found(RevisionNotFoundError):
        return f"revision '{revision}' does not exist; allowed: a branch, tag or commit of {page}/commits"
    if found(RepositoryNotFoundError):
        return "no such model on the hub, or a private one: correct the id, or set HF_TOKEN to a token that may read it"
    failed = found(HfHubHTTPError)
    if (
        failed is not None
        and not isinstance(failed, EntryNotFoundError)
        and failed.response is not None
    ):
        status = failed.response.status_code
        return (
            "the hub does not accept the token in HF_TOKEN"
            if status == 401
            else f"the hub answers status {status}: try again later"
        )
    if constants.HF_HUB_OFFLINE:
        fetching = f"hf download {model}" + (f" --revision {revision}" if revision else "")
        return f"not wholly in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set: unset it, or run `{fetching}` where there is a network"
    if found(LocalEntryNotFoundError) or _unreachable(causes):
        return f"{constants.ENDPOINT} cannot be reached, and the cache does not hold it all: check the network, or give a folder"
    if found(EntryNotFoundError):
        return "no model_index.json in it; allowed: a text-to-image model in diffusers' format"
    reason = " ".join(str(error).split())
    if variant and "variant" in reason:
        return f"no weights of variant '{variant}': leave variant out, or choose another"
    if "safetensors" in reason:
        return "no safetensors weights; allow_pickle = true opens pickled ones, which can run any code: only for a source that you trust"
    return f"cannot be fetched: {reason[:300]}"


def _unreachable(causes):
    kinds = ("ConnectError", "ConnectTimeout")  # of the client's HTTP library
    return any(
        isinstance(one, (ConnectionError, TimeoutError)) or type(one).__name__ in kinds
        for one in causes
    )
