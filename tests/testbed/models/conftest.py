"""A model folder that tests may damage."""

import shutil
from pathlib import Path

import pytest

from testbed.models.pipelines import WEIGHTS


@pytest.fixture
def folder(tmp_path):
    """A copy of the embedded light model."""
    return Path(shutil.copytree(WEIGHTS / "light", tmp_path / "light"))
