"""Which runs say what batches cost where a model is served."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from calibration.profiles import store
from solver.inputs import InputError
from testbed.config import load
from testbed.environment import cpu_name
from testbed.server.opening import check_measured_here, open_edge

ROOT = Path(__file__).parents[3]


@pytest.fixture
def profiles():
    return store.load(ROOT / "docs" / "profiles.json")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"device": "cuda:0"}, "edge.device: found 'cuda:0'; allowed: 'cpu', .*--profiles .*json"),
        ({"dtype": "float16"}, "edge.dtype: found 'float16'; allowed: 'float32'"),
        ({"model": "embedded:light"}, "edge: found 'embedded:light'; allowed: 'embedded:edge'"),
    ],
    ids=lambda value: next(iter(value), None) if isinstance(value, dict) else "",
)
def test_a_run_that_was_measured_otherwise_is_refused(profiles, tmp_path, changes, said):
    places = [replace(e, **changes) if e.place == "edge" else e for e in profiles.places]
    store.save(tmp_path / "profiles.json", replace(profiles, places=tuple(places)))
    config = replace(load("embedded"), device="cpu")
    with pytest.raises(InputError, match=said):
        open_edge(config, run=tmp_path)


def test_a_run_of_another_machine_is_warned_of(profiles):
    edge, config = profiles.get("edge"), load("embedded").edge
    for machine, told in (("Cray-1", 1), (cpu_name(), 0)):
        of = replace(profiles, environment={"machine": machine})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_measured_here(Path("run"), of, edge, config, torch.device("cpu"))
        assert len(caught) == told, caught
        assert all("timed on 'Cray-1', and this machine is" in str(w.message) for w in caught)
