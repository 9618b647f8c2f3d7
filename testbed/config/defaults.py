"""Defaults that fit the models, the prompts, and what a run folder has measured before.

What nobody gave is settled once, before anything is opened, and kept in the folder's configuration.
Nothing here loads torch.
"""

import ast
import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from calibration.scenario.scenario import MAX_STEPS, USERS, Scenario
from solver.inputs import InputError, read_json
from solver.problem import PLACES
from testbed.config import NONE, Config, ModelConfig, SweepConfig
from testbed.config.paths import leads, same, warn_of_namesake
from testbed.data.prompts import FilePrompts, ScenePrompts, open_prompts
from testbed.models import hub_files
from testbed.runs import guard

#: The scorer of models that are not embedded, at a commit.
SCORER, SCORER_COMMIT = "openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41"
#: Step counts and converged steps of a pair that is distilled to few steps.
FEW_STEPS, FEW_CONVERGED = (1, 2, 3, 4, 6, 8), 16
#: Consistency samplers; with more than ``original_inference_steps`` they refuse.
_CONSISTENCY, _ORIGINAL_STEPS = ("LCMScheduler", "TCDScheduler"), 50
#: The keys that may be paths.
_PATHS = ("prompts", "local.model", "edge.model", "quality.clip", "quality.reference")
#: What gets its value together with a key that nobody gave.
_WITH = {"quality.clip": ("quality.clip_revision",)}


def settle(config: Config, out: Path | None = None) -> Config:
    """``config`` with values in place of its ``defaulted`` keys, and with paths that mean the same
    from every working folder.

    In a folder ``out`` that has measured something they are what they were. Raises
    :class:`InputError` for prompts that are too few.
    """
    known = _measured_with(out)
    config = _placed(config, known)
    if known is not None:
        keys = [name for key in config.defaulted for name in (key, *_WITH.get(key, ()))]
        return _with(config, {key: _value(known, key) for key in keys})
    values = _of_quality(config) | _of_guidance(config)
    prompts = open_prompts(config.prompts)
    if "sweep.prompts_per_class" in config.defaulted:
        values["sweep.prompts_per_class"] = _prompts_per_class(config, prompts)
    return _with(config, values | _of_sweep(config))


def scenario(config: Config, prompts: ScenePrompts | FilePrompts) -> Scenario:
    """The scenario of a configuration. By default equally many users ask for each prompt class, as
    many as there are prompts for, up to :data:`USERS`, and with at most the sweep's steps.
    """
    given = dict(config.scenario)
    for place in PLACES:
        own, largest = given.get(place, {}), max(config.sweep.grid(place))
        if isinstance(own, dict):
            given[place] = {"max_steps": min(MAX_STEPS[place], largest), **own}
    shares = dict.fromkeys(prompts.classes, 1)
    for users in range(USERS, 0, -1):
        made = Scenario.from_dict({"prompt_classes": shares, "users": users, **given}, "scenario")
        asked = [user.prompt_class for user in made.users]
        known = set(asked) <= set(prompts.classes)
        if (
            "users" in given
            or not known
            or all(asked.count(name) <= prompts.spare(name) for name in set(asked))
        ):
            break
    return made


def notices(config: Config) -> list[str]:
    """What one would not expect of a settled configuration whose models are not embedded."""
    if is_embedded(config):
        return []
    said, clip = [], config.quality.clip
    if config.prompts == "scenes":
        why = "none are named, so " if "prompts" in config.defaulted else ""
        said.append(
            f"prompts: {why}the scene captions of this repository's own models are used; "
            'prompts = "FILE.jsonl" gives others'
        )
    if config.quality.reference == "scenes" and config.quality.compares:
        said.append(
            "quality.reference: scenes are images as this repository's own models make them: what "
            'is compared with them tells little of other models; allowed: "converged", or a folder '
            "of captioned images"
        )
    if clip == NONE and "quality.clip" in config.defaulted:
        said.append(
            f"quality.clip: none is named, and {SCORER} was neither in the hub's cache nor to be "
            f"fetched: utility is left out{'' if config.quality.compares else ', and distances'}; "
            'quality.clip = "FOLDER" of a CLIP model brings it back in another run folder'
        )
    if clip.startswith("embedded:"):
        said.append(
            f"quality.clip: {clip} knows the scenes of this repository alone: it tells little of "
            "other images"
        )
    return said


def told(config: Config) -> list[str]:
    """The settings that nobody gave, as they would be written in a configuration."""
    return [f"{key} = {_toml(_value(config, key))}" for key in config.defaulted]


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def is_embedded(config: Config) -> bool:
    """Whether both models are of this repository."""
    return all(model.model.startswith("embedded:") for model in (config.local, config.edge))


def _measured_with(out: Path | None) -> Config | None:
    """The configuration of a folder that has measured something."""
    if out is None or not guard.has_measured(out):
        return None
    return guard.known_config(out)


def _placed(config: Config, known: Config | None) -> Config:
    """``config`` with absolute paths, or as ``known`` has them: its records name models by them."""
    values = {}
    for key in _PATHS:
        path, section = _value(config, key), getattr(config, key.split(".")[0])
        if not leads(path) or getattr(section, "url", None):  # a server's model is its own
            continue
        before = None if known is None else _value(known, key)
        values[key] = before if before and same(path, before) else os.path.abspath(path)
        if key.endswith(".model"):
            warn_of_namesake(path)
    return _with(config, values)


