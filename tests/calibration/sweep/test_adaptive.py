"""The adaptive sweep on a made-up testbed: it reaches its width, at little cost, and the same way
again.
"""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.records.prompt_means import sample
from calibration.records.task import known
from calibration.sweep.adaptive import LEAST_STEPS, UNSEEN, AdaptiveSweep, Curved, spread_out
from solver.inputs import InputError
from tests.calibration.world import CLASSES, GRID, MODELS, World, units


def begin(width=0.1, supply=400, pilot=6, seeds=(0,)):
    prompts = {name: [f"{name} {index}" for index in range(supply)] for name in CLASSES}
    return AdaptiveSweep(MODELS, prompts, list(seeds), GRID, 96, pilot, width)


def measure(sweep, world, store):
    """Run it to its end; the records of the last round."""
    while True:
        tasks = sweep.tasks()
        if not sweep.grow(records := answer(tasks, world, store), units()):
            return records


def answer(tasks, world, store):
    """The tasks' records, as an executor returns them."""
    store |= {task.id: world.record(task) for task in tasks if task.id not in store}
    return known(tasks, [store[task.id] for task in tasks])


@pytest.fixture(scope="module")
def finished():
    sweep = begin()
    return sweep, measure(sweep, World(seed=3), {})


def test_every_interval_reaches_the_width(finished):
    outcome = finished[0].outcome()
    assert len(outcome["widths"]) == 2 * len(CLASSES) * 4
    assert all(row["reached"] and row["half_width"] <= 0.1 for row in outcome["widths"])


def test_it_takes_less_than_a_third_of_the_uniform_grid(finished):
    outcome = finished[0].outcome()
    assert outcome["evaluations"] == sum(record["asked"]["steps"] for record in finished[1])
    assert outcome["uniform_evaluations"] > 3 * outcome["evaluations"]


def test_no_task_is_ever_dropped_or_asked_twice():
    sweep, store, world, before = begin(), {}, World(seed=3), []
    while True:
        tasks = sweep.tasks()
        assert tasks[: len(before)] == before and len({task.id for task in tasks}) == len(tasks)
        before = tasks
        if not sweep.grow(answer(tasks, world, store), units()):
            return


def test_it_goes_the_same_way_again_from_its_records(finished):
    store = {record["id"]: record for record in finished[1]}
    again = begin()
    assert measure(again, None, store) == finished[1]
    assert again.outcome() == finished[0].outcome()


def test_a_finished_sweep_is_narrowed_without_losing_a_record(finished):
    store, world = {record["id"]: record for record in finished[1]}, World(seed=3)
    narrower = begin(width=0.07)
    measure(narrower, world, store)
    assert all(row["reached"] for row in narrower.outcome()["widths"])
    assert store.keys() > {record["id"] for record in finished[1]}


class Uneven:
    """A world in which one class varies less than the others."""

    def __init__(self, seed):
        self.calm, self.wild = World(seed, noise=0.4), World(seed, noise=4)

    def record(self, task):
        return (self.calm if task.prompt_class == "object" else self.wild).record(task)


def test_classes_that_vary_more_get_more_prompts_and_only_error_needs_converged_images():
    sweep = begin()
    measure(sweep, Uneven(seed=3), {})
    used = {name: len(some) for name, some in sweep.wanted.items()}
    assert min(used["scene"], used["relation"]) > 2 * used["object"]
    without = [
        counts for one in sweep.wanted["relation"] for counts in one.values() if 96 not in counts
    ]
    assert without, "some prompts are there for utility or time alone"


def rarely_far_off(count, lucky):
    """Errors of prompts of which one in ten errs five times as much, the first ``lucky`` of them
    all alike but for a tenth.
    """
    rng = np.random.default_rng(2)
    return [
        {
            "asked": {"steps": steps, "prompt": str(row)},
            "measured": {"distance": times * np.exp(-0.1 * steps) * (1 + 0.1 * rng.normal())},
        }
        for row, times in (
            (row, 5.0 if row >= lucky and row % 10 == 0 else 1.0) for row in range(count)
        )
        for steps in (1, 2, 4, 8, 16, 32)
    ]


