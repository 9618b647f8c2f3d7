"""Which user has which prompt class and device, drawn from a scenario's shares."""

import math
import random
from collections.abc import Mapping, Sequence

_LARGE = 1e280  # a share whose sums may overflow


def assign(shares: Mapping[str, float], count: int, seed: str) -> Sequence[str]:
    """``count`` names in the shares' proportions (largest remainders), in an order drawn from
    ``seed``.

    The order sorts the names by ``random()`` of a generator seeded with a string, which is the one
    stream that Python keeps stable.
    """
    if max(shares.values()) > _LARGE:  # so that no sum overflows; a power of two changes no digit
        shares = {name: math.ldexp(share, -100) for name, share in shares.items()}
    total = sum(shares.values())
    exact = {name: count * share / total for name, share in shares.items()}
    counts = {name: math.floor(value) for name, value in exact.items()}
    missing = count - sum(counts.values())
    for name in sorted(shares, key=lambda name: counts[name] - exact[name])[:missing]:
        counts[name] += 1
    names = [name for name, times in counts.items() for _ in range(times)]
    draw = random.Random(seed)
    keyed = sorted((draw.random(), index, name) for index, name in enumerate(names))
    return [name for _, _, name in keyed]
