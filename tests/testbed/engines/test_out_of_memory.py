"""Memory that runs out is recognised by whatever words, and work goes on in halves."""

import numpy as np
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


@settings(max_examples=100)
@given(
    count=st.integers(0, 20),
    most=st.integers(1, 8),
    room=st.integers(1, 8),
    bad=st.sets(st.integers(0, 19), max_size=4),
)
def test_items_that_fail_come_alone_and_the_others_as_if_these_were_not_there(
    count, most, room, bad
):
    def call(part):
        if len(part) > room:
            raise RuntimeError("could not create a primitive")
        if guilty := sorted(bad.intersection(part)):
            raise ValueError(guilty)
        return list(part)

    outcomes = list(Parts(min(most, room), CPU).each(range(count), call))
    failed = {part[0]: output for part, output in outcomes if isinstance(output, Exception)}
    assert {item: str(error) for item, error in failed.items()} == {
        item: str([item]) for item in bad if item < count
    }
    assert all(len(part) == 1 for part, output in outcomes if isinstance(output, Exception))
    made = [output for _, output in outcomes if not isinstance(output, Exception)]
    sound = [item for item in range(count) if item not in bad]
    assert made == [output for _, output in Parts(min(most, room), CPU).of(sound, call)]
    whatever_memory_holds = [
        item
        for _, output in Parts(most, CPU).each(range(count), call)
        if not isinstance(output, Exception)
        for item in output
    ]
    assert whatever_memory_holds == sound


def test_what_fails_together_and_not_alone_is_called_alone():
    def call(part):
        if len(part) > 1:
            raise ValueError("together")
        return list(part)

    outcomes = Parts(3, CPU).each(list(range(4)), call)
    assert list(outcomes) == [([i], [i]) for i in range(4)]


def test_an_array_is_taken_in_parts_as_a_list_is():
    for parts in (Parts(2, CPU).of(np.arange(5), len), Parts(2, CPU).each(np.arange(5), len)):
        assert [(part.tolist(), size) for part, size in parts] == [
            ([0, 1], 2),
            ([2, 3], 2),
            ([4], 1),
        ]
