"""One look at a server before anything is measured."""

import warnings

import numpy as np
from numpy.typing import NDArray

from solver.inputs import InputError
from testbed.client.exchange import ServerFault
from testbed.client.remote import RemotePlace
from testbed.engines.request import Request
from testbed.metrics.pixels import distance
from testbed.models.inspection import Steps
from testbed.models.tokenizers import PROMPTS


def look(place: RemotePlace, steps: Steps) -> None:
    """Raise :class:`InputError` for a server that would spoil what is measured.

    That is: the most of the ``steps`` that it refuses, an image of one colour, and one that is the
    same for another prompt. Where an image is another one when it is asked for again, that is added
    to ``place.notes``, and said as a warning. Takes the time of three images of the least steps,
    and one of the most.
    """
    counts = {count: setting for setting, asked in steps.items() for count in asked}
    least, most, config = min(counts), max(counts), place.config

    def image(prompt: str, count: int = least) -> NDArray[np.uint8]:
        negative = config.negative_prompt
        asked = Request(prompt, 0, count, config.guidance, negative_prompt=negative)
        return place.make(asked).image

    try:
        first, other, again = image(PROMPTS[0]), image(PROMPTS[1]), image(PROMPTS[0])
    except ServerFault as fault:
        raise InputError(f"url: {fault}") from None
    try:
        image(PROMPTS[0], most)
    except ServerFault as fault:
        raise InputError(f"{counts[most]}: found {most}; refused by {fault}") from None
    if not np.ptp(first, axis=(0, 1)).any():
        raise InputError(f"url: {config.url}: an image of one colour; allowed: a whole model")
    apart = distance(first, other)
    if not apart:
        raise InputError(
            f"url: {config.url}: the image of {PROMPTS[1]!r} is that of {PROMPTS[0]!r}; allowed: a "
            "model that follows its prompts"
        )
    if distance(first, again) > apart / 2:
        place.notes.append(
            "the server does not keep to the seed: the same request gives another image, so that "
            "errors and distances tell of the noise"
        )
        warnings.warn(f"{config.url}: {place.notes[-1]}", stacklevel=2)
