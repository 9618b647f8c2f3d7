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
from testbed.config import NONE
from testbed.engines.out_of_memory import Parts
from testbed.metrics.extractor import TRIAL_IMAGES, Features, Images, check_features
from testbed.models import hub_files
from testbed.models.folders import check_folder
from testbed.models.library_errors import told_in_a_line
from testbed.models.loading import check_filled, check_keys_loaded
from testbed.models.pipelines import quiet_libraries, resolve
from testbed.models.tokenizers import PROMPTS, check_tokenizer
from testbed.processes import together


class Clip:
    """A CLIP model as the scorer of captions and as a feature extractor.

    ``model``: ``embedded:clip``, a folder, or a hub id. Raises :class:`InputError` for a model that
    cannot be opened.
    """

    def __init__(
        self,
        model: str,
        device: torch.device,
        revision: str | None = None,
        allow_pickle: bool = False,
    ) -> None:
        self.check_before_fetching(model, allow_pickle)
        quiet_libraries()
        self.device, self.definition = device, f"{model}, projected image features"
        where, source = f"quality.clip: {model}", resolve(model)
        source_options = {
            "revision": revision,
            "local_files_only": _is_here(where, source, revision),
        }
        with told_in_a_line(where, "cannot be opened as a CLIP model"):
            self._model = _open(where, source, allow_pickle, **source_options).to(device).eval()
            self._processor = CLIPProcessor.from_pretrained(source, **source_options)
            check_tokenizer(where, self._processor.tokenizer, self._model.text_model)
            check_features(where, self.texts(PROMPTS))
            check_features(where, self.images(TRIAL_IMAGES))

    @staticmethod
    def check_before_fetching(model: str, allow_pickle: bool = False) -> None:
        """Raise :class:`InputError` for a folder that cannot be opened, and what is no model."""
        if model == NONE:
            return
        source = resolve(model)
        if Path(source).is_dir():
            try:
                check_folder(source, "config.json", allow_pickle)
            except InputError as error:
                raise InputError(f"quality.clip: {error}") from None
        elif Path(source).is_file():
            raise InputError(
                f"quality.clip: {model}: a file; allowed: embedded:clip, a folder as "
                f"save_pretrained writes it, a hub id OWNER/NAME, or {NONE}"
            )
        elif not hub_files.is_id(source):
            raise InputError(
                f"quality.clip: {model}: no such folder; allowed: embedded:clip, a folder, a hub "
                f"id OWNER/NAME, or {NONE}"
            )

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
        processor = functools.partial(self._processor, **self._truncated)
        return float(clip_score(pixels, caption, lambda: (self, processor)))

    @torch.inference_mode()
    def images(self, images: Images, batch: int = 64) -> Features:
        """Projected features of images, shape (images, width)."""

        def features(part: Images) -> torch.Tensor:
            inputs = self._processor(images=[np.asarray(i) for i in part], return_tensors="pt")
            return self.get_image_features(inputs["pixel_values"].to(self.device)).float()

        def extract(images: Images) -> torch.Tensor:
            empty = torch.empty(0, self.config.projection_dim, device=self.device)
            parts = Parts(batch, self.device).of(images, features)
            return torch.cat([empty, *(output for _, output in parts)])

        return together(images, extract)

    @torch.inference_mode()
    def texts(self, captions: Sequence[str], batch: int = 256) -> Features:
        """Projected features of captions, shape (captions, width)."""

        def features(part: Sequence[str]) -> Features:
            inputs = self._processor(
                text=list(part), return_tensors="pt", padding=True, **self._truncated
            )
            output = self.get_text_features(
                inputs["input_ids"].to(self.device), inputs["attention_mask"].to(self.device)
            )
            return output.float().cpu().numpy()

        parts = Parts(batch, self.device).of(captions, features)
        return np.concatenate([output for _, output in parts])

    @property
    def _truncated(self) -> dict[str, Any]:
        """The tokenizer's own length may be another one, or none. It keeps the end token."""
        return {"truncation": True, "max_length": self.config.text_config.max_position_embeddings}


def _is_here(where: str, source: str, revision: str | None) -> bool:
    """Whether only what this machine holds is opened; raises :class:`InputError` where that is
    nothing.
    """
    if Path(source).is_dir():
        return True
    reason = hub_files.unreachable()
    if reason and not hub_files.holds_weights(source, revision):
        raise InputError(
            f"{where}: not in the hub's cache, and {reason}; allowed: a network, or a folder"
        )
    return reason is not None


def _open(where: str, source: str, allow_pickle: bool, **options: Any) -> CLIPModel:
    kind = CLIPConfig.get_config_dict(source, **options)[0].get("model_type")
    if kind != "clip":
        raise InputError(f"{where}: a model of type {kind!r}; allowed: a CLIP model")
    try:
        model, info = CLIPModel.from_pretrained(
            source,
            **options,
            dtype=torch.float32,
            use_safetensors=None if allow_pickle else True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by their names
        )
    except OSError as error:
        if allow_pickle or "safetensors" not in str(error):
            raise
        raise InputError(
            f"{where}: no .safetensors weights; allow_pickle = true under [quality] opens pickled "
            "ones, of which only tensors are read"
        ) from None
    check_keys_loaded(where, model, info)
    check_filled(where, model)
    return model


def _tensor(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output
