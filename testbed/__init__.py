"""The testbed: everything that touches hardware, models, disk or screen.

>>> import testbed
>>> config = testbed.load_config("embedded")
>>> report = testbed.run(config, "runs/first")  # calibrate, allocate, execute, validate, report
>>> testbed.RunFolder.read("runs/first").validation().totals

Importing it loads no torch; what a name needs is loaded when the name is first used.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.config import Config
    from testbed.config import load as load_config
    from testbed.report.page import write_report
    from testbed.runs.folder import RunFolder
    from testbed.stages.run import run

    __version__: str

__all__ = ["Config", "RunFolder", "__version__", "load_config", "run", "write_report"]

# transformers and diffusers give advice while they are imported; what matters is raised as an error
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
# Waiting threads of libgomp, torch's on Linux, keep their cores busy: beside another process a step
# of a small network then takes up to a hundred times as long. It is read when torch is loaded.
if not any(name.startswith(("OMP_", "GOMP_")) for name in os.environ):
    os.environ["GOMP_SPINCOUNT"] = "1000"

_HOMES = {
    "Config": ("testbed.config", "Config"),
    "RunFolder": ("testbed.runs.folder", "RunFolder"),
    "__version__": ("solver", "__version__"),
    "load_config": ("testbed.config", "load"),
    "run": ("testbed.stages.run", "run"),
    "write_report": ("testbed.report.page", "write_report"),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'testbed' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
