"""Records survive whatever happens to the process that writes them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver.inputs import InputError
from testbed.runs.store import RecordStore

IMAGE = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)


def filled(folder, count=3):
    store = RecordStore(folder)
    for i in range(count):
        store.add({"id": f"id{i}", "measured": {"time": i / 7}}, IMAGE + i)
    return store


def test_what_was_added_is_read_back(tmp_path):
    filled(tmp_path)
    again = RecordStore(tmp_path)
    assert [r["id"] for r in again.records()] == ["id0", "id1", "id2"]
    assert again["id2"]["measured"]["time"] == 2 / 7
    assert (again.image("id1") == IMAGE + 1).all()
    assert "id2" in again and "id3" not in again and len(again) == 3


def test_a_line_that_is_written_again_replaces_its_record_where_it_stood(tmp_path):
    store = filled(tmp_path)
    store.write({**store["id1"], "measured": {"time": 5.0}})
    for some in (store, RecordStore(tmp_path)):
        assert [r["id"] for r in some.records()] == ["id0", "id1", "id2"] and some["id1"]["measured"] == {"time": 5.0}
        assert (some.image("id1") == IMAGE + 1).all()
    assert len(store.path.read_text().splitlines()) == 4, "what was measured stays in the file"


@settings(max_examples=60, deadline=None)
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
    store.add({"id": "new"}, IMAGE)
    lines = (folder / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"id{i}" for i in range(raw[:cut].count(b"\n"))] + ["new"]


def test_a_damaged_line_is_named(tmp_path):
    path = filled(tmp_path).path
    path.write_bytes(path.read_bytes().replace(b'{"id": "id1"', b'{"id" "id1"'))
    with pytest.raises(InputError, match="line 2 is not a record"):
        RecordStore(tmp_path)


def test_nan_is_never_written(tmp_path):
    store = filled(tmp_path)
    before = store.path.read_bytes()
    with pytest.raises(ValueError):
        store.add({"id": "bad", "measured": {"time": float("nan")}}, IMAGE)
    assert store.path.read_bytes() == before
