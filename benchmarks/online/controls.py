"""The simulation as a control variate of executed streams.

What a policy gains more than another differs from stream to stream, mostly by who asks, when, and
how fast the machine is meanwhile. The simulation of the same stream at the speed that was measured
knows all that, and it costs nothing to simulate many more. So the expected difference is that of
many simulated streams, both policies at the same speeds, plus what executed streams differ from
their own simulations in the mean: unbiased however wrong the simulation is, and the surer the
better it is (Lavenberg and Welch, *Management Science* 27(3), 1981, with a coefficient of 1).
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.online.setting import interval
from calibration.serving.online_run import Asked
from solver.online import lower_bound
from testbed.stages.online.simulate import World, at_speed, setting_of, streams

#: Streams of a cell that are simulated.
STREAMS = 40

Array = NDArray[np.float64]


def simulated(
    place: World,
    process: str,
    load: float,
    requests: int,
    policies: Iterable[str],
    speeds: Sequence[float],
) -> dict[str, Array]:
    """The gain of each policy, of shape (STREAMS,), on streams of the seeds 0, 1, ... and at speeds
    that are spread as ``speeds``, the measured ones, are.
    """
    gains: dict[str, list[float]] = {name: [] for name in policies}
    spread = np.quantile(speeds, (np.arange(STREAMS) + 0.5) / STREAMS).tolist()
    for seed, speed in enumerate(spread):
        asked = Asked(tuple(gains), (load,), process, requests, seed, False)
        ((_, _, stream, bound),) = streams(place, asked)
        setting, calls = setting_of(place, stream, bound, asked), place.calls.scaled(speed)
        bound = lower_bound(stream.tables, calls, stream.kind, stream.arrival)
        for name, values in gains.items():
            values.append(at_speed(place, name, stream, setting, bound, speed)[1].share)
    return {name: np.array(values) for name, values in gains.items()}


def controlled(apart: Sequence[float], expected: Array) -> dict[str, float]:
    """The expected value, and its 95 % interval, of what is ``expected`` of many simulated streams,
    of shape (STREAMS,), and was ``apart`` from its own simulation on two executed ones or more.
    """
    rest, many = interval(apart), interval(expected.tolist())
    value = rest["value"] + many["value"]
    half = math.hypot(rest["high"] - rest["value"], many["high"] - many["value"])
    return {"value": value, "low": value - half, "high": value + half}
