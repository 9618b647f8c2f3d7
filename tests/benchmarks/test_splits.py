"""One model makes an image's first steps, another the rest."""

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks.images import splits
from benchmarks.images.embedded_quality import sample_captions
from benchmarks.images.splits import Option, dominance, generate, options
from testbed.config import ModelConfig
from testbed.engines.stock import generate as own_call
from testbed.metering.meters import NoMeter
from testbed.models.pipelines import open_pipeline

CAPTIONS = sample_captions(3)


@pytest.fixture(scope="module")
def models():
    device = torch.device("cpu")
    return {
        place: open_pipeline(ModelConfig(f"embedded:{name}"), device)[0]
        for place, name in (("local", "light"), ("edge", "edge"))
    }


def images(models, option):
    return next(generate(models, option, CAPTIONS, 3.0))[0]


def test_options_are_both_orders_and_each_model_alone():
    names = [option.name for option in options([2, 4])]
    assert len(set(names)) == len(names) and "edge 1, local 3" in names
    assert {f"{place} {n}" for place in ("local", "edge") for n in (1, 2, 3, 4)} <= set(names)
    assert Option("local", 1, 4).steps("edge") == 3 == Option("edge", 3, 4).steps("edge")


def test_one_model_in_two_parts_is_that_model(models):
    edge = models["edge"]
    alone = images(models, Option("edge", 4, 4))
    for first in ("local", "edge"):
        assert np.array_equal(images({"local": edge, "edge": edge}, Option(first, 1, 4)), alone)
    prompts = [caption.text for caption in CAPTIONS]
    expected = own_call(edge, prompts, range(3), 4, 3.0, NoMeter()).images
    assert np.abs(alone.astype(int) - expected).max() <= 1


def test_a_split_lies_between_the_models(models):
    """Each further step of the edge's brings the image nearer to the edge's own."""
    edge = images(models, Option("edge", 4, 4)) / 255.0
    apart = [
        np.abs(images(models, Option("edge", before, 4)) / 255.0 - edge).mean()
        for before in (1, 2, 3)
    ]
    local = np.abs(images(models, Option("local", 4, 4)) / 255.0 - edge).mean()
    assert local > apart[0] > apart[1] > apart[2] > 0


def test_dominated_is_what_scores_less_for_no_fewer_steps_beyond_chance():
    rng = np.random.default_rng(0)
    base = rng.normal(30, 3, 100)
    split, stop, longer = Option("edge", 2, 4), Option("edge", 2, 2), Option("edge", 4, 4)
    scores = {split: base, stop: base + rng.normal(2, 0.5, 100), longer: base + 9}
    assert [other for _, other in dominance(split, scores)] == [stop]
    assert dominance(stop, scores) == [], "the longer one takes more steps of the edge's"
    scores[stop] = base + rng.normal(0, 3, 100)
    assert dominance(split, scores) == [], "no better than by chance"


def test_the_command_writes_its_curves(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "CONVERGED", 6)
    arguments = ["splits", "--prompts", "2", "--totals", "2", "--out", str(tmp_path / "s.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    splits.main()
    told = json.loads((tmp_path / "s.json").read_text())
    assert told["models"]["edge"] == "embedded:edge" and told["shared"]["vae"]
    by_name = {tuple(point["option"].values()): point["score"][0] for point in told["points"]}
    assert len(by_name) == len(told["points"]) == 7
    assert all(0 <= score <= 100 for score in by_name.values())
    assert told["seconds_per_step"]["edge"] > told["seconds_per_step"]["local"] > 0
