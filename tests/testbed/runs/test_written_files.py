"""What is written, and over what: links, devices, masks, damaged products, other sizes."""

import os
import stat
import threading

import numpy as np
import pytest

from calibration.schema import Schema, frozen
from solver.inputs import InputError, write_atomic, write_json
from testbed.metrics.pixels import distance
from testbed.runs.folder import RunFolder
from testbed.runs.guard import _PART


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path):
    target, link, hanging = tmp_path / "t.json", tmp_path / "l.json", tmp_path / "h.json"
    write_json(target, 1)
    link.symlink_to(target)
    hanging.symlink_to(tmp_path / "later.json")
    for path in (link, hanging):
        write_json(path, 2)
    assert link.is_symlink() and hanging.is_symlink()
    assert target.read_text() == "2\n" == (tmp_path / "later.json").read_text()


def test_a_device_or_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "x")
    reader.join(10)
    assert got == [b"x"] and stat.S_ISFIFO(pipe.stat().st_mode)
    write_json("/dev/null", 1)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("mask, mode", [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_a_file_has_the_mode_that_the_umask_says(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "a.png", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == mode


def test_what_a_killed_writer_leaves_is_known_as_its(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "replace", lambda part, _: seen.append(part.name))
    write_atomic(tmp_path / "config.json", "x")
    assert _PART.fullmatch(seen[0])


@frozen
class Made(Schema):
    asked: dict[str, int]
    value: int


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"asked": {"n": 1}}', '{"asked": {"n": 2}, "value": 5}']
)
def test_a_damaged_product_is_made_again(tmp_path, damage, recwarn):
    folder = RunFolder(tmp_path)
    (tmp_path / "a.json").write_text(damage)
    assert folder.once("a.json", Made, {"n": 1}, lambda: Made({"n": 1}, 7)).value == 7
    assert folder.once("a.json", Made, {"n": 1}, lambda: Made({"n": 1}, 8)).value == 7
    other = '"n": 2' in damage  # made of something else: neither damaged nor kept
    assert [
        "it is made again, the damaged one is kept as a.json.damaged" in str(warning.message)
        for warning in recwarn
    ] == [True] * (not other)
    assert other or (tmp_path / "a.json.damaged").read_text() == damage


def test_an_image_of_another_size_has_no_distance():
    image = np.zeros((8, 8, 3), np.uint8)
    for shape in ((1, 1, 3), (8, 8, 1), (4, 8, 3)):
        with pytest.raises(InputError, match="allowed: of one shape"):
            distance(image, np.zeros(shape, np.uint8))
