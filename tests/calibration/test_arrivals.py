"""Arrivals: the rates of the drawn processes, and the traces of others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.arrivals import PROCESSES, draw, lateness, read_trace
from solver.inputs import InputError


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_has_its_mean_rate_and_its_seed(process):
    times = draw(process, 5.0, 20_000, seed=3).times
    assert (np.diff(times) >= 0).all() and times[0] >= 0
    assert len(times) / times[-1] == pytest.approx(5.0, rel=0.15)
    assert (times == draw(process, 5.0, 20_000, seed=3).times).all()
    assert (times != draw(process, 5.0, 20_000, seed=4).times).any()


def test_bursts_vary_more_than_poisson_and_a_day_has_its_noon():
    counts = {name: np.histogram(draw(name, 5.0, 20_000, 1).times, 400)[0] for name in PROCESSES}
    dispersion = {name: float(each.var() / each.mean()) for name, each in counts.items()}
    assert dispersion["poisson"] == pytest.approx(1.0, abs=0.25)
    assert dispersion["bursts"] > 5
    day = counts["diurnal"]
    assert day[150:250].sum() > 3 * (day[:50].sum() + day[350:].sum())


def test_a_trace_of_vllm_omni_gives_times_and_deadlines(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text(
        "Request(request_id='a', timestamp=12.5, width=512, height=512, "
        "num_inference_steps=20, seed=1, slo_ms=1500)\n\n"
        "Request(timestamp=10.0, prompt='a red ball')\n"
    )
    trace = read_trace(path)
    assert trace.times.tolist() == [0.0, 2.5]
    assert trace.deadlines.tolist() == [np.inf, 1.5]
    played = draw(str(path), 2.0, 5, seed=0)
    assert len(played.times) / 2.0 == pytest.approx(played.times[-1] + 0.5)
    assert played.deadlines.tolist() == [np.inf, 1.5, np.inf, 1.5, np.inf]


def test_counts_of_each_minute_are_summed_over_functions(tmp_path):
    path = tmp_path / "invocations.csv"
    path.write_text("HashApp,Trigger,1,2,3\na,http,2,0,1\nb,timer,1,0,0\n")
    times = read_trace(path).times
    assert np.histogram(times, [0, 60, 120, 180])[0].tolist() == [3, 0, 1]
    path.write_text("1,2,10\n1,1,1\n")  # the minutes between had nobody
    assert np.floor(read_trace(path).times / 60).tolist() == [0, 1, 9]


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("t.txt", "Request(timestamp=1)\nimport os\n", "line 2: found 'import os'; allowed: Req"),
        ("t.txt", "Request(timestamp=open('x'))\n", "line 1: found "),
        ("t.txt", "Request(extra={[1]: 2})\n", "line 1: found "),
        ("t.txt", "Request(timestamp='now')\nRequest()\n", "line 1: timestamp: found 'now'"),
        ("t.txt", "Request(slo_ms=-1)\nRequest()\n", "line 1: slo_ms: found -1"),
        ("t.txt", "Request()\n", "found 1 requests; allowed: at least 2"),
        ("t.csv", "a,b\n1,2\n", "found no column 1, 2"),
        ("t.csv", "a,1\nx,many\n", "counts: found"),
        ("t.csv", "a,1\nx,1\n", "counts: found 1 requests; allowed: at least 2"),
        ("t.csv", f"1,2\n3,{10**30}\n", "counts: found .* requests; allowed: at least 2, at most"),
        ("t.csv", "1,2\n3,-1\n", "counts: found -1; allowed: at least 0"),
        ("t.csv", f'1,2\n"{"x" * 200_000}",1\n', "cannot be read: field larger"),
        ("t.csv", f"\u00b2,{'9' * 5000}\n3,4\n", "found no column 1, 2"),
        ("t.txt", f"Request(timestamp={10**400})\n", "line 1: timestamp: found 1000"),
        (
            "t.txt",
            "Request(timestamp=1e308)\nRequest(timestamp=-1e308)",
            "line 1: timestamp: found",
        ),
        ("t.txt", "Request(timestamp=True)\n", "line 1: timestamp: found True"),
        ("t.txt", f"Request(slo_ms={10**400})\n", "line 1: slo_ms: found 1000"),
    ],
)
def test_what_is_no_trace_is_refused_in_one_line(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as refused:
        read_trace(path)
    assert "\n" not in str(refused.value) and str(refused.value).startswith(str(path))


def test_a_trace_may_begin_with_a_mark_and_hold_any_separator(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text("\ufeffRequest(timestamp=0, prompt='a\u2028b')\r\nRequest(timestamp=2)\r\n")
    assert read_trace(path).times.tolist() == [0, 2]


@pytest.mark.parametrize("process", PROCESSES)
def test_a_rate_or_a_number_of_requests_beyond_every_clock_is_refused_not_waited_for(process):
    for rate, count in ((5e-324, 5), (1e308, 5), (float("nan"), 5), (1.0, 10**9), (1.0, 10**5000)):
        with pytest.raises(InputError, match="^(rate|requests): found") as refused:
            draw(process, rate, count, 0)
        assert len(str(refused.value)) < 300
    with pytest.raises(InputError, match="a trace file"):
        draw("a" * 5000, 1.0, 3, 0)


def test_requests_at_one_moment_have_no_rate(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text("Request(timestamp=1)\n" * 3)
    with pytest.raises(InputError, match="all requests at one moment"):
        draw(str(path), 1.0, 3, 0)
    with pytest.raises(InputError, match="arrivals: found 'posson'; allowed: poisson"):
        draw("posson", 1.0, 3, 0)
    with pytest.raises(InputError, match="rate: found 0 requests"):
        draw("poisson", 0.0, 3, 0)


def test_of_one_request_a_trace_has_no_rate(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text("Request()\nRequest()\n")
    with pytest.raises(InputError, match="requests: found 1; allowed with a trace: at least 2"):
        draw(str(path), 1.0, 1, seed=0)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20))
def test_lateness_counts_nobody_as_early(scheduled):
    late = lateness(scheduled, [at - 1 for at in scheduled])
    assert late == {"median": 0.0, "p99": 0.0, "largest": 0.0}
    late = lateness(scheduled, [at + 0.5 for at in scheduled])
    assert late["median"] == pytest.approx(0.5) and late["largest"] == pytest.approx(0.5)
