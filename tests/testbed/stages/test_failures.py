"""An image that cannot be made is one image: the others are made, and it is tried again."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from solver.inputs import InputError
from testbed.cli import main
from testbed.config import ModelConfig
from testbed.engines import batched
from testbed.engines.batched import BatchedEngine
from testbed.models.pipelines import open_pipeline
from testbed.runs.failures import FailureLog
from testbed.runs.lines import ForeignFile
from testbed.runs.store import RecordStore, read_records
from testbed.stages import executor as executor_module
from testbed.stages import requests as requests_module
from testbed.stages.executor import Executor
from tests.testbed.pipelines_world import Unscored
from tests.testbed.stages.test_executor import CPU, LIGHT
from tests.testbed.stages.world import records, slow_down

BAD = "a prompt that the model cannot bear"


class Broken(Exception):
    """What no handler of a library's own errors knows."""


@pytest.fixture
def poison(monkeypatch):
    """Both engines fail of the prompt ``BAD``, until the list that is given is emptied."""
    bad, generate, encode = [BAD], executor_module.generate, batched.Networks.encode

    def generating(pipeline, prompts, *rest):
        if set(prompts) & set(bad):
            raise Broken("stock: not with\nthis prompt")
        return generate(pipeline, prompts, *rest)

    def encoding(self, requests):
        if {request.prompt for request in requests} & set(bad):
            raise Broken("batched: not with this prompt")
        return encode(self, requests)

    for module in (executor_module, requests_module):
        monkeypatch.setattr(module, "generate", generating)
    monkeypatch.setattr(batched.Networks, "encode", encoding)
    return bad


def tasks(purpose, prompts=("a red ball", BAD, "a blue ball"), steps=(1, 2)):
    return [
        LIGHT.task(
            place="local",
            prompt=prompt,
            prompt_class="object",
            seed=7,
            steps=count,
            purpose=purpose,
        )
        for prompt in prompts
        for count in steps
    ]


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(ModelConfig(model="embedded:light"), CPU)[0]


def new_executor(pipeline, kind="batched"):
    made = Executor({"local": pipeline}, Unscored(), CPU, 4)
    if kind == "stock":
        made._continuous = set()
    return made


@pytest.mark.parametrize(
    "purpose, kind", [("sweep", "batched"), ("untimed", "batched"), ("untimed", "stock")]
)
def test_a_task_that_fails_is_written_down_and_the_rest_goes_on(
    pipeline, tmp_path, poison, purpose, kind
):
    asked, worker = tasks(purpose), new_executor(pipeline, kind)
    with pytest.warns(UserWarning, match="test: 2 of 6 images failed, .* of Broken: .*not with"):
        made = worker.run(asked, store := RecordStore(tmp_path), "test")
    assert [record.task.prompt for record in made] == ["a red ball"] * 2 + ["a blue ball"] * 2
    failures = FailureLog(tmp_path).failures()
    assert {failure.id for failure in failures} == {task.id for task in asked[2:4]}
    assert all("not with this prompt" in failure.reason for failure in failures)
    lines = store.path.read_bytes()
    assert len(read_records(store.path)) == 4, "records are what they always were"
    assert worker.run(asked, store, "test") == made, "not tried twice by one process"
    assert store.path.read_bytes() == lines

    poison.clear()
    again = new_executor(pipeline, kind).run(asked, RecordStore(tmp_path), "test")
    assert [record.task for record in again] == asked and not FailureLog(tmp_path).failures()
    assert store.path.read_bytes().startswith(lines) and len(read_records(store.path)) == 6


def test_only_what_failed_is_tried_again(pipeline, tmp_path, poison, monkeypatch):
    with pytest.warns(UserWarning, match="images failed"):
        new_executor(pipeline).run(tasks("untimed"), RecordStore(tmp_path), "test")
    poison.clear()
    tried, run = [], BatchedEngine.run

    def counting(self, requests):
        tried.extend(request.prompt for request in requests)
        return run(self, requests)

    worker = new_executor(pipeline)
    monkeypatch.setattr(worker, "_warm_up", lambda *_: 1.0)
    monkeypatch.setattr(BatchedEngine, "run", counting)
    worker.run(tasks("untimed"), RecordStore(tmp_path), "test")
    assert tried == [BAD, BAD]


def test_images_whose_converged_one_failed_have_no_distance(pipeline, tmp_path, poison):
    prompts = ("a red ball", BAD)
    asked = tasks("converged", prompts, (4,)) + tasks("untimed", ("a red ball", BAD), (1,))
    orphan = replace(asked[3], prompt="a red ball", seed=9)
    with pytest.warns(UserWarning, match="2 of 5 images failed"):
        made = new_executor(pipeline).run([*asked, orphan], RecordStore(tmp_path), "test")
    assert [record.measured.distance is None for record in made] == [False, False, True]


