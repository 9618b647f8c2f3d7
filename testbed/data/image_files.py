"""Image files as arrays of three 8-bit channels, upright, as a viewer shows them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from solver.inputs import InputError


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file, shape (height, width, 3).

    It is turned as its EXIF orientation says. 16 bits are reduced to 8, and what is transparent
    lies on white. Raises :class:`InputError` for a file that is no image, damaged, or larger than
    Pillow's limit.
    """
    try:
        with Image.open(path) as file:
            return np.asarray(_opaque(_of_8_bits(ImageOps.exif_transpose(file))).convert("RGB"))
    # Pillow's decoders raise errors of any class for damaged files
    except Exception as error:
        raise InputError(f"{path}: not a readable image: {' '.join(str(error).split())}") from None


def _of_8_bits(image: Image.Image) -> Image.Image:
    """Modes of 16 bits and of real numbers reduced to 8 bits; Pillow itself would clip them."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, float)
    if image.mode == "F":
        # no range is laid down for real numbers; 0 to 1 and 0 to 255 are usual
        largest = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
    else:
        largest = 65535.0  # a PNG of 16 bits opens as mode I too
    return Image.fromarray((255 * (values / largest).clip(0, 1)).round().astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    """What is transparent on white: the colours beneath are leftovers of editing."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
