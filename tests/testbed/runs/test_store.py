"""Records survive whatever happens to the process that writes them."""

import json
import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.inputs import InputError
from testbed.runs.store import RecordStore, read_image, read_records
from tests.testbed.runs.world import IMAGE, filled, record

OURS = json.dumps(record("id0").to_dict()) + "\n"


def test_what_was_added_is_read_back(tmp_path):
    filled(tmp_path)
    again = RecordStore(tmp_path)
    assert [r.id for r in again.records()] == ["id0", "id1", "id2"]
    assert again["id2"].measured.time == 2 / 7
    assert (again.image("id1") == IMAGE + 1).all()
    assert "id2" in again and "id3" not in again and len(again) == 3


def test_a_line_that_is_written_again_replaces_its_record_where_it_stood(tmp_path):
    store = filled(tmp_path)
    slower = replace(store["id1"].measured, time=5.0)
    store.write(replace(store["id1"], measured=slower))
    for opened in (store, RecordStore(tmp_path)):
        assert [r.id for r in opened.records()] == ["id0", "id1", "id2"]
        assert opened["id1"].measured == slower
        assert (opened.image("id1") == IMAGE + 1).all()
    assert len(store.path.read_text().splitlines()) == 4, "what was measured stays in the file"


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_keeps_every_whole_record(tmp_path_factory, data):
    """kill -9 or a full disk may cut the file at any byte: all whole lines stay, writing goes on
    cleanly.
    """
    folder = tmp_path_factory.mktemp("store")
    raw = filled(folder).path.read_bytes()
    cut = data.draw(st.integers(0, len(raw)))
    (folder / "records.jsonl").write_bytes(raw[:cut])
    store = RecordStore(folder)
    assert len(store) == raw[:cut].count(b"\n")
    store.add(record("new"), IMAGE)
    lines = (folder / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [
        f"id{i}" for i in range(raw[:cut].count(b"\n"))
    ] + ["new"]


def test_a_torn_last_line_is_read_past_without_changing_the_file(tmp_path):
    path = filled(tmp_path).path
    torn = path.read_bytes()[:-5]
    path.write_bytes(torn)
    assert [r.id for r in read_records(path)] == ["id0", "id1"]
    assert path.read_bytes() == torn
    assert read_records(tmp_path / "none" / "records.jsonl") == []


@pytest.mark.parametrize(
    "content, message",
    [
        ("my notes, in one line", "its last line is not the beginning of a record"),
        ('{"id": 7, "artist": "Bach"}', "its last line is not the beginning of a record"),
        ('{"id": "a", "artist": "Bach"}', "its last line is not the beginning of a record"),
        (OURS + "and a note", "its last line is not the beginning of a record"),
        ('{"artist": "Bach"}\n{"artist": "Bac', "line 1: "),
        ("artist,record\nBach,1080\nBach", "line 1: not valid JSON"),
    ],
)
def test_a_file_called_records_that_is_someone_elses_is_never_cut(tmp_path, content, message):
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        RecordStore(tmp_path)
    assert path.read_text() == content


def test_a_line_that_someone_else_began_is_not_cut_by_the_next_record(tmp_path):
    store = filled(tmp_path)
    with open(store.path, "a") as file:
        file.write("mine")
    before = store.path.read_bytes()
    with pytest.raises(InputError, match="the file is left alone"):
        store.add(record("new"), IMAGE)
    assert store.path.read_bytes() == before


def test_a_damaged_line_is_named(tmp_path):
    path = filled(tmp_path).path
    path.write_bytes(path.read_bytes().replace(b'{"id": "id1"', b'{"id" "id1"'))
    with pytest.raises(InputError, match="line 2: not valid JSON.*remove the line to measure it"):
        RecordStore(tmp_path)


def test_nan_is_never_written(tmp_path):
    store = filled(tmp_path)
    before = store.path.read_bytes()
    with pytest.raises(ValueError):
        store.add(record("bad", time=float("nan")), IMAGE)
    assert store.path.read_bytes() == before


def test_a_task_whose_image_was_lost_is_not_finished(tmp_path):
    filled(tmp_path)
    lost = tmp_path / "images" / "id1.png"
    lost.unlink()
    with pytest.warns(UserWarning, match="1 images are no longer there"):
        store = RecordStore(tmp_path)
    assert list(store) == ["id0", "id2"]
    with pytest.raises(InputError, match="no such image; the command that made it makes it again"):
        read_image(lost)
    store.add(record("id1"), IMAGE + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(RecordStore(tmp_path)) == ["id0", "id1", "id2"]
    lost.write_bytes(b"no image")
    with pytest.raises(InputError, match="remove it, and the command that made it makes it again"):
        read_image(lost)
