"""The adaptive sweep on a made-up testbed: it reaches its width, at little cost, and the same way
again.
"""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.records.record import as_of
from calibration.sweep.adaptive import AdaptiveSweep, spread_out
from calibration.sweep.cells import UNSEEN, CurveCell
from calibration.sweep.costs import EvaluationCosts, measured_costs
from calibration.sweep.outcome import SweepRound
from solver.inputs import InputError
from tests.calibration.world import GRID, MODELS, World, record, scales

CLASSES = ("object", "relation")


def begin(width=0.2, supply=400, pilot=6, seeds=(0,), timed=None):
    prompts = {name: [f"{name} {index}" for index in range(supply)] for name in CLASSES}
    return AdaptiveSweep(MODELS, prompts, list(seeds), GRID, 96, pilot, width, timed=timed)


def measure(sweep, world, store, rounds=None):
    """Run it to its end; the records of the last round. ``rounds`` takes the tasks of each."""
    while True:
        tasks = sweep.tasks()
        if rounds is not None:
            rounds.append(tasks)
        if not sweep.grow(records := answer(tasks, world, store), scales()):
            return records


def answer(tasks, world, store):
    """The tasks' records, as an executor returns them."""
    store |= {task.id: world.record(task) for task in tasks if task.id not in store}
    return as_of(tasks, [store[task.id] for task in tasks])


def widths(sweep):
    """Every row of its outcome."""
    return [row for of_place in sweep.outcome().values() for row in of_place.widths]


@pytest.fixture(scope="module")
def finished():
    sweep, rounds = begin(), []
    return sweep, measure(sweep, World(seed=3), {}, rounds), rounds


def test_every_interval_reaches_the_width(finished):
    outcome = finished[0].outcome()
    rows = widths(finished[0])
    assert outcome.keys() == set(MODELS) and len(rows) == 2 * len(CLASSES) * 4
    assert all(row.reached and row.half_width <= 0.2 for row in rows)


def test_it_takes_less_than_a_third_of_the_uniform_grid(finished):
    outcome = finished[0].outcome()
    for place in MODELS:
        records = [record for record in finished[1] if record.task.place == place]
        evaluations = sum(record.task.steps for record in records)
        assert outcome[place].evaluations == evaluations
        assert outcome[place].rounds[-1] == SweepRound(len(records), evaluations)
    taken = sum(of_place.evaluations for of_place in outcome.values())
    assert sum(of_place.uniform_evaluations for of_place in outcome.values()) > 3 * taken


def test_no_task_is_ever_dropped_or_asked_twice(finished):
    before = []
    for tasks in finished[2]:
        assert tasks[: len(before)] == before and len({task.id for task in tasks}) == len(tasks)
        before = tasks
    assert len(finished[2]) > 1


def test_it_goes_the_same_way_again_from_its_records(finished):
    store = {record.id: record for record in finished[1]}
    again = begin()
    assert measure(again, None, store) == finished[1]
    assert again.outcome() == finished[0].outcome()


def test_a_finished_sweep_is_narrowed_without_losing_a_record(finished):
    store, world = {record.id: record for record in finished[1]}, World(seed=3)
    narrower = begin(width=0.15)
    measure(narrower, world, store)
    assert all(row.reached for row in widths(narrower))
    assert store.keys() > {record.id for record in finished[1]}


class Uneven:
    """A world in which one class varies less than the other."""

    def __init__(self, seed):
        self.calm, self.wild = World(seed, noise=0.4), World(seed, noise=4)

    def record(self, task):
        return (self.calm if task.prompt_class == "object" else self.wild).record(task)


@pytest.mark.slow
def test_classes_that_vary_more_get_more_prompts_and_only_error_needs_converged_images():
    sweep = begin(width=0.1)
    measure(sweep, Uneven(seed=3), {})
    used = {name: len(wanted) for name, wanted in sweep.wanted.items()}
    assert used["relation"] > 2 * used["object"]
    without = [
        counts
        for wanted in sweep.wanted["relation"]
        for counts in wanted.values()
        if 96 not in counts
    ]
    assert without, "some prompts are there for utility or time alone"


