"""What is refused before anything is opened: prompts that are not those of what was measured."""

import dataclasses
import json

import pytest

from solver.inputs import InputError, write_json
from testbed import config
from testbed.runs.store import RecordStore
from testbed.stages.run import check
from tests.conftest import SMALL
from tests.testbed.runs.world import IMAGE, TASK, record

CLASSES = ("cats", "dogs")


def write(path, prompts):
    path.write_text(
        "".join(json.dumps({"class": name, "prompt": text}) + "\n" for name, text in prompts)
    )


@pytest.fixture
def world(tmp_path):
    """A run's configuration, its folder with the sweep's first prompts measured, its prompts."""
    prompts = [(name, f"{name} {i}") for i in range(12) for name in CLASSES]
    write(tmp_path / "prompts.jsonl", prompts)
    text = SMALL.replace("reference_size = 40", 'reference = "converged"')
    path = tmp_path / "own.toml"
    path.write_text(f'prompts = "{tmp_path / "prompts.jsonl"}"\n{text}')
    settings, out = config.load(path), tmp_path / "run"
    (out / "calibration").mkdir(parents=True)
    write_json(out / "config.json", settings.to_dict())
    store = RecordStore(out / "calibration")
    for name, text in prompts[:6]:
        task = dataclasses.replace(TASK, prompt_class=name, prompt=text)
        store.add(dataclasses.replace(record(text), task=task), IMAGE)
    return settings, out, prompts


def test_prompts_that_are_as_they_were_or_more_are_taken(world, tmp_path):
    settings, out, prompts = world
    check(settings, out)
    write(tmp_path / "prompts.jsonl", prompts + [(name, f"{name} more") for name in CLASSES])
    check(settings, out)


def test_a_measured_class_that_was_renamed_is_refused(world, tmp_path):
    settings, out, prompts = world
    write(
        tmp_path / "prompts.jsonl", [(name.replace("dogs", "dog"), text) for name, text in prompts]
    )
    with pytest.raises(InputError, match=f"prompts.jsonl: found no class 'dogs', which {out} has"):
        check(settings, out)
    check(settings, tmp_path / "another")


def test_a_prompt_that_was_calibrated_is_given_to_no_user(world, tmp_path):
    settings, out, prompts = world
    write(tmp_path / "prompts.jsonl", prompts[::-1])
    with pytest.raises(InputError, match=f"found '.* 0' for a user, with which {out} was calib"):
        check(settings, out)
    check(settings, tmp_path / "another")


@pytest.mark.parametrize("reference", ["scenes", "converged"])
def test_a_folder_of_a_words_name_changes_nothing(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    for name in ("scenes", "converged", "none"):
        (tmp_path / name).mkdir()
    text = SMALL.replace("[quality]", f'[quality]\nreference = "{reference}"')
    (tmp_path / "own.toml").write_text(text)
    check(config.load("own.toml"), tmp_path / "run")
