"""Which files of a model folder are opened, fingerprinted and checked, and no others."""

import json
import os

import pytest
from safetensors.torch import load_file, save_file

from solver.inputs import InputError
from testbed.models.folders import PIPELINE, check_folder, fingerprint
from testbed.models.pipelines import WEIGHTS

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def check(folder, **options):
    return check_folder(folder, PIPELINE, **options)


def links(folder, target):
    folder.mkdir()
    for path in target.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def test_parts_that_are_symbolic_links_have_the_fingerprint_of_what_they_lead_to(tmp_path):
    """Every such folder had that of nothing, so records of two models were mixed."""
    light, edge = (links(tmp_path / name, WEIGHTS / name) for name in ("light", "edge"))
    check(light)
    assert fingerprint(light) == fingerprint(WEIGHTS / "light") != fingerprint(edge)


def test_a_damaged_file_behind_a_link(tmp_path, folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="half-written or damaged"):
        check(links(tmp_path / "linked", folder))


def test_a_link_that_leads_nowhere(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.unlink()
    path.symlink_to(folder / "gone")
    with pytest.raises(InputError, match="unet: no .safetensors weights"):
        check(folder)


def test_no_bytes_have_no_fingerprint(folder):
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="holds no weights"):
        fingerprint(folder)


@pytest.mark.parametrize(
    "name",
    [
        "unet/._diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/._config.json",
        "safety_checker/model.safetensors",
        "another.safetensors",
    ],
)
def test_files_that_nobody_opens_may_be_anything(folder, name):
    before = fingerprint(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(POINTER.encode())
    check(folder)
    assert fingerprint(folder) == before


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json"]
)
def test_a_git_lfs_pointer_is_called_one(folder, name):
    (folder / name).write_text(POINTER)
    with pytest.raises(InputError, match=f"{name}: a git-lfs pointer .*`git lfs pull`"):
        check(folder)


def test_the_variant_asked_for_is_checked_and_fingerprinted(folder):
    plain = folder / "unet" / "diffusion_pytorch_model.safetensors"
    half = plain.with_suffix(".fp16.safetensors")
    save_file({key: value.half() for key, value in load_file(plain).items()}, half)
    assert fingerprint(folder, "fp16") != fingerprint(folder)
    plain.write_bytes(b"damaged")
    check(folder, variant="fp16")
    with pytest.raises(InputError, match="half-written or damaged"):
        check(folder)
    plain.unlink()
    with pytest.raises(InputError, match='variant = "fp16"'):
        check(folder)


def test_shards_are_those_that_the_index_names(folder):
    plain = folder / "unet" / "diffusion_pytorch_model.safetensors"
    plain.rename(shard := plain.with_name("diffusion_pytorch_model-00001-of-00001.safetensors"))
    index = plain.with_name("diffusion_pytorch_model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": shard.name}}))
    check(folder)
    assert len(fingerprint(folder)) == 12
    shard.rename(shard.with_name("elsewhere.safetensors"))
    with pytest.raises(InputError, match="names this file"):
        check(folder)
    index.write_text(json.dumps({"weight_map": ["a"]}))
    with pytest.raises(InputError, match="weight_map: allowed"):
        check(folder)


@pytest.mark.parametrize("text", ["[]", "7", "{", '"text"'])
def test_an_index_that_is_no_object(folder, text):
    (folder / PIPELINE).write_text(text)
    with pytest.raises(InputError, match=PIPELINE):
        check(folder)


def test_weights_without_tensors(folder):
    save_file({}, folder / "vae" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(InputError, match="it holds no tensors"):
        check(folder)


def test_a_pipe_in_place_of_a_file_does_not_block(folder):
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="no .safetensors weights"):
        check(folder)
