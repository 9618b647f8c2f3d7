"""Run configurations: TOML presets and files into frozen dataclasses, wrong keys into one line.

A configuration names two models, the metrics' model, the prompts, the calibration sweep, what to
execute, and a scenario (see :mod:`calibration.scenario`). Presets lie in ``testbed/presets``.
"""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from solver.inputs import InputError, check_keys

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class ModelConfig:
    """One text-to-image pipeline: ``model`` is ``embedded:NAME``, a folder, or a hub id."""

    model: str
    revision: str | None = None
    variant: str | None = None  # e.g. "fp16": which weight files of a hub model
    dtype: str = "float32"
    guidance: float = 3.0


@dataclass(frozen=True)
class QualityConfig:
    clip: str = "embedded:clip"  # embedded:clip, a folder, or a hub id of a CLIP model
    reference: str = "scenes"  # held-out real scenes; "converged": the edge model's own converged images; or a folder of captioned images
    reference_size: int = 512  # scenes of each prompt class in the reference; of a folder, its first images


@dataclass(frozen=True)
class SweepConfig:
    steps: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 32)
    prompts_per_class: int = 12
    seeds: tuple[int, ...] = (0,)
    converged_steps: int = 96
    converged_batch: int = 12  # converged images made by one call; their time is not used


@dataclass(frozen=True)
class ExecuteConfig:
    images_per_user: int = 1


@dataclass(frozen=True)
class Config:
    """A whole run. ``prompts`` is ``"scenes"``, a JSONL file of ``{"prompt", "class"}`` lines, or a folder of captioned images."""

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


_SECTIONS = {"local": ModelConfig, "edge": ModelConfig, "quality": QualityConfig, "sweep": SweepConfig, "execute": ExecuteConfig}


def load(name_or_path=None):
    """Read a preset by name or a TOML file by path (default: the preset ``embedded``).

    Raises :class:`InputError` for a missing file, malformed TOML, an unknown key or a wrong value.
    """
    name = str(name_or_path or "embedded")
    path = Path(name)
    if not path.suffix and not path.exists():
        presets = sorted(preset.stem for preset in PRESETS.glob("*.toml"))
        check_keys("preset", [name], presets)
        path = PRESETS / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file: {error}") from None
    return from_dict(values, str(path))


def from_dict(values, where):
    """Build a :class:`Config` from parsed TOML; ``where`` names the source in messages."""
    values = {key: value for key, value in values.items() if key != "schema"}
    check_keys(where, values, [f.name for f in dataclasses.fields(Config)])
    for section in ("local", "edge"):
        if section not in values:
            raise InputError(f"{where}: [{section}] is missing; it names the {section} model, e.g. model = \"embedded:light\"")
    parts = {}
    for key, value in values.items():
        spot = f"{where}: {key}"
        if key in _SECTIONS:
            parts[key] = _section(_SECTIONS[key], value, spot)
        elif key == "scenario":
            parts[key] = _expect(isinstance(value, dict), value, spot, "a table")
        else:
            parts[key] = _expect(isinstance(value, str) and value, value, spot, "a non-empty string")
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
        raise InputError(f"{where}: 'model' is missing; allowed: embedded:NAME, a folder, or a hub id")
    return kind(**{name: _value(fields[name], value, f"{where}.{name}") for name, value in values.items()})


_CHOICES = {"dtype": ("float32", "float16", "bfloat16")}
_LEAST = {"steps": 1, "seeds": 0, "prompts_per_class": 2, "converged_steps": 1, "converged_batch": 1, "images_per_user": 1, "reference_size": 2, "guidance": 0.0}


def _value(spec, value, where):
    """Check one value against its field's type, its choices and its least value."""
    least = _LEAST.get(spec.name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if spec.type == tuple[int, ...]:
        good = isinstance(value, (list, tuple)) and value and all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in value)
        _expect(good and len(set(value)) == len(value), value, where, f"a list of different whole numbers of at least {least}")
        return tuple(value)
    if spec.type is int:
        return _expect(whole and value >= least, value, where, f"a whole number of at least {least}")
    if spec.type is float:
        number = whole or isinstance(value, float)
        return float(_expect(number and least <= value < float("inf"), value, where, f"a number of at least {least}"))
    if spec.name in _CHOICES:
        return _expect(value in _CHOICES[spec.name], value, where, ", ".join(_CHOICES[spec.name]))
    if spec.name == "reference":
        good = isinstance(value, str) and (value in ("scenes", "converged") or Path(value).is_dir())
        return _expect(good, value, where, "scenes, converged, or a folder of images with captions")
    return _expect((isinstance(value, str) and value) or (value is None and spec.default is None), value, where, "a non-empty string")
