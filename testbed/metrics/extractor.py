"""What a feature extractor and a scorer have, whichever network they are."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from solver.inputs import InputError

Features = NDArray[np.float32]
#: Images of shape (height, width, 3), 8 bits each.
Images = Sequence[NDArray[np.uint8] | Image.Image]


#: Two images that no extractor takes for one.
TRIAL_IMAGES = tuple(
    np.random.default_rng(seed).integers(256, size=(64, 64, 3), dtype=np.uint8) for seed in (0, 1)
)


def check_features(where: str, features: Features) -> None:
    """Raise :class:`InputError` unless the ``features`` of two different things, shape (2, width),
    are finite and differ.
    """
    wrong = None
    if not np.isfinite(features).all():
        wrong = "are not finite"
    elif np.allclose(*features):
        wrong = "of two different inputs are alike"
    if wrong:
        raise InputError(f"{where}: its features {wrong}; allowed: a model with whole weights")


class Scorer(Protocol):
    """What scores an image for its caption."""

    def score(self, image: NDArray[np.uint8], caption: str) -> float:
        """The score of an image, shape (height, width, 3)."""


class Extractor(Protocol):
    """A network whose features of images the distances compare."""

    #: What the features are, in words.
    definition: str

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of the weights, the same on every machine."""

    def images(self, images: Images, batch: int = 64) -> Features:
        """Features of images, shape (images, width)."""
