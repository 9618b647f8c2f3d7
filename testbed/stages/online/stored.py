"""Requests that arrive and share a stored budget: steps or joules that stay until they are used."""

import numpy as np

from calibration.arrivals import DRAWN
from calibration.serving.online_run import StoredRow, StoredRun
from solver.inputs import InputError, write_json
from solver.online import stored
from testbed.runs.folder import RunFolder
from testbed.stages.online.simulate import World

FILE = "online-stored.json"


def simulate(
    world: World, policies: list[str], unit: str, each: float, requests: int, seed: int
) -> StoredRun:
    """All ``policies``, names of :data:`solver.online.stored.POLICIES`, on the same ``requests``.

    ``each``: of the budget, in ``unit``, a request in the mean. Yesterday's price is that of
    hindsight of as many other requests.
    """
    if requests > DRAWN:
        raise InputError(f"requests: found {requests}; allowed: at most {DRAWN}")
    choices, budget = stored.Choices.of(world.problem, unit), each * requests
    rng = np.random.default_rng(seed)
    before, kind = (rng.choice(len(world.shares), requests, p=world.shares) for _ in range(2))
    yesterday = stored.certify(choices, before, np.zeros(requests, int), budget).price
    rows = []
    for name in policies:
        policy = stored.POLICIES[name](len(choices.cost), requests, yesterday)
        outcome = stored.run(choices, kind, budget, policy)
        rows.append(
            StoredRow(
                policy=name,
                unit=unit,
                requests=requests,
                budget=budget,
                used=float(choices.weight[kind, outcome.choices].sum()),
                offloaded=float((outcome.choices > 0).mean()),
                cost=outcome.cost,
                all_local=outcome.all_local,
                bound=outcome.bound,
                regret=outcome.regret,
            )
        )
    return StoredRun(tuple(rows))


def save(folder: RunFolder, result: StoredRun) -> None:
    """Write ``online-stored.json``."""
    write_json(folder.path / FILE, result.to_dict())
