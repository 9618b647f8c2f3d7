"""The one execution path of calibration and execution: tasks in, records out.

Started by ``accelerate launch``, several processes share the tasks.
"""

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from calibration.records.record import Measured, Record, as_of
from calibration.records.task import Task
from calibration.sweep.calls import Call, plan, shares
from calibration.sweep.disturbance import DISTURBED, Disturbances, contention
from testbed.client.makers import Maker, engine_of, make_split, request_of, setup_of, takes_batches
from testbed.client.remote import RemotePlace
from testbed.engines.out_of_memory import Parts
from testbed.engines.request import Failed, Made, Outcome, all_made, outcomes_of, run_through
from testbed.engines.stock import generate
from testbed.engines.threads import Threads, using
from testbed.environment import environment, machine_load
from testbed.metering.meters import AnyMeter, open_meter
from testbed.metrics.extractor import Scorer
from testbed.processes import processes
from testbed.runs.failures import FailureLog
from testbed.runs.store import Pixels, RecordStore
from testbed.runs.work import Work, check_setups, interrupted, open_calls

WARM_UP_STEPS = 3
#: How often an image is timed at most, where other processes disturb it.
ATTEMPTS = 3
#: Seconds after which the load, a mean of the last minute, is not that of an installation before.
SETTLED = 90.0


