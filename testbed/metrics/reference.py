"""The reference of a calibration: real or converged images that all others are compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from calibration.records.record import Record
from testbed.config import QualityConfig
from testbed.data.captioned import CaptionedImages, LazyImages
from testbed.data.prompts import FilePrompts, ScenePrompts
from testbed.metrics.extractor import Features, Images
from testbed.metrics.quality import QualityModels


@dataclass(frozen=True, eq=False)
class ReferenceFeatures:
    """Features of the reference images, shape (images, width), and their captions.

    ``clip``: their CLIP features, which the scale of utility needs whatever the extractor.
    """

    features: Features
    clip: Features
    captions: tuple[str, ...]

    @classmethod
    def of(cls, quality: QualityModels, images: Images, captions: Sequence[str]) -> Self:
        """Extract the features of ``images``."""
        clip = quality.clip.images(images)
        own = clip if quality.extractor is quality.clip else quality.extractor.images(images)
        return cls(own, clip, tuple(captions))


#: The reference of each prompt class; all classes share that of a folder.
References = dict[str, ReferenceFeatures]


def given_reference(
    config: QualityConfig, prompts: ScenePrompts | FilePrompts, quality: QualityModels
) -> References | None:
    """The reference that is there before the sweep: real scenes, or a folder's images.

    None where the reference is to be the converged images, which have yet to be made.
    """
    if config.reference == "converged":
        return None
    if isinstance(prompts, ScenePrompts) and config.reference == "scenes":
        drawn = {name: prompts.reference(name, config.reference_size) for name in prompts.classes}
        return {name: ReferenceFeatures.of(quality, *pair) for name, pair in drawn.items()}
    pair = CaptionedImages(config.reference).reference(config.reference_size)
    return dict.fromkeys(prompts.classes, ReferenceFeatures.of(quality, *pair))


def converged_reference(
    records: Sequence[Record],
    classes: Sequence[str],
    image: Callable[[str], NDArray[np.uint8]],
    quality: QualityModels,
) -> References:
    """The edge model's converged images as reference; ``image`` reads that of a record's id."""
    references = {}
    for name in classes:
        converged = [
            record
            for record in records
            if record.task.purpose == "converged"
            and record.task.place == "edge"
            and record.task.prompt_class == name
        ]
        references[name] = ReferenceFeatures.of(
            quality,
            LazyImages([record.id for record in converged], image),
            [record.task.prompt for record in converged],
        )
    return references


def all_features(references: References) -> Features:
    """The features of all reference images, those that classes share once."""
    sets = {id(reference): reference.features for reference in references.values()}
    return np.concatenate(list(sets.values()))
