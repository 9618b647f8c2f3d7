"""One model makes an image's first steps, another the rest."""

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks.images import splits
from benchmarks.images.embedded_quality import sample_captions
from benchmarks.images.split_gains import Option, coverage, dominance, gains, options
from benchmarks.images.splits import generate
from calibration.records.split import split_options
from solver.problem import PLACES
from testbed.config import ModelConfig
from testbed.engines.request import Request
from testbed.engines.split import generate as engines_split
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


def requests(steps):
    return [Request(caption.text, seed, steps, 3.0) for seed, caption in enumerate(CAPTIONS)]


def images(models, option):
    made = generate(models, requests(option.total), {option.before}, [option.first])
    return next(each.pixels for each in made if each.option == option)


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


def test_splits_that_share_their_first_steps_are_those_that_are_executed(models):
    made = {each.option: each.pixels for each in generate(models, requests(4), {1, 2, 3})}
    assert len(made) == 2 * (1 + 3)
    asked, threads = dict.fromkeys(PLACES, requests(4)), dict.fromkeys(PLACES, 1)
    for how in split_options(4):
        done, _ = engines_split(models, how, asked, threads, NoMeter())
        assert np.array_equal(done.images, made[Option(how.first, how.parts(4)[how.first], 4)])


def test_dominated_is_what_scores_less_for_no_fewer_steps_beyond_chance():
    rng = np.random.default_rng(0)
    base = rng.normal(30, 3, 100)
    split, stop, longer = Option("edge", 2, 4), Option("edge", 2, 2), Option("edge", 4, 4)
    scores = {split: base, stop: base + rng.normal(2, 0.5, 100), longer: base + 9}
    assert [other for _, other in dominance(split, scores)] == [stop]
    assert dominance(stop, scores) == [], "the longer one takes more steps of the edge's"
    scores[stop] = base + rng.normal(0, 3, 100)
    assert dominance(split, scores) == [], "no better than by chance"


def world(rng, count, shift=0.0):
    """Scores of a split and its parts; the split gains 5, and ``shift`` where it is executed."""
    prompts = rng.normal(0, 5, count)
    scores = {
        option: mean + prompts + rng.normal(0, 2, count)
        for option, mean in (
            (Option("local", 3, 3), 70.0),
            (Option("edge", 1, 1), 60.0),
            (Option("local", 3, 4), 75.0),
        )
    }
    scores[Option("local", 3, 4)][1::2] += shift
    return scores


def test_a_gain_is_over_the_better_part_and_its_interval_holds_as_often_as_it_says():
    rng, texts = np.random.default_rng(1), [f"caption {i}" for i in range(30)]
    held = []
    for _ in range(400):
        (gain,) = gains(world(rng, 30), texts, ["object"] * 30)
        assert gain.over == "local 3"
        held.append(gain.held)
    assert 0.92 < np.mean(held) < 0.98
    share = coverage(world(rng, 30), texts, ["object"] * 30)["object"]
    shifted = coverage(world(rng, 30, shift=5.0), texts, ["object"] * 30)["object"]
    assert 0.85 < share and 0.85 < shifted, "random halves do not know of the shift"
    (other,) = gains(world(rng, 30, shift=5.0), texts, ["object"] * 30)
    assert not other.held and other.executed > other.predicted[0]


def test_a_repeated_caption_does_not_predict_itself():
    texts, scores = ["a", "b", "c", "d", "a", "c"], world(np.random.default_rng(2), 6)
    (gain,) = gains(scores, texts, ["object"] * 6)
    values = scores[Option("local", 3, 4)] - scores[Option("local", 3, 3)]
    known = [(values[0] + values[4]) / 2, (values[2] + values[5]) / 2]
    assert gain.predicted[0] == pytest.approx(np.mean(known))
    assert gain.executed == pytest.approx((values[1] + values[3]) / 2)


@pytest.mark.slow
def test_the_command_writes_its_curves_and_goes_on_where_it_was(tmp_path, monkeypatch):
    out, work = tmp_path / "s.json", tmp_path / "work"
    arguments = ["splits", "--totals", "2", "--out", str(out), "--work", str(work), "--prompts"]
    monkeypatch.setattr(splits, "PROMPTS", 2)
    monkeypatch.setattr(sys, "argv", [*arguments, "4"])
    splits.main()
    told = json.loads(out.read_text())
    assert told["models"]["edge"] == "embedded:edge" and told["shared"]["vae"]
    by_name = {tuple(point["option"].values()): point["score"][0] for point in told["points"]}
    assert len(by_name) == len(told["points"]) == 6
    assert all(0 <= score <= 100 for score in by_name.values())
    assert len(told["gains"]) == 2 * 3
    assert all(0 <= share <= 1 for share in told["held_over_random_halves"].values())
    assert told["seconds_per_step"]["edge"] > 0 and told["seconds_per_step"]["local"] > 0
    kept = sorted(work.iterdir())
    assert len(kept) == 2
    kept[0].unlink()
    made, measure = [], splits.measure
    monkeypatch.setattr(splits, "measure", lambda *given: made.append(given) or measure(*given))
    splits.main()
    again = json.loads(out.read_text())
    assert len(made) == 1 and again["points"] == told["points"] and again["gains"] == told["gains"]
