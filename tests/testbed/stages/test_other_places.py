"""Places that are calibrated one after the other in one folder, and grow one after the other."""

import warnings
from dataclasses import replace

import pytest

from calibration import load_profiles
from solver.inputs import InputError
from testbed.runs.folder import RunFolder
from testbed.stages.calibrate import _with_other_places
from tests.calibration.world import record
from tests.conftest import ROOT
from tests.testbed.runs.world import IMAGE


def grown(profiles):
    """The same, held against more reference images."""
    frechet = replace(profiles.metrics.frechet, reference_sha256="0" * 12)
    return replace(profiles, metrics=replace(profiles.metrics, frechet=frechet))


def alone(profiles, place):
    """The profiles of a ``place``."""
    return replace(profiles, places=(profiles.get(place),), splits=None)


def places(profiles):
    return [entry.place for entry in profiles.places]


def test_a_place_that_grew_leaves_the_other_out_until_that_has_grown(tmp_path):
    folder, both = RunFolder(tmp_path), load_profiles(ROOT / "docs" / "profiles.json")
    folder.save(replace(both, splits=None))
    elsewhere = alone(grown(both), "edge")
    with pytest.raises(InputError, match="metrics.frechet.reference_sha256"):
        _with_other_places(elsewhere, folder)  # nothing here says that it can be measured here
    made = record(place="local")
    folder.store("calibration").add(made, IMAGE)
    with pytest.warns(UserWarning, match="local: left out .* until `testbed calibrate --place loc"):
        joined = _with_other_places(elsewhere, folder)
    assert joined == elsewhere
    folder.save(joined)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joined = _with_other_places(alone(grown(both), "local"), folder)
    assert places(joined) == ["local", "edge"]
