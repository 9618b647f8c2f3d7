"""Calls for many requests: as many at once as memory allows, without those that make them fail."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

from testbed.engines.out_of_memory import free_unused, out_of_memory
from testbed.engines.running import Running
from testbed.engines.stock import synchronised_clock

Output = TypeVar("Output")


class Attempts:
    """Calls on ``device``, each for at most ``caps[kind]`` requests, at first ``cap``.

    Where memory runs out, calls of that kind go on with half as many requests.
    """

    def __init__(self, cap: int, device: torch.device) -> None:
        self.caps = dict.fromkeys(("text", "tick", "decode"), cap)
        self._device = device

    def first(
        self, kind: str, call: Callable[[list[Running]], Output], batch: list[Running]
    ) -> tuple[Output, list[Running], float]:
        """``call`` of the first of ``batch``, as many as cap and memory allow; returns its output,
        those requests, and when it was started.
        """
        while True:
            part, start = batch[: self.caps[kind]], synchronised_clock(self._device)
            try:
                return call(part), part, start
            except (RuntimeError, MemoryError) as error:
                if len(part) == 1 or not out_of_memory(error):
                    raise
            self.caps[kind] = len(part) // 2
            free_unused(self._device)

    def each(
        self, kind: str, call: Callable[[list[Running]], Output], batch: list[Running]
    ) -> Iterator[tuple[list[Running], Output | Exception, float]]:
        """``call`` of all of ``batch``, part by part, each as :meth:`first` gives it.

        Requests that make it fail come alone, with their error. The others are called again, as if
        they had been without these from the beginning.
        """
        while batch:
            try:
                output, part, start = self.first(kind, call, batch)
            except Exception as error:
                part, start = batch[: self.caps[kind]], synchronised_clock(self._device)
                own = {running: _error(call, running) for running in part}
                guilty = [running for running in part if own[running]] or part
                batch = [running for running in batch if running not in guilty]
                yield from (([running], own[running] or error, start) for running in guilty)
            else:
                batch = batch[len(part) :]
                yield part, output, start


def _error(call: Callable[[list[Running]], Any], running: Running) -> Exception | None:
    """What ``call`` of a request alone fails of."""
    try:
        call([running])
    except Exception as error:
        return error
    return None
