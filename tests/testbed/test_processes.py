"""Several processes on one run: who speaks, how long they wait, and on which GPUs."""

import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.distributed import TCPStore, distributed_c10d

from solver.inputs import InputError
from testbed import cli, config
from testbed.environment import launched
from testbed.processes import processes
from testbed.stages import rig
from tests.forked import Forked

POINTS = "steps,value\n1,0.5\n2,0.3\n4,0.15\n8,0.08\n16,0.04\n"


@pytest.mark.parametrize("variables", [("RANK",), ("RANK", "WORLD_SIZE")])
def test_a_rank_that_a_job_scheduler_left_in_the_environment_silences_nothing(
    tmp_path, monkeypatch, capsys, variables
):
    for name in variables:
        monkeypatch.setenv(name, "1")
    (tmp_path / "points.csv").write_text(POINTS)
    assert cli.main(["fit", str(tmp_path / "points.csv")]) == 0
    assert "fit/1" in capsys.readouterr().out
    assert cli.main(["fit", str(tmp_path / "none.csv")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_rank_alone_is_that_of_no_other_process(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launched() == (1, 2)


def test_a_second_process_is_silent_only_where_it_shares_work_and_never_about_errors(
    tmp_path, monkeypatch, capsys
):
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    (tmp_path / "points.csv").write_text(POINTS)
    assert cli.main(["fit", str(tmp_path / "points.csv")]) == 0
    assert "fit/1" in capsys.readouterr().out
    assert cli.main(["calibrate", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_waits_for_another_longer_than_a_collective_does_by_default(tmp_path):
    """The default, ten minutes on GPUs, is made 2 s; the first process works for 5 s."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2"}
    # the launcher's store, as torchrun tells the processes that it starts
    told |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    both = [
        Forked(tmp_path, module=__name__, RANK=index, LOCAL_RANK=index, **told) for index in "01"
    ]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    # files of their own: two processes' lines on one pipe may mix
    assert [(tmp_path / f"waited-{index}").read_text() for index in (0, 1)] == ["2", "2"]


def main():
    """What each of the two processes does."""
    short = timedelta(seconds=2)
    distributed_c10d.default_pg_timeout = short
    distributed_c10d._get_default_timeout = lambda _: short
    state = processes()
    with state.main_process_first():
        if state.is_main_process:
            time.sleep(5)
    Path(sys.argv[1], f"waited-{state.process_index}").write_text(str(state.num_processes))


def test_a_gpu_of_a_number_is_refused_for_several_processes(small_config, monkeypatch):
    small_config.write_text('device = "cuda:1"\n' + small_config.read_text())
    monkeypatch.setattr(rig, "processes", lambda: SimpleNamespace(num_processes=2))
    with pytest.raises(InputError, match="device: found 'cuda:1' with 2 processes.*allowed: auto"):
        rig.open_device(config.load(small_config))
