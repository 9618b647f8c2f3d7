"""Inception-v3 as the extractor: what to do where it cannot be had, and with torch-fidelity's
network of random weights.
"""

import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from solver.inputs import InputError
from testbed.cli import main
from testbed.config import from_dict
from testbed.metrics.inception import WIDTH, Inception
from testbed.stages import rig

URL = "https://example.org/v0/weights-inception.pth"


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Where torch keeps downloads, with torch-fidelity there as far as the name of its weights."""
    module = ModuleType("feature_extractor_inceptionv3")
    module.URL_INCEPTION_V3 = URL
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_without_torch_fidelity_a_run_says_what_to_install_before_anything_is_measured(
    tmp_path, small_config, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    small_config.write_text(
        small_config.read_text().replace("[quality]", '[quality]\nextractor = "inception"')
    )
    assert main(["run", str(small_config), "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert (
        err.startswith(
            "testbed: quality.extractor: 'inception' needs torch-fidelity: "
            "scripts/install inception"
        )
        and err.count("\n") == 1
    )
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_named_with_where_to_put_them(checkpoints):
    with pytest.raises(InputError) as caught:
        Inception(torch.device("cpu"))
    assert (
        str(caught.value)
        == "quality.extractor: the weights of Inception-v3 cannot be fetched (offline mode); "
        f"put {URL} into {checkpoints}"
    )


def test_missing_weights_are_told_before_a_model_is_opened_and_by_a_plan(
    checkpoints, small_config, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(rig, "open_pipeline", lambda *_: pytest.fail("a model was opened"))
    text = small_config.read_text()
    small_config.write_text(text.replace("[quality]", '[quality]\nextractor = "inception"'))
    command, lacks = ["run", str(small_config), "--out", str(tmp_path / "run")], f"put {URL} into"
    assert main(command) == 2
    assert lacks in capsys.readouterr().err
    assert main([*command, "--plan"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if lacks in line)
    assert line.endswith("; a run would stop there")
    (checkpoints / URL.rsplit("/", 1)[1]).write_bytes(b"")
    Inception.check_before_fetching()


def test_an_extractor_is_one_of_two():
    models = {place: {"model": "embedded:edge"} for place in ("local", "edge")}
    assert from_dict(models, "c.toml").quality.extractor == "clip"
    with pytest.raises(
        InputError, match="c.toml: quality.extractor: found 'vgg'; allowed: clip, inception"
    ):
        from_dict({**models, "quality": {"extractor": "vgg"}}, "c.toml")


class Harmful:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize(
    "content",
    [b"", b"half a file", pickle.dumps(Harmful(), protocol=2)],
    ids=["empty", "broken", "harmful"],
)
def test_a_file_that_holds_no_weights_is_named_and_not_run(checkpoints, capsys, content):
    path = checkpoints / "weights-inception.pth"
    path.write_bytes(content)
    with pytest.raises(
        InputError,
        match="weights-inception.pth: not the weights of Inception-v3: .*; remove it, or fetch https://example",
    ) as caught:
        Inception(torch.device("cpu"))
    assert "\n" not in str(caught.value) and capsys.readouterr().out == ""


def test_features_are_those_of_torch_fidelity(tmp_path, monkeypatch):
    """Random weights in the original's format: the features of the network itself, whatever the
    images' sizes and the batch.
    """
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.manual_seed(0)
    with monkeypatch.context() as fresh:
        fresh.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        fresh.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = module.FeatureExtractorInceptionV3("random", [str(WIDTH)])
    path = tmp_path / "hub" / "checkpoints" / module.URL_INCEPTION_V3.rsplit("/", 1)[1]
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    rng = np.random.default_rng(0)
    images = [
        rng.integers(256, size=size, dtype=np.uint8)
        for size in ((64, 64, 3), (64, 64, 3), (500, 400, 3))
    ]
    extractor = Inception(torch.device("cpu"))
    features = extractor.images(images)
    expected = [
        network(torch.from_numpy(image.transpose(2, 0, 1))[None])[0][0].numpy() for image in images
    ]
    assert (
        features.shape == (3, WIDTH)
        and features.dtype == np.float32
        and len(extractor.fingerprint) == 12
    )
    assert np.allclose(features, expected, atol=1e-5) and np.allclose(
        extractor.images(images, batch=2), features, atol=1e-5
    )
