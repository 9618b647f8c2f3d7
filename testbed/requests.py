"""Generate images for a file of requests with one model: ``testbed generate``."""

import dataclasses

from calibration.tasks import Task
from solver.inputs import InputError, read_lines
from testbed.config import ModelConfig
from testbed.engine import generate
from testbed.execute import environment
from testbed.meters import open_meter
from testbed.pipelines import open_pipeline, pick_device
from testbed.store import RecordStore

_FIELDS = {"id": str, "prompt": str, "seed": int, "steps": int}


def read_requests(path):
    """Parse requests, one JSON object a line; raises :class:`InputError` naming file, line and field."""
    requests = {}
    for where, request in read_lines(path, [*_FIELDS, "guidance"]):
        for name, kind in _FIELDS.items():
            value = request.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InputError(f"{where}: {name}: found {value!r}; allowed: {'text' if kind is str else 'a whole number'}")
        if request["steps"] < 1 or not 0 <= request["seed"] < 2**63:
            raise InputError(f"{where}: steps {request['steps']}, seed {request['seed']}; allowed: steps of at least 1, seeds from 0")
        if not request["id"] or request["id"].startswith(".") or "/" in request["id"] or "\\" in request["id"]:
            raise InputError(f"{where}: id: found {request['id']!r}; allowed: a plain file name")
        if not isinstance(request.get("guidance", 1.0), (int, float)):
            raise InputError(f"{where}: guidance: found {request['guidance']!r}; allowed: a number")
        if request["id"] in requests:
            raise InputError(f"{where}: id: '{request['id']}' is used twice")
        requests[request["id"]] = request
    return list(requests.values())


def generate_all(model, path, out, dtype="float32", device="auto"):
    """Write ``out/<id>.png`` and one line in ``out/records.jsonl`` for each request; finished ones are skipped."""
    requests = read_requests(path)
    device = pick_device(device)
    settings = ModelConfig(model=model, dtype=dtype)
    pipeline, revision = open_pipeline(settings, device)
    meter, info = open_meter(), environment(device)
    store = RecordStore(out, images="")
    for request in requests:
        task = Task(
            place="edge", model=model, revision=revision, device=str(device), dtype=dtype, scheduler=type(pipeline.scheduler).__name__,
            prompt=request["prompt"], prompt_class="request", seed=request["seed"], steps=request["steps"],
            guidance=float(request.get("guidance", settings.guidance)), user=None, purpose="user",
        )  # fmt: skip
        asked = dataclasses.asdict(task)
        if request["id"] in store and store[request["id"]]["asked"] == asked:
            continue
        done = generate(pipeline, [task.prompt], [task.seed], task.steps, task.guidance, meter)
        store.add({"id": request["id"], "asked": asked, "measured": done.measured(meter), "environment": info}, done.images[0])
    return store.path
