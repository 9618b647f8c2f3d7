"""True-size networks are the published ones, and shrunk, as folders, they go through the same
commands as any model.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from solver.inputs import InputError
from testbed.cli import main
from testbed.data.prompts import ScenePrompts
from testbed.models.published.architectures import assemble, build
from testbed.models.published.catalogue import ARCHITECTURES, find
from tests.testbed.stages.world import few_timings


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


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Makes folders of shrunk architectures, each once."""
    root = tmp_path_factory.mktemp("models")

    def folder(name):
        if not (root / name).exists():
            assemble(name, "cpu", shrink=8).save_pretrained(root / name)
        return root / name

    return folder


# the others' folders are opened in tests/testbed/engines/test_adapters.py
GENERATED = [name for name in ARCHITECTURES if not name.startswith(("sd35", "flux", "sana"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATED)
def test_each_architecture_generates_from_its_folder(name, folders, tmp_path):
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
        folders(name),
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


CONFIG = """
prompts = "{folder}"
[local]
model = "some/model"
revision = "replaced with it"
guidance = 7.5
[edge]
model = "some/other"
guidance = 7.5
[quality]
reference = "{folder}"
[sweep]
steps = [1, 2, 3]
prompts_per_class = 2
converged_steps = 4
batches = [1, 2]
[scenario]
users = 2
edge_budget = 4
local = {{ max_steps = 3 }}
edge = {{ max_steps = 3 }}
"""


@pytest.mark.slow
def test_the_whole_chain_on_folders(folders, tmp_path):
    images, captions = ScenePrompts().reference("object", 8)
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
    listed = {"images": [{"id": i, "file_name": f"{i}.png"} for i in range(8)]}
    listed["annotations"] = [
        {"image_id": i, "caption": caption} for i, caption in enumerate(captions)
    ]
    (tmp_path / "captions.json").write_text(json.dumps(listed))
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path))
    models = ["--local", str(folders("bk-sdm-small")), "--edge", str(folders("sdxl"))]
    with few_timings():
        assert main(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), *models]) == 0
    records = [
        json.loads(line)
        for line in (tmp_path / "run" / "calibration" / "records.jsonl").read_text().splitlines()
    ]
    assert {(record["asked"]["place"], record["asked"]["model"]) for record in records} == {
        ("local", models[1]),
        ("edge", models[3]),
    }
    assert (tmp_path / "run" / "report.html").is_file()
