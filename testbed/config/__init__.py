"""Run configurations: TOML presets and files as frozen dataclasses; what is wrong in one line.

Nothing here loads torch.
"""

from testbed.config.files import PRESETS, find, from_dict, load
from testbed.config.settings import (
    NONE,
    SERVED,
    SETTLED,
    Config,
    ExecuteConfig,
    LinkConfig,
    ModelConfig,
    QualityConfig,
    SweepConfig,
)

__all__ = [
    "NONE",
    "PRESETS",
    "SERVED",
    "SETTLED",
    "Config",
    "ExecuteConfig",
    "LinkConfig",
    "ModelConfig",
    "QualityConfig",
    "SweepConfig",
    "find",
    "from_dict",
    "load",
]
