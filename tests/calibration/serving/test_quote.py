"""Quotes on arrival, held against the simulator and against draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.costs.batch import fit_batching, seconds
from calibration.serving.quote import Ahead, Quoter
from calibration.serving.quotes import LEAST, Quotes
from calibration.serving.simulator import simulate
from solver.inputs import InputError

CAP = 4


def cost(rng, repeats):
    """Fitted to timings with 5 % noise, each of 1, 2, 4 and 8 requests several times."""
    sizes = np.repeat([1, 2, 4, 8], repeats)

    def timed(alpha, beta):
        return sizes, (alpha * sizes + beta) * np.exp(0.05 * rng.normal(size=len(sizes)))

    return fit_batching(timed(0.3, 1.0), timed(0.1, 0.2), timed(0.4, 0.1))


COST = cost(np.random.default_rng(0), 12)
TABLES = {
    name: [0.0, *(seconds(getattr(COST, name), b) for b in range(1, CAP + 1))]
    for name in ("tick", "text", "decode")
}


def simulated(iterations, wanted, factor=1.0):
    """Completion of the last of several requests that come at once, by the simulator."""
    tick, text, decode = (lambda b, table=TABLES[n]: factor * table[b] for n in TABLES)
    arrivals = np.zeros(len(iterations) + 1)
    return simulate(arrivals, [*iterations, wanted], tick, CAP, "first_come", text, decode)


@settings(max_examples=50, deadline=None)
@given(ahead=st.lists(st.integers(1, 9), max_size=9), most=st.integers(1, 12))
def test_a_quote_is_what_the_simulator_says_of_each_number_of_iterations(ahead, most):
    quote = Quoter(COST, CAP).quote([Ahead(n, False) for n in ahead], most)
    expected = [simulated(ahead, s + 1).finished[-1] for s in range(most)]
    np.testing.assert_allclose(quote.seconds, expected, rtol=1e-12)
    assert (quote.low < quote.seconds).all() and (quote.seconds < quote.high).all()
    backlog = Quoter(COST, CAP).backlog([Ahead(n, False) for n in ahead])
    told = backlog.options(0.0, most)
    np.testing.assert_allclose(told.seconds[1:], expected, rtol=1e-12)
    assert (told.shared[1:] <= quote.seconds + 1e-9).all()


@settings(max_examples=30, deadline=None)
@given(ahead=st.lists(st.integers(2, 9), min_size=1, max_size=4), gone=st.integers(1, 8))
def test_requests_on_their_way_are_neither_encoded_again_nor_started_over(ahead, gone):
    """The same queue some iterations later is quoted what then is left of the first quote."""
    gone = min(gone, min(ahead) - 1)
    quoter = Quoter(COST, CAP + 1 if len(ahead) == CAP else CAP)
    later = quoter.quote([Ahead(n - gone, True) for n in ahead], 3, underway=0.5)
    begun = quoter.quote([Ahead(n - gone, False) for n in ahead], 3)
    text = quoter.calls.text
    seen = quoter.backlog([Ahead(n - gone, True) for n in ahead], underway=0.5)
    np.testing.assert_allclose(seen.options(0.0, 3).seconds[1:], later.seconds)
    if len(ahead) < quoter.cap:  # all encoded in one call, against the own text alone
        first = later.seconds - 0.5 + text[len(ahead) + 1] - text[1]
        np.testing.assert_allclose(first, begun.seconds)


def test_intervals_hold_what_costs_and_noise_do():
    """Of worlds drawn around the fit, 95 % of the completions lie inside."""
    rng, inside = np.random.default_rng(1), []
    ahead = [Ahead(n, False) for n in (5, 7, 3, 6, 4)]
    for _ in range(100):
        quote = Quoter(cost(rng, 5), CAP).quote(ahead, 6)

        def noisy(alpha, beta):
            return lambda b: (alpha * b + beta) * np.exp(0.05 * rng.normal())

        # the simulator asks once for each size, so the noise of calls is drawn once a size
        true = simulate(
            np.zeros(6),
            [5, 7, 3, 6, 4, 6],
            lambda b: 0.3 * b + 1.0,
            CAP,
            "first_come",
            noisy(0.1, 0.2),
            noisy(0.4, 0.1),
        ).finished[-1]
        inside.append(quote.low[-1] <= true <= quote.high[-1])
    assert 0.9 <= np.mean(inside) <= 1.0


def test_corrections_give_intervals_that_hold_and_know_what_was_met():
    """The more a request meets, and the more it asks for, the longer than predicted it takes."""
    rng, quotes, inside = np.random.default_rng(2), Quotes(), []
    for count, met in enumerate(rng.integers(1, 9, (700, 2)).astype(float)):
        _, low, high = quotes.factors(met[None], np.ones((3, 1)))[:, 0]
        assert (low == high) == (count < LEAST)
        ratio = met[0] ** 0.4 * met[1] ** 0.1 * np.exp(0.1 * rng.normal())
        inside.append(low <= ratio <= high)
        quotes.finished(ratio, met, inside[-1])
    told = quotes.factors(np.array([[1.0, 1.0], [8.0, 1.0], [8.0, 8.0]]), np.ones((3, 3)))
    assert told[0] == pytest.approx([1.0, 8**0.4, 8**0.5], rel=0.05)
    assert told[2] / told[1] == pytest.approx(np.exp(2 * 1.96 * 0.1), rel=0.15)
    assert 0.93 <= np.mean(inside[100:]) <= 0.97


def test_the_first_few_tell_the_speed_of_the_machine():
    quotes, met, first = Quotes(), np.ones(3), np.array([[1.0], [0.7], [1.5]])
    assert quotes.factors(met[None], first) == pytest.approx(first)
    for _ in range(LEAST - 1):
        quotes.finished(0.8, met, True)
    told = quotes.factors(met[None], first)
    assert told == pytest.approx(0.8 * first, rel=0.03) and told[0] > 0.8


def test_caps_that_were_not_timed_are_refused():
    for cap in (0, 9):
        with pytest.raises(InputError):
            Quoter(COST, cap)
