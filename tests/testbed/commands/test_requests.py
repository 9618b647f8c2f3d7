"""``testbed generate``: the file of requests, each of which is made once."""

import json

import numpy as np
import pytest
from PIL import Image

from testbed.cli import main
from testbed.runs.store import RecordStore, read_records
from testbed.stages import requests as requests_module
from tests.testbed.commands.world import refused


def test_generate_makes_each_request_once(tmp_path, capsys):
    requests = tmp_path / "r.jsonl"
    asked = [
        {"id": f"r{i}", "prompt": "a big red ball in the middle", "seed": i, "steps": 2 + i}
        for i in range(3)
    ]
    asked[2]["guidance"] = 1.0
    requests.write_text("".join(json.dumps(request) + "\n" for request in asked))
    command = ["generate", "--model", "embedded:light", str(requests), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    log = tmp_path / "out" / "records.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(r["id"], r["asked"]["steps"], r["asked"]["guidance"]) for r in lines] == [
        ("r0", 2, 3.0),
        ("r1", 3, 3.0),
        ("r2", 4, 1.0),
    ]
    assert all(
        np.asarray(Image.open(tmp_path / "out" / f"r{i}.png")).shape == (64, 64, 3)
        for i in range(3)
    )
    before = log.read_bytes()
    out = tmp_path / "out"
    part, deeper = out / ".r 1.png.abcd1234", out / "x" / ".a.png.abcd1234"
    deeper.parent.mkdir()
    for path in (part, deeper):  # what a writer that was killed left behind, and someone else's
        path.write_bytes(b"")
    assert main(command) == 0 and log.read_bytes() == before
    assert not part.exists() and deeper.exists()
    image = (tmp_path / "out" / "r1.png").read_bytes()
    (tmp_path / "out" / "r1.png").unlink()
    assert main(command) == 0, "an image that is not there is made again"
    assert (tmp_path / "out" / "r1.png").read_bytes() == image


def test_another_request_of_the_same_id_never_keeps_the_image_of_the_first(tmp_path, monkeypatch):
    """Killed between the new line and its image, or before: no line has another's image."""
    requests, out = tmp_path / "r.jsonl", tmp_path / "out"
    command = ["generate", "--model", "embedded:light", str(requests), "-o", str(out)]

    def ask(prompt):
        line = {"id": "a", "prompt": prompt, "seed": 1, "steps": 1}
        requests.write_text(json.dumps(line) + "\n")

    ask("a red ball")
    assert main(command) == 0
    first = (out / "a.png").read_bytes()
    ask("a blue house")
    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command) == 1
    (last,) = read_records(out / "records.jsonl")
    assert last.task.prompt == "a blue house" and not (out / "a.png").exists()
    ask("a red ball")
    assert main(command) == 0 and (out / "a.png").read_bytes() == first


@pytest.mark.parametrize("out", ["r.jsonl", "r.jsonl/images"])
def test_what_is_no_folder_is_refused_before_a_model_is_opened(tmp_path, capsys, monkeypatch, out):
    monkeypatch.setattr(requests_module, "open_model", lambda *_: pytest.fail("opened"))
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "a", "prompt": "x", "seed": 1, "steps": 1}\n')
    said = refused(capsys, "generate", "--model", "embedded:light", path, "-o", tmp_path / out)
    assert f"-o: found {tmp_path / out}: Not a directory; allowed: what can be written" in said


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "line 1: not valid JSON"),
        ('{"id": "a", "prompt": "x", "seed": 1}', "steps: found None"),
        ('{"id": "a", "prompt": "x", "seed": 1, "steps": 0}', "steps of at least 1"),
        ('{"id": "../a", "prompt": "x", "seed": 1, "steps": 1}', "a plain file name"),
        ('{"id": "a", "prompt": "x", "seed": 1, "stepz": 1}', "perhaps you meant 'steps'"),
        ('{"id": "a", "prompt": "x", "seed": true, "steps": 1}', "seed: found True"),
        (
            '{"id": "a", "prompt": "x", "seed": 1, "steps": 1, "negative_prompt": 3}',
            "negative_prompt: found 3; allowed: non-empty text",
        ),
    ],
)
def test_bad_requests_are_named(tmp_path, capsys, line, message):
    (tmp_path / "r.jsonl").write_text(line + "\n")
    assert message in refused(
        capsys,
        "generate",
        "--model",
        "embedded:light",
        tmp_path / "r.jsonl",
        "-o",
        tmp_path / "out",
    )
