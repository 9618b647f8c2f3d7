"""Read a configuration: a preset by its name, or a TOML file."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibration.scenario.scenario import Scenario
from calibration.schema import Schema
from solver.inputs import InputError, check_keys, read_text
from testbed.config.paths import beside
from testbed.config.settings import (
    SERVED,
    SETTLED,
    Config,
    ExecuteConfig,
    LinkConfig,
    ModelConfig,
    QualityConfig,
    SweepConfig,
)

PRESETS = Path(__file__).parent.parent / "presets"
#: The tables of a configuration.
_TABLES: dict[str, type[Schema]] = {
    "local": ModelConfig,
    "edge": ModelConfig,
    "quality": QualityConfig,
    "sweep": SweepConfig,
    "execute": ExecuteConfig,
    "scenario": Scenario,
    "link": LinkConfig,
}


def find(name_or_path: str | Path | None = None) -> Path:
    """The path of a preset, by name, or of a TOML file; raises :class:`InputError` for an unknown
    preset.

    A preset's name is its own whatever lies in the working folder; ``./NAME`` is a file there.
    """
    name = str(name_or_path or "embedded")
    presets = sorted(preset.stem for preset in PRESETS.glob("*.toml"))
    path = Path(name)
    other = os.path.exists(path) and not os.path.isdir(path)  # a file, or a pipe
    if name not in presets and (path.suffix or other):
        return path
    check_keys("preset", [name], presets)
    return PRESETS / f"{name}.toml"


def load(
    name_or_path: str | Path | None = None, local: str | None = None, edge: str | None = None
) -> Config:
    """Read a preset by name or a TOML file by path (default: the preset ``embedded``).

    A file or folder that is not where the command runs is looked for beside the TOML file.
    ``local``, ``edge``: a hub id, folder or server's URL in place of the model there. It takes over
    dtype, guidance, negative prompt and memory; the rest is its own. Raises :class:`InputError` for
    a missing file, malformed TOML, an unknown key or a wrong value.
    """
    path = find(name_or_path)
    text = read_text(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable TOML file: {error}") from None
    config = from_dict(beside(path.parent, values) if path.parent != PRESETS else values, str(path))
    config.quality.check_reference(str(path))
    return dataclasses.replace(
        config, local=_other(config.local, local), edge=_other(config.edge, edge)
    )


def _other(config: ModelConfig, model: str | None) -> ModelConfig:
    if not model:
        return config
    if model.startswith(("http://", "https://")):
        return ModelConfig(
            SERVED, guidance=config.guidance, negative_prompt=config.negative_prompt, url=model
        )
    return ModelConfig(
        model,
        dtype=config.dtype,
        guidance=config.guidance,
        negative_prompt=config.negative_prompt,
        memory=config.memory,
    )


def from_dict(values: Mapping[str, Any], where: str) -> Config:
    """Build a :class:`Config` from parsed TOML; ``where`` names the source in messages."""
    # what it costs: testbed.commands.estimate_cost
    values = {key: value for key, value in values.items() if key not in ("schema", "cost")}
    for place in ("local", "edge"):
        if place not in values:
            raise InputError(
                f"{where}: [{place}] is missing; it names the {place} model, "
                'e.g. model = "embedded:light"'
            )
        if isinstance(table := values[place], dict) and "url" in table:
            values[place] = {"model": SERVED, **table}
    _check_tables(values, where)
    config = Config.from_dict({"schema": Config.SCHEMA, **values}, where)
    if "defaulted" in values:
        return config
    return dataclasses.replace(
        config, defaulted=tuple(key for key in SETTLED if not _given(key, values))
    )


def _check_tables(values: Mapping[str, Any], where: str) -> None:
    """Raise :class:`InputError` for a key that belongs into another table than it stands in."""
    known = {f"[{name}]": set(kind.__dataclass_fields__) for name, kind in _TABLES.items()}
    known["the top, before all tables"] = set(Config.__dataclass_fields__)
    given = {f"[{name}]": values.get(name) for name in _TABLES}
    for table, keys in [*given.items(), ("the top, before all tables", values)]:
        for key in keys if isinstance(keys, Mapping) else ():
            homes = [name for name, names in known.items() if key in names]
            if homes and table not in homes:
                raise InputError(f"{where}: {key}: found in {table}; allowed: {' or '.join(homes)}")


def _given(key: str, values: Mapping[str, Any]) -> bool:
    *section, name = key.split(".")
    return name in (values.get(section[0], {}) if section else values)
