"""Run configurations: TOML presets and files into frozen dataclasses, wrong keys into one line.

A configuration names two models, the metrics' model, the prompts, the calibration sweep, what to
execute, and a scenario (see :mod:`calibration.scenario.scenario`). Presets lie in
``testbed/presets``.
"""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from calibration.sweep.grid import NOISES
from solver.inputs import InputError, check_keys

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class ModelConfig:
    """One text-to-image pipeline: ``model`` is ``embedded:NAME``, a folder, or a hub id."""

    model: str
    revision: str | None = None
    variant: str | None = None  # e.g. "fp16": which weight files of a model
    dtype: str = "float32"
    guidance: float = 3.0
    negative_prompt: str | None = None  # what guidance leads away from
    resolution: int | None = None  # pixels a side; default: the model's own
    scheduler: str | None = None  # a class of diffusers', made from the config of the model's own
    vae_dtype: str | None = (
        None  # of the decoding; default: dtype, and float32 where that overflows
    )
    memory: str = (
        "auto"  # "whole", "sliced" or "offload" (testbed.models.memory); auto: by what is free
    )
    allow_pickle: bool = False  # open weights that can run any code, where there are no safetensors


@dataclass(frozen=True)
class QualityConfig:
    clip: str = "embedded:clip"  # embedded:clip, a folder, or a hub id of a CLIP model
    clip_revision: str | None = None
    # of the features that the distances compare: the CLIP model above, or "inception" (v3), as the
    # FID has it
    extractor: str = "clip"
    # held-out real scenes; "converged": the edge model's own converged images; or a folder of
    # captioned images
    reference: str = "scenes"
    reference_size: int = (
        512  # scenes of each prompt class in the reference; of a folder, its first images
    )


@dataclass(frozen=True)
class SweepConfig:
    """``half_width`` (relative, of 95 % intervals; e.g. 0.1) makes the sweep adaptive: it begins
    with ``prompts_per_class`` prompts, and takes as many more of each class, up to
    ``most_prompts``, at those of ``steps``, as the intervals need.
    """

    steps: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 32)
    prompts_per_class: int = 12
    timed: int = 6  # prompts of each class whose images are made alone and timed: the first ones
    half_width: float | None = None
    most_prompts: int = 200
    seeds: tuple[int, ...] = (0,)
    # of each prompt and seed; "shared": the same for all prompts of a seed, as MLPerf has it
    noise: str = "own"
    converged_steps: int = 96
    converged_batch: int = 12  # images in a batch, of those that are not timed
    batches: tuple[int, ...] = (
        1,
        2,
        4,
        8,
        16,
    )  # batch sizes that the step engine is timed at on the edge


@dataclass(frozen=True)
class ExecuteConfig:
    images_per_user: int = 1
    # in which the edge serves its users' requests in batches, or "shortest" remaining steps first
    order: str = "first_come"
    arrival_rate: float | None = (
        None  # of these requests, a second, in a Poisson stream; default: all at once
    )


