"""What a busy neighbour does to times is noticed, and what images do by themselves is not."""

from dataclasses import replace

import numpy as np

from calibration.records.record import Measured
from calibration.records.split import HandOver
from calibration.sweep.disturbance import DISTURBED, Disturbances, contention


def timed(*steps, beside=0.05):
    return Measured(0.0, tuple(steps), beside, beside + sum(steps), energy_j=None)


def filled(draw, images=40):
    disturbances = Disturbances()
    for count in draw.choice([1, 2, 4, 8, 32], images):
        image = timed(*(0.02 * (1 + 0.05 * draw.standard_normal(count))))
        assert disturbances.excess("edge", image) < DISTURBED
        disturbances.add("edge", image)
        disturbances.add_steps(image)
    return disturbances


def test_a_step_that_waited_for_its_core_is_told_by_the_image_itself():
    first = Disturbances()
    assert first.excess("edge", timed(0.02, 0.02, 0.4, 0.02)) > DISTURBED
    assert first.excess("edge", timed(0.02, 0.02, 0.03, 0.02)) < DISTURBED


def test_an_image_of_one_step_is_told_by_the_others_of_its_place():
    disturbances = filled(np.random.default_rng(0))
    assert disturbances.excess("edge", timed(0.2)) > DISTURBED
    assert disturbances.excess("edge", timed(0.02, beside=0.3)) > DISTURBED
    assert disturbances.excess("local", timed(0.2)) == 1.0, "another place, another model"


def test_a_machine_that_became_slower_for_good_is_not_called_disturbed_for_ever():
    disturbances = filled(np.random.default_rng(1))
    for _ in range(30):
        disturbances.add("edge", timed(*[0.05] * 8, beside=0.12))
    assert disturbances.excess("edge", timed(*[0.05] * 8, beside=0.12)) < 1.1


def test_contention_is_named_by_what_shows_it():
    disturbances = filled(np.random.default_rng(2))
    quiet = disturbances.scatter()
    assert contention(quiet, 1.1, 1, 2) is None and contention(None, None, 2, 2) is None
    assert contention(quiet, 3.0, 1, 16) is None, "there are cores enough"
    assert "the load is 2.1 on 2 cores, of which this run makes 1" in contention(None, 2.1, 1, 2)
    for _ in range(30):
        disturbances.add_steps(timed(0.02, 0.02, 0.02, 0.09, 0.08))
    said = contention(disturbances.scatter(), None, 1, 16)
    assert said.startswith("another process takes part of the machine: one step in ten takes more")
    assert "intervals of predicted times get wider" in said


def test_the_steps_of_two_models_say_nothing():
    split = replace(timed(0.02, 0.02, 0.2, 0.2, 0.2), handover=HandOver(0.05, 0.6, 1024))
    disturbances = filled(np.random.default_rng(0))
    before = disturbances.scatter()
    assert disturbances.excess("edge", split) == 1.0
    for _ in range(100):
        disturbances.add("edge", split)
        disturbances.add_steps(split)
    assert disturbances.scatter() == before
    assert disturbances.excess("edge", timed(0.02)) < DISTURBED
