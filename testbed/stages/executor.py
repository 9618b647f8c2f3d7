"""The one execution path of calibration and execution: tasks in, records out.

Started by ``accelerate launch``, several processes share the tasks.
"""

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from tqdm import tqdm

from calibration.records.record import Measured, Record, as_of
from calibration.records.task import Task
from calibration.sweep.calls import UNTIMED, Call, plan, shares
from calibration.sweep.disturbance import DISTURBED, Disturbances, contention
from solver.inputs import InputError
from testbed.engines.batched import BatchedEngine
from testbed.engines.networks import unsupported_reason
from testbed.engines.request import Request
from testbed.engines.stock import Generated, generate
from testbed.engines.threads import Threads, using
from testbed.environment import environment, machine_load
from testbed.meters import AnyMeter, open_meter
from testbed.metrics.pixels import distance
from testbed.models.pipelines import setup
from testbed.processes import processes
from testbed.runs.store import Pixels, RecordStore

WARM_UP_STEPS = 3
#: How often an image is timed at most, where other processes disturb it.
ATTEMPTS = 3
#: Seconds after which the load, a mean of the last minute, is not that of an installation before.
SETTLED = 90.0


class Scorer(Protocol):
    """What scores an image for its caption."""

    def score(self, image: NDArray[np.uint8], caption: str) -> float:
        """The score of an image, shape (height, width, 3)."""