def _of_quality(config: Config) -> dict[str, Any]:
    """The scorer and the reference."""
    values: dict[str, Any] = {}
    embedded = is_embedded(config)
    if "quality.reference" in config.defaulted and not (embedded and config.prompts == "scenes"):
        values["quality.reference"] = "converged"
    if "quality.clip" in config.defaulted and not embedded:
        values["quality.clip"] = NONE
        if _scorer_is_here():
            values |= {"quality.clip": SCORER, "quality.clip_revision": SCORER_COMMIT}
    return values


def _of_guidance(config: Config) -> dict[str, Any]:
    """The guidance scale of each model's own call."""
    models = {"local.guidance": config.local, "edge.guidance": config.edge}
    return {key: own_guidance(model) for key, model in models.items() if key in config.defaulted}


def own_guidance(model: ModelConfig) -> float:
    """The guidance scale that a ``model`` takes where nobody names one: what the call of its
    pipeline's class takes by default, and 0 of a model distilled to few steps, unless its network
    takes the number. Of embedded models, of servers and of unknown classes that of ``model``.
    """
    if _Sampler.of(model).few_steps and not _config_of(model, "unet/config.json").get(
        "time_cond_proj_dim"
    ):
        return 0.0
    name = _config_of(model, "model_index.json").get("_class_name")
    default = call_default(name, "guidance_scale") if isinstance(name, str) else None
    return model.guidance if default is None else float(default)


def call_default(name: str, argument: str) -> float | None:
    """The default of an ``argument`` of the call of diffusers' pipeline class ``name``; None where
    there is none. It is read off the source, as importing it would load torch.
    """
    return _call_defaults(name).get(argument)


@cache  # hundreds of files are searched, and several models may ask
def _call_defaults(name: str) -> Mapping[str, Any]:
    package = importlib.util.find_spec("diffusers")
    assert package is not None and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "pipelines"
    for path in sorted(folder.rglob("pipeline_*.py")):
        if f"class {name}(" not in (text := path.read_text(encoding="utf-8")):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return _defaults_of_call(node)
    return {}


def _defaults_of_call(pipeline: ast.ClassDef) -> dict[str, Any]:
    for node in pipeline.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__call__":
            last_first = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            return {
                argument.arg: value.value
                for argument, value in last_first
                if isinstance(value, ast.Constant)
            }
    return {}


def _scorer_is_here() -> bool:
    """Whether the scorer's weights are in the cache, or the hub answers."""
    if hub_files.holds_weights(SCORER, SCORER_COMMIT):
        return True
    reached = hub_files.unreachable() is None
    return reached and hub_files.file(SCORER, "config.json", SCORER_COMMIT) is not None


def _prompts_per_class(config: Config, prompts: ScenePrompts | FilePrompts) -> int:
    available = {name: prompts.available(name) for name in prompts.classes}
    name = min(available, key=lambda name: available[name])
    least = 2 if config.sweep.half_width is None else 3
    if available[name] < least:
        raise InputError(
            f"prompts: {config.prompts}: class '{name}': half of its prompts, {available[name]}, "
            f"are for the calibration; allowed: at least {least}, so {2 * least} different prompts"
        )
    return min(SweepConfig().prompts_per_class, available[name])


def _of_sweep(config: Config) -> dict[str, Any]:
    """Step counts and converged steps that the models' samplers can take."""
    sweep = config.sweep
    values: dict[str, Any] = {}
    models = [_Sampler.of(model) for model in (config.local, config.edge)]
    few, steps = all(model.few_steps for model in models), sweep.steps
    most = min(model.most_steps for model in models)
    converged = min(most, FEW_CONVERGED if few else sweep.converged_steps)
    if "sweep.converged_steps" not in config.defaulted:
        converged = sweep.converged_steps
    if "sweep.steps" in config.defaulted:
        below = [count for count in (FEW_STEPS if few else steps) if count < converged]
        steps = values["sweep.steps"] = tuple(below) or (1,)
    if "sweep.converged_steps" in config.defaulted:
        above = 2 * max(steps) if max(steps) >= converged else converged
        values["sweep.converged_steps"] = min(most, above)
    return values


@dataclasses.dataclass(frozen=True)
class _Sampler:
    """What a model's files say of its sampler: ``few_steps``, is the model distilled to few;
    ``most_steps``, beyond which it refuses.
    """

    few_steps: bool = False
    most_steps: int = sys.maxsize

    @classmethod
    def of(cls, model: ModelConfig) -> "_Sampler":
        config = _config_of(model, "scheduler/scheduler_config.json")
        kind = model.scheduler or config.get("_class_name")
        if kind in _CONSISTENCY:
            return cls(True, config.get("original_inference_steps") or _ORIGINAL_STEPS)
        # as SD Turbo, SDXL Turbo and SDXL Lightning are saved
        trailing = config.get("timestep_spacing") == "trailing"
        return cls(bool(trailing and str(kind).startswith("Euler")))


def _config_of(model: ModelConfig, name: str) -> Mapping[str, Any]:
    """A JSON file of a model in a folder or on the hub; empty where there is none."""
    if model.url is not None or model.model.startswith("embedded:"):
        return {}
    folder = Path(model.model)
    path = folder / name if folder.is_dir() else hub_files.file(model.model, name, model.revision)
    try:
        values = read_json(path) if path else {}
    except InputError:
        return {}  # opening the model says what is wrong
    return values if isinstance(values, dict) else {}


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _with(config: Config, values: Mapping[str, Any]) -> Config:
    for key, value in values.items():
        *section, name = key.split(".")
        if section:
            part = dataclasses.replace(getattr(config, section[0]), **{name: value})
            config = dataclasses.replace(config, **{section[0]: part})
        else:
            config = dataclasses.replace(config, **{name: value})
    return config
