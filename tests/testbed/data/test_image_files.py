"""Image files of every mode: the colours that a viewer shows, upright."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from solver.inputs import InputError
from testbed.data.image_files import read_image

RAMP = np.linspace(0, 255, 12 * 20).round().astype(np.uint8).reshape(12, 20)
COLOURS = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return read_image(tmp_path / name)


def test_a_photograph_taken_with_the_camera_turned_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = saved(tmp_path, Image.fromarray(np.rot90(COLOURS)), exif=exif)
    assert (turned == COLOURS).all()


def test_16_bits_become_8_and_are_not_clipped_to_white(tmp_path):
    grey = Image.fromarray(RAMP.astype(np.uint16) * 257)
    for name in ("a.png", "a.tif"):
        read = saved(tmp_path, grey, name)
        assert read.shape == (12, 20, 3) and (read == RAMP[..., None]).all()
    assert Image.open(tmp_path / "a.png").convert("RGB").getextrema()[0] == (0, 255)
    for largest in (1.0, 255.0):
        real = Image.fromarray(RAMP.astype(np.float32) / 255 * largest)
        assert (saved(tmp_path, real, "f.tif") == RAMP[..., None]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_lies_on_white(tmp_path, mode):
    opaque = Image.new("RGBA", (20, 12), (255, 0, 0, 255))
    opaque.paste((0, 0, 255, 0), (0, 0, 10, 12))
    image = opaque.convert("LA" if mode == "LA" else "RGBA")
    if mode == "PA":
        image = image.quantize(4)
    read = saved(tmp_path, image)
    assert (read[:, :10] == 255).all() and not (read[:, 10:] == 255).all()


def test_a_palette_with_a_transparent_entry_and_a_single_bit(tmp_path):
    palette = Image.fromarray(COLOURS).quantize(16)
    assert saved(tmp_path, palette, transparency=0).shape == (12, 20, 3)
    bits = saved(tmp_path, Image.fromarray(RAMP).convert("1"))
    assert set(np.unique(bits)) == {0, 255}


@pytest.mark.parametrize("mode, name", [("L", "a.png"), ("CMYK", "a.jpg"), ("YCbCr", "a.jpg")])
def test_other_modes_have_three_channels(tmp_path, mode, name):
    assert saved(tmp_path, Image.fromarray(COLOURS).convert(mode), name).shape == (12, 20, 3)


def chunk(kind, data):
    """A chunk of a PNG."""
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def test_an_image_that_unpacks_to_gigabytes_is_refused_in_one_line(tmp_path):
    """A black one, of a bit a pixel."""
    path, side = tmp_path / "bomb.png", 20_000
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + side // 8)), 1)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(InputError, match="bomb.png: not a readable image: .*exceeds") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_text_chunk_is_refused_in_one_line(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "x" * 2_000_000, zip=True)
    path = tmp_path / "a.png"
    Image.fromarray(RAMP).save(path, pnginfo=info)
    with pytest.raises(InputError, match="a.png: not a readable image"):
        read_image(path)
