"""The backlog against the simulator of the whole stream, and what it tells against what happens."""

import copy

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibration.serving.simulator import simulate
from solver.inputs import InputError
from solver.online import Backlog, Calls
from solver.online.calls import PRIOR, RECENT
from tests.solver.online.worlds import CALLS

requests = st.lists(
    st.tuples(st.integers(0, 60).map(lambda n: n / 32), st.integers(1, 9)), min_size=1, max_size=14
)


def calls_of(cap):
    sizes = np.arange(1, cap + 1)
    return Calls.of(0.25 + 0.125 * sizes, 0.0625 * sizes, 0.5 * np.ones(cap))


@given(requests, st.integers(1, 5))
def test_requests_are_done_when_the_simulation_of_the_stream_says(asked, cap):
    arrivals, steps = zip(*sorted(asked))
    calls = calls_of(cap)
    expected = simulate(
        arrivals,
        steps,
        lambda b: calls.tick[b],
        cap,
        "first_come",
        lambda b: calls.text[b],
        lambda b: calls.decode[b],
    )
    backlog, done = Backlog(calls), []
    for index, (arrival, count) in enumerate(zip(arrivals, steps)):
        done += backlog.advance(arrival)
        backlog.add(index, count)
        running = [each for these in backlog._running.values() for each in these]
        assert backlog.present == len(running) == index + 1 - len(done)
        assert backlog.left == sum(each.last - max(each.first, backlog._at) + 1 for each in running)
    done += backlog.drain()
    assert backlog.present == backlog.left == 0
    finished = np.full(len(steps), np.nan)
    for name, at, _ in done:
        finished[name] = at
    assert finished == pytest.approx(expected.finished)
    busy = expected.log["end"] - expected.log["start"]
    assert backlog.busy == pytest.approx(busy.sum())
    assert sum(shared for _, _, shared in done) == pytest.approx(backlog.busy)


def total(backlog, weights):
    """What the delays of all present cost, and the busy seconds, when it runs empty."""
    ends = {name: at for name, at, _ in backlog.drain()}
    return {name: weights[name] * at for name, at in ends.items()}, ends, backlog.busy


# two end with one iteration, and one of them was late anyway
@example([(0.0, 1), (0.0, 2), (0.0, 2), (0.0, 3), (1 / 32, 2)], 3, 0.0)
@settings(max_examples=40)
@given(requests, st.integers(1, 4), st.integers(0, 31).map(lambda n: n / 16))
def test_options_tell_what_taking_a_request_on_does_to_it_and_to_the_others(asked, cap, later):
    backlog, weights, dues = Backlog(calls_of(cap)), {}, {}
    for index, (arrival, count) in enumerate(sorted(asked)):
        backlog.advance(arrival)
        weights[index], dues[index] = 0.5 + index % 3, arrival + count * 0.75 + 2
        backlog.add(index, count, weights[index], dues[index])
    now = max(arrival for arrival, _ in asked) + later
    backlog.advance(now)
    options = backlog.options(now, 9)
    without, before, busy = total(copy.deepcopy(backlog), weights)
    for steps in (1, 2, 5, 9):
        other = copy.deepcopy(backlog)
        other.add(-1, steps)
        with_it, ends, longer = total(other, weights | {-1: 0.0})
        done = dict((name, shared) for name, _, shared in _replayed(backlog, steps))
        assert options.seconds[steps] == pytest.approx(ends[-1] - now)
        assert options.added[steps] == pytest.approx(longer - busy)
        harm = sum(with_it[name] - cost for name, cost in without.items())
        assert options.harm[steps] == pytest.approx(harm, abs=1e-9)
        assert options.shared[steps] == pytest.approx(done[-1])
        late = any(ends[name] > dues[name] + 1e-9 >= before[name] for name in without if name >= 0)
        assert options.kept[steps] == (not late)


def _replayed(backlog, steps):
    other = copy.deepcopy(backlog)
    other.add(-1, steps)
    return other.drain()


