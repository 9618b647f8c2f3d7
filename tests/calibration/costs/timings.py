"""Timings of made-up batches whose costs are known, for the tests of batches."""

import numpy as np

from calibration.costs.batch import BatchCost, _throughput, fit_batching, fit_call

SIZES = (1, 2, 4, 8, 16, 32)


def affine(batch):
    """Seconds of an iteration."""
    return 0.012 + 0.004 * batch


def text(batch):
    """Seconds of a text encoding."""
    return 0.003 + 0.002 * batch


def decode(batch):
    """Seconds of a decoding."""
    return 0.004 + 0.01 * batch


def timings(cost, rng, sd=0.03, each=12, sizes=SIZES):
    """Batch sizes and seconds: ``each`` timings of each size, with a relative ``sd``."""
    batches = np.repeat(sizes, each)
    return batches, cost(batches) * np.exp(rng.normal(0, sd, len(batches)))


def batch_cost(rng, **how):
    """A cost with noise of its own in each call; ``how`` as in :func:`timings`."""
    return fit_batching(
        *(timings(cost, rng, **how) for cost in (affine, text, decode)), memory=2.5e6
    )


def fit_iterations(batches, seconds):
    """The cost for tests of iterations alone; texts and decodings cost the same."""
    cost = fit_call(batches, seconds)
    return BatchCost(cost, cost, cost, *_throughput(cost), None)