class Executor:
    """Runs tasks on opened ``pipelines`` or servers, by place; ``clip`` scores each image, if
    there is one.

    Images whose time is wanted are made alone. The others are made by continuous batching, up to
    ``batch`` at a time, or by calls of the pipeline for ``batch`` of them where it has an
    :func:`testbed.engines.networks.unsupported_reason`. A server is sent ``batch`` requests at
    once. ``meter``: None opens the machine's when there is something to measure. ``threads``: by
    place, on a CPU.
    """

    def __init__(
        self,
        pipelines: Mapping[str, Maker],
        clip: Scorer | None,
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
        self._setups = {place: setup_of(pipeline) for place, pipeline in pipelines.items()}
        self._continuous = {name for name, each in pipelines.items() if takes_batches(each)}
        self._calls = {place: Parts(batch, device) for place in pipelines}
        self._contention_named, self._opened = False, time.monotonic()
        self._failed: dict[Path, set[str]] = {}  # ids of tasks, by the store's folder

    def run(self, tasks: Sequence[Task], store: RecordStore, title: str) -> list[Record]:
        """Execute the tasks that ``store`` does not hold yet, and record each when it is finished.

        Returns :func:`calibration.records.record.as_of` of the tasks that were finished. A task
        that fails is written down (:mod:`testbed.runs.failures`), with a warning at the end, and
        not tried again by this process. Of several processes each does its share of the calls, and
        all return all records. Raises :class:`InputError` where the store's records were measured
        on pipelines that were set up otherwise.
        """
        failures = FailureLog(store.folder)
        before = {failure.id for failure in failures.earlier()}
        self._meet(store)
        if store.folder not in self._failed:
            self._failed[store.folder] = set()
            if self.processes.is_main_process:
                failures.forget()
        failed = self._failed[store.folder]
        self._meet(store)
        check_setups(store, tasks, self._setups, self._environment, self.threads)
        held = set(store) - interrupted(store, tasks, self.processes.num_processes, ATTEMPTS)
        missing = [
            open_calls(calls, held, failed, before, self.processes.num_processes)
            for calls in plan(tasks, self.batch, self._continuous)
        ]
        mine = [
            shares(calls, self.processes.num_processes)[self.processes.process_index]
            for calls in missing
        ]
        if any(missing):
            calls = list(chain(*missing))
            images = sum(len(call.tasks) for call in calls)
            seconds = self._warm_up(list(chain(*mine)), tasks)
            earlier = f", {len(tasks) - images} images done before" if images < len(tasks) else ""
            print(
                f"{title}: {images} images, {sum(call.evaluations for call in calls)} denoising "
                f"steps, about {max(1, round(seconds))} s{earlier}",
                flush=True,
            )
        bar = tqdm(
            total=sum(call.evaluations for call in chain(*mine)),
            desc=title,
            unit="step",
            mininterval=1.0,
            disable=not any(missing),
        )
        work = Work(store, tasks, bar)
        for calls in mine:
            for call in calls:
                self._make(call, work)
            self._meet(store)
        bar.close()
        self._add_late_distances(work)
        if (now := {failure.id for failure in failures.failures()}) - failed:
            warnings.warn(failures.summary(title, len(tasks)), stacklevel=2)
        failed |= now
        made = [task for task in tasks if task.id in store]
        return as_of(made, [store[task.id] for task in made])

    def _meet(self, store: RecordStore) -> None:
        """Wait for the other processes, if there are any, and take in their records."""
        if self.processes.num_processes > 1:
            self.processes.wait_for_everyone()
            store.read_again()

    def _threads(self, call: Call) -> int:
        of_place = self.threads.get(call.place) or Threads.current()
        return of_place.single if call.kind == "single" else of_place.batched

    def _warm_up(self, calls: Sequence[Call], tasks: Sequence[Task]) -> float:
        """Bring each pipeline to its steady state, with step counts of the ``tasks``: a sampler may
        refuse others. Returns the rough seconds of the ``calls``.
        """
        if self.meter is None:
            self.meter = open_meter(self.device)
        if "idle_watts" not in self._environment:
            self._environment |= {
                "idle_watts": self.meter.idle(),
                "meter_period_s": self.meter.period,
            }
        rough, counts = {}, defaultdict(set)
        for task in tasks:
            counts[task.place, task.split].add(task.steps)
        for call in sorted(calls, key=lambda call: -len(call.tasks)):
            if call.key not in rough:
                rough[call.key] = self._rough_seconds(call, sorted(counts[call.place, call.split]))
        return sum(
            len(call.tasks) * rough[call.key][0] + call.evaluations * rough[call.key][1]
            for call in calls
        )

    def _rough_seconds(self, call: Call, counts: Sequence[int]) -> tuple[float, float]:
        """Of calls like this one: seconds for an image beside its steps, and for an evaluation.

        ``counts``: the step counts of the call's place, rising.
        """
        size = min(len(call.tasks), self.batch)
        enough = next((count for count in counts if count >= WARM_UP_STEPS), counts[-1])
        with using(self._threads(call)):
            for steps in (counts[0], enough):  # the first pays for allocation and kernel selection
                task = replace(call.tasks[0], prompt="warm-up", steps=steps)
                tasks = [replace(task, seed=seed) for seed in range(size)]
                if call.kind == "batched":
                    engine = engine_of(self.pipelines[call.place], self.batch)
                    run_through(engine.run(list(map(request_of, tasks))))
                    beside = sum(each for _, each in (*engine.log.text, *engine.log.decode))
                    step = min(each for _, each in engine.log.tick)
                else:
                    part, (spent, _) = self._calls[call.place].first(tasks, self._generate)
                    size, beside = len(part), spent.text_time + spent.decode_time
                    step = min(spent.step_times, default=spent.time / steps)
        return beside / size, step / size

    def _make(self, call: Call, work: Work) -> None:
        with using(self._threads(call)):
            if call.kind == "single":
                with work.attempt(call.tasks[0]):
                    self._time(call.tasks[0], work)
                return
            make = self._stock if call.kind == "stock" else self._batched
            for task, outcome in make(call.tasks):
                with work.attempt(task):
                    (made,) = all_made([outcome])
                    self._finish(task, made.image, made.measured(), work)

    def _stock(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Made | Failed]]:
        """The tasks' images by calls of the pipeline, as many at once as memory holds."""
        for part, done in self._calls[tasks[0].place].each(tasks, self._generate):
            if isinstance(done, Exception):
                yield part[0], Failed(0, done)
            else:
                yield from zip(part, done[1])

    def _batched(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome | Made]]:
        """The tasks' images by continuous batching, in the order in which they are finished.

        A new engine for each call: where memory runs out, it does in the same place again.
        """
        engine = engine_of(self.pipelines[tasks[0].place], self.batch)
        for outcome in engine.run(list(map(request_of, tasks))):
            yield tasks[outcome.index], outcome

    def _generate(self, tasks: Sequence[Task]) -> tuple[Measured, list[Made | Failed]]:
        """A call for all ``tasks``: what was measured of it, and the outcome of each."""
        first = tasks[0]
        if first.split is not None:
            return make_split(tasks, first.split, self.pipelines, self.threads, self.meter)
        if isinstance(place := self.pipelines[first.place], RemotePlace):
            made = place.make(request_of(first))
            return made.about, [made]
        assert self.meter is not None, "a call follows the warm-up"
        done = generate(
            place,
            [task.prompt for task in tasks],
            [task.seed for task in tasks],
            first.steps,
            first.guidance,
            self.meter,
            first.negative_prompt,
        )
        measured = done.measured(self.meter)
        return measured, outcomes_of(done, measured)

    def _time(self, task: Task, work: Work) -> None:
        """Make and time an image, again where another process disturbed it.

        Each time a line is written; the last one holds the least disturbed measurement.
        """
        measured, images = self._generate([task])
        work.disturbances.add_steps(task, measured)
        (made,) = all_made(images)
        record = self._finish(task, made.image, measured, work)
        for attempt in range(2, ATTEMPTS + 1):
            if work.disturbances.excess(task, record.measured) <= DISTURBED:
                break
            again, _ = self._generate([task])
            work.disturbances.add_steps(task, again)
            before = record.measured
            scored = replace(again, clip_score=before.clip_score, distance=before.distance)
            best = min(before, scored, key=lambda measured: measured.time)
            record = replace(record, measured=replace(best, attempts=attempt))
            work.store.write(record)
        work.disturbances.add(task, record.measured)
        self._name_contention(work.disturbances)

    def _finish(self, task: Task, image: Pixels, measured: Measured, work: Work) -> Record:
        """Record an image, unless the store holds it from before."""
        work.bar.update(task.steps)
        if task.id not in work.store:
            score = self.clip.score(image, task.prompt) if self.clip else None
            scored = replace(measured, clip_score=score, distance=work.distance(task, image))
            where = {**self._environment, "pipeline": self._setups[task.place]}
            if notes := getattr(self.pipelines[task.place], "notes", None):
                where["notes"] = notes
            if self.device.type == "cpu" and measured.transfer is None:
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

    def _add_late_distances(self, work: Work) -> None:
        """Give the images that were made before their converged one their distance to it.

        An adaptive sweep asks for converged images later.
        """
        tasks = [task for task in work.tasks if task.target_key in work.converged]
        for task in tasks[self.processes.process_index :: self.processes.num_processes]:
            if task.id not in work.store:
                continue
            record = work.store[task.id]
            if record.measured.distance is None:
                apart = work.distance(task, work.store.image(task.id))
                if apart is not None:
                    measured = replace(record.measured, distance=apart)
                    work.store.write(replace(record, measured=measured))
        self._meet(work.store)
