"""The Fréchet distance of users' images, where some of what it needs is not there."""

from types import SimpleNamespace

import numpy as np
import pytest

from testbed.runs.features import SweepFeatures
from testbed.runs.folder import RunFolder
from testbed.stages import validate
from testbed.stages.validate import _frechet
from tests.calibration.world import record
from tests.testbed.runs.world import IMAGE

WIDTH = 4
QUALITY = SimpleNamespace(
    extractor=SimpleNamespace(
        fingerprint="made up",
        images=lambda images: np.random.default_rng(1).normal(0, 1, (len(images), WIDTH)),
    )
)
USERS = [
    record(steps=8, purpose="user", user=user, seed=100 + user, prompt=f"of {user}")
    for user in range(3)
]


@pytest.fixture
def folder(tmp_path):
    """A run folder with six calibration images, of which the features were kept."""
    made, draw = RunFolder(tmp_path), np.random.default_rng(0)
    store = made.store("calibration")
    for prompt in range(6):
        store.add(record(steps=8, purpose="untimed", prompt=f"p {prompt}"), IMAGE)
    images, reference = draw.normal(0, 1, (6, WIDTH)), draw.normal(0, 1, (20, WIDTH))
    made.save_features(SweepFeatures(tuple(store), images, reference, "made up"))
    return made


def test_a_single_image_has_no_frechet_distance(folder):
    """Its covariance is 0/0: a run of one user once ended in a traceback, fully measured."""
    assert _frechet(None, QUALITY, folder, USERS[:1]) == []
    (total,) = _frechet(None, QUALITY, folder, USERS[:2])
    assert total.predicted > 0 and total.measured > 0


def test_users_of_a_class_that_was_calibrated_elsewhere_have_no_frechet_distance(folder):
    """Of the place other classes are here."""
    other = record(steps=8, purpose="user", user=3, seed=103, prompt_class="relation")
    assert _frechet(None, QUALITY, folder, [*USERS, other]) == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_lost_image_is_left_out_as_the_calibration_leaves_it_out(folder, monkeypatch, kept):
    """That of an earlier, larger sweep, which nothing makes again, once ended the validation."""
    lost = record(steps=16, purpose="untimed")
    folder.store("calibration").add(lost, IMAGE)
    (folder.path / "calibration" / "images" / f"{lost.id}.png").unlink()
    reference = SimpleNamespace(features=folder.features().reference)
    if not kept:
        (folder.path / "calibration" / "features.npz").unlink()
    monkeypatch.setattr(validate, "open_prompts", lambda _: None)
    monkeypatch.setattr(validate, "given_reference", lambda *_: {"object": reference})
    (total,) = _frechet(SimpleNamespace(prompts="", quality=None), QUALITY, folder, USERS)
    assert total.measured > 0 and len(folder.features().ids) == 6
