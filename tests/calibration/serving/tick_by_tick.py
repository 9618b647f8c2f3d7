"""An oracle of the simulator: an engine that decides anew before every tick."""

from dataclasses import dataclass

from calibration.serving.simulator import ORDERS


@dataclass
class Request:
    index: int
    arrival: float
    remaining: int


def tick_by_tick(arrivals, steps, tick, cap, order, text, decode):
    """When each request was first chosen and finished, by the rule itself: every request is looked
    at before every tick. The costs are called once for every call of the network, and may differ
    from call to call.
    """
    alive = [
        Request(index, arrival, count)
        for index, (arrival, count) in enumerate(zip(arrivals, steps, strict=True))
    ]
    joined, finished, clock = {}, {}, 0.0
    while alive:
        present = [request for request in alive if request.arrival <= clock]
        if not present:
            clock = min(request.arrival for request in alive)
            continue
        batch = sorted(present, key=ORDERS[order])[:cap]
        new = [request.index for request in batch if request.index not in joined]
        joined |= dict.fromkeys(new, clock)
        clock += (text(len(new)) if new else 0.0) + tick(len(batch))
        for request in batch:
            request.remaining -= 1
        done = [request.index for request in batch if not request.remaining]
        clock += decode(len(done)) if done else 0.0
        finished |= dict.fromkeys(done, clock)
        alive = [request for request in alive if request.remaining]
    return [[times[index] for index in range(len(steps))] for times in (joined, finished)]