@dataclass(frozen=True)
class Config:
    """A whole run. ``prompts`` is ``"scenes"``, a JSONL file of ``{"prompt", "class"}`` lines, or a
    folder of captioned images.
    """

    local: ModelConfig
    edge: ModelConfig
    device: str = "auto"
    prompts: str = "scenes"
    quality: QualityConfig = field(default_factory=QualityConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    execute: ExecuteConfig = field(default_factory=ExecuteConfig)
    scenario: dict = field(default_factory=dict)

    def to_dict(self):
        return {"schema": "run/1", **dataclasses.asdict(self)}


_SECTIONS = {
    "local": ModelConfig,
    "edge": ModelConfig,
    "quality": QualityConfig,
    "sweep": SweepConfig,
    "execute": ExecuteConfig,
}


def find(name_or_path=None):
    """The path of a preset, by name, or of a TOML file; raises :class:`InputError` for an unknown
    preset.
    """
    name = str(name_or_path or "embedded")
    path = Path(name)
    if path.suffix or path.exists():
        return path
    check_keys("preset", [name], sorted(preset.stem for preset in PRESETS.glob("*.toml")))
    return PRESETS / f"{name}.toml"


def load(name_or_path=None, **models):
    """Read a preset by name or a TOML file by path (default: the preset ``embedded``).

    ``local``, ``edge``: a hub id or folder in place of the model there; it takes over dtype,
    guidance, negative prompt and memory, and the rest is its own. Raises :class:`InputError` for a
    missing file, malformed TOML, an unknown key or a wrong value.
    """
    path = find(name_or_path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file: {error}") from None
    loaded = from_dict(values, str(path))
    for place, model in models.items():
        if model:
            old = getattr(loaded, place)
            new = ModelConfig(
                model,
                dtype=old.dtype,
                guidance=old.guidance,
                negative_prompt=old.negative_prompt,
                memory=old.memory,
            )
            loaded = dataclasses.replace(loaded, **{place: new})
    return loaded


def from_dict(values, where):
    """Build a :class:`Config` from parsed TOML; ``where`` names the source in messages."""
    values = {
        key: value for key, value in values.items() if key not in ("schema", "cost")
    }  # what it costs: testbed.commands.estimate_cost
    check_keys(where, values, [f.name for f in dataclasses.fields(Config)])
    for section in ("local", "edge"):
        if section not in values:
            raise InputError(
                f'{where}: [{section}] is missing; it names the {section} model, e.g. model = "embedded:light"'
            )
    parts = {}
    for key, value in values.items():
        spot = f"{where}: {key}"
        if key in _SECTIONS:
            parts[key] = _section(_SECTIONS[key], value, spot)
        elif key == "scenario":
            parts[key] = _expect(isinstance(value, dict), value, spot, "a table")
        else:
            parts[key] = _expect(
                isinstance(value, str) and value, value, spot, "a non-empty string"
            )
    return Config(**parts)


def _expect(holds, value, spot, allowed):
    if not holds:
        raise InputError(f"{spot}: found {value!r}; allowed: {allowed}")
    return value


def _section(kind, values, where):
    _expect(isinstance(values, dict), values, where, "a table")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    check_keys(where, values, fields)
    if "model" in fields and "model" not in values:
        raise InputError(
            f"{where}: 'model' is missing; allowed: embedded:NAME, a folder, or a hub id"
        )
    return kind(
        **{name: _value(fields[name], value, f"{where}.{name}") for name, value in values.items()}
    )


_DTYPES = ("float32", "float16", "bfloat16")
_CHOICES = {
    "extractor": ("clip", "inception"),
    "order": ("first_come", "shortest"),
    "noise": NOISES,
    "dtype": _DTYPES,
    "vae_dtype": _DTYPES,
    "memory": ("auto", "whole", "sliced", "offload"),
}
_LEAST = {
    "steps": 1,
    "seeds": 0,
    "prompts_per_class": 2,
    "timed": 2,
    "half_width": 0.001,
    "most_prompts": 3,
    "converged_steps": 1,
    "converged_batch": 1,
    "batches": 1,
    "arrival_rate": 1e-6,
    "images_per_user": 1,
    "reference_size": 2,
    "guidance": 0.0,
}


def _value(spec, value, where):
    """Check one value against its field's type, its choices and its least value."""
    least = _LEAST.get(spec.name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if spec.type == tuple[int, ...]:
        good = (
            isinstance(value, (list, tuple))
            and value
            and all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in value)
        )
        _expect(
            good and len(set(value)) == len(value),
            value,
            where,
            f"a list of different whole numbers of at least {least}",
        )
        _expect(
            spec.name != "batches" or (1 in value and len(value) > 1),
            value,
            where,
            "1 and larger batch sizes",
        )
        return tuple(value)
    if spec.type is bool:
        return _expect(isinstance(value, bool), value, where, "true, false")
    if value is None and spec.default is None:
        return None
    if spec.name == "resolution":
        return _expect(whole and value > 0 and value % 64 == 0, value, where, "a multiple of 64")
    if spec.type is int:
        return _expect(
            whole and value >= least, value, where, f"a whole number of at least {least}"
        )
    if spec.type in (float, float | None):
        number = whole or isinstance(value, float)
        return float(
            _expect(
                number and least <= value < float("inf"),
                value,
                where,
                f"a number of at least {least}",
            )
        )
    if spec.name in _CHOICES:
        return _expect(value in _CHOICES[spec.name], value, where, ", ".join(_CHOICES[spec.name]))
    if spec.name == "reference":
        good = isinstance(value, str) and (value in ("scenes", "converged") or Path(value).is_dir())
        return _expect(good, value, where, "scenes, converged, or a folder of images with captions")
    return _expect(isinstance(value, str) and value, value, where, "a non-empty string")
