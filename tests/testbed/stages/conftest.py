import pytest

from tests.conftest import time_less


@pytest.fixture(scope="module", autouse=True)
def timed_less():
    """What tests of stages run themselves, too."""
    with pytest.MonkeyPatch.context() as patch:
        time_less(patch)
        yield
