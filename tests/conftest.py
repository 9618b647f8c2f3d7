"""Shared fixtures: a small run configuration on the embedded models."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a network

SMALL = """
[local]
model = "embedded:light"
[edge]
model = "embedded:edge"
[quality]
reference_size = 40
[sweep]
steps = [1, 2, 3, 6]
prompts_per_class = 3
converged_steps = 12
[execute]
images_per_user = 1
[scenario]
users = 6
edge_budget = 20
local = { max_steps = 5 }
edge = { max_steps = 6 }
"""


@pytest.fixture
def small_config(tmp_path):
    """Path of a configuration that runs the whole chain in seconds."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def pytest_collection_modifyitems(items):
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
