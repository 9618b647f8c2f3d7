"""The engine in the benchmark's own process: what images should be, and how long they take."""

import base64
import io
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.client import Reply
from testbed.config import load
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Request, all_made
from testbed.stages.rig import open_model

Pixels = NDArray[np.uint8]


class Reference:
    """The served model, opened here, for one thread as in the server. ``tick``: seconds of an
    iteration of a full batch.
    """

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.pipeline, _ = open_model(load("embedded").edge, torch.device("cpu"))
        warm = [Request("a", seed, 4, 3.0) for seed in range(16)]
        for _ in range(2):
            engine = BatchedEngine(self.pipeline, 16)
            all_made(engine.run(warm))
        self.tick = float(np.median([seconds for _, seconds in engine.log.tick]))

    def seconds_each(self, requests: Sequence[Request]) -> float:
        """Seconds between requests at about nine tenths of what can be served."""
        steps = float(np.mean([request.steps for request in requests]))
        return self.tick / 16 * (steps + 2) / 0.9

    def run(self, requests: Sequence[Request], cap: int) -> tuple[float, list[Pixels]]:
        """All ``requests`` at once: seconds, and the images in their order."""
        start = time.perf_counter()
        done = all_made(BatchedEngine(self.pipeline, cap).run(requests))
        seconds = time.perf_counter() - start
        return seconds, [each.image for each in sorted(done, key=lambda each: each.index)]

    @staticmethod
    def apart(reply: Reply, image: Pixels) -> int:
        """The largest difference of a served image, in levels of 255."""
        file = io.BytesIO(base64.b64decode(reply.image["b64_json"]))
        return int(np.abs(np.asarray(Image.open(file)).astype(int) - image).max())
