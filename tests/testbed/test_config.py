"""Configurations: presets load, and every mistake is one line that names file, key, value and what
is allowed.
"""

import pytest

from solver.inputs import InputError
from testbed import config

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
        (GOOD + "[sweep]\nsteps = [true, 2]\n", "allowed: a whole number"),
        (GOOD + "[sweep]\nprompts_per_class = 1\n", "at least 2"),
        (GOOD + "[execute]\nimages_per_user = 1.5\n", "images_per_user: found 1.5"),
        (GOOD.replace('"a/b"', "3"), "local.model: found 3"),
        (
            GOOD + '[quality]\nreference = "coco"\n',
            "reference: found 'coco'; "
            "allowed: scenes, converged, or a folder of images with captions",
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
