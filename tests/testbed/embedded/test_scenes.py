"""The scene renderer: seeded, captioned, with splits that never overlap."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.embedded import models, scenes

ANY = [c for name in scenes.CLASSES for c in scenes.captions(name, "train")]


def test_splits_are_disjoint_and_cover_the_grammar():
    for name in scenes.CLASSES:
        parts = [{c.text for c in scenes.captions(name, split)} for split in scenes.SPLITS]
        assert all(len(part) >= 80 for part in parts)
        for a, b in itertools.combinations(parts, 2):
            assert not a & b
    everything = [
        c.text
        for name in scenes.CLASSES
        for split in scenes.SPLITS
        for c in scenes.captions(name, split)
    ]
    assert (
        len(everything) == len(set(everything)) == 8 * 7 * 2 * 5 + 8 * 7 * 2 * 4 * 4 + 56 * 4 * 42
    )


def test_the_same_seed_gives_the_same_scene_everywhere():
    """Pinned digests: a change of the drawing, of the random stream or of the order of captions
    shows here.
    """
    digests = {}
    for name in scenes.CLASSES:
        digest = hashlib.sha256()
        for seed, caption in enumerate(scenes.captions(name, "held-out")[:20]):
            digest.update(scenes.render(caption, seed).tobytes())
        digests[name] = digest.hexdigest()[:16]
    assert digests == GOLDEN


GOLDEN = {"object": "9db6f76fb5d85d44", "scene": "0ec2e6ba25627400", "relation": "8636e4c7b702d4bc"}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ANY), st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_scene_is_a_function_of_caption_and_seed(caption, seed, other):
    image = np.asarray(scenes.render(caption, seed))
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert (image == np.asarray(scenes.render(caption, seed))).all()
    if seed != other:
        assert (image != np.asarray(scenes.render(caption, other))).any()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ANY), st.integers(0, 1000))
def test_objects_are_drawn_in_their_colour_over_the_same_background(caption, seed):
    image = np.asarray(scenes.render(caption, seed)).astype(int)
    ground = np.asarray(scenes.render(caption, seed, objects=False)).astype(int)
    covered = (image != ground).any(-1)
    assert 0.005 < covered.mean() < 0.5
    colours = [fact for fact in caption.facts if fact in scenes.COLOURS]
    for colour in colours:
        exact = (image == np.array(scenes.COLOURS[colour])).all(-1)
        assert exact[covered].sum() >= 10, f"no {colour} in {caption.text}"


@pytest.mark.parametrize(
    "relation, axis, sign",
    [("left of", 1, -1), ("right of", 1, 1), ("above", 0, -1), ("below", 0, 1)],
)
def test_relations_place_the_first_object_as_said(relation, axis, sign):
    chosen = [c for c in scenes.captions("relation", "train") if relation in c.text][:20]
    for caption in chosen:
        image = np.asarray(scenes.render(caption, 0)).astype(int)
        first, second = (
            np.argwhere((image == np.array(scenes.COLOURS[colour])).all(-1)).mean(0)[axis]
            for colour in (caption.facts[0], caption.facts[3])
        )
        assert (first - second) * sign > 5, caption.text


def test_every_word_is_one_token_and_every_caption_fits():
    tokenizer = models.tokenizer()
    for caption in ANY[::7]:
        ids = tokenizer(caption.text).input_ids
        assert len(ids) == len(caption.text.split()) + 2 <= models.MAX_TOKENS
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == caption.text


def test_unknown_class_and_split_are_refused():
    with pytest.raises(ValueError, match="allowed: train"):
        scenes.captions("object", "test")
    with pytest.raises(ValueError, match="allowed: object"):
        scenes.captions("animal", "train")