def test_a_full_disk_and_a_foreign_file_are_no_failures_of_a_task(pipeline, tmp_path, monkeypatch):
    store = RecordStore(tmp_path)
    for error in (OSError(errno.ENOSPC, "full"), ForeignFile("someone else's")):

        def refuse(*_, error=error):
            raise error

        monkeypatch.setattr(store, "add", refuse)
        with pytest.raises(type(error)):
            new_executor(pipeline).run(tasks("sweep", ("a red ball",)), store, "test")
    assert not FailureLog(tmp_path).failures()


@pytest.mark.parametrize("engine", ["stock", "batched"])
def test_a_request_that_fails_fails_alone_and_only_it_is_tried_again(
    tmp_path, poison, capsys, engine
):
    lines = [
        {"id": f"m{i}", "prompt": BAD if i == 2 else f"a ball {i}", "seed": i, "steps": 1 + i % 2}
        for i in range(5)
    ]
    lines[4]["arrival"] = 0.3
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
    out = tmp_path / "out"
    command = ["generate", "--model", "embedded:light", "--engine", engine]
    command += [str(tmp_path / "r.jsonl"), "-o", str(out)]
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "generate: 1 of 5 images failed, the first of them of Broken" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in out.glob("*.png")) == [
        "m0.png",
        "m1.png",
        "m3.png",
        "m4.png",
    ]
    assert [failure.id for failure in FailureLog(out).failures()] == ["m2"]
    before = (out / "records.jsonl").read_bytes()
    poison.clear()
    assert main(command) == 0
    after = (out / "records.jsonl").read_bytes()
    assert after.startswith(before) and after.count(b"\n") == 5
    assert not (out / "failures.jsonl").exists()


def test_a_stock_image_that_is_not_finite_fails_alone(tmp_path, monkeypatch, capsys):
    def overflowing(pipeline, prompts, *rest):
        done = generate(pipeline, prompts, *rest)
        return replace(done, pixels=done.pixels * np.nan) if BAD in prompts else done

    generate = requests_module.generate
    monkeypatch.setattr(requests_module, "generate", overflowing)
    lines = [{"id": p[:3], "prompt": p, "seed": 1, "steps": 1} for p in (BAD, "the ball")]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
    command = ["generate", "--model", "embedded:light", str(tmp_path / "r.jsonl"), "-o"]
    assert main([*command, str(tmp_path / "out")]) == 1
    assert "1 of 2 images failed" in capsys.readouterr().err
    (failure,) = FailureLog(tmp_path / "out").failures()
    assert failure.id == "a p" and "not finite" in failure.reason
    assert (tmp_path / "out" / "the.png").exists()


def test_a_warm_up_takes_steps_that_the_sampler_takes(tmp_path):
    """PNDM of a folder without skip_prk_steps takes four steps and more."""
    pipeline, _ = open_pipeline(ModelConfig("embedded:light", scheduler="PNDMScheduler"), CPU)
    asked = tasks("sweep", ("a red ball",), (4, 8))
    assert len(new_executor(pipeline).run(asked, RecordStore(tmp_path), "test")) == 2
    with pytest.raises((ValueError, IndexError, RuntimeError, InputError)):
        pipeline("a", num_inference_steps=1, generator=torch.manual_seed(0))


def test_a_warm_up_whose_images_are_not_finite_ends_nothing(pipeline, tmp_path, monkeypatch):
    calls, decode = [], batched.Networks.decode

    def decoding(*given):
        calls.append(given)
        return decode(*given) * (np.nan if len(calls) <= 2 else 1.0)

    monkeypatch.setattr(batched.Networks, "decode", decoding)
    asked = tasks("untimed", ("a red ball",))
    made = new_executor(pipeline).run(asked, RecordStore(tmp_path), "test")
    assert [record.task for record in made] == asked and len(calls) > 2


@pytest.mark.slow
def test_a_whole_run_with_a_failing_user_ends_with_a_report_and_exit_code_1(
    small_run, tmp_path, undrawn, monkeypatch, capsys
):
    """And the same command makes it; its predictions may fail, as those of times do here."""
    run = Path(shutil.copytree(small_run.folder, tmp_path / "run"))
    made, path = slow_down(run), run / "execution" / "records.jsonl"
    bad = next(record for record in made if record["asked"]["purpose"] == "user")
    path.write_text("".join(json.dumps(record) + "\n" for record in made if record != bad))
    generate = executor_module.generate

    def generating(pipeline, prompts, seeds, steps, *rest):
        if prompts == [bad["asked"]["prompt"]] and steps == bad["asked"]["steps"]:
            raise Broken("never")
        return generate(pipeline, prompts, seeds, steps, *rest)

    monkeypatch.setattr(executor_module, "generate", generating)
    command = ["run", str(small_run.config), "--out", str(run)]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "execute: 1 of" in said.err and "Broken: never" in said.err
    assert said.out.splitlines()[-1] == str(run / "report.html")
    assert not (run / "validation.json").exists() and (run / "report.html").exists()
    monkeypatch.setattr(executor_module, "generate", generate)
    assert main(command) == 0
    assert "FAIL: time (sum): predicted " in capsys.readouterr().err
    assert (run / "validation.json").exists() and not (run / "execution/failures.jsonl").exists()
    ids = {record["id"] for record in records(path)}
    assert ids == {record["id"] for record in made}
