"""The bench times a published architecture stage by stage; energy is what many steps take more than
one.
"""

import json
import re

import pytest
import torch

from solver.inputs import InputError
from testbed.bench import bench
from testbed.bench import report as bench_report
from testbed.cli import main
from testbed.metering.meters import NoMeter, ReplayMeter

KEYS = {
    "batch",
    "resolution",
    "step_time",
    "text_time",
    "decode_time",
    "overhead",
    "images_per_second",
    "step_energy_j",
    "peak_memory_bytes",
    "finite",
    "samples",
}


def test_a_report_is_written_and_its_numbers_belong_together(tmp_path, capsys):
    path = tmp_path / "b.json"
    command = (
        "bench --architecture sdxl --shrink 8 --dtype float32 --device cpu --batch 2,1 --steps 2 -o"
    )
    assert main([*command.split(), str(path)]) == 0
    report = json.loads(path.read_text())
    assert (
        report["schema"] == "bench/1"
        and report["weights"].startswith("random weights")
        and report["environment"]["machine"]
    )
    assert report["quality"] == {"error": None, "clip_score": None, "frechet": None}
    assert report["published"] is None  # of the true size only
    assert [row["batch"] for row in report["batches"]] == [1, 2]
    for row in report["batches"]:
        assert (
            set(row) == KEYS
            and row["finite"]
            and row["resolution"] == 64
            and row["peak_memory_bytes"] is None
        )
        assert [len(times) for times in row["samples"]["step_times"]] == [2] * bench.REPEATS
        assert row["overhead"] == row["text_time"] + row["decode_time"]
        assert row["images_per_second"] == pytest.approx(
            row["batch"] / (row["overhead"] + 2 * row["step_time"])
        )
    said = capsys.readouterr().out
    assert re.search(r"s/step +text, s +decode, s +images/s", said)
    assert re.match(r"sdxl \(stabilityai/.*, its widths divided by 8\), float32", said)


def test_energy_of_a_step_is_read_off_a_meter(monkeypatch):
    """A recorded meter of 50 W and a step are all that the joules of a step come from."""
    rows = [{"seconds": i / 1000, "joules": 50 * i / 1000} for i in range(60_000)]
    meter = ReplayMeter({key: [row[key] for row in rows] for key in rows[0]})
    monkeypatch.setattr(bench, "open_meter", lambda _: meter)
    (row,) = bench.run(bench.Bench("tiny-sd", [1], "float32", 8, "cpu", shrink=8)).rows
    assert row.step_energy_j == pytest.approx(50 * row.step_time, rel=0.5)


@pytest.mark.slow
def test_a_pipeline_with_the_older_callback_tells_its_steps_too():
    (row,) = bench.run(bench.Bench("pixart", [1], "float32", 2, "cpu", shrink=8, repeats=1)).rows
    assert [len(times) for times in row.samples.step_times] == [2]
    assert row.decode_time > 0


def test_memory_that_runs_out_ends_the_list(monkeypatch):
    def generate(_pipeline, prompts, *_):
        if len(prompts) > 1:
            raise torch.OutOfMemoryError
        return real(_pipeline, prompts, *_)

    real = bench.generate
    monkeypatch.setattr(bench, "generate", generate)
    monkeypatch.setattr(bench, "open_meter", lambda _: NoMeter())
    report = bench.run(bench.Bench("tiny-sd", [1, 2, 4], "float32", 1, "cpu", 8, repeats=1))
    assert [row.batch for row in report.rows] == [1] and report.rows[0].step_energy_j is None
    assert report.failure == bench_report.FailedBatch(2, "out of memory")
    assert report.batches == (*report.rows, report.failure)
    assert bench_report.table(report)[-1] == "     2  out of memory"


def test_decoding_that_memory_does_not_hold_is_done_image_by_image(monkeypatch):
    def generate(pipeline, prompts, *rest):
        if len(prompts) > 1 and not pipeline.vae.use_slicing:
            raise torch.OutOfMemoryError
        return real(pipeline, prompts, *rest)

    real = bench.generate
    monkeypatch.setattr(bench, "generate", generate)
    report = bench.run(bench.Bench("tiny-sd", [1, 2], "float32", 1, "cpu", 8, repeats=1))
    assert [(row.batch, row.sliced) for row in report.rows] == [(1, None), (2, True)]
    values = json.loads(json.dumps(report.to_dict()))
    assert bench_report.BenchReport.from_dict(values) == report
    assert set(values["batches"][0]) == KEYS and set(values["batches"][1]) == {*KEYS, "sliced"}


def test_the_published_speed_stands_beside_the_measured_one():
    row = bench_report.BatchRow(
        batch=4,
        resolution=1024,
        step_time=0.4,
        text_time=0.1,
        decode_time=0.9,
        overhead=1.0,
        images_per_second=1.0,
        step_energy_j=2.0,
        peak_memory_bytes=8_000_000_000,
        finite=True,
        samples=bench_report.Samples((), (), (), (), ()),
    )
    report = bench_report.BenchReport(
        architecture="sdxl",
        source="s",
        weights=bench_report.NOTE,
        shrink=1,
        dtype="float16",
        engine="PyTorch, eager",
        guidance=5.0,
        steps=20,
        environment={"machine": "m"},
        meter=None,
        published=bench_report.PUBLISHED["sdxl"],
        batches=(row,),
    )
    head, *_, line = bench_report.table(report)
    assert head == "sdxl (s), float16, PyTorch, eager, m"
    assert line == (
        "20 steps: 0.444 images/s here (float16, PyTorch, eager); "
        "published: 2.18 images/s on one H200, FP8, TensorRT (MLPerf Inference v4.1, offline)"
    )


@pytest.mark.parametrize("text", ["", "1,x", "0,1", "1.5"])
def test_batches_that_are_none(text):
    with pytest.raises(InputError, match="--batch: found .*; allowed: whole numbers of at least 1"):
        bench_report.parse_batches(text)


def test_an_unknown_architecture_is_one_line(capsys):
    assert main(["bench", "--architecture", "sdxxl"]) == 2
    assert "perhaps you meant 'sdxl'; allowed: tiny-sd" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_true_size_network_on_a_gpu():
    (row,) = bench.run(bench.Bench("tiny-sd", [2], "float16", 4, "cuda", channels_last=True)).rows
    assert row.finite and row.resolution == 512 and row.peak_memory_bytes > 2 * 530e6


@pytest.mark.gpu
def test_a_compiled_true_size_network_on_a_gpu():
    (row,) = bench.run(bench.Bench("tiny-sd", [2], "float16", 4, "cuda", compiled=True)).rows
    assert row.finite and row.resolution == 512 and row.peak_memory_bytes > 2 * 530e6
