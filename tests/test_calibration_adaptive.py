"""The adaptive sweep on a made-up testbed: it reaches its width, at little cost, and the same way again."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from calibration.adaptive import LEAST_STEPS, AdaptiveSweep, Curved, spread_out
from calibration.samples import sample
from solver.inputs import InputError
from tests.calibration_world import CLASSES, GRID, MODELS, World, units


def begin(width=0.1, supply=400, pilot=6, seeds=(0,)):
    prompts = {name: [f"{name} {index}" for index in range(supply)] for name in CLASSES}
    return AdaptiveSweep(MODELS, prompts, list(seeds), GRID, 96, pilot, width)


def measure(sweep, world, store):
    """Run it to its end; the records of the last round."""
    while True:
        tasks = sweep.tasks()
        for task in tasks:
            if task.id not in store:
                store[task.id] = world.record(task)
        records = [store[task.id] for task in tasks]
        if not sweep.grow(records, units()):
            return records


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
        for task in tasks:
            store.setdefault(task.id, world.record(task))
        if not sweep.grow([store[task.id] for task in tasks], units()):
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
        self.calm, self.wild = World(seed, noise=0.4), World(seed)

    def record(self, task):
        return (self.calm if task.prompt_class == "object" else self.wild).record(task)


def test_classes_that_vary_more_get_more_prompts_and_only_error_needs_converged_images():
    sweep = begin(width=0.06)
    measure(sweep, Uneven(seed=3), {})
    used = {name: len(some) for name, some in sweep.wanted.items()}
    assert min(used["scene"], used["relation"]) > 2 * used["object"]
    without = [counts for one in sweep.wanted["relation"] for counts in one.values() if 96 not in counts]
    assert without, "some prompts are there for utility or time alone"


def test_prompts_that_run_out_are_followed_by_seeds_and_then_it_says_what_is_missing():
    sweep = begin(width=0.01, supply=8, seeds=(0, 1))
    records = measure(sweep, World(seed=1), {})
    assert {record["asked"]["seed"] for record in records} == {0, 1}
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
        {"asked": {"steps": s, "prompt": str(row)}, "measured": {"distance": value}} for row, line in enumerate(table) for s, value in zip(steps, line)
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
    assert set(chosen) <= steps and len(chosen) == min(10, len(steps)) and chosen == sorted(set(chosen))
    assert {min(steps), max(steps)} <= set(chosen)


def test_a_pilot_too_small_to_vary_is_refused():
    with pytest.raises(InputError, match="prompts_per_class: found 2; allowed: at least 3"):
        begin(pilot=2)