class Executor:
    """Runs tasks on opened ``pipelines``, by place; ``clip`` scores each image.

    Images whose time is wanted are made alone. The others are made by continuous batching, up to
    ``batch`` at a time, or by calls of the pipeline for ``batch`` of them where it has an
    :func:`testbed.engines.networks.unsupported_reason`. ``meter``: None opens the machine's when
    there is something to measure. ``threads``: by place, on a CPU.
    """

    def __init__(
        self,
        pipelines: Mapping[str, DiffusionPipeline],
        clip: Scorer,
        device: torch.device,
        batch: int,
        meter: AnyMeter | None = None,
        threads: Mapping[str, Threads] | None = None,
    ) -> None:
        self.pipelines, self.clip, self.device = pipelines, clip, device
        self.batch, self.meter = batch, meter
        self.threads = {} if threads is None else threads
        self.processes = processes()
        self._environment: dict[str, Any] = dict(environment(device))
        self._setups = {place: setup(pipeline).to_dict() for place, pipeline in pipelines.items()}
        # with offload the engine's calls would move the networks to and fro
        self._continuous = {
            place
            for place, pipeline in pipelines.items()
            if unsupported_reason(pipeline) is None and self._setups[place]["memory"] != "offload"
        }
        self._contention_named, self._opened = False, time.monotonic()

    def run(self, tasks: Sequence[Task], store: RecordStore, title: str) -> list[Record]:
        """Execute the tasks that ``store`` does not hold yet, and record each when it is finished.

        Returns :func:`calibration.records.record.as_of` of the tasks. Of several processes each
        does its share of the calls, and all return all records. Raises :class:`InputError` where
        the store's records were measured on pipelines that were set up otherwise.
        """
        self._meet(store)
        self._check_setups(store, tasks)
        missing = [
            [call for call in calls if any(task.id not in store for task in call.tasks)]
            for calls in plan(tasks, self.batch, self._continuous)
        ]
        mine = [
            shares(calls, self.processes.num_processes)[self.processes.process_index]
            for calls in missing
        ]
        if any(missing):
            calls = list(chain(*missing))
            images = sum(len(call.tasks) for call in calls)
            seconds = self._warm_up(list(chain(*mine)))
            before = f", {len(tasks) - images} images done before" if images < len(tasks) else ""
            print(
                f"{title}: {images} images, {sum(call.evaluations for call in calls)} denoising "
                f"steps, about {max(1, round(seconds))} s{before}",
                flush=True,
            )
        bar = tqdm(
            total=sum(call.evaluations for call in chain(*mine)),
            desc=title,
            unit="step",
            mininterval=1.0,
            disable=not any(missing),
        )
        work = _Work(store, tasks, bar)
        for calls in mine:
            for call in calls:
                self._make(call, work)
            self._meet(store)
        bar.close()
        self._add_late_distances(work)
        return as_of(tasks, [store[task.id] for task in tasks])

    def _meet(self, store: RecordStore) -> None:
        """Wait for the other processes, if there are any, and take in their records."""
        if self.processes.num_processes > 1:
            self.processes.wait_for_everyone()
            store.read_again()

    def _threads(self, call: Call) -> int:
        of_place = self.threads.get(call.place) or Threads.current()
        return of_place.single if call.kind == "single" else of_place.batched

    def _warm_up(self, calls: Sequence[Call]) -> float:
        """Bring each pipeline to its steady state; returns the rough seconds of the ``calls``."""
        if self.meter is None:
            self.meter = open_meter(self.device)
        if "idle_watts" not in self._environment:
            self._environment |= {
                "idle_watts": self.meter.idle(),
                "meter_period_s": self.meter.period,
            }
        rough = {}
        for call in sorted(calls, key=lambda call: -len(call.tasks)):
            if (key := (call.place, call.kind)) not in rough:
                rough[key] = self._rough_seconds(call)
        seconds = 0.0
        for call in calls:
            image, evaluation = rough[call.place, call.kind]
            seconds += len(call.tasks) * image + call.evaluations * evaluation
        return seconds

    def _rough_seconds(self, call: Call) -> tuple[float, float]:
        """Of calls like this one: seconds for an image beside its steps, and for an evaluation."""
        size = min(len(call.tasks), self.batch)
        with using(self._threads(call)):
            for steps in (1, WARM_UP_STEPS):  # the first pays for allocation and kernel selection
                task = replace(call.tasks[0], prompt=" ", steps=steps)
                tasks = [replace(task, seed=seed) for seed in range(size)]
                if call.kind == "batched":
                    engine = self._engine(call.place)
                    list(engine.run(list(map(_request, tasks))))
                    log = engine.log
                    beside = sum(seconds for _, seconds in (*log.text, *log.decode))
                    step = min(seconds for _, seconds in log.tick)
                else:
                    done, _ = self._generate(tasks)
                    beside, step = done.text_time + done.decode_time, min(done.step_times)
        return beside / size, step / size

    def _make(self, call: Call, work: "_Work") -> None:
        with using(self._threads(call)):
            if call.kind == "single":
                self._time(call.tasks[0], work)
            elif call.kind == "stock":
                done, measured = self._generate(call.tasks)
                for task, image in zip(call.tasks, done.images):
                    self._finish(task, image, measured, work)
            else:
                requests = [_request(task) for task in call.tasks]
                for finished in self._engine(call.place).run(requests):
                    task = call.tasks[finished.index]
                    self._finish(task, finished.image, finished.measured(), work)

    def _engine(self, place: str) -> BatchedEngine:
        """A new one for each group: where memory runs out, it does in the same call again."""
        return BatchedEngine(self.pipelines[place], self.batch)

    def _generate(self, tasks: Sequence[Task]) -> tuple[Generated, Measured]:
        first = tasks[0]
        assert self.meter is not None, "a call follows the warm-up"
        done = generate(
            self.pipelines[first.place],
            [task.prompt for task in tasks],
            [task.seed for task in tasks],
            first.steps,
            first.guidance,
            self.meter,
            first.negative_prompt,
        )
        return done, done.measured(self.meter)

    def _time(self, task: Task, work: "_Work") -> None:
        """Make and time an image, again where another process disturbed it.

        Each time a line is written; the last one holds the least disturbed measurement.
        """
        done, measured = self._generate([task])
        work.disturbances.add_steps(measured)
        record = self._finish(task, done.images[0], measured, work)
        for attempt in range(2, ATTEMPTS + 1):
            if work.disturbances.excess(task.place, record.measured) <= DISTURBED:
                break
            _, again = self._generate([task])
            work.disturbances.add_steps(again)
            before = record.measured
            scored = replace(again, clip_score=before.clip_score, distance=before.distance)
            best = min(before, scored, key=lambda measured: measured.time)
            record = replace(record, measured=replace(best, attempts=attempt))
            work.store.write(record)
        work.disturbances.add(task.place, record.measured)
        self._name_contention(work.disturbances)

    def _finish(self, task: Task, image: Pixels, measured: Measured, work: "_Work") -> Record:
        """Record an image, unless the store holds it from before."""
        work.bar.update(task.steps)
        if task.id not in work.store:
            score, apart = self.clip.score(image, task.prompt), work.distance(task, image)
            scored = replace(measured, clip_score=score, distance=apart)
            where = {**self._environment, "pipeline": self._setups[task.place]}
            if self.device.type == "cpu":
                where["threads"] = torch.get_num_threads()
            work.store.add(Record(task.id, task, scored, where), image)
        return work.store[task.id]

    def _name_contention(self, disturbances: Disturbances) -> None:
        """Warn once where another process takes part of the machine."""
        if self._contention_named:
            return
        used = [max(of_place.single, of_place.batched) for of_place in self.threads.values()]
        threads = self.processes.num_processes * max(used, default=torch.get_num_threads())
        own_minutes = time.monotonic() - self._opened > SETTLED
        load = machine_load() if self.device.type == "cpu" and own_minutes else None
        if said := contention(disturbances.scatter(), load, threads, os.cpu_count()):
            self._contention_named = True
            warnings.warn(said, stacklevel=2)

    def _add_late_distances(self, work: "_Work") -> None:
        """Give the images that were made before their converged one their distance to it.

        An adaptive sweep asks for converged images later.
        """
        tasks = [task for task in work.tasks if task.target_key in work.converged]
        for task in tasks[self.processes.process_index :: self.processes.num_processes]:
            record = work.store[task.id]
            if record.measured.distance is None:
                apart = work.distance(task, work.store.image(task.id))
                measured = replace(record.measured, distance=apart)
                work.store.write(replace(record, measured=measured))
        self._meet(work.store)

    def _check_setups(self, store: RecordStore, tasks: Sequence[Task]) -> None:
        """Raise :class:`InputError` where earlier records were measured on other set-ups: their
        times would not compare.
        """
        for task in tasks:
            before = store[task.id].environment.get("pipeline") if task.id in store else None
            for name, value in self._setups[task.place].items():
                if before and before[name] != value:
                    raise InputError(
                        f"{store.path}: {task.place}.{name}: was {before[name]!r} when this run "
                        f"began, now {value!r}; set {name} = {before[name]!r}"
                    )


class _Work:
    """Tasks on their way into a store: their converged images, and what times so far say."""

    def __init__(self, store: RecordStore, tasks: Sequence[Task], bar: tqdm) -> None:
        self.store, self.tasks, self.bar = store, tasks, bar
        self.converged = {task.target_key: task.id for task in tasks if task.purpose == "converged"}
        self.disturbances = Disturbances()
        for task in tasks:
            if task.purpose not in UNTIMED and task.id in store:
                self.disturbances.add(task.place, store[task.id].measured)

    def distance(self, task: Task, image: Pixels) -> float | None:
        """The distance of an image to its converged one; None where there is none."""
        target = self.converged.get(task.target_key)
        if target is None:
            return None
        return 0.0 if target == task.id else distance(image, self.store.image(target))


def _request(task: Task) -> Request:
    return Request(
        task.prompt, task.seed, task.steps, task.guidance, negative_prompt=task.negative_prompt
    )
