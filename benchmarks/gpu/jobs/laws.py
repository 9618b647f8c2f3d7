"""Is time affine in steps, is energy time at one power, and does power follow the paper's f³?"""

import itertools
import time

from benchmarks.gpu.jobs.serving import guidance_of, random_pipeline
from benchmarks.gpu.notes import Notes
from benchmarks.gpu.setting import Setting
from calibration.costs.energy import fit_energy
from calibration.costs.metering import metered
from calibration.costs.time import fit_time
from calibration.records.record import Record
from calibration.records.task import ModelSpec
from testbed.bench.bench import PROMPT
from testbed.engines.stock import generate
from testbed.metering.meters import open_meter

NAME = "sd15"
STEPS = (1, 2, 4, 8, 16, 32)
SECONDS = 25.0  # for which rounds are measured
_LEAST_ROUNDS = 3


def run(notes: Notes, setting: Setting) -> str:
    """Single images of Stable Diffusion 1.5 at several step counts in turns; the calibration's own
    fits of them.
    """
    name = setting.architecture(NAME)
    pipeline, guidance = random_pipeline(name, setting), guidance_of(name)
    meter = open_meter(setting.where)
    environment = {"idle_watts": meter.idle(seconds=1.0), "meter_period_s": meter.period}
    spec = ModelSpec(
        model=name,
        device=setting.device,
        dtype=str(pipeline.unet.dtype).removeprefix("torch."),
        scheduler=type(pipeline.scheduler).__name__,
        guidance=guidance,
    )
    counts = STEPS[:3] if setting.small else STEPS
    for steps in (1, 3):
        generate(pipeline, [PROMPT], [0], steps, guidance, meter)
    records: list[Record] = []
    end = time.monotonic() + min(1.0 if setting.small else SECONDS, setting.left / 2)
    for turn in itertools.count():
        if turn >= _LEAST_ROUNDS and time.monotonic() > end:
            break
        for steps in counts if turn % 2 else reversed(counts):
            done = generate(pipeline, [PROMPT], [turn], steps, guidance, meter)
            task = spec.task(
                place="edge",
                prompt=PROMPT,
                prompt_class="object",
                seed=turn,
                steps=steps,
                purpose="sweep",
            )
            records.append(Record(task.id, task, done.measured(meter), environment))
    fitted = fit_time(
        [record.task.steps for record in records], [record.measured.time for record in records]
    )
    notes.add(images=len(records), environment=environment, time=fitted)
    images = metered(records)
    notes.attempt("energy", lambda: fit_energy(images, fitted))
    lack = fitted.lack_of_fit
    affine = "not tested" if lack is None else f"{lack.affine} (p = {lack.p:.2g})"
    text = f"{1e3 * fitted.step_time:.4g} ms/step, overhead {1e3 * fitted.overhead:.4g} ms, "
    text += f"time affine: {affine}"
    if images is None:
        return f"{text}; energy was not measured"
    energy = fit_energy(images, fitted)
    if energy is None:
        return f"{text}; no energy a step"
    text += f"; {energy.step_j:.3g} J/step"
    if energy.constant_power:
        power = energy.constant_power
        text += f", one power: {power.holds} (p = {power.p:.2g})"
    if energy.law is None:
        return f"{text}; no clock was read"
    if not energy.law.tested:
        return f"{text}; f³ not tested: {energy.law.reason}"
    return f"{text}; power ~ f^{energy.law.exponent:.2f}, f³: {energy.law.cubic}"
