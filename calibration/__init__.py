"""Measured behaviour of diffusion pipelines: curves fitted to it, problems made of it, checks
against it.

>>> from calibration import Scenario, fit_curve, load_profiles, predict, to_problem
>>> fit = fit_curve([1, 2, 4, 8, 16, 32], [0.91, 0.72, 0.47, 0.21, 0.08, 0.05], kind="error")
>>> fit.chosen, [family.intervals for family in fit.families]
>>> predict(fit, [6, 64])  # with 95 % intervals; extrapolation is flagged
>>> profiles = load_profiles("profiles.json")  # what `testbed calibrate` made of its records
>>> profiles.find("edge", "object").time.seconds(20)
>>> problem = to_problem(profiles, Scenario.from_dict({"users": 30, "edge_budget": 180}))
>>> import solver
>>> allocation = solver.solve(problem)

``records`` hold what was asked and measured, ``sweep`` plans what to measure, ``fitting`` and
``costs`` fit curves, times, energies and batches, ``profiles`` bundle the fits, ``scenario`` makes
a problem of them, ``serving`` predicts continuous batching, ``validation`` compares predictions
with what was measured. Importing this loads none of them; a name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calibration.costs.batch import fit_batching
    from calibration.costs.energy import fit_energy
    from calibration.costs.time import fit_time
    from calibration.fitting.fit import fit_curve, fit_report
    from calibration.fitting.prediction import predict
    from calibration.profiles.build import build as build_profiles
    from calibration.profiles.profile import Profiles
    from calibration.profiles.store import load as load_profiles
    from calibration.profiles.store import save as save_profiles
    from calibration.records.record import Record
    from calibration.records.task import Task
    from calibration.scenario.problem import to_problem
    from calibration.scenario.scenario import Scenario
    from calibration.scenario.sites import measured_steps
    from calibration.serving.simulator import simulate
    from calibration.validation.validate import validate
    from calibration.validation.verdicts import verdicts
    from solver.inputs import InputError

    __version__: str

__all__ = [
    "InputError",
    "Profiles",
    "Record",
    "Scenario",
    "Task",
    "__version__",
    "build_profiles",
    "fit_batching",
    "fit_curve",
    "fit_energy",
    "fit_report",
    "fit_time",
    "load_profiles",
    "measured_steps",
    "predict",
    "save_profiles",
    "simulate",
    "to_problem",
    "validate",
    "verdicts",
]

_HOMES = {
    "InputError": ("solver.inputs", "InputError"),
    "Profiles": ("calibration.profiles.profile", "Profiles"),
    "Record": ("calibration.records.record", "Record"),
    "Scenario": ("calibration.scenario.scenario", "Scenario"),
    "Task": ("calibration.records.task", "Task"),
    "__version__": ("solver", "__version__"),
    "build_profiles": ("calibration.profiles.build", "build"),
    "fit_batching": ("calibration.costs.batch", "fit_batching"),
    "fit_curve": ("calibration.fitting.fit", "fit_curve"),
    "fit_energy": ("calibration.costs.energy", "fit_energy"),
    "fit_report": ("calibration.fitting.fit", "fit_report"),
    "fit_time": ("calibration.costs.time", "fit_time"),
    "load_profiles": ("calibration.profiles.store", "load"),
    "measured_steps": ("calibration.scenario.sites", "measured_steps"),
    "predict": ("calibration.fitting.prediction", "predict"),
    "save_profiles": ("calibration.profiles.store", "save"),
    "simulate": ("calibration.serving.simulator", "simulate"),
    "to_problem": ("calibration.scenario.problem", "to_problem"),
    "validate": ("calibration.validation.validate", "validate"),
    "verdicts": ("calibration.validation.verdicts", "verdicts"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'calibration' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
