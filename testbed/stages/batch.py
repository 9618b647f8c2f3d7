"""The edge as a server of many users at once: what a batch costs there, and when each user's image
is done, predicted and measured.
"""

import numpy as np

from calibration.costs.batch import seconds as seconds_of
from calibration.costs.drift import Drift
from calibration.fitting.prediction import t_quantile
from calibration.serving.completion import compare, compared, predict
from calibration.serving.simulator import poisson
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Request
from testbed.engines.timing import time_batches

RUNS = 5


def serve(pipeline, fit, drift, tasks, order, rate, store):
    """Serve users' ``tasks`` with the step engine at the cap that was measured; a dict, fit for
    JSON.

    ``fit``: the profile's ``batching``. ``drift``: expected, as
    :func:`calibration.serving.completion.predict` takes it. ``rate``: arrivals a second of a
    Poisson stream; None: all at once. Each request's seconds from arrival until decoded are
    predicted beforehand and measured, the median of ``RUNS`` runs (a single one of a second is at
    the mercy of what else the machine does): see :func:`calibration.serving.completion.compare`.
    ``images``: of how many the image was compared with that of the stock pipeline in ``store``, how
    many differ, and by how many levels of 255 at most.
    """
    arrivals = poisson(rate, len(tasks), seed=0) if rate else np.zeros(len(tasks))
    at = zip(tasks, map(float, arrivals), strict=True)
    requests = [
        Request(task.prompt, task.seed, task.steps, task.guidance, arrival, task.negative_prompt)
        for task, arrival in at
    ]
    cap = min(fit["cap"], fit["text"]["points"][-1]["batch"], fit["decode"]["points"][-1]["batch"])
    asked = fit, fit["text"], fit["decode"], arrivals, [task.steps for task in tasks], cap, order
    engine = BatchedEngine(pipeline, cap, order)
    size, runs, ratios = min(cap, len(tasks)), [], []
    for _ in range(RUNS + 1):
        alike = time_batches(
            pipeline, [task.prompt for task in tasks], tasks[0].guidance, [size], rounds=1
        ).tick[1][0]
        ratios.append(alike / seconds_of(fit, size))
        runs.append({one.index: one for one in engine.run(requests)})
    done, _ = runs.pop(0), ratios.pop(0)  # they warmed up
    seconds = np.array([[run[i].end_to_end_time for i in range(len(tasks))] for run in runs])
    apart = [
        int(np.abs(done[i].image.astype(int) - store.image(task.id)).max())
        for i, task in enumerate(tasks)
    ]
    images = {
        "compared": len(apart),
        "different": sum(one > 0 for one in apart),
        "largest_difference": max(apart),
    }
    measured = np.median(seconds, axis=0)
    found = compare(predict(*asked, drift), measured)
    found["totals"] += [
        _moved(row, Drift.of(ratios)) for row in compare(predict(*asked), measured)["totals"]
    ]
    return {**found, "runs": seconds.tolist(), "images": images}


def _moved(row, drift):
    """A total as predicted at the speed that the machine had while it served; ``drift``: of
    batches' seconds then to those predicted.
    """
    predicted, doubt = drift.ratio * row["predicted"], t_quantile(drift.n - 1) * drift.se
    low, high = (
        predicted
        + sign * np.hypot(drift.ratio * (row[end] - row["predicted"]), doubt * row["predicted"])
        for sign, end in ((-1, "low"), (1, "high"))
    )
    moved = {
        **row,
        "quantity": f"{row['quantity']}, drift removed",
        "predicted": float(predicted),
        "low": float(low),
        "high": float(high),
    }
    return compared(moved, row["measured"])
