"""One run whose captions come in an order of their own, so that runs share no captions by rule.

    python -m benchmarks.calibration.default_run SEED CONFIG --out FOLDER

``testbed run`` takes the first captions of each class; here the captions of each split are shuffled
by SEED before.
"""

import random
import sys
from functools import cache

from testbed.cli import main
from testbed.embedded import scenes


def shuffle_captions(seed: int) -> None:
    """Put the captions of every class and split into an order that follows from ``seed``."""
    in_fixed_order = scenes.captions

    @cache
    def captions(prompt_class: str, split: str) -> tuple[scenes.Caption, ...]:
        fixed = in_fixed_order(prompt_class, split)
        return tuple(random.Random(f"{seed}/{prompt_class}/{split}").sample(fixed, len(fixed)))

    scenes.captions = captions


if __name__ == "__main__":
    shuffle_captions(int(sys.argv[1]))
    sys.exit(main(["run", *sys.argv[2:]]))
