"""Memory that runs out: how it is recognised, and work that goes on in smaller parts."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Output = TypeVar("Output")

#: What libraries say, in lower case and with blanks for underscores, where a smaller batch would
#: do. Only torch's own allocators on a GPU have an error class of their own for it.
_SAID = (
    "out of memory",  # torch, CUDA, HIP, MPS, XPU
    "can't allocate memory",  # torch's allocator on a CPU
    "cannot allocate memory",  # the system
    "not enough memory",
    "unable to allocate",  # NumPy
    "could not create a primitive",  # oneDNN, which does not say why
    "could not allocate",
    "alloc failed",  # cuBLAS, cuDNN, cuSPARSE: CUBLAS_STATUS_ALLOC_FAILED
    "allocation failed",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
    "out of device memory",  # SYCL: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY
    "out of host memory",
    "out of resources",
    "unable to find a valid cudnn algorithm",  # none whose workspace memory holds
    "unable to find an engine to execute",
    "invalid configuration argument",  # CUDA: a grid larger than a kernel may have
    "failed to allocate",
    "invalid buffer size",  # MPS: a buffer beyond Metal's largest
    "int max",  # kernels with 32-bit indices
    "canuse32bitindexmath",
    "32-bit index",
    "too many elements",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, or that a batch was too large for a kernel."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower().replace("_", " ")
    return isinstance(error, (RuntimeError, OSError)) and any(text in said for text in _SAID)


def free_unused(device: torch.device) -> None:
    """Give the memory back that failed work has left behind, for a smaller attempt."""
    gc.collect()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


class Parts:
    """Work on ``device`` in parts of at most ``most`` items: half as many from where memory runs
    out.
    """

    def __init__(self, most: int, device: torch.device) -> None:
        self.most = most
        self._device = device

    def of(
        self, items: Sequence[Item], call: Callable[[Sequence[Item]], Output]
    ) -> Iterator[tuple[Sequence[Item], Output]]:
        """Each part of ``items``, with the output of ``call`` of it.

        Raises what ``call`` raises where memory does not suffice for a single item.
        """
        start = 0
        while start < len(items):
            part = items[start : start + self.most]
            try:
                output = call(part)
            except (RuntimeError, MemoryError, OSError) as error:
                if len(part) == 1 or not out_of_memory(error):
                    raise
            else:
                yield part, output
                start += len(part)
                continue
            self.most = len(part) // 2
            free_unused(self._device)  # here: what the error refers to is free now
