"""Quality of images: CLIP score, Fréchet and kernel distance (torchmetrics), distance to the
converged image.
"""

import functools
import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch
from torchmetrics.functional.multimodal import clip_score
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance
from transformers import CLIPModel, CLIPProcessor

from solver.inputs import InputError
from testbed.models.pipelines import check_folder, resolve
from testbed.processes import together


class Clip:
    """A CLIP model as the scorer of captions and the feature extractor of the distances."""

    def __init__(self, model, device, revision=None):
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
            raise InputError(
                f"quality.clip: {model}: cannot be opened as a CLIP model: {' '.join(str(error).split())[:300]}"
            ) from None

    def _features(self, out):
        return out if isinstance(out, torch.Tensor) else out.pooler_output

    # torchmetrics calls these two, and reads config; transformers 5 returns objects where it
    # expects tensors
    def get_image_features(self, *args, **kwargs):
        return self._features(self._model.get_image_features(*args, **kwargs))

    def get_text_features(self, *args, **kwargs):
        return self._features(self._model.get_text_features(*args, **kwargs))

    @property
    def config(self):
        return self._model.config

    @functools.cached_property
    def fingerprint(self):
        """Twelve hex digits of the weights: the same for a hub id and a folder of the same model."""
        digest = hashlib.sha256()
        for name, weights in sorted(self._model.named_parameters()):
            digest.update(name.encode() + np.ascontiguousarray(weights.detach().cpu()).tobytes())
        return digest.hexdigest()[:12]

    def to(self, device):
        self._model.to(device)
        return self

    @torch.inference_mode()
    def score(self, image, caption):
        """CLIP score of one image: max(0, 100 × cosine), by torchmetrics. ``image``: uint8 (H, W,
        3).
        """
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(self.device)
        # of a caption beyond the model's length torchmetrics would cut off the end token, from
        # which its features are taken
        return float(
            clip_score(
                pixels, caption, lambda: (self, functools.partial(self._processor, truncation=True))
            )
        )

    @torch.inference_mode()
    def images(self, images, batch=64):
        """Projected image features, float32 (len(images), width)."""

        def extract(images):
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
    def texts(self, captions, batch=256):
        """Projected text features, float32 (len(captions), width)."""
        parts = []
        for start in range(0, len(captions), batch):
            inputs = self._processor(
                text=list(captions[start : start + batch]),
                return_tensors="pt",
                padding=True,
                truncation=True,
            )
            out = self.get_text_features(
                inputs["input_ids"].to(self.device), inputs["attention_mask"].to(self.device)
            )
            parts.append(out.float().cpu().numpy())
        return np.concatenate(parts)


_WHOLE = {"sync_on_compute": False}  # every process has all features already


class _Features(torch.nn.Module):
    """Lets torchmetrics work on features that were extracted once."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width

    def forward(self, features):
        return features


def _distance(metric, features, reference):
    metric.update(torch.from_numpy(reference), real=True)
    metric.update(torch.from_numpy(features), real=False)
    return metric.compute()


def frechet(features, reference):
    """Fréchet distance between two feature sets (n, width), (m, width), by torchmetrics.

    It is biased upward at small n: compare it only at equal n, with the same extractor and
    reference.
    """
    if len(features) < 2 or len(reference) < 2:
        raise InputError(
            f"frechet: found {len(features)} and {len(reference)} images; at least 2 of each are needed"
        )
    return float(
        _distance(
            FrechetInceptionDistance(_Features(features.shape[1]), **_WHOLE), features, reference
        )
    )


def kernel_distance(features, reference):
    """Kernel (KID) distance, unbiased at any n: ``(mean, standard deviation)`` over subsets."""
    size = min(len(features), len(reference), 1000)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # it warns that features are kept in memory; here they are already
        torch.manual_seed(0)  # torchmetrics draws its subsets from the global generator
        mean, sd = _distance(
            KernelInceptionDistance(
                _Features(features.shape[1]), subset_size=size, subsets=20, **_WHOLE
            ),
            features,
            reference,
        )
    return float(mean), float(sd)


def distance(image, other):
    """Root mean square pixel difference of two uint8 images, on the scale 0..1."""
    return float(np.sqrt(np.mean((image / 255.0 - other / 255.0) ** 2)))
