"""The one execution path: tasks in, records out. A calibration sweep and an end-to-end run both go through here."""

import dataclasses
import os
import platform

import diffusers
import torch
from tqdm import tqdm

from testbed.engine import generate
from testbed.meters import open_meter
from testbed.quality import distance

WARM_UP_STEPS = 3


def environment(device):
    """What a record has to name for its times to mean something elsewhere."""
    info = {
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__,
    }  # fmt: skip
    if device.type == "cpu":
        info |= {"threads": torch.get_num_threads(), "cores": os.cpu_count()}
    return info


def _cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Executor:
    """Runs tasks on opened pipelines: ``pipelines`` maps a place to its pipeline, ``clip`` scores each image."""

    def __init__(self, pipelines, clip, device):
        self.pipelines, self.clip = pipelines, clip
        self.meter = None  # opened when there is something to measure
        self._environment = environment(device)

    def warm_up(self):
        """Bring each pipeline to its steady state and return its rough ``{place: (overhead, step_time)}`` in seconds."""
        self.meter = self.meter or open_meter()
        rough = {}
        for place, pipeline in self.pipelines.items():
            for steps in (1, WARM_UP_STEPS):  # the first call pays for allocation and kernel selection
                done = generate(pipeline, "", 0, steps, 3.0, self.meter)
            rough[place] = (done.text_time + done.decode_time, min(done.step_times))
        return rough

    def run(self, tasks, store, title):
        """Execute the tasks that ``store`` does not hold yet, each recorded the moment that it is finished.

        A ``converged`` task must precede the tasks of the same place, prompt and seed: they are held against it.
        """
        missing = [task for task in tasks if task.id not in store]
        if missing:
            rough = self.warm_up()
            seconds = sum(rough[task.place][0] + task.steps * rough[task.place][1] for task in missing)
            steps = sum(task.steps for task in missing)
            done = f", {len(tasks) - len(missing)} done before" if len(missing) < len(tasks) else ""
            print(f"{title}: {len(missing)} images, {steps} denoising steps, about {max(1, round(seconds))} s{done}", flush=True)
            bar = tqdm(total=steps, desc=title, unit="step", mininterval=1.0)
            converged = {_key(task): task.id for task in tasks if task.purpose == "converged"}
            for task in missing:
                self._run_one(task, store, converged)
                bar.update(task.steps)
            bar.close()
        return [store[task.id] for task in tasks]

    def _run_one(self, task, store, converged):
        done = generate(self.pipelines[task.place], task.prompt, task.seed, task.steps, task.guidance, self.meter)
        target = converged.get(_key(task))
        apart = None
        if target is not None:
            apart = 0.0 if target == task.id else distance(done.image, store.image(target))
        measured = {**done.measured(self.meter), "clip_score": self.clip.score(done.image, task.prompt), "distance": apart}
        asked = dataclasses.asdict(task)
        store.add({"id": task.id, "asked": asked, "measured": measured, "environment": self._environment}, done.image)


def _key(task):
    return task.place, task.model, task.revision, task.prompt, task.seed, task.guidance
