"""What a run folder keeps of the machine that its images are made on."""

import pytest
import torch

from testbed import config
from testbed.engines import threads
from testbed.engines.threads import Threads, using
from testbed.runs.folder import RunFolder
from testbed.stages.rig import Rig


@pytest.fixture
def free(monkeypatch):
    """Two threads, of which the environment says nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_is_chosen_once_for_a_run_folder_and_obeyed_when_it_is_asked_for(
    small_config, tmp_path, free, monkeypatch
):
    """Images depend on it in their last bits: a run that goes on must not choose another."""
    small_config.write_text(small_config.read_text().replace("embedded:edge", "embedded:light"))
    settings = config.load(small_config)
    folder = RunFolder.open(settings, tmp_path / "run")
    with using(1):  # two threads wait for each other on a busy machine
        rig = Rig(settings, ["edge"])
    asked_for = []

    def choose(_pipeline, batch, asked):
        asked_for.append(batch)
        return Threads(1, 2, asked)

    monkeypatch.setattr(threads, "choose", choose)
    rig.choose_threads(folder)
    assert (rig.threads["edge"].single, rig.threads["edge"].batched) == (1, 2)
    assert rig.environment()["threads"] == 1 and rig.environment()["batch_threads"] == 2
    monkeypatch.setattr(threads, "choose", lambda *_: pytest.fail("it was chosen before"))
    again = rig.threads["edge"]
    rig.threads["edge"] = Threads.current()
    rig.choose_threads(RunFolder(folder.path))
    assert rig.threads["edge"] == again and asked_for == [settings.sweep.converged_batch]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    rig.threads["edge"] = Threads.current()
    rig.choose_threads(folder)
    assert rig.threads["edge"] == Threads.current(), "as it is asked for"
    rig.threads["local"] = Threads(1, 1, {})
    assert rig.environment()["threads"] == "2 (edge), 1 (local)"
