"""Requests that arrive, executed: in real time, on the edge's own engine, every image scored.

Users at the edge get images that it makes for them while others come and go. Users who serve
themselves do so on emulated clocks, each on a device of its own: their images are made afterwards
by the local pipeline, and cost no one time. All images lie in ``online/N``, with a record each.
"""

import itertools
import time
import warnings
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.arrivals import lateness
from calibration.profiles.profile import Profiles
from calibration.records.record import Record
from calibration.records.task import Task
from calibration.serving.online import Desk, events
from calibration.serving.online_run import Asked, Executed, Interval, summary
from calibration.statistics import t_quantile
from solver.inputs import InputError, to_json
from solver.online import Backlog, Setting, certify, find_policy, lower_bound
from testbed.config import Config
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import unsupported_reason
from testbed.engines.request import Request, run_through
from testbed.engines.threads import using
from testbed.metrics.pixels import distance
from testbed.runs.folder import RunFolder
from testbed.runs.store import RecordStore
from testbed.stages.online.edge import Edge
from testbed.stages.online.live import Live
from testbed.stages.online.remote import RemoteEdge
from testbed.stages.online.simulate import (
    Run,
    Stream,
    World,
    at_speed,
    calls_at,
    setting_of,
    streams,
)
from testbed.stages.rig import Rig
from testbed.stages.tasks import execution_seed

#: Prompts of each class, at most; requests take them in turns.
PROMPTS = 8


