"""A damaged file that is written again anyway stops no rerun, and is kept."""

from contextlib import contextmanager

import pytest
import torch

from calibration import load_profiles
from testbed.link.probe import LinkCheck, LinkFigures
from testbed.runs.failures import FailureLog
from testbed.runs.folder import RunFolder
from testbed.runs.store import RecordStore
from testbed.stages.calibrate import _with_other_places
from testbed.stages.executor import Executor
from tests.conftest import ROOT

FIGURES = LinkFigures(*(1.0 for _ in LinkFigures.__dataclass_fields__))
CHECK = LinkCheck("lte", "s", "relay", None, None, FIGURES, FIGURES, ())


@contextmanager
def damaged(path):
    """Write half a line into ``path``, and expect it beside what is written in its place."""
    path.write_text('{"half\n')
    with pytest.warns(UserWarning, match=f"{path.name}.* not valid JSON.*the damaged one is kept"):
        yield
    assert path.with_name(f"{path.name}.damaged").read_text() == '{"half\n'


def test_profiles_of_an_earlier_calibration(tmp_path):
    profiles = load_profiles(ROOT / "docs" / "profiles.json")
    with damaged(tmp_path / "profiles.json"):
        assert _with_other_places(profiles, RunFolder(tmp_path)) is profiles


def test_what_links_did(tmp_path):
    folder = RunFolder(tmp_path)
    with damaged(tmp_path / "link.json"):
        folder.add_link(CHECK)
    folder.add_link(CHECK)
    assert folder.links() == (CHECK, CHECK)


def test_failures_of_an_earlier_process(tmp_path):
    executor = Executor({}, None, torch.device("cpu"), batch=1)
    with damaged(FailureLog(tmp_path).path):
        assert executor.run([], RecordStore(tmp_path), "test") == []
    assert FailureLog(tmp_path).failures() == []
