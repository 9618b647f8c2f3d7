"""The load that a policy carries at a quality of images: the frontier of the default against that
of a threshold on quality, after DiffServe.

A policy that minimises a weighted sum has a quality of its own choice, and the threshold another.
So both are run with the weight of that quality raised, step by step: at each load the best quality
counts. Compared are both as they are *weighed*; their frontiers, with the threshold as it is
*shipped*; and with the threshold *tuned*, at the best of several shares of the edge to aim at. All
requests have a deadline; *goodput* is the rate of those that keep it. Of the two frontiers, goodput
over quality, the ratio at equal quality is told along the threshold's.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.online.setting import held_back, requests_of
from calibration.serving.online import serve
from calibration.statistics import t_quantile
from solver.online import DEFAULT, Policy, Setting, Tables, find_policy
from solver.online.windows import AIM, Threshold
from testbed.stages.online.simulate import World

Array = NDArray[np.float64]
#: Loads, in units of the edge's capacity, and those of the threshold at which the two are compared.
LOADS, COMPARED = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6), (1.4, 2.0, 2.8)
#: What the weight of the quality is multiplied by, and the shares of the edge that thresholds take.
RAISED, AIMS = (1.0, 4.0, 16.0), (0.5, 0.7, AIM)
#: A missed deadline costs more than any quality is worth, draws of the seeds.
LATE, RESAMPLES = 100.0, 2000
#: A ratio of goodputs that counts as none, so that it has a logarithm.
LEAST = 0.01


@dataclass(frozen=True, eq=False)
class Measured:
    """Of a policy, by seed, load and setting: the mean ``quality``, more is better, and the
    ``goodput``, in units of the capacity; each of shape (seeds, loads, settings).
    """

    quality: Array
    goodput: Array

    def carried(self, level: float, seeds: NDArray[np.int_]) -> float:
        """The goodput at a ``level`` of quality, in the mean over ``seeds``.

        +inf where it is better at every load, 0 where it is at none.
        """
        best, goodput = self._frontier(seeds)
        if level <= best[-1]:
            return float("inf")
        if level > best[0]:
            return 0.0
        return float(np.interp(-level, -best, goodput))

    def part(self, settings: slice) -> "Measured":
        """Those settings alone."""
        return Measured(self.quality[..., settings], self.goodput[..., settings])

    def level(self, load: int, seeds: NDArray[np.int_]) -> tuple[float, float]:
        """Quality and goodput of the frontier at a load, by its index."""
        best, goodput = self._frontier(seeds)
        return float(best[load]), float(goodput[load])

    def _frontier(self, seeds: NDArray[np.int_]) -> tuple[Array, Array]:
        """The best quality with which each load or more is carried, and the goodput there."""
        quality, goodput = (v[seeds].mean(axis=0) for v in (self.quality, self.goodput))
        chosen = quality.argmax(axis=1)
        rows = np.arange(len(quality))
        best = np.maximum.accumulate(quality[rows, chosen][::-1])[::-1]
        return best, goodput[rows, chosen]


def frontier(place: World, requests: int, seeds: int, deadline: float = 0.5) -> dict[str, Any]:
    """Both frontiers, for the error and for the utility, and the ratio of goodput at the quality of
    the threshold at the loads ``COMPARED``, with intervals over seeds.
    """
    result: dict[str, Any] = {"deadline": deadline, "requests": requests, "seeds": seeds}
    for name in ("error", "utility"):
        makers = {
            DEFAULT: [partial(find_policy, DEFAULT)],
            "threshold": [partial(Threshold, aim=aim) for aim in AIMS],
        }
        curves = {
            policy: _measured(place, name, raised(place, name, deadline), make, requests, seeds)
            for policy, make in makers.items()
        }
        ours, theirs = curves[DEFAULT], curves["threshold"]
        shipped = slice(AIMS.index(AIM), None, len(AIMS))
        result[name] = {
            "weighed": _compared(ours.part(slice(1)), theirs.part(shipped).part(slice(1)), seeds),
            "shipped": _compared(ours, theirs.part(shipped), seeds),
            "tuned": _compared(ours, theirs, seeds),
        }
        for kind, told in result[name].items():
            ratios = {row["load"]: round(row["ratio"]["value"], 2) for row in told["rows"]}
            print(f"frontier, {name}, {kind}: {ratios}", flush=True)
    return result


def raised(place: World, name: str, deadline: float) -> list[Tables]:
    """Tables with the weight of that quality raised, and a deadline, s, for all."""
    problem = replace(place.problem, deadline=np.full(place.problem.users, deadline))
    weights = [{**problem.weights, name: factor * problem.weights[name]} for factor in RAISED]
    return [Tables.of(replace(problem, weights=each), LATE) for each in weights]


def _measured(
    place: World,
    name: str,
    worlds: Sequence[Tables],
    makers: Sequence[Callable[[Setting], Policy]],
    requests: int,
    seeds: int,
) -> Measured:
    shape = (seeds, len(LOADS), len(worlds) * len(makers))
    quality, goodput = np.empty(shape), np.empty(shape)
    streams = enumerate(held_back(seeds))
    for (seed, stream), (row, load) in itertools.product(streams, enumerate(LOADS)):
        kind, times = requests_of(place, ("poisson", load), requests, stream)
        for column, (tables, make) in enumerate(itertools.product(worlds, makers)):
            policy = make(Setting(tables, place.calls))
            outcome = serve(tables, place.calls, kind, times, policy).outcome
            error, utility = tables.quality(kind, outcome.edge, outcome.steps)
            quality[seed, row, column] = (-error if name == "error" else utility).mean()
            goodput[seed, row, column] = load * (1 - outcome.missed(tables).mean())
    return Measured(quality, goodput)


def _compared(ours: Measured, theirs: Measured, seeds: int) -> dict[str, Any]:
    """The ratios, and both frontiers in the mean over seeds.

    The interval: seeds are drawn again and again with replacement, for both policies the same; the
    spread of the ratio's logarithm, by Student's t, as seeds are few.
    """
    every, rng = np.arange(seeds), np.random.default_rng(0)
    draws = rng.integers(seeds, size=(RESAMPLES, seeds))

    def ratio(load: float, chosen: NDArray[np.int_]) -> float:
        level, goodput = theirs.level(LOADS.index(load), chosen)
        return min(ours.carried(level, chosen), LOADS[-1]) / goodput

    rows = []
    for load in COMPARED:
        value = ratio(load, every)
        logs = np.log([max(ratio(load, draw), LEAST) for draw in draws])
        few = (seeds / (seeds - 1)) ** 0.5 if seeds > 1 else 1.0
        half = t_quantile(seeds - 1) * few * float(logs.std())
        level, goodput = theirs.level(LOADS.index(load), every)
        rows.append(
            {
                "load": load,
                "quality": abs(level),
                "goodput": goodput,
                "ratio": {
                    "value": value,
                    "low": value * math.exp(-half),
                    "high": value * math.exp(half),
                },
            }
        )
    curves = {
        policy: [[abs(v) for v in each.level(row, every)] for row in range(len(LOADS))]
        for policy, each in ((DEFAULT, ours), ("threshold", theirs))
    }
    return {"rows": rows, "frontiers": curves}
