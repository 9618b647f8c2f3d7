"""The jobs. Each returns what it measured, and whether each of its goals was met."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.serving import broken as malformed
from benchmarks.serving.client import Reply, ServerProcess
from benchmarks.serving.engine import make_requests
from benchmarks.serving.images import Reference
from calibration.serving.simulator import poisson


@dataclass(frozen=True)
class Size:
    """How large the jobs are: ``requests`` of throughput, ``crowd`` of the disconnects,
    ``seconds`` of a load, ``broken`` bodies, ``repeats``.
    """

    requests: int = 64
    crowd: int = 1000
    seconds: float = 60.0
    broken: int = 300
    repeats: int = 3


@dataclass(frozen=True)
class Result:
    """What a job ``measured``, and its ``goals`` in words, each met or not."""

    measured: dict[str, Any]
    goals: dict[str, bool]


SERVED = ("embedded", "--profiles", "docs/profiles.json")
Job = Callable[[Size, Reference], Awaitable[Result]]


def _body(request: Any, **more: Any) -> dict[str, Any]:
    return {
        "prompt": request.prompt,
        "seed": request.seed,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
        **more,
    }


async def _all(server: ServerProcess, wanted: Sequence[dict[str, Any]]) -> list[Reply]:
    return list(await asyncio.gather(*(server.post(body) for body in wanted)))


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    names = {"median": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}
    return {name: float(np.quantile(values, q)) for name, q in names.items()}


async def throughput(size: Size, reference: Reference) -> Result:
    """Requests of 4 to 50 steps at once, over HTTP and by the engine in this process, in turns."""
    requests = make_requests(size.requests, 4, 50, 3.0)
    http, engine, apart = [], [], 0
    with ServerProcess(*SERVED, "--queue", "2000") as server:
        cap = (await server.get("/v1/quote")).json["cap"]
        await _all(server, [_body(request) for request in requests[:cap]])
        for _ in range(size.repeats):
            start = time.perf_counter()
            replies = await _all(server, [_body(request) for request in requests])
            http.append(time.perf_counter() - start)
            seconds, images = reference.run(requests, cap)
            engine.append(seconds)
            apart = max(
                apart,
                *(reference.apart(reply, images[i]) for i, reply in enumerate(replies)),
            )
    ratio = float(np.median(engine) / np.median(http))
    measured = {"cap": cap, "http_s": http, "engine_s": engine, "ratio": ratio, "levels": apart}
    goals = {
        "HTTP reaches 0.93 of the engine in process": ratio >= 0.93,
        "images equal": apart <= 1,
    }
    return Result(measured, goals)


async def join(size: Size, reference: Reference) -> Result:
    """Requests that arrive while others are served and the batch has room."""
    queue, iteration = [], []
    with ServerProcess(*SERVED) as server:
        others = min(4, (await server.get("/v1/quote")).json["cap"] - 1)
        for _ in range(5 * size.repeats):
            bodies = [{"prompt": "a", "num_inference_steps": 40, "seed": i} for i in range(others)]
            running = asyncio.ensure_future(_all(server, bodies))
            await asyncio.sleep(0.1)
            for seed in range(4):
                body = {"prompt": "a blue star", "num_inference_steps": 2, "seed": seed}
                took = (await server.post(body)).image["metrics"]
                iteration.append(took["denoise"] / took["steps"] + took["text"] + took["decode"])
                queue.append(took["queue"])
            await running
    waited, longest = _quantiles(queue), _quantiles(iteration)
    goal = "joined within an iteration and 5 ms at p99"
    measured = {"requests": len(queue), "queue_s": waited, "iteration_s": longest}
    return Result(measured, {goal: waited["p99"] <= longest["p99"] + 0.005})


async def disconnects(size: Size, reference: Reference) -> Result:
    """Many requests, a fifth of whose clients leave at random moments."""
    rng = np.random.default_rng(0)
    requests = make_requests(size.crowd, 2, 12, 3.0, levels=6)
    leaving = set(rng.choice(size.crowd, size.crowd // 5, replace=False).tolist())
    arrivals = np.cumsum(rng.exponential(reference.seconds_each(requests), size.crowd))
    with ServerProcess(*SERVED, "--queue", "2000") as server:

        async def client(i: int) -> Reply:
            await asyncio.sleep(arrivals[i])
            leave = float(rng.uniform(0, 0.3)) if i in leaving else None
            return await server.post(_body(requests[i]), leave)

        replies = await asyncio.gather(*(client(i) for i in range(size.crowd)))
        freed = await server.idle()
        long = {"prompt": "a red ball", "num_inference_steps": 1000}
        await server.post(long, leave=0.3)
        alone = await server.idle()
    stayed = [i for i in range(size.crowd) if i not in leaving]
    _, images = reference.run([requests[i] for i in stayed], 16)
    apart = [
        reference.apart(replies[i], images[k])
        for k, i in enumerate(stayed)
        if replies[i].status == 200
    ]
    measured = {
        "requests": size.crowd,
        "left": len(leaving),
        "answered": len(apart),
        "levels": max(apart),
        "freed_s": freed,
        "one_freed_s": alone,
    }
    goals = {
        "everyone who stays is answered": len(apart) == len(stayed),
        "the others' images unchanged": max(apart) <= 1,
        "a place is free within an iteration": alone <= reference.tick + 0.05,
    }
    return Result(measured, goals)


async def _load(
    server: ServerProcess, rate: float, seconds: float, deadline: float | None, steps: int
) -> list[Reply]:
    """An open loop: each request is sent at its own time, whatever became of others."""
    arrivals = poisson(rate, max(1, int(rate * seconds)), seed=1)
    start = time.perf_counter()

    async def client(i: int, at: float) -> Reply:
        await asyncio.sleep(start + at - time.perf_counter())
        body = {"prompt": "a red ball", "seed": i, "num_inference_steps": steps}
        return await server.post(body | ({"deadline": deadline} if deadline else {}))

    return list(await asyncio.gather(*(client(i, at) for i, at in enumerate(arrivals))))


async def overload(size: Size, reference: Reference) -> Result:
    """Ten times as many requests as can be served, with a deadline of three full batches' time."""
    steps, memory = 12, list[int]()
    with ServerProcess(*SERVED) as server:
        rate = await capacity(server, steps)
        alone = (await server.post({"prompt": "a", "num_inference_steps": steps})).image["metrics"]
        await _load(server, rate, 5.0, None, steps)  # what is allocated once is

        async def watch() -> None:
            while True:
                memory.append(server.memory)
                await asyncio.sleep(1.0)

        watching = asyncio.ensure_future(watch())
        deadline = 3 * (await server.get("/v1/quote")).json["cap"] / rate
        replies = await _load(server, 10 * rate, size.seconds, deadline, steps)
        watching.cancel()
        again = await server.idle()
    refused = [reply.seconds for reply in replies if reply.status == 429]
    accepted = [reply.image["metrics"] for reply in replies if reply.status == 200]
    met = float(np.mean([took["deadline_met"] for took in accepted]))
    grown = max(memory) / memory[0] - 1
    measured = {
        "capacity_per_s": rate,
        "deadline_s": deadline,
        "alone_s": alone["completion"],
        "sent": len(replies),
        "accepted": len(accepted),
        "refused_s": _quantiles(refused),
        "deadlines_met": met,
        "memory_grown": grown,
        "back_s": again,
    }
    goals = {
        "refused within 50 ms at p99": measured["refused_s"]["p99"] <= 0.05,
        "memory flat within 10 %": grown <= 0.1,
        "95 % of accepted deadlines met": met >= 0.95,
        "all answered 200 or 429": len(accepted) + len(refused) == len(replies),
        "normal within two batches' time": again <= 2 * deadline / 3,
    }
    return Result(measured, goals)


