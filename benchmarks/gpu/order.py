"""All jobs, those worth most first; on an H100 they take about eight minutes together."""

from benchmarks.gpu.runner import Job

MODELS = ("torch", "diffusers", "transformers", "accelerate")
CHAIN = (*MODELS, "torchmetrics", "tqdm", "jinja2", "matplotlib")
TESTS = ("pytest", "hypothesis", *CHAIN)

JOBS = (
    Job("machine", "machine", 60, "machine:run", ("torch",)),
    Job("tests", "gpu", 100, "marked_tests:run", TESTS),
    Job("bench", "sd15", 60, "speed:SD15", MODELS),
    Job("engine", "sd15", 120, "serving:SD15", MODELS),
    Job("bench", "sdxl", 100, "speed:SDXL", MODELS),
    Job("chain", "embedded", 90, "chain:run", CHAIN),
    Job("engine", "sdxl", 120, "serving:SDXL", MODELS),
    Job("engine", "variants", 60, "variants:run", MODELS),
    Job("laws", "sd15", 60, "laws:run", MODELS),
    Job("bench", "sd3", 60, "speed:SD3", MODELS),
    Job("bench", "pixart", 60, "speed:PIXART", MODELS),
    Job("engine", "compiled", 120, "variants:run_compiled", MODELS),
    # on a CPU the same as the first tests: all are skipped
    Job("tests", "compiled", 120, "marked_tests:run_compiled", TESTS, trial=False),
)
