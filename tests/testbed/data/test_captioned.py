"""A folder of images with captions: what is read of it, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from solver.inputs import InputError
from testbed.data.captioned import CaptionedImages
from testbed.data.prompts import open_prompts
from tests.testbed.data.world import CAPTIONS, IMAGES, folder


@pytest.mark.parametrize(
    "name, below", [("annotations/captions_val2017.json", "val2017"), ("captions.json", ".")]
)
def test_images_come_with_their_captions(tmp_path, name, below):
    captioned = CaptionedImages(folder(tmp_path, name=name, below=below))
    assert captioned.captions == [
        ["a red ball", "something red"],
        ["a blue ball"],
        ["a green ball"],
    ]
    assert [path.relative_to(tmp_path / below).name for path in captioned.paths] == [
        "a.png",
        "b.png",
        "c.png",
    ]
    images, captions = captioned.reference(2)
    assert captions == ["a red ball", "a blue ball"] and len(images) == 2
    assert [image.shape for image in images[0:2]] == [(12, 20, 3)] * 2 and (
        images[0:1][0] == (255, 0, 0)
    ).all()
    assert len(captioned.reference(50)[0]) == 3


def test_of_two_images_of_one_name_the_path_decides(tmp_path):
    folder(
        tmp_path,
        images=[{**image, "file_name": "other/" + image["file_name"]} for image in IMAGES],
        below="other",
    )
    (tmp_path / "another").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "another" / "a.png")
    assert CaptionedImages(tmp_path).paths[0] == tmp_path / "other" / "a.png"


def test_a_bare_name_of_two_images_is_refused(tmp_path):
    folder(tmp_path)
    (tmp_path / "another").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "another" / "a.png")
    with pytest.raises(InputError, match="'a.png', which is another/a.png and val2017/a.png; all"):
        CaptionedImages(tmp_path)


def test_linked_folders_are_searched_and_each_folder_once(tmp_path):
    images, captions = tmp_path / "images", tmp_path / "captions"
    folder(captions)
    (captions / "val2017").rename(images)
    (captions / "linked").symlink_to(images)
    (captions / "again").symlink_to(images)
    (images / "round").symlink_to(captions)
    assert [path.resolve() for path in CaptionedImages(captions).paths] == [
        images / name for name in ("a.png", "b.png", "c.png")
    ]


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
    """As its own tools write it: one caption an image, the images elsewhere, quotes doubled."""
    folder(tmp_path, below="validation/data")
    (tmp_path / "annotations" / "captions_val2017.json").unlink()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    rows = [
        ("70", "7", "A red  ball.", "12", "20", "a.png", "http://a"),
        ("277", "3", '"A ""blue"" ball"', "12", "20", "b.png", "http://b"),
    ]
    (tmp_path / name).write_text(table(rows))
    captioned = CaptionedImages(tmp_path)
    assert captioned.captions == [["A red ball."], ['A "blue" ball']]
    assert captioned.paths == [
        tmp_path / "validation" / "data" / name for name in ("a.png", "b.png")
    ]
    (tmp_path / name).write_text(table([rows[0], rows[0]]))
    with pytest.raises(InputError, match=r"images\[1\].id: found '7' twice"):
        CaptionedImages(tmp_path)
    (tmp_path / name).write_text(
        table(rows, "id\timage_id\ttext\theight\twidth\tfile_name\tcoco_url")
    )
    with pytest.raises(InputError, match="line 1: found id, .* text, .*allowed: image_id, caption"):
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
        folder(tmp_path, annotations=[{**row, "caption": "a ball"} for row in CAPTIONS])
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