def test_it_grows_and_forgets_what_is_over():
    backlog = Backlog(CALLS)
    for index in range(3000):
        backlog.advance(index * 0.01)
        backlog.add(index, 8)
    assert backlog.present > 1000 and len(backlog.drain()) and not backlog.present


def test_an_iteration_that_took_longer_moves_what_is_expected():
    backlog = Backlog(CALLS)
    _, last = backlog.add(0, 3)
    backlog.begin(1.0)
    assert backlog.clock == pytest.approx(1.0 + CALLS.tick[1] + CALLS.text[1])
    assert backlog.end(2.0, 0.5, 0.5, 0.0) == []
    pace = float(np.exp(1 / (PRIOR + 1)))  # it took more than e times as long
    assert backlog.pace == pytest.approx(pace)
    ahead = pace * (2 * CALLS.tick[1] + CALLS.decode[1])
    assert backlog.expected(last, 2.0) == pytest.approx(ahead)
    backlog.begin(2.0)
    backlog.end(2.1, 0.0, 0.1, 0.0)
    backlog.begin(2.1)
    ((name, finished, shared),) = backlog.end(2.5, 0.0, 0.3, 0.1)
    assert (name, finished) == (0, 2.5) and shared == pytest.approx(0.5 + 0.5 + 0.1 + 0.3 + 0.1)


def test_what_is_told_is_that_of_the_machines_present_pace():
    """After some iterations, as one of its calls' seconds times the pace tells, to the last."""
    backlogs = [Backlog(calls_of(3)), Backlog(calls_of(3).scaled(1.5))]
    backlogs[0].noise = lambda: 1.5
    for backlog in backlogs:
        for index in range(60):  # by twos, so that there is always somebody
            backlog.add(index, 5, weight=0.5, due=300.0 + 10 * index)
        for at in range(3 * RECENT):
            backlog.advance(float(at))
    slowed, slower = backlogs
    assert slowed.pace == pytest.approx(1.5) and slower.pace == pytest.approx(1)
    assert slowed.present == slower.present > 6
    now = 3.0 * RECENT
    for told, expected in zip(slowed.options(now, 9), slower.options(now, 9)):
        assert told == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "tick, text", [([0.0, 0.1], [0.0, 0.0]), ([0.2, 0.1], [0.0, 0.0]), ([0.1, 0.2], [0.1])]
)
def test_calls_that_cannot_be_are_refused(tick, text):
    with pytest.raises(InputError, match="^calls: "):
        Calls.of(tick, text, [0.0, 0.0])


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=14),
    st.integers(1, 4),
    st.integers(0, 13),
    st.integers(1, 6),
)
def test_who_waits_behind_a_request_that_leaves_begins_earlier(steps, cap, who, when):
    """Against a queue whose first ``cap`` make each iteration."""
    calls, backlog, queue, clock = calls_of(cap), Backlog(calls_of(cap)), [], 0.0

    def join(name, count):
        backlog.add(name, count)
        queue.append({"name": name, "left": count, "shared": 0.0, "new": True})

    for name, count in enumerate(steps):
        join(name, count)
    iteration = 0
    while queue:
        batch, iteration = queue[:cap], iteration + 1
        starts, ends = (sum(each) for each in zip(*((r["new"], r["left"] == 1) for r in batch)))
        spent = calls.text[starts], calls.tick[len(batch)], calls.decode[ends]
        assert backlog.begin(clock) == pytest.approx(sum(spent))
        clock += sum(spent)
        for row in batch:
            row["shared"] += spent[1] / len(batch) + (spent[0] / starts if row["new"] else 0.0)
            row["left"], row["new"] = row["left"] - 1, False
        done = {row["name"]: row["shared"] + spent[2] / ends for row in batch if not row["left"]}
        told = {name: shared for name, _, shared in backlog.end(clock, *spent)}
        assert told == pytest.approx(done)
        queue = [row for row in queue if row["left"]]
        if iteration == when:
            backlog.leave(who)
            queue = [row for row in queue if row["name"] != who]
            join(99, 3)
        assert backlog.left == sum(row["left"] for row in queue)
        assert backlog.present == len(queue)
