import pytest

from tests.calibration.validation.setting import allocated
from tests.calibration.world import World, profiles


@pytest.fixture(scope="package")
def setting(kept):
    # Many prompts, so that what is tested is the spread of single images, which does not hide
    # behind the fit's uncertainty.
    classes, world = ["object", "scene"], World(seed=7, watts=40.0)
    return allocated(
        kept("setting", lambda: profiles(world.calibrate(classes, prompts=40), classes)),
        classes,
        users=300,
        device_classes={"snapdragon-8-elite": 2, "snapdragon-8-gen-3": 2, "server-core": 1},
    )


@pytest.fixture(scope="package")
def executed(setting):
    """Its allocation, executed in a world as calibrated."""
    return World(seed=3, watts=40.0).execute(setting.scenario, setting.allocation)


@pytest.fixture(scope="package")
def sound(setting, executed):
    """The validation of that."""
    return setting.validate(executed)


@pytest.fixture(scope="package")
def slower(setting):
    """The validation in a world that has become slower."""
    return setting.run(World(seed=3, watts=40.0, slower=1.5))
