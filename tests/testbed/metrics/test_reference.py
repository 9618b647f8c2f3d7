"""A folder of images with captions, as the reference of a run and as its prompts."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from solver.inputs import InputError
from testbed.cli import main
from testbed.config import QualityConfig
from testbed.data.captioned import CaptionedImages
from testbed.data.prompts import open_prompts
from testbed.stages import run as chain

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


@pytest.mark.parametrize(
    "name, below", [("annotations/captions_val2017.json", "val2017"), ("captions.json", ".")]
)
def test_images_come_with_their_captions(tmp_path, name, below):
    found = CaptionedImages(folder(tmp_path, name=name, below=below))
    assert found.captions == [["a red ball", "something red"], ["a blue ball"], ["a green ball"]]
    assert [path.relative_to(tmp_path / below).name for path in found.paths] == [
        "a.png",
        "b.png",
        "c.png",
    ]
    images, captions = found.reference(2)
    assert captions == ["a red ball", "a blue ball"] and len(images) == 2
    assert [image.shape for image in images[0:2]] == [(12, 20, 3)] * 2 and (
        images[0:1][0] == (255, 0, 0)
    ).all()
    assert len(found.reference(50)[0]) == 3


def test_of_two_images_of_one_name_the_path_decides(tmp_path):
    folder(
        tmp_path,
        images=[{**one, "file_name": "other/" + one["file_name"]} for one in IMAGES],
        below="other",
    )
    (tmp_path / "another").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "another" / "a.png")
    assert CaptionedImages(tmp_path).paths[0] == tmp_path / "other" / "a.png"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": []}, r"captions_val2017.json: images: found \[\]"),
        ({"annotations": {}}, r"captions_val2017.json: annotations: found {}"),
        (
            {
                "images": [*IMAGES, {"id": 9, "file_name": "d.png"}],
                "annotations": [*CAPTIONS, {"image_id": 9, "caption": "x"}],
            },
            r"images\[3\].file_name: found 'd.png'; no such image in",
        ),
        (
            {"images": [*IMAGES, {"id": 9, "file_name": "a.png"}]},
            r"images\[3\]: image 9 \(a.png\) has no caption",
        ),
        (
            {"images": [{"id": 7}]},
            r"images\[0\].file_name: found None; allowed: a non-empty string",
        ),
        (
            {"images": [{"file_name": "a.png"}]},
            r"images\[0\].id: found None; allowed: a whole number or a string",
        ),
        ({"images": [*IMAGES, IMAGES[0]]}, r"images\[3\].id: found 7 twice"),
        (
            {"annotations": [*CAPTIONS, {"image_id": 99, "caption": "x"}]},
            r"annotations\[4\].image_id: found 99, which no image has",
        ),
        (
            {"annotations": [*CAPTIONS, {"image_id": 7, "caption": " "}]},
            r"annotations\[4\].caption: found ' '",
        ),
        ({"annotations": [*CAPTIONS, {"caption": "x"}]}, r"annotations\[4\].image_id: found None"),
        ({"annotations": ["x"]}, r"annotations\[0\].caption: found None"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, change, message):
    with pytest.raises(InputError, match=message) as caught:
        CaptionedImages(folder(tmp_path, **change))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_annotations_must_be_one_file_of_json(tmp_path):
    with pytest.raises(
        InputError,
        match=r"found no annotations/captions_\*.json; allowed: one such file, or captions.json",
    ):
        CaptionedImages(tmp_path)
    folder(tmp_path)
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{")
    with pytest.raises(
        InputError, match="found captions_train2017.json, captions_val2017.json; allowed: one"
    ):
        CaptionedImages(tmp_path)
    (tmp_path / "annotations" / "captions_val2017.json").unlink()
    with pytest.raises(InputError, match="captions_train2017.json: not valid JSON"):
        CaptionedImages(tmp_path)


def table(rows, header="id\timage_id\tcaption\theight\twidth\tfile_name\tcoco_url"):
    return "\n".join([header, *("\t".join(row) for row in rows)]) + "\n"


@pytest.mark.parametrize(
    "name", ["captions/captions.tsv", "captions/captions_source.tsv", "captions_source.tsv"]
)
def test_mlperfs_table_of_captions(tmp_path, name):
    """As its own tools write it: one caption for each image, the images elsewhere, quotes doubled."""
    folder(tmp_path, below="validation/data")
    (tmp_path / "annotations" / "captions_val2017.json").unlink()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    rows = [
        ("70", "7", "A red  ball.", "12", "20", "a.png", "http://a"),
        ("277", "3", '"A ""blue"" ball"', "12", "20", "b.png", "http://b"),
    ]
    (tmp_path / name).write_text(table(rows))
    found = CaptionedImages(tmp_path)
    assert found.captions == [["A red ball."], ['A "blue" ball']]
    assert found.paths == [tmp_path / "validation" / "data" / one for one in ("a.png", "b.png")]
    (tmp_path / name).write_text(table([rows[0], rows[0]]))
    with pytest.raises(InputError, match=r"images\[1\].id: found '7' twice"):
        CaptionedImages(tmp_path)
    (tmp_path / name).write_text(
        table(rows, "id\timage_id\ttext\theight\twidth\tfile_name\tcoco_url")
    )
    with pytest.raises(InputError, match=r"annotations\[0\].caption: found None"):
        CaptionedImages(tmp_path)


def test_five_thousand_captions_are_opened_and_their_images_read_one_by_one(tmp_path):
    """Every image file is the same one; none is opened before it is asked for, so that a broken
    last one does no harm yet.
    """
    (tmp_path / "validation").mkdir()
    Image.new("RGB", (8, 6), (255, 0, 0)).save(tmp_path / "first.png")
    names = [f"COCO_val2014_{index:012d}.jpg" for index in range(5000)]
    for name in names[:-1]:
        (tmp_path / "validation" / name).hardlink_to(tmp_path / "first.png")
    (tmp_path / "validation" / names[-1]).write_bytes(b"")
    rows = [
        (str(70 + i), str(i), f"caption {i}", "6", "8", name, "http://")
        for i, name in enumerate(names)
    ]
    (tmp_path / "captions_source.tsv").write_text(table(rows))
    images, captions = CaptionedImages(tmp_path).reference(5000)
    assert (
        len(images) == len(captions) == 5000
        and len(images[1::2]) == 2500
        and captions[-1] == "caption 4999"
    )
    assert images[7].shape == (6, 8, 3) and len(list(images[1000:1003])) == 3
    with pytest.raises(InputError, match="000000004999.jpg: not a readable image"):
        images[4999]


@pytest.mark.parametrize("data", [b"", b"not an image", "half"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, data):
    path = folder(tmp_path) / "val2017" / "b.png"
    if data == "half":
        Image.fromarray(
            np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
        ).save(path)
        data = path.read_bytes()[:4000]
    path.write_bytes(data)
    images, _ = CaptionedImages(tmp_path).reference(3)
    with pytest.raises(InputError, match="val2017/b.png: not a readable image: ") as caught:
        list(images[0:3])
    assert "\n" not in str(caught.value)


def test_a_reference_needs_two_different_captions(tmp_path):
    same = CaptionedImages(
        folder(tmp_path, annotations=[{**one, "caption": "a ball"} for one in CAPTIONS])
    )
    with pytest.raises(
        InputError, match="found 1 different caption in the reference; allowed: at least 2"
    ):
        same.reference(3)


def test_captions_of_a_folder_are_prompts(tmp_path):
    prompts = open_prompts(str(folder(tmp_path)))
    assert prompts.classes == ("all",)
    assert prompts.calibration("all", 1) == ["a red ball"] and prompts.execution("all", 1) == [
        "a green ball"
    ]
    with pytest.raises(InputError, match="allowed: at most 1, half of those in"):
        prompts.calibration("all", 2)


@pytest.mark.parametrize("own", [False, True])
def test_all_classes_share_the_folders_images(tmp_path, own):
    """``own``: with an extractor of its own, CLIP's features are kept beside it, for the scale of
    utility.
    """
    clip = SimpleNamespace(images=lambda images: np.array([image.mean() for image in images]))
    extractor = (
        SimpleNamespace(images=lambda images: np.array([image.max() for image in images]))
        if own
        else clip
    )
    quality = QualityConfig(reference=str(folder(tmp_path)), reference_size=2)
    testbed = SimpleNamespace(
        config=SimpleNamespace(quality=quality),
        pictures=CaptionedImages(tmp_path),
        clip=clip,
        extractor=extractor,
        prompts=open_prompts("scenes"),
    )
    found = chain.Testbed.given_reference(testbed)
    assert (
        set(found) == {"object", "relation", "scene"}
        and len({id(one) for one in found.values()}) == 1
    )
    assert found["scene"].clip.tolist() == [85, 90] and found["scene"].captions == [
        "a red ball",
        "a blue ball",
    ]
    assert found["scene"].features.tolist() == ([255, 90] if own else [85, 90])


def test_a_calibration_against_a_folder_of_photographs(tmp_path, small_config, capsys):
    folder(tmp_path / "photos")
    text = small_config.read_text().replace(
        "[quality]", f'[quality]\nreference = "{tmp_path / "photos"}"'
    )
    small_config.write_text(
        text.replace("[1, 2, 3, 6]", "[1, 2, 3]").replace(
            "converged_steps = 12", "converged_steps = 4"
        )
    )
    broken = tmp_path / "photos" / "val2017" / "c.png"
    picture = broken.read_bytes()
    broken.write_bytes(b"")
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 2
    assert "c.png: not a readable image" in capsys.readouterr().err
    assert not (
        tmp_path / "run" / "calibration" / "records.jsonl"
    ).exists()  # said before anything was generated
    broken.write_bytes(picture)
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 0
    profiles = json.loads((tmp_path / "run" / "profiles.json").read_text())
    metrics = profiles["metrics"]
    assert (
        metrics["frechet"]["reference"] == str(tmp_path / "photos")
        and metrics["frechet"]["reference_size"] == 3
    )
    contents = [metrics["frechet"][f"{name}_sha256"] for name in ("extractor", "reference")] + [
        metrics["error"]["prompts_sha256"]
    ]
    assert (
        len({*contents, metrics["utility"]["model_sha256"]}) == 3 == len({*contents})
    )  # the extractor is the scorer of utility
    for profile in profiles["profiles"]:
        for point, kid, cmmd in zip(
            *(profile[name]["points"] for name in ("frechet", "kid", "cmmd")), strict=True
        ):
            assert (
                point["n"] == kid["n"] == cmmd["n"] == 3
                and point["steps"] == kid["steps"] == cmmd["steps"]
            )
            assert all(one["low"] <= one["value"] <= one["high"] for one in (point, kid, cmmd))
            assert not point["carried"] and point["note"].startswith(
                "3 images and 3 reference images cannot carry"
            )
