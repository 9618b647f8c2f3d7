import pytest

from tests.conftest import draw_nothing


@pytest.fixture(scope="module", autouse=True)
def without_plots():
    """Curves are made without their plots, which most tests do not look at."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        yield
