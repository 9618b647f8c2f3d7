"""CLIP: the score of an image for its caption, and features of images and texts."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.multimodal import clip_score
from transformers import CLIPConfig, CLIPModel, CLIPProcessor

from solver.inputs import InputError
from testbed.metrics.extractor import Features, Images
from testbed.models.pipelines import check_folder, resolve
from testbed.processes import together


class Clip:
    """A CLIP model as the scorer of captions and as a feature extractor.

    ``model``: ``embedded:clip``, a folder, or a hub id. Raises :class:`InputError` for a model that
    cannot be opened.
    """

    def __init__(self, model: str, device: torch.device, revision: str | None = None) -> None:
        source, self.definition = resolve(model), f"{model}, projected image features"
        if Path(source).is_dir():
            check_folder(source, "config.json")
        self.device = device
        try:
            self._model = (
                CLIPModel.from_pretrained(source, revision=revision, dtype=torch.float32)
                .to(device)
                .eval()
            )
            self._processor = CLIPProcessor.from_pretrained(source, revision=revision)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"quality.clip: {model}: cannot be opened as a CLIP model: {reason}"
            ) from None

    # torchmetrics calls the next two, reads config and calls to(); transformers 5 returns objects
    # where it expects tensors
    def get_image_features(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Projected features of preprocessed images, shape (images, width)."""
        return _tensor(self._model.get_image_features(*args, **kwargs))

    def get_text_features(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Projected features of tokenised texts, shape (texts, width)."""
        return _tensor(self._model.get_text_features(*args, **kwargs))

    @property
    def config(self) -> CLIPConfig:
        """The model's configuration."""
        return self._model.config

    def to(self, device: torch.device) -> Self:
        """Move the model to a device."""
        self._model.to(device)
        return self

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits of the weights, the same for a hub id and a folder of one model."""
        digest = hashlib.sha256()
        for name, weights in sorted(self._model.named_parameters()):
            digest.update(name.encode() + np.ascontiguousarray(weights.detach().cpu()).tobytes())
        return digest.hexdigest()[:12]

    @torch.inference_mode()
    def score(self, image: NDArray[np.uint8], caption: str) -> float:
        """CLIP score of an image (height, width, 3): max(0, 100 × cosine), by torchmetrics."""
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(self.device)
        # of a caption beyond the model's length torchmetrics would cut off the end token, from
        # which its features are taken
        processor = functools.partial(self._processor, truncation=True)
        return float(clip_score(pixels, caption, lambda: (self, processor)))

    @torch.inference_mode()
    def images(self, images: Images, batch: int = 64) -> Features:
        """Projected features of images, shape (images, width)."""

        def extract(images: Images) -> torch.Tensor:
            parts = [torch.empty(0, self.config.projection_dim, device=self.device)]
            for start in range(0, len(images), batch):
                inputs = self._processor(
                    images=[np.asarray(image) for image in images[start : start + batch]],
                    return_tensors="pt",
                )
                parts.append(
                    self.get_image_features(inputs["pixel_values"].to(self.device)).float()
                )
            return torch.cat(parts)

        return together(images, extract)

    @torch.inference_mode()
    def texts(self, captions: Sequence[str], batch: int = 256) -> Features:
        """Projected features of captions, shape (captions, width)."""
        parts = []
        for start in range(0, len(captions), batch):
            inputs = self._processor(
                text=list(captions[start : start + batch]),
                return_tensors="pt",
                padding=True,
                truncation=True,
            )
            features = self.get_text_features(
                inputs["input_ids"].to(self.device), inputs["attention_mask"].to(self.device)
            )
            parts.append(features.float().cpu().numpy())
        return np.concatenate(parts)


def _tensor(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output
