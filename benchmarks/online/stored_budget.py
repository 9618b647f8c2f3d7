"""A stored budget: the proven regret of each policy, on a mixture of kinds that stays or moves."""

from typing import Any

import numpy as np

from benchmarks.online.setting import interval, world
from calibration.scenario.devices import DEVICES
from solver.online import stored


def stored_budget(seeds: int) -> dict[str, Any]:
    """The proven regret of each policy, as a share of the optimum's gain, mean over seeds.

    ``drift``: the mixture of kinds moves from one to another during the day; ``swing``: there and
    back; ``jump``: it changes at noon.
    """
    options = stored.Choices.of(world(list(DEVICES)[:8]).problem)
    rows = []
    for requests in (1000, 10_000):
        regrets: dict[str, list[float]] = {}
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            kinds = len(options.cost)
            first, second = rng.dirichlet(np.ones(kinds)), rng.dirichlet(np.ones(kinds))
            day = np.arange(requests) / requests
            moves = {
                "iid": np.zeros(requests),
                "drift": day,
                "swing": (1 - np.cos(2 * np.pi * day)) / 2,
                "jump": (day > 0.5).astype(float),
            }
            for name, share in moves.items():
                other = rng.random(requests) < share
                kind = np.where(
                    other,
                    rng.choice(kinds, requests, p=second),
                    rng.choice(kinds, requests, p=first),
                )
                yesterday = stored.certify(
                    options,
                    rng.choice(kinds, requests, p=first),
                    np.zeros(requests, int),
                    3.0 * requests,
                ).price
                for policy, make in stored.POLICIES.items():
                    decide = make(kinds, requests, yesterday)
                    outcome = stored.run(options, kind, 3.0 * requests, decide)
                    regrets.setdefault(f"{policy}, {name}", []).append(outcome.regret)
        rows.append(
            {"requests": requests, "regret": {key: interval(v) for key, v in regrets.items()}}
        )
        print(
            f"stored, {requests}: "
            + str({k: round(float(np.mean(v)), 5) for k, v in regrets.items()})
        )
    return {"seeds": seeds, "rows": rows}