async def capacity(server: ServerProcess, steps: int) -> float:
    """Requests a second of full batches."""
    bodies = [{"prompt": "a", "seed": i, "num_inference_steps": steps} for i in range(48)]
    start = time.perf_counter()
    await _all(server, bodies)
    return len(bodies) / (time.perf_counter() - start)


async def predictions(size: Size, reference: Reference) -> Result:
    """Completions as quoted on arrival, at loads below and above what can be served."""
    rows, errors, inside = {}, [], []
    with ServerProcess(*SERVED, "--queue", "2000") as server:
        rate = await capacity(server, 12)
        for load in (0.25, 0.5, 0.75, 1.0, 1.5):
            replies = await _load(server, load * rate, size.seconds / 2, None, 12)
            took = [reply.image["metrics"] for reply in replies if reply.status == 200]
            error = [abs(each["predicted"] / each["completion"] - 1) for each in took]
            held = [each["inside"] for each in took]
            rows[str(load)] = {
                "n": len(took),
                "error": float(np.median(error)),
                "inside": float(np.mean(held)),
            }
            errors += error
            inside += held
    measured = {
        "loads": rows,
        "median_error": float(np.median(errors)),
        "inside": float(np.mean(inside)),
    }
    goals = {
        "median error at most 10 %": measured["median_error"] <= 0.1,
        "95 % intervals hold 93 to 97 %": 0.93 <= measured["inside"] <= 0.97,
    }
    return Result(measured, goals)


async def restart(size: Size, reference: Reference) -> Result:
    """A server that is killed in the midst of an image, and the same request to the next one."""
    body = {"prompt": "a big red ball in the middle", "seed": 3, "num_inference_steps": 40}
    with ServerProcess(*SERVED) as server:
        first = (await server.post(body)).image["b64_json"]
        lost = asyncio.ensure_future(server.post(body))
        await asyncio.sleep(0.1)
        server.kill()
        gone = isinstance((await asyncio.gather(lost, return_exceptions=True))[0], Exception)
    with ServerProcess(*SERVED) as server:
        again = (await server.post(body)).image["b64_json"]
    goals = {"the same image": first == again, "the client of the killed one was told": gone}
    return Result({}, goals)


async def broken(size: Size, reference: Reference) -> Result:
    """Malformed bodies."""
    with ServerProcess(*SERVED) as server:
        replies = [await server.post(body) for body in malformed.bodies(size.broken)]
        healthy = (await server.get("/health")).status == 200
    lines = [reply.json["error"]["message"] for reply in replies]
    statuses = sorted({reply.status for reply in replies})
    goals = {
        "one line each": all(
            line and "\n" not in line and "Traceback" not in line for line in lines
        ),
        "all refused as the client's fault": all(400 <= status < 500 for status in statuses),
        "the server goes on": healthy,
    }
    return Result({"bodies": len(replies), "statuses": statuses}, goals)


JOBS: dict[str, Job] = {
    job.__name__: job
    for job in (throughput, join, disconnects, overload, predictions, restart, broken)
}
