"""Bodies that no server should take, drawn from a sound one."""

import json
from typing import Any

import numpy as np

SOUND: dict[str, Any] = {
    "prompt": "a red ball",
    "n": 1,
    "seed": 3,
    "size": "64x64",
    "num_inference_steps": 2,
}
WRONG: dict[str, list[Any]] = {
    "prompt": ["", 3, [], {}, "x" * 5000, "\ud800"],
    "n": [0, 11, -1, 1.5, "1", [], True, 10**30],
    "seed": [-1, 2**63, 0.5, "x", {}],
    "size": ["1x1", "", 64, "64x64x64"],
    "num_inference_steps": [0, 1001, "many", -5, 2.5, False],
    "guidance_scale": [-1, 1e300, "x", []],
    "deadline": [0, -1, "soon", 1e-9],
    "weights": [[], {"cost": -1}, {"x": 1}, 3],
    "output_format": ["gif", "", 1],
    "stream": ["yes", 1],
    "prompt_class": ["nobody", 4],
    "unknown": [1, None, "x"],
}


def bodies(count: int, seed: int = 0) -> list[bytes]:
    """``count`` malformed bodies: a wrong value, what is no JSON, or no object."""
    rng, drawn = np.random.default_rng(seed), list[bytes]()
    while len(drawn) < count:
        body, kind = dict(SOUND), rng.integers(10)
        if kind < 7:
            name = str(rng.choice(list(WRONG)))
            values = WRONG[name]
            body[name] = values[rng.integers(len(values))]
            if body[name] is None:
                continue
        raw = json.dumps(body).encode()
        if kind == 7:
            raw = raw[: rng.integers(len(raw) - 1)]
        elif kind == 8:
            raw = b"[" * int(rng.integers(1, 3000)) + raw
        elif kind == 9:
            raw = bytes(rng.integers(128, 256, rng.integers(1, 200)).astype(np.uint8))
        drawn.append(raw)
    return drawn
