"""What all jobs of a check have in common: the device, the size of the networks, and the time.

Nothing here imports torch before it is needed: where torch cannot be imported, that is a result.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SHRINK = 8  # by which a trial on a CPU divides the networks' widths
STAND_IN_WATTS = 300.0


@dataclass(frozen=True)
class Setting:
    """``device``: a name of torch's. ``shrink``: of the networks' widths, 1 for their true size.
    ``ends``: when the job is stopped, on the monotonic clock.
    """

    device: str
    shrink: int = 1
    ends: float = float("inf")

    @property
    def where(self) -> "torch.device":
        """The device; a GPU with its index, as the pipelines name it."""
        import torch

        return torch.device(self.device, 0) if self.device == "cuda" else torch.device(self.device)

    @property
    def small(self) -> bool:
        """Whether this is a trial on shrunk networks."""
        return self.shrink > 1

    def dtype(self, name: str) -> str:
        """The precision ``name``; a trial on a CPU, which is slow in others, is in float32."""
        return "float32" if self.small else name

    def architecture(self, name: str) -> str:
        """The architecture ``name``; a trial takes the smallest of its kind."""
        return "tiny-sd" if self.small else name

    @property
    def left(self) -> float:
        """Seconds that the job has left."""
        return self.ends - time.monotonic()

    def prepare(self) -> None:
        """Make a process ready for a job: a trial has a counter of joules that stands for NVML's.

        It grows by 300 W, so that whatever is derived from it is known.
        """
        if self.small:
            from testbed.metering import meters
            from testbed.metering.counters import Counter

            counter = Counter("gpu0", lambda: STAND_IN_WATTS * time.perf_counter())
            meters.find_counters = lambda _: {"stand-in": [counter]}
