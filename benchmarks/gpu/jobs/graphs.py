"""The denoiser's call, replayed from a CUDA graph: one graph for each batch size."""

from collections.abc import Callable
from typing import Any

import torch

Call = Callable[[], torch.Tensor]
#: Makes of a call one that repeats it on the same memory, and the tensor that it writes.
Capture = Callable[[Call], tuple[Callable[[], None], torch.Tensor]]

WARM_UPS = 3


class GraphedDenoiser:
    """Stands for ``denoise(latents, timesteps, arguments)``. At the first call of each number of
    rows it is captured; later calls copy their inputs to where the graph reads them, and replay.
    """

    def __init__(
        self,
        denoise: Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor],
        capture: Capture | None = None,
    ) -> None:
        self._denoise, self._capture = denoise, capture or self._record
        self._pool: Any = None
        self._graphs: dict[
            tuple[int, torch.dtype], tuple[Callable[[], None], list[torch.Tensor], torch.Tensor]
        ] = {}

    @torch.no_grad()
    def __call__(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        """The denoiser's output; a copy, since the next replay writes over it."""
        key = (len(latents), timesteps.dtype)
        if key not in self._graphs:
            static = [latents.clone(), timesteps.clone(), _map(arguments, torch.clone)]
            replay, output = self._capture(lambda: self._denoise(*static))
            self._graphs[key] = replay, _tensors(static), output
        replay, inputs, output = self._graphs[key]
        for target, value in zip(inputs, _tensors([latents, timesteps, arguments]), strict=True):
            target.copy_(value)
        replay()
        return output.clone()

    def _record(self, call: Call) -> tuple[Callable[[], None], torch.Tensor]:
        """Capture ``call`` as a CUDA graph; all graphs share their memory, as one is replayed at a
        time.
        """
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose kernels and allocate before the capture
            for _ in range(WARM_UPS):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = call()
        return graph.replay, output

    @staticmethod
    def repeat(call: Call) -> tuple[Callable[[], None], torch.Tensor]:
        """In place of a capture where there is no CUDA: replaying calls anew."""
        output = call()
        return lambda: output.copy_(call()), output


def _map(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, dict):
        return {name: _map(item, function) for name, item in value.items()}
    return function(value) if isinstance(value, torch.Tensor) else value


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for item in items for tensor in _tensors(item)]
