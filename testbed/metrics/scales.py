"""What counts as an error of 1, and as a utility of 0 and 1, at each place and for each class."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.records.record import Record
from calibration.records.scale import Scales
from testbed.metrics.clip import Clip
from testbed.metrics.extractor import Features
from testbed.metrics.pixels import distance
from testbed.metrics.reference import ReferenceFeatures, References

#: Converged images of a class whose pairs tell how far images of different prompts are apart.
UNIT_IMAGES = 100


def error_and_utility_scales(
    records: Sequence[Record],
    places: Iterable[str],
    references: References,
    image: Callable[[str], NDArray[np.uint8]],
    clip: Clip,
) -> dict[tuple[str, str], Scales]:
    """The scales of each (place, prompt class); ``image`` reads that of a record's id.

    An error of 1 is the mean distance between converged images of different prompts.
    """
    scales = {}
    for name, reference in references.items():
        floor, ceiling = _clip_scores(reference, clip)
        for place in places:
            converged = {
                record.task.prompt: record.id
                for record in records
                if record.task.place == place
                and record.task.prompt_class == name
                and record.task.purpose == "converged"
            }
            images = [image(key) for key in list(converged.values())[:UNIT_IMAGES]]
            scales[place, name] = Scales.of(_mean_distance(images), floor, ceiling)
    return scales


def _clip_scores(reference: ReferenceFeatures, clip: Clip) -> tuple[float, float]:
    """Mean CLIP score of a reference's images with others' captions, and with their own."""
    captions = reference.captions
    scores = np.maximum(0, 100 * _unit(reference.clip) @ _unit(clip.texts(captions)).T)
    other = np.array([[a != b for b in captions] for a in captions])
    return float(scores[other].mean()), float(np.diag(scores).mean())


def _unit(vectors: Features) -> Features:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _mean_distance(images: Sequence[NDArray[np.uint8]]) -> float:
    """The mean over all pairs of images."""
    pairs = [distance(a, b) for i, a in enumerate(images) for b in images[:i]]
    return float(np.mean(pairs))
