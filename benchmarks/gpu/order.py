"""All jobs, those worth most first; in eight minutes on an H100 the last ones may be left out."""

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
    # no trial of the next: their 1024 pixels or long texts take their time on a CPU, and the tests
    # of the bench and of the engine have the pipelines
    Job("bench", "pixart", 60, "speed:PIXART", MODELS, trial=False),
    Job("bench", "sd35-medium", 60, "speed:SD35", MODELS, trial=False),
    Job("engine", "sd35-medium", 100, "serving:SD35", MODELS, trial=False),
    Job("bench", "sana", 60, "speed:SANA", MODELS, trial=False),
    Job("engine", "sana", 100, "serving:SANA", MODELS, trial=False),
    Job("bench", "sana-sprint", 60, "speed:SPRINT", MODELS, trial=False),
    Job("engine", "sana-sprint", 60, "serving:SPRINT", MODELS, trial=False),
    Job("bench", "flux-schnell", 100, "speed:FLUX", MODELS, trial=False),
    Job("engine", "flux-schnell", 100, "serving:FLUX", MODELS, trial=False),
    Job("engine", "compiled", 120, "variants:run_compiled", MODELS),
    # no trial: on a CPU the same as the first tests, all skipped
    Job("tests", "compiled", 120, "marked_tests:run_compiled", TESTS, trial=False),
)
