"""The networks that tell how good images are."""

from dataclasses import dataclass
from typing import Self

import torch

from testbed.config import NONE, QualityConfig
from testbed.metrics.clip import Clip
from testbed.metrics.extractor import Extractor
from testbed.metrics.inception import Inception


@dataclass(frozen=True, eq=False)
class QualityModels:
    """``clip`` scores images for their captions, distances compare the ``extractor``'s features.

    One network may be both; None: nothing is scored, or compared.
    """

    clip: Clip | None
    extractor: Extractor | None

    @classmethod
    def open(cls, config: QualityConfig, device: torch.device) -> Self:
        """Open what a configuration names; raises :class:`InputError` for what cannot be had."""
        clip = None
        if config.clip != NONE:
            clip = Clip(config.clip, device, config.clip_revision, config.allow_pickle)
        return cls(clip, clip if config.extractor == "clip" else Inception(device))