def test_a_few_lucky_prompts_do_not_end_the_sweep_of_an_error():
    """Twenty of them agree within a tenth, and miss a third of the mean error: the half-width says
    so.
    """
    few, many = (
        Curved("edge", "all", "error", sample(rarely_far_off(count, 20), "distance", 0.0, 1.0))
        for count in (20, 200)
    )
    assert few.half_width() == UNSEEN / 20 == 0.3
    assert few.half_widths()["scale"][0] < 0.8 * many.half_widths()["scale"][0]
    assert few.cheapest(0.1, 96, 200)[1] == 40, (
        "as many more as could show what one prompt in twenty does"
    )
    utility = Curved(
        "edge", "all", "utility", sample(rarely_far_off(20, 20), "distance", 1.0, -1.0)
    )
    assert utility.half_width() < UNSEEN / 20, (
        "a score is bounded: no prompt errs many times as much as others"
    )


@pytest.mark.filterwarnings("ignore:sweep.half_width")
def test_prompts_that_cannot_suffice_are_said_beforehand_and_further_seeds_are_not_spent_on_what_they_cannot_show():
    with pytest.warns(
        UserWarning,
        match="half_width: 0.1 takes 60 prompts of 'object', there are 20: its errors will be less sure",
    ):
        sweep = begin(supply=20, seeds=(0, 1, 2, 3))
    records = measure(sweep, World(seed=3, noise=0.3), {})
    assert sum(record["asked"]["purpose"] == "converged" for record in records) == 20 * len(
        CLASSES
    ) * len(MODELS)
    widths = [row["half_width"] for row in sweep.outcome()["widths"] if row["quantity"] == "error"]
    assert widths == [pytest.approx(UNSEEN / 20)] * len(widths)


@pytest.mark.filterwarnings("ignore:sweep.half_width")
def test_prompts_that_run_out_are_followed_by_seeds_and_then_it_says_what_is_missing():
    sweep = begin(width=0.01, supply=8, seeds=(0, 1))
    records = measure(sweep, World(seed=1), {})
    samples = {(record["asked"]["prompt"], record["asked"]["seed"]) for record in records}
    assert len(samples) == 2 * 8 * len(CLASSES), "each prompt with two noises"
    rows = sweep.outcome()["widths"]
    assert not all(row["reached"] for row in rows)
    assert all(row["reached"] == (row["half_width"] <= 0.01) for row in rows)
    assert len(sweep.outcome()["rounds"]) < 10


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.5))
def test_the_cheapest_extension_is_the_cheapest_of_all(seed, width):
    """Against every set of step counts that is allowed, and every number of prompts."""
    rng = np.random.default_rng(seed)
    steps = [1, 2, 4, 8, 16, 32]
    prompt = np.exp(0.4 * rng.normal(size=(8, 1)))
    table = np.exp(-0.1 * np.array(steps)) * prompt * (1 + 0.2 * rng.normal(size=(8, 6)))
    records = [
        {"asked": {"steps": s, "prompt": str(row)}, "measured": {"distance": value}}
        for row, line in enumerate(table)
        for s, value in zip(steps, line)
    ]
    cell = Curved("edge", "all", "error", sample(records, "distance", 0.0, 1.0))
    found, extra = cell.cheapest(width, 96, 60)
    best = np.inf
    for size in range(LEAST_STEPS - 2, 5):
        for inner in combinations(range(1, 5), size):
            chosen = [0, *inner, 5]
            fit = [n for n in range(61) if cell._expected(chosen, n) <= width]
            if fit:
                best = min(best, cell._cost(chosen, fit[0], 96))
    if best < np.inf:
        assert cell._cost([steps.index(s) for s in found], extra, 96) == best
    else:
        assert (found, extra) == (steps, 60)


@given(st.sets(st.integers(1, 200), min_size=1, max_size=60))
def test_the_pilot_spreads_over_the_grid(steps):
    chosen = spread_out(steps)
    assert (
        set(chosen) <= steps
        and len(chosen) == min(10, len(steps))
        and chosen == sorted(set(chosen))
    )
    assert {min(steps), max(steps)} <= set(chosen)


def test_a_pilot_too_small_to_vary_is_refused():
    with pytest.raises(InputError, match="prompts_per_class: found 2; allowed: at least 3"):
        begin(pilot=2)
