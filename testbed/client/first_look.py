"""One look at a server before anything is measured."""

import warnings
from dataclasses import replace

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

    That is: an image of one colour, one that is the same for another prompt, and the most of the
    ``steps`` that it refuses. Where an image is another one when it is asked for again, that is
    added to ``place.notes``, and said as a warning. The first image is the one that the place was
    opened with. Takes the time of two more of its steps, and of one of the most steps where these
    are others.
    """
    counts = {count: setting for setting, asked in steps.items() for count in asked}
    most, url = max(counts), place.config.url
    trial, first = place.trial, place.first

    def image(request: Request, refused: str = "url: ") -> NDArray[np.uint8]:
        try:
            return place.make(request).image
        except ServerFault as fault:
            raise InputError(f"{refused}{fault}") from None

    if not np.ptp(first, axis=(0, 1)).any():
        raise InputError(f"url: {url}: an image of one colour; allowed: a whole model")
    apart = distance(first, image(replace(trial, prompt=PROMPTS[1])))
    if not apart:
        raise InputError(
            f"url: {url}: the image of {PROMPTS[1]!r} is that of {trial.prompt!r}; allowed: a "
            "model that follows its prompts"
        )
    if most != trial.steps:
        image(replace(trial, steps=most), f"{counts[most]}: found {most}; refused by ")
    if distance(first, image(trial)) > apart / 2:
        place.notes.append(
            "the server does not keep to the seed: the same request gives another image, so that "
            "errors and distances tell of the noise"
        )
        warnings.warn(f"{url}: {place.notes[-1]}", stacklevel=2)
