import pytest

from tests.calibration.validation.setting import chain
from tests.calibration.world import World


@pytest.fixture(scope="package")
def setting():
    # Many prompts, so that what is tested is the spread of single images, which does not hide
    # behind the fit's uncertainty.
    return chain(
        World(seed=7, watts=40.0),
        ["object", "scene"],
        prompts=40,
        users=300,
        device_classes={"snapdragon-8-elite": 2, "snapdragon-8-gen-3": 2, "server-core": 1},
    )