class Stage:
    """The models of a run folder, opened, that streams are served on.

    ``url``: of the server that is the edge; None: the engine in this process. Raises
    :class:`InputError` for a model that cannot serve in batches or whose images cannot be scored.
    """

    def __init__(self, folder: RunFolder, world: World, url: str | None = None) -> None:
        self.folder, self.world, self.url = folder, world, url
        self.rig = rig = Rig(folder.need(Config))
        if reason := unsupported_reason(rig.pipelines["edge"]):
            raise InputError(f"edge.model: cannot serve in batches: {reason}")
        rig.check_contents(folder)
        rig.choose_threads(folder)
        self.profiles = folder.need(Profiles)
        for each in (each for entry in self.profiles.places for each in entry.classes):
            if each.utility is None:
                raise InputError(
                    f"{folder.path}: utility of prompt class {each.prompt_class} is left out of "
                    "the profiles, and images served online are scored; allowed: profiles with it"
                )
        self.pools = {
            name: _pool(rig, name, [label[0] for label in world.labels].count(name))
            for name in {label[0] for label in world.labels}
        }
        if url is None:
            self._warm_up()

    def runs(self, asked: Asked, kept: Container[tuple[float, str]] = ()) -> Iterator[Run]:
        """Each policy on each load's requests, one after the other, but for those that are
        ``kept``, by load and policy.
        """
        for load, rate, stream, bound in streams(self.world, asked):
            setting = setting_of(self.world, stream, bound, asked)
            for name in asked.policies:
                if (load, name) in kept:
                    continue
                this = replace(asked, policies=(name,), loads=(load,))
                due = stream.tables.deadline.tolist()
                key = f"{to_json(this.to_dict(), 'online')} {self.world.capacity} {due}"
                live = Live.kept(self.folder.path / "online", key, stream.arrival)
                span = stream.arrival[-1] - stream.arrival[0]
                print(
                    f"{name} at load {load:g}: {len(stream.kind)} requests in {span:.0f} s"
                    + (": served before, its images are scored now" if live else ""),
                    flush=True,
                )
                if live is None:
                    live = self._serve(name, stream, setting)
                    live.keep(key)
                yield self._scored(live, name, load, rate, stream, setting)
                live.forget()  # whoever asked has kept the result

    def _warm_up(self) -> None:
        """Bring the engine to its steady state at every batch size."""
        engine, size = self._engine(), self.world.calls.cap
        (prompt, seed), *_ = next(iter(self.pools.values()))
        guidance = self.rig.specs["edge"].guidance
        with using(self.rig.threads["edge"].batched):
            for steps in (1, 2):
                run_through(
                    engine.run(
                        [Request(prompt, seed, steps + i % 3, guidance) for i in range(size)]
                    )
                )

    def _scored(
        self, live: Live, name: str, load: float, rate: float, stream: Stream, setting: Setting
    ) -> Run:
        """Hold what was served against its simulation, and score its images."""
        calls, slack = calls_at(self.world.calls, live.speed, live.fastest)
        bound = lower_bound(stream.tables, calls, stream.kind, stream.arrival)
        proof = certify(stream.tables, calls, live.served.outcome, bound, slack)
        again = at_speed(self.world, name, stream, setting, bound, live.speed or 1.0)
        simulated = summary(name, load, rate, stream.tables, *again)
        error, utility, unscored = self._quality(live, stream)
        late = lateness(stream.arrival, live.sent)
        executed = Executed(
            error=error,
            utility=utility,
            simulated_time=simulated.time,
            simulated_cost=simulated.cost,
            speed=live.speed,
            fastest=live.fastest,
            late_median=late["median"],
            late_p99=late["p99"],
            unscored=unscored,
        )
        row = summary(name, load, rate, stream.tables, live.served, proof, executed)
        return Run(row, live.served, bound, simulated)

    def _engine(self) -> BatchedEngine:
        return BatchedEngine(self.rig.pipelines["edge"], self.world.calls.cap)

    def _serve(self, name: str, stream: Stream, setting: Setting) -> Live:
        desk = Desk(stream.tables, stream.kind, stream.arrival, find_policy(name, setting))
        backlog = Backlog(self.world.calls)
        edge: Edge | RemoteEdge = (
            Edge(self._engine(), backlog, desk, self.rig.threads["edge"].batched)
            if self.url is None
            else RemoteEdge(self.url, self.world.calls, desk)
        )
        tasks: dict[int, Task] = {}

        def request(index: int, steps: int, now: float) -> Request:
            task = tasks[index] = self._task(stream, index, "edge", steps)
            return Request(task.prompt, task.seed, steps, task.guidance, now, task.negative_prompt)

        sent = np.empty(len(stream.kind))
        edge.start()
        try:
            for at, indices in events(stream.arrival, desk.window):
                time.sleep(max(0.0, at - edge.now()))
                # whoever was held was sent on time, for all that the generator knows
                sent[indices] = stream.arrival[indices] + (edge.decide(indices, request) - at)
        finally:  # also where a policy fails: a model is for one thread at a time
            edge.close()
        store = RecordStore(_next(self.folder.path / "online"), images="")
        told = self.rig.environment()
        for index, (image, measured) in sorted(edge.images.items()):
            store.add(Record(f"{index:06d}", tasks[index], measured, told), image)
        return Live(desk.served(backlog.busy), store, np.array(edge.ratios), sent)

    def _task(
        self, stream: Stream, index: int, place: str, steps: int, purpose: str = "user"
    ) -> Task:
        name = self.world.labels[stream.asked[index]][0]
        prompt, seed = self.pools[name][index % len(self.pools[name])]
        return self.rig.specs[place].task(
            place=place,
            prompt=prompt,
            prompt_class=name,
            seed=seed,
            steps=steps,
            purpose=purpose,
            user=index if purpose == "user" else None,
        )

    def _quality(self, live: Live, stream: Stream) -> tuple[Interval, Interval, int]:
        """Error and utility of the images that were served, means over requests, and how many of
        these are left out, as an image that they need could not be made.

        Raises :class:`InputError` where none is left.
        """
        outcome, sweep = live.served.outcome, self.rig.config.sweep
        makers = [("local", "edge")[int(edge)] for edge in outcome.edge]
        own = {
            index: self._task(stream, index, "local", int(outcome.steps[index]), "untimed")
            for index in np.flatnonzero(~outcome.edge).tolist()
        }
        targets = [
            self._task(stream, index, place, sweep.converged(place), "converged")
            for index, place in enumerate(makers)
        ]
        wanted = list({task.id: task for task in itertools.chain(targets, own.values())}.values())
        store = RecordStore(self.folder.path / "online" / "references")
        self.rig.executor.run(wanted, store, "images of users at home, and converged ones")
        errors, utilities, draws = [], [], []
        for index, (place, target) in enumerate(zip(makers, targets, strict=True)):
            if any(task.id not in store for task in (target, own.get(index, target))):
                continue
            if place == "local":
                image = store.image(own[index].id)
            else:
                image = live.store.image(f"{index:06d}")
            scales = self.profiles.find(place, target.prompt_class).scales
            assert self.rig.quality.clip and scales.utility, "checked at the beginning"
            score = self.rig.quality.clip.score(image, target.prompt)
            apart = distance(image, store.image(target.id))
            if place == "edge":
                self._score(live.store, f"{index:06d}", score, apart)
            errors.append(scales.error.of(apart))
            utilities.append(scales.utility.of(score))
            draws.append((target.prompt, target.seed))
        if not draws:
            raise InputError(f"{store.folder}: no image that a score needs could be made")
        if unscored := len(targets) - len(draws):
            warnings.warn(
                f"{unscored} of {len(targets)} requests are left out of error and utility: an "
                "image that they need could not be made",
                stacklevel=2,
            )
        return _interval(errors, draws), _interval(utilities, draws), unscored

    @staticmethod
    def _score(store: RecordStore, name: str, score: float, apart: float) -> None:
        record = store[name]
        measured = replace(record.measured, clip_score=score, distance=apart)
        store.write(replace(record, measured=measured))


def _pool(rig: Rig, name: str, users: int) -> list[tuple[str, int]]:
    """Held-out prompts of a class, with seeds that no sweep uses."""
    prompts = rig.prompts.execution(name, min(users, PROMPTS))
    noise = rig.config.sweep.noise
    return [(prompt, execution_seed(prompt, 0, noise)) for prompt in prompts]


def _next(folder: Path) -> Path:
    """The first ``folder/N`` that is not there."""
    numbers: Iterator[int] = itertools.count(1)
    return next(path for path in (folder / str(number) for number in numbers) if not path.exists())


def _interval(values: Sequence[float], draws: Sequence[tuple[str, int]]) -> Interval:
    """The mean, with an interval that allows for requests of the same prompt being alike."""
    mean = float(np.mean(values))
    groups: dict[tuple[str, int], float] = {}
    for draw, value in zip(draws, values, strict=True):
        groups[draw] = groups.get(draw, 0.0) + value - mean
    count = len(groups)
    if count < 2:
        return Interval(mean, mean, mean)
    spread = np.sqrt(count / (count - 1) * sum(value**2 for value in groups.values()))
    half = t_quantile(count - 1) * float(spread) / len(values)
    return Interval(mean, mean - half, mean + half)
