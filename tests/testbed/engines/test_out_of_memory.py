"""Memory that runs out is recognised by whatever words, and work goes on in halves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.engines.out_of_memory import Parts, out_of_memory

CPU = torch.device("cpu")
SAID = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.00 GB, max allowed: 18.13 GB)"),
    RuntimeError("Invalid buffer size: 36.00 GiB"),
    RuntimeError("could not create a primitive"),
    RuntimeError(
        "upsample_nearest_nhwc only supports output tensors with less than INT_MAX elements"
    ),
    RuntimeError("Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("UR backend failed. UR backend returns:39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("CUDA error: invalid configuration argument"),
]


@pytest.mark.parametrize("error", SAID, ids=lambda error: str(error)[:30] or "MemoryError")
def test_memory_runs_out_in_many_words(error):
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("CUDA error: device-side assert triggered"),
        OSError(28, "No space left on device"),
        ValueError("out of memory of this prompt"),
    ],
)
def test_other_errors_are_no_matter_of_memory(error):
    assert not out_of_memory(error)


@pytest.fixture(scope="module", autouse=True)
def _uncollected():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)  # with torch in memory it takes a tenth of a second
        yield


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20))
def test_whatever_memory_holds_every_item_is_done_once_and_in_order(count, most, room):
    calls = []

    def call(part):
        calls.append(len(part))
        if len(part) > room:
            raise RuntimeError("could not create a primitive")
        return [-item for item in part]

    parts = Parts(most, CPU)
    done = list(parts.of(range(count), call))
    assert [item for part, _ in done for item in part] == list(range(count))
    assert all(output == [-item for item in part] for part, output in done)
    assert parts.most <= max(room, 1) or count <= room
    before = len(calls)
    list(parts.of(range(count), call))  # it has learnt: no call fails again
    assert all(size <= room for size in calls[before:])


def test_what_does_not_fit_alone_is_raised():
    def call(_part):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(Parts(8, CPU).of(range(8), call))


def test_another_error_is_not_tried_again():
    calls = []

    def call(part):
        calls.append(part)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        list(Parts(8, CPU).of(range(8), call))
    assert len(calls) == 1
