"""What a cell of the adaptive sweep says of a width, and its cheapest extension."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.records.prompt_means import prompt_means
from calibration.records.scale import Scale
from calibration.sweep.cells import LEAST_STEPS, UNSEEN, CurveCell, TimeCell
from tests.calibration.world import record


def error_cell(records):
    means = prompt_means(records, Scale("distance", 0.0, 1.0))
    return CurveCell("edge", "all", "error", means)


def rarely_far_off(count, lucky):
    """Errors of prompts of which one in ten errs five times as much, the first ``lucky`` of them
    all alike but for a tenth.
    """
    rng = np.random.default_rng(2)
    return [
        record(
            steps=steps,
            prompt=str(row),
            distance=times * np.exp(-0.1 * steps) * (1 + 0.1 * rng.normal()),
        )
        for row, times in (
            (row, 5.0 if row >= lucky and row % 10 == 0 else 1.0) for row in range(count)
        )
        for steps in (1, 2, 4, 8, 16, 32)
    ]


def test_a_few_lucky_prompts_do_not_end_the_sweep_of_an_error():
    """Twenty of them agree within a tenth, and miss a third of the mean error: the half-width says
    so.
    """
    few, many = (error_cell(rarely_far_off(count, 20)) for count in (20, 200))
    assert few.half_width() == UNSEEN / 20 == 0.3
    assert few.half_widths()["scale"][0] < 0.8 * many.half_widths()["scale"][0]
    assert few.cheapest(0.1, 96, 200)[1] == 40, (
        "as many more as could show what one prompt in twenty does"
    )
    score = Scale("distance", zero=1.0, full=0.0)
    means = prompt_means(rarely_far_off(20, 20), score)
    utility = CurveCell("edge", "all", "utility", means)
    assert utility.half_width() < UNSEEN / 20, (
        "a score is bounded: no prompt errs many times as much as others"
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.5))
def test_the_cheapest_extension_is_the_cheapest_of_all(seed, width):
    """Against every set of step counts that is allowed, and every number of prompts."""
    rng = np.random.default_rng(seed)
    steps = [1, 2, 4, 8, 16, 32]
    prompt = np.exp(0.4 * rng.normal(size=(8, 1)))
    table = np.exp(-0.1 * np.array(steps)) * prompt * (1 + 0.2 * rng.normal(size=(8, 6)))
    records = [
        record(steps=s, prompt=str(row), distance=value)
        for row, line in enumerate(table)
        for s, value in zip(steps, line)
    ]
    cell = error_cell(records)
    chosen_steps, extra = cell.cheapest(width, 96, 60)
    best = np.inf
    for size in range(LEAST_STEPS - 2, 5):
        for inner in combinations(range(1, 5), size):
            chosen = np.isin(range(6), [0, *inner, 5])[None].repeat(61, axis=0)
            fit = np.flatnonzero(cell._expected(chosen, np.arange(61)) <= width)
            if len(fit):
                best = min(best, cell._cost(chosen[:1], fit[:1], 96))
    if best < np.inf:
        assert cell._cost(np.isin([steps], chosen_steps), np.array([extra]), 96) == best
    else:
        assert (chosen_steps, extra) == (steps, 60)


@pytest.mark.parametrize("seed", [0, 2, 5])
def test_where_converged_images_are_cheap_more_prompts_are_taken(seed):
    """The dearer a prompt's converged image, the fewer prompts, at more step counts or as many."""
    rng = np.random.default_rng(seed)
    steps = [1, 2, 4, 8, 16, 32]
    table = np.exp(-0.1 * np.array(steps)) * (1 + 0.4 * rng.normal(size=(8, 6)))
    cell = error_cell(
        [
            record(steps=s, prompt=str(row), distance=value)
            for row, line in enumerate(table)
            for s, value in zip(steps, line)
        ]
    )
    cell.unseen = 0.0
    width = 1.01 * cell._expected(np.full((1, 6), True), np.array([60]))[0]
    choices = [cell.cheapest(width, cost, 400) for cost in (1, 96, 10000)]
    extra = [count for _, count in choices]
    assert extra == sorted(extra, reverse=True) and extra[0] > extra[-1]
    assert len(choices[0][0]) < len(choices[-1][0])


def test_times_that_do_not_rise_with_the_steps_ask_for_all_there_is():
    """As of a server that ignores the number of steps."""
    records = [record(steps=steps, prompt=str(i), time=1.0) for steps in (1, 8) for i in range(3)]
    cell = TimeCell("edge", "all", records)
    assert cell.half_width() == np.inf
    assert cell.cheapest(0.1, 96, 50) == ([1, 8], 50)
