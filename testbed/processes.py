"""Several processes on one run, started by ``accelerate launch`` (one for each GPU) or, without a
GPU, by ``torchrun``.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torchmetrics.utilities.distributed import gather_all_tensors

#: For which a process waits for the others. A launcher ends all where one dies.
PATIENCE = timedelta(days=60)

Item = TypeVar("Item")


def processes() -> PartialState:
    """Accelerate's view of the processes of this run: ``process_index``, ``num_processes``,
    ``wait_for_everyone()``, ...

    They wait for each other as long as work takes. (By default ten minutes on GPUs, which a slower
    card among them, or the timing of batches by one of them, takes longer than.)
    """
    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def together(
    items: Sequence[Item], extract: Callable[[Sequence[Item]], torch.Tensor]
) -> NDArray[np.float32]:
    """Features of ``items``, (len(items), width): each process extracts those of its share, and all
    get all.

    ``extract(share)`` gives a tensor (len(share), width), of a share that may be empty.
    """
    state = processes()
    mine = extract(items[state.process_index :: state.num_processes]).float()
    shares = gather_all_tensors(mine) if state.num_processes > 1 else [mine]
    features = np.empty((len(items), mine.shape[1]), np.float32)
    for process, share in enumerate(shares):
        features[process :: len(shares)] = share.cpu().numpy()
    return features


def on_first_process(work: Callable[[], object]) -> None:
    """Do ``work`` in the first process of this run; the others wait until it is done."""
    state = processes()
    with state.main_process_first():
        if state.is_main_process:
            work()
