"""At the limits of what the online solver takes: some kinds' limits, late clocks, long pauses."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.serving.online import serve
from solver.inputs import InputError
from solver.online import Backlog, Outcome, Pace, Tables, certify, find_policy, lower_bound
from solver.online.calls import FORGOTTEN, RECENT
from solver.online.state import Setting
from tests.solver.online.worlds import CALLS, problem, tables


def test_a_limit_of_some_kinds_is_an_infinite_one_of_the_others():
    whole = problem(users=3)
    part = Tables.of(replace(whole, deadline=np.array([0.3, np.inf, np.inf])))
    assert part.deadline.tolist() == [0.3, np.inf, np.inf]
    part = Tables.of(replace(whole, max_error=np.array([np.inf, 0.5, np.inf])))
    free, held = Tables.of(whole).fixed, part.fixed
    assert np.isinf(held[1]).sum() > np.isinf(free[1]).sum()
    assert (held[[0, 2]] == free[[0, 2]]).all()


def test_a_pace_that_a_pause_forgot_stays_forgotten():
    """Also for those who come right after the one who ends the pause."""
    pace = Pace()
    for _ in range(RECENT):
        pace.add(1.0, 2.0)
    backlog = Backlog(CALLS, speed=pace)
    backlog.advance(FORGOTTEN)
    before = backlog.pace
    assert before == pytest.approx(2**0.5)
    backlog.add(0, 3)
    assert backlog.pace == pytest.approx(before)
    backlog.add(1, 3)
    assert backlog.pace == pytest.approx(before), "one pause is forgotten once"
    backlog.advance(FORGOTTEN + 0.01)  # an iteration as expected
    assert 1 < backlog.pace < before


@pytest.mark.parametrize("start", [0.0, 1e10])
def test_an_honest_run_is_certified_whatever_the_clock_says(start):
    """Seconds since 1970, or since an hour ago: differences of late clocks are rounded."""
    world = tables()
    kind, arrival = np.arange(4), start + 10.0 * np.arange(4)
    policy = find_policy("all_edge", Setting(world, CALLS))
    outcome = serve(world, CALLS, kind, arrival, policy).outcome
    bound = lower_bound(world, CALLS, kind, arrival)
    assert certify(world, CALLS, outcome, bound).regret >= 0
    fields = {name: getattr(outcome, name) for name in Outcome.__dataclass_fields__}
    faster = Outcome(**{**fields, "seconds": outcome.seconds - 1e-3})
    with pytest.raises(InputError, match="seconds: found"):
        certify(world, CALLS, faster, bound)


def test_ones_own_policy_that_ends_the_program_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "quits.py").write_text("import sys\ndef now(state):\n    sys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    world = tables()
    policy = find_policy("quits:now", Setting(world, CALLS))
    with pytest.raises(InputError, match="quits:now: SystemExit: 3"):
        serve(world, CALLS, np.zeros(1, int), np.zeros(1), policy)
