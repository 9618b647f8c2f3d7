"""What a busy neighbour does to times is noticed, and what images do by themselves is not."""

import numpy as np
import pytest

from calibration.records.record import Measured
from calibration.records.split import Split
from calibration.sweep.disturbance import DISTURBED, LEAST, Disturbances, contention
from tests.calibration.world import MODELS

STEP = {"local": 0.02, "edge": 0.2}  # s


def task(place="edge", steps=8, split=None):
    local = MODELS["local"] if split else None
    return MODELS[place].task(
        place=place,
        prompt="a red ball",
        prompt_class="object",
        seed=0,
        steps=steps,
        purpose="user",
        user=0,
        split=split,
        local_model=local,
    )


def timed(*steps, beside=0.05):
    return Measured(0.0, tuple(steps), beside, beside + sum(steps), energy_j=None)


def filled(draw, images=40):
    disturbances = Disturbances()
    for count in draw.choice([1, 2, 4, 8, 32], images):
        image = timed(*(0.02 * (1 + 0.05 * draw.standard_normal(count))))
        assert disturbances.excess(task(), image) < DISTURBED
        disturbances.add(task(), image)
        disturbances.add_steps(task(), image)
    return disturbances


def shared(split, steps, draw=None, beside=0.05):
    """What an image takes that two models share, of which one is ten times as slow."""
    of = np.concatenate([[STEP[place]] * n for place, n in split.parts(steps).items()])
    scatter = 0 if draw is None else 0.05 * draw.standard_normal(steps)
    return timed(*(of * (1 + scatter)), beside=beside)


def test_a_step_that_waited_for_its_core_is_told_by_the_image_itself():
    first = Disturbances()
    assert first.excess(task(), timed(0.02, 0.02, 0.4, 0.02)) > DISTURBED
    assert first.excess(task(), timed(0.02, 0.02, 0.03, 0.02)) < DISTURBED


def test_an_image_of_one_step_is_told_by_the_others_of_its_place():
    disturbances = filled(np.random.default_rng(0))
    assert disturbances.excess(task(), timed(0.2)) > DISTURBED
    assert disturbances.excess(task(), timed(0.02, beside=0.3)) > DISTURBED
    assert disturbances.excess(task("local"), timed(0.2)) == 1.0, "another place, another model"


def test_a_machine_that_became_slower_for_good_is_not_called_disturbed_for_ever():
    disturbances = filled(np.random.default_rng(1))
    for _ in range(30):
        disturbances.add(task(), timed(*[0.05] * 8, beside=0.12))
    assert disturbances.excess(task(), timed(*[0.05] * 8, beside=0.12)) < 1.1


def test_contention_is_named_by_what_shows_it():
    disturbances = filled(np.random.default_rng(2))
    quiet = disturbances.scatter()
    assert contention(quiet, 1.1, 1, 2) is None and contention(None, None, 2, 2) is None
    assert contention(quiet, 3.0, 1, 16) is None, "there are cores enough"
    assert "the load is 2.1 on 2 cores, of which this run makes 1" in contention(None, 2.1, 1, 2)
    for _ in range(30):
        disturbances.add_steps(task(), timed(0.02, 0.02, 0.02, 0.09, 0.08))
    said = contention(disturbances.scatter(), None, 1, 16)
    assert said.startswith("another process takes part of the machine: one step in ten takes more")
    assert "intervals of predicted times get wider" in said


@pytest.mark.parametrize("first", ["local", "edge"])
def test_a_split_image_is_held_against_the_own_steps_of_each_of_its_models(first):
    """That one is ten times as slow is no disturbance; that one of its steps waited is."""
    split, disturbances = Split(first, 4), Disturbances()
    for waited in range(8):
        image = shared(split, 8)
        assert disturbances.excess(task(split=split), image) == 1.0
        longer = list(image.step_times)
        longer[waited] += 5 * longer[waited]
        assert disturbances.excess(task(split=split), timed(*longer)) > DISTURBED


def test_a_split_image_of_few_steps_is_told_by_those_split_in_the_same_order():
    draw, split = np.random.default_rng(3), Split("local", 1)
    disturbances = filled(draw)
    waited = timed(0.02, 0.6)
    assert disturbances.excess(task(steps=2, split=split), waited) == 1.0
    for _ in range(LEAST):
        disturbances.add(task(steps=8, split=split), shared(split, 8, draw))
    assert disturbances.excess(task(steps=2, split=split), shared(split, 2)) < 1.1
    assert disturbances.excess(task(steps=2, split=split), waited) > DISTURBED
    late = shared(split, 2, beside=0.5)
    assert disturbances.excess(task(steps=2, split=split), late) > DISTURBED
    other = Split("edge", 1)
    assert disturbances.excess(task(steps=2, split=other), waited) == 1.0, "another order"
    assert disturbances.excess(task(steps=1), timed(0.02)) < DISTURBED, "they say nothing of others"


def test_the_steps_of_two_models_do_not_scatter():
    split, disturbances = Split("local", 4), Disturbances()
    for _ in range(30):
        disturbances.add_steps(task(split=split), shared(split, 8))
    assert disturbances.scatter() == 1.0
