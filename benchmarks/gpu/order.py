"""All jobs, those worth most first; on an H100 they take about eight minutes together."""

from benchmarks.gpu.jobs import chain, laws, machine, marked_tests, variants
from benchmarks.gpu.jobs.serving import Serving
from benchmarks.gpu.jobs.speed import Speed
from benchmarks.gpu.runner import Job

MODELS = ("diffusers", "transformers", "accelerate")
CHAIN = (*MODELS, "torchmetrics", "tqdm", "jinja2", "matplotlib")
BATCHES = (1, 2, 4, 8, 16)

JOBS = (
    Job("machine", "machine", 60, machine.run, MODELS),
    Job("tests", "gpu", 100, marked_tests.run, ("pytest", "hypothesis", *CHAIN)),
    Job("bench", "sd15", 60, Speed("sd15", BATCHES), MODELS),
    Job("engine", "sd15", 120, Serving("sd15"), MODELS),
    Job("bench", "sdxl", 100, Speed("sdxl", BATCHES), MODELS),
    Job("chain", "embedded", 90, chain.run, CHAIN),
    Job("engine", "sdxl", 120, Serving("sdxl", (1, 2, 4, 8), most=20, rounds=2), MODELS),
    Job("engine", "variants", 60, variants.run, MODELS),
    Job("laws", "sd15", 60, laws.run, MODELS),
    Job("bench", "sd3", 60, Speed("sd3", (1, 4), "bfloat16"), MODELS),
    Job("bench", "pixart", 60, Speed("pixart", (1, 4), "bfloat16"), MODELS),
    Job("engine", "compiled", 120, variants.run_compiled, MODELS),
    Job("tests", "compiled", 120, marked_tests.run_compiled, ("pytest", "hypothesis", *CHAIN)),
)
