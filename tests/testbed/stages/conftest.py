import pytest

from testbed.stages import executor
from tests.conftest import time_less

ATTEMPTS = executor.ATTEMPTS  # in a run whose numbers count


@pytest.fixture(scope="module", autouse=True)
def timed_less():
    """What tests of stages run themselves, too."""
    with pytest.MonkeyPatch.context() as patch:
        time_less(patch)
        yield


@pytest.fixture
def timed_again(monkeypatch):
    """Images that are disturbed are timed again, as they are in such a run."""
    monkeypatch.setattr(executor, "ATTEMPTS", ATTEMPTS)


@pytest.fixture
def unplotted(monkeypatch):
    """What streams came to is not plotted, which takes longer than short ones themselves."""
    monkeypatch.setattr("testbed.figures.online.plot", lambda *_: None)
