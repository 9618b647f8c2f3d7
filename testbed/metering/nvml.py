"""What NVIDIA's management library (NVML) reads from a GPU, by its C interface: the library comes
with the driver, so that no Python package is needed.
"""

import ctypes
import os
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import torch

_LIBRARY = "libnvidia-ml.so.1"
_SM_CLOCK = 1  # NVML_CLOCK_SM
_ON_DIE = 0  # NVML_TEMPERATURE_GPU


@cache
def unusable_gpu() -> str | None:
    """Why torch cannot use the GPU whose driver is installed, in words; None where there is none,
    torch uses it, or the environment hides it.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = visible in ("", "-1")
    if hidden or torch.cuda.is_available() or not (program := shutil.which("nvidia-smi")):
        return None
    try:
        done = subprocess.run(
            [program], capture_output=True, text=True, errors="replace", timeout=30
        )
        said = done.stdout + done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    driver = re.search(r"Driver Version:\s*([\d.]+)", said)
    if driver is None:
        words = " ".join(said.split())[:300] or "nothing"
        return f"an NVIDIA driver is installed, whose GPU cannot be used: nvidia-smi says: {words}"
    built = f"for CUDA {torch.version.cuda}, which it may be too old for"
    if torch.version.cuda is None:
        built = "for CPUs only"
    elif visible:
        built += f", and CUDA_VISIBLE_DEVICES is {visible!r}, which may name none"
    return (
        f"there is an NVIDIA GPU (driver {driver[1]}) that cannot be used: torch "
        f"{torch.__version__} is built {built}; `scripts/install` takes the build that fits the "
        "driver"
    )


class NvmlError(Exception):
    """NVML is not there, or refuses; the message says what it said."""


class NoLibrary(NvmlError):
    """NVML itself cannot be opened."""


class Gpu:
    """The GPU of ``index``, as torch counts; raises :class:`NvmlError` if it cannot be read."""

    def __init__(self, index: int) -> None:
        try:
            self._nvml: Any = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise NoLibrary(f"NVML cannot be opened: {error}") from None
        self._call("nvmlInit_v2")
        # by its UUID: NVML's own index goes by the bus, CUDA's by speed, and knows nothing of
        # CUDA_VISIBLE_DEVICES
        try:
            self.uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
        except (RuntimeError, AssertionError, AttributeError) as error:
            raise NvmlError(f"torch does not tell the UUID of cuda:{index}: {error}") from None
        self._handle = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByUUID", self.uuid.encode(), ctypes.byref(self._handle))

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._nvml, name)(*arguments)
        if code:
            raise NvmlError(f"{name} gives error {code}")

    def _read(self, name: str, kind: type, *which: int) -> int:
        value = kind()
        self._call(name, self._handle, *which, ctypes.byref(value))
        return value.value

    def energy(self) -> float:
        """Joules since the driver was loaded."""
        return self._read("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong) / 1e3

    def clock(self) -> float:
        """Frequency of the multiprocessors in Hz."""
        return self._read("nvmlDeviceGetClockInfo", ctypes.c_uint, _SM_CLOCK) * 1e6

    def power(self) -> float:
        """Watts now."""
        return self._read("nvmlDeviceGetPowerUsage", ctypes.c_uint) / 1e3

    def power_limit(self) -> float:
        """Watts that the driver lets it take."""
        return self._read("nvmlDeviceGetEnforcedPowerLimit", ctypes.c_uint) / 1e3

    def temperature(self) -> int:
        """Degrees Celsius."""
        return self._read("nvmlDeviceGetTemperature", ctypes.c_uint, _ON_DIE)

    def name(self) -> str:
        """Name of the card."""
        name = ctypes.create_string_buffer(96)
        self._call("nvmlDeviceGetName", self._handle, name, ctypes.c_uint(96))
        return name.value.decode()

    def driver(self) -> str:
        """Version of the driver."""
        version = ctypes.create_string_buffer(80)
        self._call("nvmlSystemGetDriverVersion", version, ctypes.c_uint(80))
        return version.value.decode()