@pytest.mark.filterwarnings("ignore:sweep.half_width")
def test_prompts_that_cannot_suffice_are_said_beforehand_and_get_no_further_seeds():
    """Further seeds do not show what further prompts would."""
    warned = "half_width: 0.1 takes 60 prompts of 'object', there are 20: its errors will be less"
    with pytest.warns(UserWarning, match=warned):
        sweep = begin(width=0.1, supply=20, seeds=(0, 1, 2, 3))
    records = measure(sweep, World(seed=3, noise=0.3), {})
    assert sum(record.task.purpose == "converged" for record in records) == 20 * len(CLASSES) * len(
        MODELS
    )
    errors = [row.half_width for row in widths(sweep) if row.quantity == "error"]
    assert errors == [pytest.approx(UNSEEN / 20)] * len(errors)


@pytest.mark.filterwarnings("ignore:sweep.half_width")
def test_prompts_that_run_out_are_followed_by_seeds_and_then_it_says_what_is_missing():
    sweep = begin(width=0.01, supply=8, seeds=(0, 1))
    records = measure(sweep, World(seed=1), {})
    samples = {(record.task.prompt, record.task.seed) for record in records}
    assert len(samples) == 2 * 8 * len(CLASSES), "each prompt with two noises"
    rows = widths(sweep)
    assert not all(row.reached for row in rows)
    assert all(row.reached == (row.half_width <= 0.01) for row in rows)
    assert all(len(of_place.rounds) < 10 for of_place in sweep.outcome().values())


@given(st.sets(st.integers(1, 200), min_size=1, max_size=60))
def test_the_pilot_spreads_over_the_grid(steps):
    chosen = spread_out(steps)
    assert (
        set(chosen) <= steps
        and len(chosen) == min(10, len(steps))
        and chosen == sorted(set(chosen))
    )
    assert {min(steps), max(steps)} <= set(chosen)


def test_only_the_first_prompts_of_a_pilot_are_timed_and_the_time_still_reaches_its_width():
    sweep = begin(width=0.3, timed=2)
    assert Counter(task.purpose for task in sweep.tasks()) == {
        "sweep": 2 * 2 * len(CLASSES) * len(GRID),
        "untimed": 4 * 2 * len(CLASSES) * len(GRID),
        "converged": 6 * 2 * len(CLASSES),
    }
    measure(sweep, World(seed=3), {})
    assert all(row.reached for row in widths(sweep))


@pytest.mark.parametrize("costs, of_converged", [(None, 96), (0.02, 96), (0.005, 24)])
def test_what_converged_images_were_measured_to_cost_goes_into_the_choice(
    monkeypatch, costs, of_converged
):
    """Each evaluation once counted alike, whatever the batch that it shared."""
    asked, real = set(), CurveCell.cheapest

    def cheapest(cell, width, target_cost, most):
        asked.add((cell.quantity, round(target_cost, 9)))
        return real(cell, width, target_cost, most)

    monkeypatch.setattr(CurveCell, "cheapest", cheapest)
    sweep = begin(pilot=3)
    made = answer(sweep.tasks(), World(seed=3), {})
    measured = costs and dict.fromkeys(MODELS, EvaluationCosts(0.02, costs))
    assert sweep.grow(made, scales(), measured)
    assert asked == {("error", of_converged), ("utility", 0)}


def test_costs_are_seconds_of_an_evaluation_in_whatever_batch():
    records = [
        record(purpose=purpose, seed=seed, steps=2, step_times=(each, each), batch=batch)
        for seed in range(3)
        for purpose, each, batch in (("sweep", 9.0, 1), ("untimed", 0.6, 6.0), ("converged", 2, 8))
    ]
    assert measured_costs(records) == {"edge": EvaluationCosts(pytest.approx(0.1), 0.25)}
    assert measured_costs(records)["edge"].of_converged == pytest.approx(2.5)
    assert measured_costs([r for r in records if r.task.purpose != "untimed"]) == {}
    silent = [replace(r, measured=replace(r.measured, step_times=())) for r in records]
    assert measured_costs(silent) == {}, "a server that does not tell its stages"


def test_a_pilot_too_small_to_vary_is_refused():
    with pytest.raises(InputError, match="prompts_per_class: found 2; allowed: at least 3"):
        begin(pilot=2)
