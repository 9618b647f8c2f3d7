"""Model folders whose files changed behind an equal fingerprint are not mixed in one run folder."""

import os
from types import SimpleNamespace

import pytest

from solver.inputs import InputError
from testbed import config
from testbed.models.folders import fingerprint, read_files
from testbed.runs import contents
from testbed.runs.folder import RunFolder
from testbed.stages.rig import Rig
from tests.testbed.runs.world import filled

MIB = 1 << 20


@pytest.fixture
def model(tmp_path):
    """A folder as ``save_pretrained`` writes it, with weights of 3 MiB."""
    files = {
        "model_index.json": '{"unet": ["diffusers", "UNet2DConditionModel"], '
        '"tokenizer": ["t", "T"], "scheduler": ["d", "S"]}',
        "unet/config.json": "{}",
        "tokenizer/merges.txt": "a b",
        "scheduler/scheduler_config.json": '{"steps_offset": 0}',
        "notes.txt": "mine",
        "unet/._config.json": "of macOS",
    }
    for name, text in files.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(text)
    weights = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(bytes(3 * MIB))
    return tmp_path / "model"


def keep(run, model, measured=True):
    contents.keep(run, "m", fingerprint(model), read_files(model), measured)


def merge(model):
    """Change weights in the middle, as a merged LoRA of equal size does."""
    with open(model / "unet" / "diffusion_pytorch_model.safetensors", "rb+") as file:
        file.seek(MIB + MIB // 2)
        file.write(b"\1")


def test_the_files_that_are_opened_and_no_others(model):
    assert set(read_files(model)) == {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    }


@pytest.mark.parametrize(
    "change, said",
    [
        (merge, "model.safetensors: found other content, unlike when .*run was measured"),
        (
            lambda model: (model / "scheduler/scheduler_config.json").write_text("{}"),
            "scheduler_config.json: found other content.*allowed: the file of SHA-256 [0-9a-f]{12}",
        ),
        (
            lambda model: (model / "tokenizer/tokenizer.json").write_text("{}"),
            "tokenizer.json: found a file, .*allowed: the model without it, or another folder",
        ),
        (lambda model: (model / "tokenizer/merges.txt").unlink(), "merges.txt: found no such file"),
    ],
    ids=["weights", "scheduler", "added", "removed"],
)
def test_another_content_is_refused_though_the_fingerprint_is_the_same(
    model, tmp_path, change, said
):
    before = fingerprint(model)
    keep(tmp_path / "run", model)
    keep(tmp_path / "run", model)
    contents.check(tmp_path / "run", "m", before, read_files(model))
    kept = (tmp_path / "run" / "models.json").read_bytes()
    change(model)
    assert fingerprint(model) == before
    with pytest.raises(InputError, match=said):
        keep(tmp_path / "run", model)
    with pytest.raises(InputError, match=said):
        contents.check(tmp_path / "run", "m", before, read_files(model))
    assert (tmp_path / "run" / "models.json").read_bytes() == kept
    keep(tmp_path / "other", model)
    keep(tmp_path / "run", model, measured=False)  # nothing that could be mixed
    keep(tmp_path / "run", model)


def test_files_are_read_again_only_where_size_or_time_differ(model, tmp_path, monkeypatch):
    read, digest = [], contents.hashlib.file_digest

    def reading(file, name):
        read.append(os.path.basename(file.name))
        return digest(file, name)

    monkeypatch.setattr(contents, "hashlib", SimpleNamespace(file_digest=reading))
    keep(tmp_path / "run", model)
    assert len(read) == 5
    keep(tmp_path / "run", model)
    assert len(read) == 5
    os.utime(model / "tokenizer" / "merges.txt", ns=(1, 1))
    keep(tmp_path / "run", model)
    keep(tmp_path / "run", model)
    assert read[5:] == ["merges.txt"], "copied elsewhere, it is the same model"


def test_a_rig_keeps_what_its_models_and_its_scorer_hold(model, tmp_path, small_config):
    """Without opening either."""
    text = small_config.read_text().replace("embedded:light", str(model))
    small_config.write_text(text)
    settings, folder = config.load(small_config), RunFolder(tmp_path / "run")
    rig = Rig.__new__(Rig)
    rig.config, rig.quality = settings, SimpleNamespace(clip="opened")
    rig.specs = {"local": SimpleNamespace(model=str(model), revision=fingerprint(model))}
    rig.check_contents(folder)
    kept = contents._load(folder.path / contents.NAME)
    assert [entry.model for entry in kept.models] == [str(model), "embedded:clip"]
    clip = kept.models[1]
    assert "model.safetensors" in {entry.name for entry in clip.files}
    merge(model)
    rig.check_contents(folder)  # nothing was measured yet
    filled(folder.path / "calibration", count=1)
    (model / "scheduler" / "scheduler_config.json").write_text("{}")
    with pytest.raises(InputError, match="scheduler_config.json: found other content"):
        rig.check_contents(folder)
