"""Inception-v3, the extractor of the FID: torchmetrics' own network with the original weights.

torch-fidelity brings the network's definition.
"""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import is_offline_mode
from torchmetrics.image.fid import FrechetInceptionDistance

from solver.inputs import InputError
from testbed.engines.out_of_memory import Parts
from testbed.metrics.extractor import TRIAL_IMAGES, Features, Images, check_features
from testbed.models import hub_files
from testbed.processes import processes, together

WIDTH = 2048
SIDE = 299  # pixels
#: What the unpickler raises for a broken file.
DAMAGED = (OSError, EOFError, LookupError, ValueError, pickle.UnpicklingError)


class Inception:
    """Extractor of ``WIDTH`` pooled features, of which the Fréchet distance is the FID.

    Images are resized without antialiasing, as the original implementation, torch-fidelity and
    MLPerf do; clean-fid, and torchmetrics by default, smooth them first, which gives another value.
    The weights are looked for where torch keeps downloads (``$TORCH_HOME/hub/checkpoints``) and
    fetched into it. Raises :class:`InputError` saying what to install or fetch.
    """

    definition = (
        f"Inception-v3, {WIDTH} pooled features of images resized to {SIDE} × {SIDE} bilinearly, "
        "without antialiasing (unlike clean-fid)"
    )

    def __init__(self, device: torch.device) -> None:
        url = _url()
        with processes().main_process_first():
            path = _weights(url)
        self.device, self.fingerprint = device, hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        try:
            # refuses all but tensors; torch-fidelity itself would run what a pickle says
            torch.load(path, weights_only=True)
            metric = FrechetInceptionDistance(
                WIDTH, feature_extractor_weights_path=str(path), antialias=False
            )
        except (*DAMAGED, RuntimeError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{path}: not the weights of Inception-v3: {reason}; remove it, or fetch {url}"
            ) from None
        self._model = metric.inception.to(device)
        check_features(f"{path}", self.images(TRIAL_IMAGES))

    @staticmethod
    def check_before_fetching() -> None:
        """Raise :class:`InputError` where it cannot be had, whatever else is opened before it."""
        path = _path(url := _url())
        if not path.is_file() and not hub_files.answers(url):
            raise _missing(url, path, "offline mode" if is_offline_mode() else "no network")

    @torch.inference_mode()
    def images(self, images: Images, batch: int = 64) -> Features:
        """Features of images, which may differ in size, shape (images, ``WIDTH``)."""

        def features(part: Images) -> torch.Tensor:
            chunk = [np.asarray(image) for image in part]
            one_size = len({image.shape for image in chunk}) == 1
            outputs = []
            for stack in [chunk] if one_size else [[image] for image in chunk]:
                pixels = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2)
                outputs.append(self._model(pixels.to(self.device)))
            return torch.cat(outputs)

        def extract(images: Images) -> torch.Tensor:
            empty = torch.empty(0, WIDTH, device=self.device)
            parts = Parts(batch, self.device).of(images, features)
            return torch.cat([empty, *(output for _, output in parts)])

        return together(images, extract)


def _url() -> str:
    """Where the weights are fetched from."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    except ImportError:
        raise InputError(
            "quality.extractor: 'inception' needs torch-fidelity: scripts/install inception; "
            "allowed without it: 'clip'"
        ) from None
    return str(URL_INCEPTION_V3)


def _path(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _missing(url: str, path: Path, reason: str) -> InputError:
    return InputError(
        f"quality.extractor: the weights of Inception-v3 cannot be fetched ({reason}); put {url} "
        f"into {path.parent}"
    )


def _weights(url: str) -> Path:
    """The file of the weights, downloaded if it is not there."""
    path = _path(url)
    if not path.is_file():
        try:
            if is_offline_mode():
                raise OSError("offline mode")
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as error:
            raise _missing(url, path, " ".join(str(error).split())) from None
    return path
