"""True-size networks are the published ones, and shrunk, as folders, they are opened and used as
any model.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from solver.inputs import InputError
from testbed.cli import main
from testbed.models.published.architectures import assemble, build
from testbed.models.published.catalogue import ARCHITECTURES, find
from testbed.models.published.unets import UNETS


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_counts_are_the_published_ones(name):
    networks = build(name, "meta", torch.float16)
    assert {
        part: sum(p.numel() for p in network.parameters()) for part, network in networks.items()
    } == ARCHITECTURES[name].parameters
    assert {p.device.type for network in networks.values() for p in network.parameters()} == {
        "meta"
    }


def test_networks_are_made_in_their_dtype_and_alike_each_time():
    network, again = (
        build("sd15", "cpu", torch.float16, shrink=8, parts=["unet"])["unet"] for _ in range(2)
    )
    assert {p.dtype for p in network.parameters()} == {
        torch.float16
    } and torch.get_default_dtype() == torch.float32
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True)
    )


def test_an_unknown_architecture():
    with pytest.raises(InputError, match="'sdxxl' is unknown; perhaps you meant 'sdxl'"):
        find("sdxxl")


@pytest.mark.slow
@pytest.mark.parametrize("name", UNETS)  # for the others see tests/testbed/engines/test_adapters.py
def test_each_architecture_generates_from_its_folder(name, tmp_path):
    assemble(name, "cpu", shrink=8).save_pretrained(tmp_path / "model")
    asked = {
        "id": "a",
        "prompt": "a big red ball in the middle",
        "seed": 1,
        "steps": 2,
        "guidance": ARCHITECTURES[name].guidance,
    }
    (tmp_path / "requests.jsonl").write_text(json.dumps(asked))
    command = [
        "generate",
        "--model",
        tmp_path / "model",
        tmp_path / "requests.jsonl",
        "-o",
        tmp_path / "out",
        "--device",
        "cpu",
    ]
    assert main([str(word) for word in command]) == 0
    assert np.asarray(Image.open(tmp_path / "out" / "a.png")).std() > 1
    record = json.loads((tmp_path / "out" / "records.jsonl").read_text())
    assert (
        record["asked"]["scheduler"] == ARCHITECTURES[name].scheduler[0]
        and len(record["measured"]["step_times"]) >= 2
    )
