"""Text files as editors and other programs write them: read whole, or refused with their line."""

import json

import pytest

from calibration.fitting.points import points_from_csv
from calibration.scenario.scenario import Scenario
from solver.inputs import InputError, read_json, read_lines
from testbed import config
from testbed.data.captioned import CaptionedImages
from testbed.data.image_requests import read_requests
from testbed.data.prompts import FilePrompts
from testbed.metering.meters import ReplayMeter
from tests.conftest import SMALL
from tests.testbed.data.world import CAPTIONS, folder

ENCODINGS = ("utf-8-sig", "utf-16")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_byte_order_mark_is_no_part_of_any_text_file(tmp_path, encoding):
    def written(name, text):
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        return path

    assert config.load(written("c.toml", SMALL)).sweep.converged_steps == 12
    assert Scenario.load(written("s.toml", "users = 3")).to_dict() is not None
    assert read_json(written("v.json", '{"a": "é"}')) == {"a": "é"}
    assert FilePrompts(written("p.jsonl", '{"prompt": "a"}\n')).classes == ("all",)
    request = '{"id": "a", "prompt": "x", "seed": 1, "steps": 1}'
    assert read_requests(written("r.jsonl", request))[0].id == "a"
    assert len(points_from_csv(written("p.csv", "steps,value\n1,3\n2,2\n4,1\n"))) == 3
    with pytest.warns(UserWarning, match="stands still"):
        ReplayMeter.load(written("m.csv", "seconds,cpu0\n0,1\n900,1\n"))
    photos = folder(tmp_path / "photos")
    source = photos / "annotations" / "captions_val2017.json"
    source.write_text(source.read_text(), encoding=encoding)
    assert len(CaptionedImages(photos).paths) == 3


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c", "\\u2028"])
def test_json_lines_end_at_a_line_feed_and_at_no_other_separator(tmp_path, separator):
    path = tmp_path / "p.jsonl"
    prompt = json.loads(f'"a{separator}b"', strict=False)
    text = json.dumps({"prompt": prompt}, ensure_ascii=False)
    path.write_text(f'{text}\r\n{{"prompt": "c"}}\n', encoding="utf-8", newline="")
    assert FilePrompts(path)._pools["all"] == [prompt, "c"]


@pytest.mark.parametrize(
    "line, where",
    [
        (r'{"prompt": "cat \ud83d"}', r"p.jsonl: line 2: prompt: found 'cat \\ud83d'"),
        (r'{"prompt": "x", "class": "\uDC00"}', "p.jsonl: line 2: class: found"),
    ],
)
def test_half_an_emoji_in_a_prompt_is_named_by_its_line(tmp_path, line, where):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "\\ud83d\\ude00"}\n' + line)
    with pytest.raises(InputError, match=where):
        FilePrompts(path)


def test_half_an_emoji_in_a_caption_is_named_by_its_place(tmp_path):
    captions = [{**row, "caption": "a \ud83d"} if row["id"] == 3 else row for row in CAPTIONS]
    photos = folder(tmp_path, annotations=captions)
    with pytest.raises(InputError, match=r"annotations\[2\].caption: found .*surrogate"):
        CaptionedImages(photos)


GOOD = {"id": "a", "prompt": "x", "seed": 1, "steps": 1}


@pytest.mark.parametrize(
    "change, field",
    [
        ({"id": "a\0b"}, "id"),
        ({"id": "é" * 101}, "id"),
        ({"id": "x" * 260}, "id"),
        ({"id": ".hidden"}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "\ud83d"}, "id"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x" * 10_000_000}, "prompt"),
        ({"prompt": "cat \ud83d"}, "prompt"),
        ({"guidance": -1}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": 10**400}, "guidance"),
        ({"guidance": True}, "guidance"),
        ({"steps": 10**19}, "steps"),
        ({"seed": 2**63}, "seed"),
        ({"arrival": 1e12}, "arrival"),
        ({"arrival": -1}, "arrival"),
        ({"negative_prompt": ""}, "negative_prompt"),
    ],
)
def test_what_would_fail_in_one_request_is_refused_when_the_file_is_read(tmp_path, change, field):
    path = tmp_path / "r.jsonl"
    lines = [GOOD, GOOD | {"id": "b"} | change]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InputError, match=f"r.jsonl: line 2: {field}: found") as caught:
        read_requests(path)
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()


@pytest.mark.parametrize("ids", [("cat", "Cat"), ("STRASSE", "straße"), ("\u00e9", "e\u0301")])
def test_ids_that_some_disks_take_for_one_name_are_refused(tmp_path, ids):
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(json.dumps(GOOD | {"id": name}) for name in ids))
    with pytest.raises(InputError, match=f"line 2: id: found '{ids[1]}' beside '{ids[0]}'; allow"):
        read_requests(path)


def test_ids_and_prompts_of_every_script_are_taken(tmp_path):
    path = tmp_path / "r.jsonl"
    line = GOOD | {"id": "画像 1", "prompt": "a cat 😀", "guidance": 0, "arrival": 3}
    path.write_text(json.dumps(line))
    assert read_requests(path)[0].prompt == "a cat 😀"


def test_an_enormous_cell_of_a_csv_file_is_named_by_its_line(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("steps,value\n1,3\n2," + "1" * 200_000 + "\n")
    with pytest.raises(InputError, match="p.csv: line 3: not valid CSV: field larger"):
        points_from_csv(path)


@pytest.mark.parametrize("read", [read_json, lambda path: read_lines(path, ["a"])])
def test_a_file_that_is_no_text_is_one_line(tmp_path, read):
    path = tmp_path / "x"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(InputError, match="cannot be read: 'utf-8' codec") as caught:
        read(path)
    assert "\n" not in str(caught.value)
