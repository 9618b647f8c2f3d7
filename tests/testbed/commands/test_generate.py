"""``testbed generate``: images for a file of requests, by either engine."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from testbed.cli import main
from testbed.commands.generate import generate_all
from testbed.config import ModelConfig
from testbed.engines import networks
from testbed.models.pipelines import WEIGHTS
from testbed.runs.store import RecordStore


def _write(path, requests):
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))


def _records(folder):
    return {
        record["id"]: record
        for record in map(json.loads, (folder / "records.jsonl").read_text().splitlines())
    }


def test_generate_batched_makes_what_stock_makes_and_goes_on_where_it_stopped(tmp_path):
    asked = [
        {
            "id": f"r{i}",
            "prompt": "a big red ball in the middle",
            "seed": i,
            "steps": 2 + i,
            "guidance": 3.0 - i,
        }
        for i in range(3)
    ]
    _write(tmp_path / "r.jsonl", asked[:2])
    base = ["generate", "--model", "embedded:light", str(tmp_path / "r.jsonl")]
    ours = [
        *base,
        "-o",
        str(tmp_path / "batched"),
        "--engine",
        "batched",
        "--batch",
        "2",
        "--order",
        "shortest",
    ]
    assert main(ours) == 0
    before = (tmp_path / "batched" / "records.jsonl").read_bytes()
    _write(tmp_path / "r.jsonl", asked)
    assert main(ours) == 0 and (tmp_path / "batched" / "records.jsonl").read_bytes().startswith(
        before
    )
    assert main([*base, "-o", str(tmp_path / "stock")]) == 0
    records, stock = _records(tmp_path / "batched"), _records(tmp_path / "stock")
    for i in range(3):
        ours, theirs = (
            np.asarray(Image.open(tmp_path / kind / f"r{i}.png")).astype(int)
            for kind in ("batched", "stock")
        )
        assert np.abs(ours - theirs).max() <= 1
        measured = records[f"r{i}"]["measured"]
        assert (
            measured["engine"] == "batched"
            and measured["energy_j"] is None
            and len(measured["step_times"]) == 2 + i
        )
        assert measured["end_to_end_time"] == pytest.approx(
            measured["queue_time"] + measured["service_time"]
        )
        assert (
            measured["time"]
            == measured["service_time"]
            >= measured["text_time"] + measured["decode_time"] + sum(measured["step_times"]) - 1e-6
        )
        assert (
            records[f"r{i}"]["asked"] == stock[f"r{i}"]["asked"]
            and stock[f"r{i}"]["measured"]["engine"] == "stock"
        )
    assert records["r0"]["measured"]["batch"] == 2 and records["r2"]["measured"]["batch"] == 1


@pytest.mark.parametrize("engine", ["stock", "batched"])
def test_generate_waits_for_arrivals(tmp_path, engine):
    asked = [
        {"id": f"r{i}", "prompt": "a big red ball", "seed": i, "steps": 1, "arrival": 5 + 0.4 * i}
        for i in range(2)
    ]
    _write(tmp_path / "r.jsonl", asked)
    assert (
        main(
            [
                "generate",
                "--model",
                "embedded:light",
                str(tmp_path / "r.jsonl"),
                "-o",
                str(tmp_path / "out"),
                "--engine",
                engine,
            ]
        )
        == 0
    )
    times = [_records(tmp_path / "out")[f"r{i}"]["measured"] for i in range(2)]
    assert [measured["arrival"] for measured in times] == pytest.approx(
        [0.0, 0.4]
    )  # the clock starts with the first
    assert times[1]["queue_time"] >= 0 and times[1]["arrival"] + times[1]["end_to_end_time"] > 0.4


def test_generate_draws_arrivals_from_a_rate(tmp_path):
    _write(
        tmp_path / "r.jsonl",
        [{"id": f"r{i}", "prompt": "a big red ball", "seed": i, "steps": 1} for i in range(4)],
    )
    command = [
        "generate",
        "--model",
        "embedded:light",
        str(tmp_path / "r.jsonl"),
        "-o",
        str(tmp_path / "out"),
        "--engine",
        "batched",
    ]
    assert main([*command, "--arrivals", "20"]) == 0
    arrivals = [_records(tmp_path / "out")[f"r{i}"]["measured"]["arrival"] for i in range(4)]
    assert arrivals[0] == 0 and np.all(np.diff(arrivals) > 0) and arrivals[-1] < 2


def test_generate_falls_back_to_stock_and_says_so(tmp_path, monkeypatch):
    monkeypatch.delitem(networks.ADAPTERS, StableDiffusionPipeline)
    _write(tmp_path / "r.jsonl", [{"id": "r", "prompt": "a big red ball", "seed": 1, "steps": 1}])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = ModelConfig("embedded:light")
        generate_all(model, tmp_path / "r.jsonl", tmp_path / "out", engine="batched")
    assert any(
        "the stock pipeline does: StableDiffusionPipeline" in str(warning.message)
        for warning in caught
    )
    measured = _records(tmp_path / "out")["r"]["measured"]
    assert measured["engine"] == "stock" and measured["engine_note"].startswith(
        "fell back to stock: StableDiffusionPipeline"
    )


def test_a_record_that_cannot_be_written_stops_the_run(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordStore, "add", full)
    _write(tmp_path / "r.jsonl", [{"id": "r", "prompt": "a big red ball", "seed": 1, "steps": 1}])
    command = [
        "generate",
        "--model",
        "embedded:light",
        str(tmp_path / "r.jsonl"),
        "-o",
        str(tmp_path / "out"),
        "--engine",
        "batched",
    ]
    assert main(command) == 1 and "what was measured is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, options, message",
    [
        ({"arrival": -1}, [], "arrival: found -1; allowed: a number of at least 0"),
        ({"arrival": "soon"}, [], "arrival: found 'soon'"),
        ({"arrival": 1}, ["--arrivals", "2"], "arrival: found with --arrivals"),
        ({}, ["--arrivals", "0"], "rate: found 0.0"),
        ({}, ["--batch", "4"], "--engine: found stock with --batch or --order"),
    ],
    ids=str,
)
def test_wrong_input_is_named(tmp_path, capsys, line, options, message):
    _write(
        tmp_path / "r.jsonl", [{"id": "r", "prompt": "a red ball", "seed": 1, "steps": 1, **line}]
    )
    assert (
        main(
            [
                "generate",
                "--model",
                "embedded:light",
                str(tmp_path / "r.jsonl"),
                "-o",
                str(tmp_path / "out"),
                *options,
            ]
        )
        == 2
    )
    assert message in capsys.readouterr().err


def test_the_ways_out_that_messages_name_are_options(tmp_path, capsys):
    """Weight files of a variant, or pickled ones."""
    _write(tmp_path / "r.jsonl", [{"id": "r", "prompt": "a big red ball", "seed": 1, "steps": 1}])

    def generate(model, *options):
        words = ["generate", "--model", tmp_path / model, tmp_path / "r.jsonl", *options]
        return main([str(word) for word in (*words, "-o", tmp_path / f"{model}-out")])

    half = shutil.copytree(WEIGHTS / "light", tmp_path / "half")
    pickled = shutil.copytree(WEIGHTS / "light", tmp_path / "pickled")
    for path in half.rglob("*.safetensors"):
        path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    weights = pickled / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    for model, *option in (("half", "--variant", "fp16"), ("pickled", "--allow-pickle")):
        assert generate(model) == 2
        assert "variant = " in (said := capsys.readouterr().err) or "allow_pickle = true" in said
        assert generate(model, *option) == 0
        assert (tmp_path / f"{model}-out" / "r.png").is_file()
    assert generate("half", "--variant", "fp16", "--revision", "0123abc") == 2
    assert "revision: found '0123abc' of the hub, with model" in capsys.readouterr().err
