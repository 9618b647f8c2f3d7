"""The machine and the library versions that measured times belong to."""

import os
import platform
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: What the name of a processor may have or not.
_NOISE = re.compile(r"\(\w+\)|\bcpu\b|processor|\d+-core|@.*")


def launched() -> tuple[int, int]:
    """The number of this process among those that a launcher started together, and how many these
    are: (0, 1) where none did.

    Job schedulers set RANK and WORLD_SIZE for processes of their own; the local rank tells that a
    launcher started this one.
    """
    if "LOCAL_RANK" not in os.environ:
        return 0, 1
    try:
        rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        return 0, 1
    return (rank, count) if count > 1 else (0, 1)


def environment(device: "torch.device") -> dict[str, str | int | None]:
    """What a record has to name for its times to mean something elsewhere."""
    import diffusers  # here, so that cpu_name() is to be had without torch
    import torch

    info: dict[str, str | int | None] = {
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }
    if device.type == "cpu":
        info |= {"threads": torch.get_num_threads(), "cores": os.cpu_count()}
    return info


def cpu_name() -> str:
    """The processor's name, as the system states it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def alike(machine: str, other: str) -> bool:
    """Whether two names may be of the same kind of processor or GPU: one may tell less of it."""
    words, others = (
        set(re.findall(r"\w+", _NOISE.sub(" ", name.lower()))) for name in (machine, other)
    )
    return words <= others or others <= words


def machine_load() -> float | None:
    """Processes that wanted a core in the last minute; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
