"""The GPU check's jobs run one after another, whatever becomes of any of them."""

import os
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from benchmarks.gpu.jobs.graphs import GraphedDenoiser
from benchmarks.gpu.notes import Notes
from benchmarks.gpu.runner import Job, run_jobs
from benchmarks.gpu.setting import Setting
from testbed.engines.networks import Networks
from testbed.engines.request import Request
from tests.testbed.pipelines_world import stable_diffusion

CPU = Setting("cpu")


def good(notes, setting):
    notes.add(step_time=0.5, inside=np.float32(0.25), overflow=float("nan"))
    return "half a second a step"


def wrong(notes, setting):
    notes.add(before="kept")
    print("about to divide")
    return str(1 / 0)


def crash(notes, setting):
    os.abort()


def leave(notes, setting):
    os._exit(7)


def hang(notes, setting):
    notes.add(child=subprocess.Popen(["sleep", "600"]).pid)
    time.sleep(600)


def run(tmp_path, *jobs, seconds=60.0):
    done = run_jobs([Job("part", *job) for job in jobs], tmp_path, CPU, seconds)
    return done, lambda name: Notes(tmp_path, "part", name).read()


def running(pid):
    """Whether a process is there, and not only its entry in the table."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_what_fails_leaves_its_reason_and_the_next_jobs_run(tmp_path, capfd):
    done, job = run(
        tmp_path,
        ("wrong", 30, wrong),
        ("crash", 30, crash),
        ("leave", 30, leave),
        ("hang", 3, hang),
        ("good", 30, good),
    )
    assert not done
    assert job("wrong")["reason"] == "ZeroDivisionError: division by zero"
    assert job("wrong")["before"] == "kept" and "about to divide" in job("wrong")["last_lines"]
    assert job("crash")["reason"] == "ended by SIGABRT"
    assert any("in crash" in line for line in job("crash")["last_lines"])
    assert job("leave")["reason"] == "ended with exit code 7"
    assert job("hang")["reason"] == "stopped after 3 s"
    assert any("in hang" in line for line in job("hang")["last_lines"])
    assert not running(job("hang")["child"])
    assert job("good")["state"] == "done" and job("good")["inside"] == 0.25
    assert job("good")["overflow"] is None  # JSON has no NaN
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["wrong", "crash", "leave", "hang", "good"]
    assert lines[0].endswith("failed: ZeroDivisionError: division by zero")
    assert lines[-1].endswith("half a second a step")


def test_what_is_not_installed_or_too_late_is_left_out(tmp_path):
    done, job = run(tmp_path, ("needy", 30, good, ("json", "no_such_package")), ("good", 30, good))
    assert not done and job("good")["state"] == "done"
    assert job("needy") == {"state": "left out", "reason": "not installed: no_such_package"}
    done, job = run(tmp_path, ("good", 30, good), seconds=1.0)
    assert job("good") == {"state": "left out", "reason": "the time was over"}


def test_a_job_run_again_forgets_how_it_failed(tmp_path):
    run(tmp_path, ("job", 30, wrong))
    done, job = run(tmp_path, ("job", 30, good))
    assert done and "last_lines" not in job("job") and "before" not in job("job")


def test_where_the_gpu_was_touched_before_the_fork_a_new_python_runs_the_job(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@" > "$3/arguments"\n')
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(sys, "executable", str(python))
    _, job = run(tmp_path, ("good", 30, good))
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[:5] == ["-m", "benchmarks.gpu", str(tmp_path), "--job", "part.good"]
    assert job("good")["reason"] == "ended with exit code 0"  # the stand-in made no notes


@pytest.mark.parametrize("rows", [(2, 4, 2)])
def test_a_replayed_call_reads_new_inputs_and_keeps_old_outputs(rows):
    def denoise(latents, timesteps, arguments):
        added = arguments["added"]["time"] if arguments["added"] else 0
        return latents * arguments["scale"] + timesteps[:, None] + added

    graphed = GraphedDenoiser(denoise, GraphedDenoiser.repeat)
    outputs, expected = [], []
    for turn, count in enumerate(rows):
        inputs = (
            torch.randn(count, 3),
            torch.full((count,), turn),
            {"scale": torch.randn(count, 1), "added": {"time": torch.ones(1)}, "none": None},
        )
        outputs.append(graphed(*inputs))
        expected.append(denoise(*inputs))
    for output, value in zip(outputs, expected):
        assert torch.equal(output, value)


@pytest.mark.gpu
def test_a_network_replayed_from_a_cuda_graph_gives_what_it_gives_when_called():
    networks = Networks(stable_diffusion().to("cuda", torch.float16))
    graphed = GraphedDenoiser(networks.denoise)
    for rows in (2, 4, 2):
        request = Request("a red car", 1, 4, 3.0)
        arguments = networks.stack(networks.encode([request] * rows))
        latents = torch.randn(rows, *networks.latent_shape, device="cuda", dtype=torch.float16)
        times = torch.full((rows,), 10 * rows, device="cuda")
        with torch.no_grad():
            expected = networks.denoise(latents, times, arguments)
        assert torch.allclose(graphed(latents, times, arguments), expected, atol=1e-2)
