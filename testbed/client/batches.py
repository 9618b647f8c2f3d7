"""What batches cost on a server, seen from outside: requests sent at once, timed by how many."""

from collections.abc import Sequence

from testbed.client.remote import RemotePlace
from testbed.engines.request import Request, all_made
from testbed.engines.timing import BatchTimings

ROUNDS = 6
_LEAST = 1e-6  # s


def time_concurrency(
    place: RemotePlace,
    prompts: Sequence[str],
    guidance: float,
    sizes: Sequence[int],
    grid: Sequence[int],
    rounds: int = ROUNDS,
) -> BatchTimings:
    """Send each of ``sizes`` requests at once, ``rounds`` times; a first round warms up.

    Two groups of requests are alike but for their steps, the least and the largest of ``grid``,
    which the server is known to take: what more steps take is what steps take. An iteration's time
    is the slope of the longest server time of a group over its steps: that of a batch where the
    server has one, and of as many requests one after the other where it has not. The rest is text
    encoding and decoding together; half counts as each, as nobody outside can tell them apart.
    Raises :class:`testbed.client.exchange.ServerFault` where a request is refused.
    """
    timed: list[int] = []
    tick: list[float] = []
    rest: list[float] = []
    few, many = min(grid), max(grid)
    for turn in range(rounds + 1):
        for size in sorted(sizes, reverse=turn % 2 == 1):
            short, long = (_longest(place, prompts, guidance, size, n) for n in (few, many))
            if turn:
                timed.append(size)
                tick.append(max(_LEAST, (long - short) / (many - few)))
                rest.append(max(_LEAST, (short - few * tick[-1]) / 2))
    at = tuple(timed)
    return BatchTimings((at, tuple(tick)), (at, tuple(rest)), (at, tuple(rest)), None)


def _longest(
    place: RemotePlace, prompts: Sequence[str], guidance: float, size: int, steps: int
) -> float:
    """The longest time of the server, in s, of ``size`` requests at once."""
    requests = [Request(prompts[i % len(prompts)], i, steps, guidance) for i in range(size)]
    made = [each.about for each in all_made(place.engine(size).run(requests))]
    if place.tells_queue:
        return max(about.time for about in made)
    # what a request waits for there is not in the server's own seconds: the rest is the way
    ways = [about.transfer for about in made if about.transfer is not None]
    return max(way.total for way in ways) - min(way.seconds for way in ways)
