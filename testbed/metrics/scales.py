"""What counts as an error of 1, and as a utility of 0 and 1, at each place and for each class."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from calibration.records.record import Record
from calibration.records.scale import Scales
from solver.inputs import InputError
from testbed.metrics.clip import Clip
from testbed.metrics.extractor import Features
from testbed.metrics.pixels import distance
from testbed.metrics.reference import ReferenceFeatures, References

#: Converged images of a class whose pairs tell how far images of different prompts are apart.
UNIT_IMAGES = 100
#: The probability that captions which say nothing of their images count as matching them.
LEVEL = 0.05
_ROWS = 1024  # of a matrix of images and captions that are in memory at a time
_PIXELS = 1 << 16  # of each image, in memory as real numbers at a time
NO_SCORER = 'quality.clip = "none": nothing scores images for their captions'


def error_and_utility_scales(
    records: Sequence[Record],
    places: Iterable[str],
    classes: Iterable[str],
    references: References,
    image: Callable[[str], NDArray[np.uint8]],
    clip: Clip | None,
) -> dict[tuple[str, str], Scales]:
    """The scales of each (place, prompt class); ``image`` reads that of a record's id.

    An error of 1 is the mean distance between converged images of different prompts. Utility has
    none without a ``clip``, and where the reference's captions fit their own images no better than
    others'. Raises :class:`InputError` where all converged images are alike, or fewer than two.
    """
    scales = {}
    for name in classes:
        scored = _clip_scores(references[name], clip) if clip else NO_SCORER
        for place in places:
            converged = {
                record.task.prompt: record.id
                for record in records
                if record.task.place == place
                and record.task.prompt_class == name
                and record.task.purpose == "converged"
            }
            images = [image(key) for key in list(converged.values())[:UNIT_IMAGES]]
            if len(images) < 2:
                raise InputError(
                    f"records: {place}/{name}: found converged images of {len(images)} prompts, "
                    "whose distance is the unit of errors; allowed: of at least 2 "
                    "(calibration/failures.jsonl says why the others failed)"
                )
            unit = _mean_distance(images)
            if not unit > 0:
                raise InputError(
                    f"records: {place}/{name}: the converged images of {len(images)} prompts are "
                    "all alike, so that errors have no unit; allowed: a model that follows its "
                    "prompts (look at calibration/images)"
                )
            scales[place, name] = (
                Scales.without_utility(unit, scored)
                if isinstance(scored, str)
                else Scales.of(unit, *scored)
            )
    return scales


def _clip_scores(reference: ReferenceFeatures, clip: Clip) -> tuple[float, float] | str:
    """Mean CLIP score of a reference's images with others' captions, and with their own; or why
    the two cannot be told apart.

    A t test over the captions says whether they can: where captions match nothing, one of the two
    is larger by chance, and their difference is no unit. Captions count alike in the test, but not
    in the means, so that these can still lie the other way around.
    """
    assert reference.clip is not None, "a clip scores the reference too"
    captions, index = np.unique(np.array(reference.captions), return_inverse=True)
    images, texts = _unit(reference.clip), _unit(clip.texts(captions.tolist()))
    counts = np.bincount(index)
    own, others = np.empty(len(index)), np.empty(len(index))
    for start in range(0, len(index), _ROWS):
        rows = slice(start, start + _ROWS)
        scores = np.maximum(0.0, 100.0 * images[rows] @ texts.T)
        own[rows] = np.take_along_axis(scores, index[rows, None], axis=1)[:, 0]
        others[rows] = scores @ counts - own[rows] * counts[index[rows]]
    pairs = len(index) - counts[index]
    if len(captions) < 2:
        return "the reference has one caption: no image has a wrong one"
    floor, ceiling = float(others.sum() / pairs.sum()), float(own.mean())
    gains = np.bincount(index, own - others / pairs) / counts
    error = float(gains.std(ddof=1)) / len(gains) ** 0.5
    if ceiling > floor and gains.mean() > float(student.isf(LEVEL, len(gains) - 1)) * error:
        return floor, ceiling
    return (
        f"the captions of {len(index)} reference images fit their own images no better than others'"
        f" (mean CLIP score {ceiling:.4g} against {floor:.4g}); what to do: look whether the images"
        " show what their captions say, and give more prompts, or another scorer (quality.clip)"
    )


def _unit(vectors: Features) -> Features:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _mean_distance(images: Sequence[NDArray[np.uint8]]) -> float:
    """The mean over all pairs of images; 0 without a pair.

    By their products, a block of pixels at a time: one by one, the pairs of 100 images of 1024
    pixels a side take a minute. All sums are of whole numbers, and exact.
    """
    if len(images) < 2:
        return 0.0
    for image in images:
        if image.shape != images[0].shape:
            distance(images[0], image)  # says which shapes
    pixels = np.stack([image.ravel() for image in images])
    products = np.zeros((len(images), len(images)))
    for start in range(0, pixels.shape[1], _PIXELS):
        block = pixels[:, start : start + _PIXELS].astype(float)
        products += block @ block.T
    squares = products.diagonal()
    first, other = np.triu_indices(len(images), 1)
    apart = squares[first] + squares[other] - 2 * products[first, other]
    return float(np.mean(np.sqrt(apart / pixels.shape[1]) / 255))
