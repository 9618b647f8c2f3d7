"""``scripts/gpu_check`` on a CPU: every job on small networks, and the summary of what there is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import parser
from benchmarks.gpu.notes import Notes
from benchmarks.gpu.order import JOBS
from benchmarks.gpu.summary import BEGIN, END, slug, summarize
from solver.inputs import InputError
from testbed.bench.report import BatchRow, BenchReport, Published, Samples
from tests.forked import Forked

ROOT = Path(__file__).parents[2]
WATTS = 300  # of the counter that stands for NVML's


def check(*arguments):
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [ROOT / "scripts" / "gpu_check", *map(str, arguments)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """The results of a trial, and what it printed."""
    out = tmp_path_factory.mktemp("trial")
    check = Forked(out, "--shrink", "--seconds", 1500, module="benchmarks.gpu.__main__")
    printed, errors = check.communicate()
    assert check.returncode == 0, printed + errors
    return out, printed


def notes(out, part, job):
    return Notes(out, part, job).read()


@pytest.mark.slow
def test_a_trial_runs_every_job_and_says_each_in_a_line(trial):
    out, printed = trial
    jobs = [job for job in JOBS if job.trial]
    assert [line.split()[:2] for line in printed.splitlines()[:-1]] == [
        [job.part, job.name] for job in jobs
    ]
    assert {notes(out, job.part, job.name)["state"] for job in jobs} == {"done"}
    assert not [path for path in out.iterdir() if '"failed"' in path.read_text()]
    assert {path.name for path in out.iterdir()} == {f"{job.part}.json" for job in JOBS}
    assert len({job.part for job in JOBS}) <= 8


@pytest.mark.slow
def test_the_machine_is_described(trial):
    machine = notes(trial[0], "machine", "machine")
    assert machine["environment"]["machine"] and machine["packages"]["diffusers"]
    assert machine["meter"]["name"] == "stand-in"
    assert machine["meter"]["idle_watts"] == pytest.approx(WATTS, rel=0.05)
    assert machine["best"]["TFLOP/s"] > 0
    assert any(line.startswith("device:") for line in machine["doctor"])


@pytest.mark.slow
def test_joules_come_from_the_counter(trial):
    report = BenchReport.from_dict(notes(trial[0], "bench", "sd15")["report"])
    (row,) = report.rows
    seconds = row.overhead + report.steps * row.step_time
    assert report.meter == "stand-in"
    assert row.image_energy_j == pytest.approx(WATTS * seconds, rel=0.5)
    chain = notes(trial[0], "chain", "embedded")
    energy = next(total for total in chain["totals"] if total["quantity"] == "energy (sum)")
    assert energy["basis"] == "measured" and energy["measured"] > 0
    laws = notes(trial[0], "laws", "sd15")
    assert laws["energy"]["step_j"] == pytest.approx(WATTS * laws["time"]["step_time"], rel=0.5)
    assert laws["energy"]["constant_power"]["holds"]


@pytest.mark.slow
def test_the_engine_makes_the_stock_pipelines_images(trial):
    for name in ("sd15", "sdxl"):
        engine = notes(trial[0], "engine", name)
        assert engine["cap"] in (1, 2) and engine["comparison"]["batch"] == engine["cap"]
        assert engine["goals"]["the stock pipeline's images"]
        assert engine["overhead"]["iterations"] == engine["comparison"]["ticks"]
    variants = notes(trial[0], "engine", "variants")
    assert all(
        variants[f"{kind}{layout}"]["steps_per_second"] > 0
        for kind in ("eager", "graphs")
        for layout in ("", ", channels last")
    )
    compiled = notes(trial[0], "engine", "compiled")
    assert compiled["blocks"]["batch 1"] > 0 and compiled["whole"]["batch 1"] > 0


@pytest.mark.slow
def test_a_trial_is_summed_up_apart_from_what_gpus_measured(trial, tmp_path):
    docs = tmp_path / "gpu.md"
    docs.write_text(f"{BEGIN}\n\nnothing\n\n{END}")
    done = check("--summary", trial[0], "--results", tmp_path, "--docs", docs)
    assert done.returncode == 1 and "missing: tests compiled: not run" in done.stdout
    assert "| Stable Diffusion 1.5, 64², float32, eager: ms a step (batch) |" in done.stdout
    assert json.loads((tmp_path / "gpu_trial.json").read_text())["parts"]["laws"]
    assert "nothing" in docs.read_text()


@pytest.fixture
def partial(tmp_path):
    """What a check that was cut off has left of an H100."""
    row = BatchRow(
        batch=4,
        resolution=1024,
        step_time=0.4,
        text_time=0.1,
        decode_time=0.9,
        overhead=1.0,
        images_per_second=4 / 9,
        step_energy_j=200.0,
        peak_memory_bytes=20_000_000_000,
        finite=True,
        samples=Samples((), (), (), (4400.0, 4400.0), (400.0,)),
    )
    report = BenchReport(
        architecture="sdxl",
        source="s",
        weights="random",
        shrink=1,
        dtype="float16",
        engine="PyTorch, eager",
        guidance=5.0,
        steps=20,
        environment={"machine": "NVIDIA H100 80GB HBM3", "torch": "2.11.0"},
        meter="nvml",
        published=Published(2.18, 20, "one H200"),
        batches=(row,),
    )
    out = tmp_path / "out"
    Notes(out, "bench", "sdxl").begin(state="done", line="l", report=report, shrink=1)
    Notes(out, "engine", "sd15").begin(state="running", shrink=1)
    Notes(out, "chain", "embedded").begin(state="failed", reason="E: no", shrink=1)
    return out


def test_a_partial_summary_says_what_is_missing(partial, tmp_path, capsys):
    docs = tmp_path / "gpu.md"
    docs.write_text(f"before\n{BEGIN}\n\nNo GPU yet.\n\n{END}\nafter\n")
    for _ in range(2):  # the same twice
        assert summarize(partial, tmp_path / "results", docs) == 1
        text = docs.read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n")
        assert "No GPU yet" not in text and text.count("### NVIDIA H100 80GB HBM3") == 1
    table = [line for line in text.splitlines() if line.startswith("| SDXL")]
    assert table[2].endswith("| 0.444 | 2.18 (one H200) |")
    assert "| 1100 (4) | 340 J, the whole server" in table[3]
    assert "- missing: engine sd15: running: the check was cut off" in text
    assert "missing: chain embedded: failed: E: no" in capsys.readouterr().out
    assert "- missing: machine machine: not run" in text
    saved = json.loads((tmp_path / "results" / "gpu_h100_80gb_hbm3.json").read_text())
    assert saved["card"] == "NVIDIA H100 80GB HBM3" and set(saved["parts"]) == {
        "bench",
        "engine",
        "chain",
    }


def test_what_cannot_be_summed_up(partial, tmp_path):
    with pytest.raises(InputError, match="found no results"):
        summarize(tmp_path / "empty", tmp_path, tmp_path / "gpu.md")
    (tmp_path / "gpu.md").write_text("no marks")
    with pytest.raises(InputError, match="found no marks"):
        summarize(partial, tmp_path, tmp_path / "gpu.md")


def test_the_documents_table_has_its_marks():
    text = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert 0 < text.index(BEGIN) < text.index(END)
    assert slug("NVIDIA H200") == "h200"


def test_results_are_of_this_project_wherever_it_is_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = parser().parse_args(["out"])
    assert args.results.is_dir() and args.docs.is_file()
