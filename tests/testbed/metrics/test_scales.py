"""Whether captions match their images: scales of utility, against plain loops and by chance."""

import numpy as np
import pytest

from calibration.records.record import Measured, Record
from calibration.records.task import ModelSpec
from solver.inputs import InputError
from testbed.metrics import scales
from testbed.metrics.pixels import distance
from testbed.metrics.reference import ReferenceFeatures
from testbed.metrics.scales import error_and_utility_scales

SPEC = ModelSpec("any", "cpu", "float32", "DDIMScheduler", 3.0)


class Texts:
    """In the place of a CLIP model: captions are indices into given vectors."""

    def __init__(self, vectors):
        self.vectors = vectors

    def texts(self, captions):
        return np.stack([self.vectors[int(caption)] for caption in captions])


def converged(count):
    """Records of the converged images of two prompts and more."""
    tasks = [
        SPEC.task(
            place="edge", prompt=str(i), prompt_class="all", seed=0, steps=9, purpose="converged"
        )
        for i in range(count)
    ]
    return [Record(task.id, task, Measured(0.0, (0.1,), 0.0, 0.1, None)) for task in tasks]


def scales_of(images, texts, captions, pixels=None):
    """The scales from features of images, of texts, and each image's caption."""
    records = converged(3)
    values = dict(zip([record.id for record in records], pixels or (0, 100, 200)))
    return error_and_utility_scales(
        records,
        ["edge"],
        ["all"],
        {"all": ReferenceFeatures(images, images, tuple(map(str, captions)))},
        lambda key: np.full((2, 2, 3), values[key], np.uint8),
        Texts(texts),
    )["edge", "all"]


def features(seed, images, width=8, match=0.0):
    """Features of images and texts, more alike in pairs the larger ``match`` is."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(images, width)) + 2.0  # CLIP's features share a direction
    return (match * texts + rng.normal(size=(images, width)) + 2.0).astype(np.float32), texts


@pytest.mark.parametrize("rows", [1024, 3])
def test_floor_and_ceiling_are_means_over_wrong_and_right_captions(monkeypatch, rows):
    """A plain loop; captions repeat, and a block of images is smaller than all."""
    monkeypatch.setattr(scales, "_ROWS", rows)
    images, texts = features(0, 10, match=3.0)
    captions = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]

    def score(i, caption):
        a, b = images[i], texts[caption]
        return max(0.0, 100 * a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    images[8:] += 0.5 * texts[:2]  # the repeats match, too
    wrong = [score(i, c) for i in range(10) for c in captions if c != captions[i]]
    right = [score(i, captions[i]) for i in range(10)]
    utility = scales_of(images, texts, captions).utility
    assert utility.zero == pytest.approx(np.mean(wrong), rel=1e-5)
    assert utility.full == pytest.approx(np.mean(right), rel=1e-5)


def test_captions_that_match_nothing_pass_by_chance_in_about_one_of_twenty():
    """By the rule `ceiling above floor` alone every second would."""
    made = [scales_of(*features(seed, 12), range(12)) for seed in range(400)]
    passed = np.mean([scale.utility is not None for scale in made])
    assert 0.02 < passed < 0.09
    without = next(scale for scale in made if scale.utility is None)
    assert "mean CLIP score" in without.utility_note and "what to do" in without.utility_note


@pytest.mark.parametrize("count", [3, 12])
def test_captions_that_match_are_told_from_those_that_do_not(count):
    """The power of the test; CLIP's own margin is larger."""
    made = [scales_of(*features(seed, count, match=3.0), range(count)) for seed in range(50)]
    assert np.mean([scale.utility is not None for scale in made]) > 0.85


def test_gains_of_all_captions_make_no_unit_where_the_means_lie_the_other_way_around():
    """Eight images of a caption score 10 with it and 5 with others, one of each other 50 and 45."""
    captions, texts = [0] * 8 + [1, 2, 3], np.eye(5)
    images = np.full((11, 5), 0.05)
    images[8:] = 0.45
    images[range(11), captions] += 0.05
    images[:, 4] = np.sqrt(1 - (images[:, :4] ** 2).sum(axis=1))
    assert "mean CLIP score 20.91 against 27.22" in scales_of(images, texts, captions).utility_note


def test_one_caption_alone_has_no_wrong_one():
    images, texts = features(0, 4)
    assert "one caption" in scales_of(images, texts, [0, 0, 0, 0]).utility_note


def test_images_that_are_all_alike_are_named_with_what_to_look_at():
    images, texts = features(0, 3)
    with pytest.raises(InputError, match="edge/all: the converged images of 3 prompts are all ali"):
        scales_of(images, texts, range(3), pixels=(7, 7, 7))


def test_a_single_converged_image_is_not_said_to_be_like_others():
    with pytest.raises(InputError, match="of 1 prompts, .* at least 2 .calibration/failures.jsonl"):
        error_and_utility_scales(
            converged(1), ["edge"], ["all"], {}, lambda _: np.zeros((2, 2, 3), np.uint8), None
        )


@pytest.mark.parametrize("count, block", [(1, 7), (2, 1 << 16), (9, 50)])
def test_the_mean_distance_of_all_pairs_is_that_of_each(monkeypatch, count, block):
    monkeypatch.setattr(scales, "_PIXELS", block)
    draw = np.random.default_rng(count)
    images = [draw.integers(0, 256, (7, 5, 3), dtype=np.uint8) for _ in range(count)]
    pairs = [distance(a, b) for i, a in enumerate(images) for b in images[:i]]
    assert scales._mean_distance(images) == pytest.approx(np.mean(pairs) if pairs else 0, rel=1e-14)
    with pytest.raises(InputError, match="allowed: of one shape"):
        scales._mean_distance([images[0], images[0][:5]])
