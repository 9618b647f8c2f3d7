"""What a feature extractor and a scorer have, whichever network they are."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Features = NDArray[np.float32]
#: Images of shape (height, width, 3), 8 bits each.
Images = Sequence[NDArray[np.uint8] | Image.Image]


class Extractor(Protocol):
    """A network whose features of images the distances compare."""

    #: What the features are, in words.
    definition: str

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of the weights, the same on every machine."""

    def images(self, images: Images, batch: int = 64) -> Features:
        """Features of images, shape (images, width)."""


class Scorer(Protocol):
    """What scores an image for its caption."""

    def score(self, image: NDArray[np.uint8], caption: str) -> float:
        """The score of an image, shape (height, width, 3)."""
