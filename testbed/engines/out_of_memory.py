"""Work in parts: smaller ones where memory runs out, and without the items that make it fail."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

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
    """Calls on ``device`` for at most ``most`` items at once: half as many from where memory runs
    out.
    """

    def __init__(self, most: int, device: torch.device) -> None:
        self.most = most
        self._device = device

    def first(
        self, items: Sequence[Item], call: Callable[[Sequence[Item]], Output]
    ) -> tuple[Sequence[Item], Output]:
        """The first of ``items``, as many as memory holds, and the output of ``call`` of them.

        Raises what ``call`` raises where memory does not suffice for a single item.
        """
        while True:
            part = items[: self.most]
            try:
                return part, call(part)
            except (RuntimeError, MemoryError, OSError) as error:
                if len(part) == 1 or not out_of_memory(error):
                    raise
            self.most = len(part) // 2
            free_unused(self._device)  # here: what the error refers to is free now

    def of(
        self, items: Sequence[Item], call: Callable[[Sequence[Item]], Output]
    ) -> Iterator[tuple[Sequence[Item], Output]]:
        """Each part of ``items``, with the output of ``call`` of it; raises as :meth:`first`."""
        while len(items):
            part, output = self.first(items, call)
            yield part, output
            items = items[len(part) :]

    def each(
        self, items: Sequence[Item], call: Callable[[Sequence[Item]], Output]
    ) -> Iterator[tuple[Sequence[Item], Output | Exception]]:
        """As :meth:`of`, but items that make ``call`` fail come alone, with their error.

        The others are called again, as if they had been without these from the beginning: ``call``
        must leave items as they were where it fails. What fails together and not alone is called
        alone.
        """
        while len(items):
            outcome = _attempt(self.first, items, call)
            if not isinstance(outcome, Exception):
                yield outcome
                items = items[len(outcome[0]) :]
                continue
            part, items = items[: self.most], items[self.most :]
            errors = (
                {0: outcome}
                if len(part) == 1
                else {
                    position: error
                    for position, item in enumerate(part)
                    if isinstance(error := _attempt(call, [item]), Exception)
                }
            )
            for position, error in errors.items():
                yield part[position : position + 1], error
            if errors:
                sound = [item for position, item in enumerate(part) if position not in errors]
                items = [*sound, *items]
            else:
                for item in part:
                    yield from self.each([item], call)


def _attempt(call: Callable[..., Output], *arguments: Any) -> Output | Exception:
    """What ``call`` returns, or fails of. Of memory without the frames that hold it: the next call
    would miss it.
    """
    try:
        return call(*arguments)
    except Exception as error:
        return error.with_traceback(None) if out_of_memory(error) else error
