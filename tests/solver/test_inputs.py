"""What is read whole: files, and pipes as a shell makes them. A device is without end, and a pipe
may never begin: neither may hang a command, nor fill its memory.
"""

import os
import threading
import time

import pytest

from solver import inputs
from solver.inputs import InputError, read_json, read_text


def pipe(*parts, pause=0.0):
    """The path of a pipe that is given ``parts``, one after the other, and then closed."""
    end, begin = os.pipe()

    def write():
        with open(begin, "wb", buffering=0) as file:
            for part in parts:
                time.sleep(pause)
                file.write(part)

    threading.Thread(target=write, daemon=True).start()
    return f"/dev/fd/{end}"


def test_a_pipe_is_read_to_its_end_however_slowly_it_is_written():
    text = "ä" * 200_000  # beyond what a pipe holds
    assert read_text(pipe(text.encode())) == text
    assert read_text(pipe(b"one ", b"two ", b"three", pause=0.1)) == "one two three"
    assert read_text(pipe()) == ""


def test_a_slow_writer_is_waited_for_longer_than_the_first_one(monkeypatch):
    monkeypatch.setattr(inputs, "PATIENCE", 0.01)
    assert read_text(pipe(b"late", pause=0.3)) == "late"


def test_a_pipe_can_be_read_again(tmp_path):
    """A configuration is read for the run and for its cost, prompts for each stage."""
    path = pipe(b'{"a": 1}')
    assert read_json(path) == read_json(path) == {"a": 1}
    named = tmp_path / "named"
    os.mkfifo(named)
    threading.Thread(target=named.write_text, args=("once",), daemon=True).start()
    assert read_text(named) == read_text(named) == "once"


def test_a_pipe_that_nobody_writes_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "PATIENCE", 0.01)
    os.mkfifo(tmp_path / "named")
    with pytest.raises(InputError, match="named: found a pipe that nobody writes to"):
        read_text(tmp_path / "named")


def test_what_is_without_end_is_read_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "LARGEST", 1 << 20)
    with pytest.raises(InputError, match="found more than 1048576 bytes"):
        read_text(pipe(*[b"x" * (1 << 20)] * 3))
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    with pytest.raises(InputError, match="sparse: found more than"):
        read_text(tmp_path / "sparse")
