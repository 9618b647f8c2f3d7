"""Configurations: presets load, and every mistake is one line that names file, key, value and what
is allowed.
"""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from solver.inputs import InputError
from testbed import config
from testbed.cli import main
from testbed.commands import doctor
from testbed.config import SweepConfig
from testbed.data.prompts import open_prompts
from testbed.metering import nvml
from testbed.models.hub import check_variant
from testbed.models.pipelines import WEIGHTS, open_pipeline, pick_device
from testbed.stages.rig import open_model
from tests.conftest import SMALL

GOOD = '[local]\nmodel = "a/b"\n[edge]\nmodel = "c/d"\n'


def load(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return config.load(path)


def test_the_default_is_the_embedded_preset():
    assert config.load() == config.load("embedded")
    assert (
        config.load().local.model == "embedded:light"
        and config.load().edge.model == "embedded:edge"
    )


def test_a_configuration_survives_its_own_dictionary(tmp_path):
    loaded = load(tmp_path, GOOD + "[sweep]\nsteps = [1, 4, 9]\nseeds = [3]\n")
    assert config.from_dict(loaded.to_dict(), "again") == loaded


def test_a_reference_may_be_a_folder(tmp_path):
    assert load(tmp_path, GOOD + f'[quality]\nreference = "{tmp_path}"\n').quality.reference == str(
        tmp_path
    )


def test_a_model_in_place_of_the_configurations_takes_over_what_is_not_its_own(tmp_path):
    own = '[local]\nmodel = "a/b"\nrevision = "r"\nvariant = "fp16"\ndtype = "float16"\n'
    own += 'guidance = 7.5\nresolution = 512\n[edge]\nmodel = "c/d"\n'
    (tmp_path / "c.toml").write_text(own)
    loaded = config.load(tmp_path / "c.toml", local="some/other", edge=None)
    assert loaded.local == config.ModelConfig("some/other", dtype="float16", guidance=7.5)
    assert loaded.edge == config.load(tmp_path / "c.toml").edge


@pytest.mark.parametrize(
    "text, message",
    [
        (GOOD + "[swep]\n", "'swep' is unknown; perhaps you meant 'sweep'"),
        (GOOD + "[sweep]\nstep = [1]\n", "'step' is unknown; perhaps you meant 'steps'"),
        (
            GOOD + "[sweep]\nsteps = [0, 1]\n",
            r"sweep.steps: found \[0, 1\]; allowed: a list of different whole numbers of at "
            "least 1",
        ),
        (GOOD + "[sweep]\nsteps = []\n", "sweep.steps: found"),
        (GOOD + "[sweep]\nsteps = [2, 2]\n", "different whole numbers"),
        (GOOD + "[sweep]\nsteps = [1, 4]\n", r"steps: found \[1, 4\]; allowed: at least three"),
        (GOOD + "[sweep]\nbatches = [1, 1000000]\n", "larger batch sizes, up to 1024"),
        (GOOD + "[sweep]\nsplits = [1, 4]\n", "sweep.splits: found .*numbers of at least 2"),
        (GOOD + "[sweep]\nsplits = [64]\n", "sweep.splits: found .64.; allowed: at most 32"),
        (GOOD + "[sweep]\nsplits = [4]\nhalf_width = 0.1\n", "not with half_width"),
        (
            '[local]\nmodel = "a/b"\n[edge]\nurl = "http://h:1"\n[sweep]\nsplits = [4]\n',
            "sweep.splits: found .4. with a url; allowed with two models in this process",
        ),
        (GOOD + "[sweep]\nsteps = [true, 2]\n", "allowed: a whole number"),
        (GOOD + "[sweep]\nprompts_per_class = 1\n", "at least 2"),
        (GOOD + "[execute]\nimages_per_user = 1.5\n", "images_per_user: found 1.5"),
        (GOOD.replace('"a/b"', "3"), "local.model: found 3"),
        (
            GOOD + '[quality]\nreference = "coco"\n',
            "reference: found 'coco'; "
            "allowed: scenes, converged, a folder of images with captions, or the reference.npz",
        ),
        ('[edge]\nmodel = "a/b"\n', r"\[local\] is missing"),
        ('[edge]\nguidance = 2.0\n[local]\nmodel="a/b"\n', "'model' is missing"),
        (GOOD.replace("[edge]", "[edge]\nguidance = -1.0"), "guidance: found -1.0"),
        (GOOD.replace("[edge]", '[edge]\ndtype = "int8"'), "float32, float16, bfloat16"),
        (
            GOOD.replace("[edge]", "[edge]\nresolution = 100"),
            "resolution: found 100; allowed: a multiple of 64",
        ),
        (
            GOOD.replace("[edge]", '[edge]\nmemory = "all"'),
            "memory: found 'all'; allowed: auto, whole, sliced, offload",
        ),
        (
            GOOD.replace("[edge]", "[edge]\nallow_pickle = 1"),
            "allow_pickle: found 1; allowed: true or false",
        ),
        ("[local\n", "not a readable TOML file"),
        ('local = "x"\n' + '[edge]\nmodel = "a/b"\n', "local: found 'x'; allowed: a table"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "c.toml") in str(caught.value) and "\n" not in str(caught.value).strip()


def test_missing_file_and_unknown_preset():
    with pytest.raises(InputError, match="no such file"):
        config.load("nowhere.toml")
    with pytest.raises(InputError, match="perhaps you meant 'embedded'"):
        config.load("embeded")


def test_a_folder_named_like_a_preset_does_not_take_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = config.load("sd15")
    (tmp_path / "sd15").mkdir()
    assert config.load("sd15") == expected
    (tmp_path / "turbo").write_text(GOOD)
    assert config.find("turbo") == config.PRESETS / "turbo.toml"
    assert config.load("./turbo").local.model == "a/b"
    with pytest.raises(InputError, match="preset: './sd15' is unknown"):
        config.load("./sd15")


def test_a_folder_of_a_hub_ids_name_does_not_drop_its_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sd15 = config.load("sd15")
    (tmp_path / sd15.edge.model).mkdir(parents=True)
    with pytest.raises(InputError, match="edge.revision: found .*a folder here"):
        config.load("sd15")
    (tmp_path / sd15.edge.model).rmdir()
    (tmp_path / sd15.quality.clip).mkdir(parents=True)
    with pytest.raises(InputError, match="quality.clip_revision: found .* a folder here"):
        config.load("sd15")


def test_a_folder_of_a_hub_ids_name_is_opened_and_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    with (
        pytest.warns(UserWarning, match="owner/name: the folder here is opened"),
        pytest.raises(InputError, match="model_index.json is missing"),
    ):
        open_model(config.ModelConfig("owner/name"), torch.device("cpu"))


@pytest.mark.parametrize("model", ["/m/dreamshaper_8.safetensors", "models/x.ckpt"])
def test_a_single_file_checkpoint_is_called_one(tmp_path, model):
    with pytest.raises(InputError, match="local.model: found .*a single-file checkpoint.*folder"):
        load(tmp_path, GOOD.replace("a/b", model))


def test_paths_of_a_configuration_are_found_beside_it(tmp_path, monkeypatch):
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home / "photos", home / "converged", home / "m" / "light", work):
        folder.mkdir(parents=True)
    (home / "p.jsonl").write_text('{"prompt": "a"}')
    text = 'prompts = "p.jsonl"\n[quality]\nreference = "REFERENCE"\n'
    text += GOOD.replace("a/b", "m/light")
    (home / "c.toml").write_text(text.replace("REFERENCE", "photos"))
    monkeypatch.chdir(work)
    loaded = config.load(home / "c.toml")
    assert loaded.prompts == str(home / "p.jsonl") and loaded.local.model == str(home / "m/light")
    assert loaded.quality.reference == str(home / "photos") and loaded.edge.model == "c/d"
    (work / "p.jsonl").write_text('{"prompt": "b"}')
    (home / "c.toml").write_text(text.replace("REFERENCE", "converged"))
    assert config.load(home / "c.toml").prompts == "p.jsonl", "the working folder comes first"
    assert config.load(home / "c.toml").quality.reference == "converged"
    (home / "p.jsonl").unlink(), (work / "p.jsonl").unlink()
    with pytest.raises(InputError, match=f"no such file or folder, .*{work}"):
        open_prompts(config.load(home / "c.toml").prompts)


@pytest.mark.parametrize(
    "table, line, home",
    [
        ("sweep", "edge_budget = 8", r"\[scenario\]"),
        ("scenario", "batches = [1, 2]", r"\[sweep\]"),
        ("quality", 'dtype = "float16"', r"\[local\] or \[edge\]"),
        ("edge", 'device = "cuda"', "the top, before all tables"),
    ],
)
def test_a_key_in_another_table_is_told_where_it_belongs(tmp_path, table, line, home):
    path = tmp_path / "c.toml"
    path.write_text(SMALL.replace(f"[{table}]", f"[{table}]\n{line}"))
    with pytest.raises(InputError, match=rf"{line.split()[0]}: found in \[{table}\]; .*: {home}$"):
        config.load(path)


def test_a_path_in_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}')
    (tmp_path / "c.toml").write_text('prompts = "~/p.jsonl"\n' + SMALL)
    assert config.load(tmp_path / "c.toml").prompts == str(tmp_path / "p.jsonl")


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """An nvidia-smi on the path, beside a torch for CPUs."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "| NVIDIA-SMI 550.54  Driver Version: 550.54  CUDA 12.4 |"\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    nvml.unusable_gpu.cache_clear()
    yield
    nvml.unusable_gpu.cache_clear()


def test_a_gpu_that_this_torch_cannot_use_is_said(driver, monkeypatch, tmp_path, capsys):
    with pytest.warns(
        UserWarning, match=r"auto takes the CPU: .*GPU \(driver 550.54\) that cannot"
    ):
        assert pick_device("auto").type == "cpu"
    monkeypatch.chdir(tmp_path)
    assert main(["run", "embedded", "--plan"]) == 0
    assert "that cannot be used: torch" in capsys.readouterr().err
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    nvml.unusable_gpu.cache_clear()
    assert nvml.unusable_gpu() is None, "hidden on purpose"


@pytest.mark.parametrize(
    "script, said",
    [
        (
            "echo NVIDIA-SMI has failed because it could not talk to the driver; exit 9",
            "whose GPU cannot be used: nvidia-smi says: NVIDIA-SMI has failed",
        ),
        ("exit 1", "whose GPU cannot be used: nvidia-smi says: nothing"),
    ],
)
def test_a_driver_that_does_not_answer_is_said(driver, tmp_path, script, said):
    """As after an update of the kernel: the days on the CPU came without a word."""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    assert said in nvml.unusable_gpu()


def test_a_gpu_that_the_environment_names_wrongly_is_said_so(driver, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES is '7', which may name none" in nvml.unusable_gpu()


def test_the_doctor_says_that_a_gpu_cannot_be_used(driver, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "open_pipeline", lambda *_: sys.exit(3))
    with pytest.raises(SystemExit):
        doctor.print_report()
    assert "gpu:         there is an NVIDIA GPU" in capsys.readouterr().out


def test_a_half_precision_folder_without_variant_is_told_the_variant(tmp_path):
    folder = Path(shutil.copytree(WEIGHTS / "light", tmp_path / "light"))
    for path in folder.glob("*/*.safetensors"):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    with pytest.raises(InputError, match='variant: found none, .*variant = "fp16"'):
        open_pipeline(config.ModelConfig(str(folder)), torch.device("cpu"))
    check_variant(WEIGHTS / "light", None)
    check_variant(folder, "fp16")


def test_a_local_model_may_have_steps_of_its_own():
    sweep = SweepConfig(steps=(2, 4, 8), local_steps=(4, 1, 2, 3), converged_steps=16)
    assert (sweep.grid("local"), sweep.converged("local")) == ((1, 2, 3), 4)
    assert (sweep.grid("edge"), sweep.converged("edge")) == ((2, 4, 8), 16)
    assert SweepConfig().grid("local") == SweepConfig().grid("edge") == SweepConfig().steps
    for wrong in ({"local_steps": (1, 2, 4)}, {"local_steps": (1, 2, 3, 4), "half_width": 0.1}):
        with pytest.raises(InputError, match="local_steps: found"):
            SweepConfig(**wrong)
