"""Serving in batches: the edge serves its users' requests by continuous batching.

When each request's image is done is predicted from what batches cost, and measured.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from calibration.costs.batch import BatchCost, seconds
from calibration.costs.drift import Drift, drift_expected
from calibration.profiles.profile import Place, Profiles
from calibration.records.task import Task
from calibration.schema import plain
from calibration.serving.completion import compare, delayed, predict, removed
from calibration.serving.serving import ImageDifferences, Serving, ServingRequest
from calibration.serving.simulator import poisson
from testbed.client.batches import time_concurrency
from testbed.client.exchange import ServerFault
from testbed.client.makers import Maker
from testbed.client.remote import Concurrent, RemotePlace
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Failed, Finished, Made, Request
from testbed.engines.threads import using
from testbed.engines.timing import BatchTimings, time_batches
from testbed.processes import processes
from testbed.runs.folder import RunFolder
from testbed.runs.store import Pixels
from testbed.stages.rig import Rig
from testbed.stages.tasks import offloaded

#: Times that the requests are served: a single run of a second depends on what else the machine
#: does, so the medians count.
RUNS = 5
#: What becomes of the time between arrivals: of an engine in this process, and of a server.
SKIPPED = "the clock skips the time in which nobody waits"
WAITED = "a server gets them at these times"


def batch(rig: Rig, folder: RunFolder) -> Serving | None:
    """Serve the offloaded users once more, all by continuous batching; writes ``serving.json``.

    None where no user is offloaded, the edge's model cannot be served in batches, or, with a
    warning, where memory no longer suffices, or a server is not there or refuses every request.
    """
    records = {record.id: record for record in folder.executed()}
    tasks = offloaded([record.task for record in records.values()])
    edge, settings = folder.need(Profiles).get("edge"), rig.config.execute
    if not tasks or edge is None or edge.batch is None:
        return None
    cost, drift = edge.batch, drift_expected(edge.speed_sd, parts=1)
    travel = _travel(edge, tasks)
    made_of = json.dumps([plain(cost.to_dict()), drift, travel]).encode()
    asked = ServingRequest(
        tuple(task.id for task in tasks),
        settings.order,
        settings.arrival_rate,
        hashlib.sha256(made_of).hexdigest()[:12],
    )
    rig.check_contents(folder)
    rig.choose_threads(folder)
    rig.check_link(folder)
    try:
        with processes().main_process_first(), using(rig.threads["edge"].batched):
            return folder.once(
                "serving.json",
                Serving,
                asked.to_dict(),
                lambda: serve(
                    rig.pipelines["edge"],
                    cost,
                    drift,
                    tasks,
                    asked,
                    lambda key: folder.image("execution", records[key]),
                    travel,
                    rig.config.sweep.grid("edge"),
                ),
            )
    except ServerFault as fault:
        warnings.warn(f"batch: the users are not served in batches: {fault}", stacklevel=2)
        return None


def _travel(edge: Place, tasks: Sequence[Task]) -> tuple[float, float]:
    """Predicted seconds on the way, and their standard deviation; 0 where there is no server."""
    weighs = [edge.find(task.prompt_class).payload for task in tasks]
    if (fit := edge.transfer) is None:
        return 0.0, 0.0
    return float(np.mean([fit.seconds(weight.down) for weight in weighs if weight])), fit.sd


class _Unmade(Exception):
    """Requests whose images could not be made, by their place in the stream, and why."""

    def __init__(self, errors: dict[int, Exception]) -> None:
        first = next(iter(errors.values()))
        super().__init__(f"{len(errors)} requests failed, the first of {first}")
        self.errors = errors


def serve(
    maker: Maker,
    cost: BatchCost,
    drift: float,
    tasks: Sequence[Task],
    asked: ServingRequest,
    image: Callable[[str], Pixels],
    travel: tuple[float, float] = (0.0, 0.0),
    grid: Sequence[int] = (),
) -> Serving:
    """Serve users' ``tasks`` at the cap that was measured, several times.

    ``drift``: expected, as :func:`calibration.serving.completion.predict` takes it. ``image``: that
    of a task's id by the stock pipeline, with which the first run's are compared. Each request's
    seconds from arrival until decoded are predicted beforehand, and measured as the median of
    ``RUNS`` runs. Time in which nobody waits is skipped: what follows does not depend on it, but
    for a machine that falls asleep meanwhile. A server is sent each request when it arrives, and
    batches as it does; ``travel``: predicted seconds on the way, and their standard deviation;
    ``grid``: the step counts that it was measured at. Tasks that fail are left out with a warning,
    and the others served anew. Raises :class:`ServerFault` where none is left.
    """
    rate, steps = asked.arrival_rate, [task.steps for task in tasks]
    arrivals = poisson(rate, len(tasks), seed=0) if rate else np.zeros(len(tasks))
    requests = [
        Request(
            task.prompt, task.seed, task.steps, task.guidance, float(arrival), task.negative_prompt
        )
        for task, arrival in zip(tasks, arrivals, strict=True)
    ]
    cap = min(cost.cap, cost.text.sizes[-1], cost.decode.sizes[-1])
    engine: BatchedEngine | Concurrent
    timed: Callable[..., BatchTimings]
    if isinstance(maker, RemotePlace):
        cap = min(cost.tick.sizes[-1], maker.cap or cost.tick.sizes[-1])
        engine, order = maker.engine(len(tasks)), "first_come"
        timed = partial(time_concurrency, grid=grid)
    else:
        engine = BatchedEngine(maker, cap, asked.order, skip_idle=True)
        order, timed = asked.order, time_batches
    size, prompts = min(cap, len(tasks)), [task.prompt for task in tasks]
    if rate:
        print(
            f"batch: {len(tasks)} requests, arriving over {arrivals[-1]:.0f} s, {RUNS + 1} times; "
            f"{WAITED if isinstance(maker, RemotePlace) else SKIPPED}",
            flush=True,
        )

    def serve_once() -> dict[int, Finished | Made]:
        outcomes = {outcome.index: outcome for outcome in engine.run(requests)}
        errors = {i: each.error for i, each in outcomes.items() if isinstance(each, Failed)}
        if errors:
            raise _Unmade(errors)
        return {i: each for i, each in outcomes.items() if not isinstance(each, Failed)}

    try:
        warm_up, runs, ratios = serve_once(), [], []
        for _ in range(RUNS):
            timings = timed(maker, prompts, tasks[0].guidance, [size], rounds=1)
            if not timings.tick[1]:
                raise ServerFault(f"memory no longer holds {size} images at a time")
            ratios.append(timings.tick[1][0] / seconds(cost.tick, size))
            runs.append(serve_once())
    except _Unmade as failed:
        left = [task for index, task in enumerate(tasks) if index not in failed.errors]
        if not left:
            raise ServerFault(str(failed)) from None
        warnings.warn(
            f"batch: the users are served without {len(tasks) - len(left)} of {len(tasks)}: "
            f"{failed}",
            stacklevel=2,
        )
        return serve(maker, cost, drift, left, asked, image, travel, grid)
    spent = np.array([[run[i].end_to_end_time for i in range(len(tasks))] for run in runs])
    measured = np.median(spent, axis=0)
    speed = Drift.of(ratios)
    slowest = speed.ratio + speed.half_width(1.0)
    # at another speed the link and the requests' arrivals are as they were
    expected, at_speed, slower = (
        compare(delayed(predict(cost, arrivals, steps, cap, order, *at), *travel), measured)
        for at in ((drift,), (0.0, speed.ratio), (0.0, slowest))
    )
    return Serving(
        order=expected.order,
        cap=expected.cap,
        requests=expected.requests,
        totals=expected.totals
        + tuple(
            removed(total, abs(other.predicted - total.predicted))
            for total, other in zip(at_speed.totals, slower.totals, strict=True)
        ),
        median_absolute_error=expected.median_absolute_error,
        paper_median_absolute_error=expected.paper_median_absolute_error,
        coverage=expected.coverage,
        asked=asked,
        users=tuple(task.user for task in tasks if task.user is not None),
        runs=tuple(map(tuple, spent.tolist())),
        images=_differences([(warm_up[i].image, image(task.id)) for i, task in enumerate(tasks)]),
    )


def _differences(pairs: Sequence[tuple[Pixels, Pixels]]) -> ImageDifferences:
    """How many images differ, and by how many of 255 levels at most."""
    levels = [int(np.abs(ours.astype(int) - stock).max()) for ours, stock in pairs]
    return ImageDifferences(len(levels), sum(level > 0 for level in levels), max(levels))
