"""A folder of images with captions, as COCO has them."""

import json

from PIL import Image

IMAGES = [
    {"id": 7, "file_name": "a.png"},
    {"id": 3, "file_name": "b.png"},
    {"id": 5, "file_name": "c.png"},
]
CAPTIONS = [
    {"id": 1, "image_id": 3, "caption": "a blue\nball "},
    {"id": 2, "image_id": 7, "caption": "a red ball"},
    {"id": 3, "image_id": 5, "caption": "a green ball"},
    {"id": 4, "image_id": 7, "caption": "something red"},
]


def folder(
    path,
    images=IMAGES,
    annotations=CAPTIONS,
    name="annotations/captions_val2017.json",
    below="val2017",
):
    """Three plain images of different modes, under ``below``, with the annotations in ``name``."""
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / below).mkdir(parents=True, exist_ok=True)
    (path / name).write_text(json.dumps({"info": {}, "images": images, "annotations": annotations}))
    for file, mode, colour in (
        ("a.png", "RGB", (255, 0, 0)),
        ("b.png", "L", 90),
        ("c.png", "RGBA", (0, 255, 0, 255)),
    ):
        Image.new(mode, (20, 12), colour).save(path / below / file)
    return path
