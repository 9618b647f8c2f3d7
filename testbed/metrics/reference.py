"""The reference of a calibration: real or converged images that all others are compared with."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from calibration.records.record import Record
from solver.inputs import InputError, check_keys, check_kind, write_atomic
from testbed.config import QualityConfig
from testbed.data.captioned import CaptionedImages, LazyImages
from testbed.data.prompts import FilePrompts, ScenePrompts
from testbed.metrics.extractor import Features, Images
from testbed.metrics.quality import QualityModels


@dataclass(frozen=True, eq=False)
class ReferenceFeatures:
    """Features of the reference images, shape (images, width), and their captions.

    ``clip``: their CLIP features, which the scale of utility needs whatever the extractor; None
    where nothing is scored. ``model``: the revision of the model that made them; None of others.
    """

    features: Features
    clip: Features | None
    captions: tuple[str, ...]
    model: str | None = None

    @classmethod
    def of(
        cls,
        quality: QualityModels,
        images: Images,
        captions: Sequence[str],
        model: str | None = None,
    ) -> Self:
        """Extract the features of ``images``."""
        assert quality.extractor is not None, "a reference is what an extractor makes of images"
        own, clip = quality.extractor.images(images), None
        if quality.clip:
            clip = own if quality.extractor is quality.clip else quality.clip.images(images)
        return cls(own, clip, tuple(captions), model)


SCHEMA = "reference/1"

#: The reference of each prompt class; all classes share that of a folder.
References = dict[str, ReferenceFeatures]


def given_reference(
    config: QualityConfig, prompts: ScenePrompts | FilePrompts, quality: QualityModels
) -> References | None:
    """The reference that is there before the sweep: real scenes, a folder's images, or a file of
    the edge's converged images, as :func:`save_reference` writes it.

    None where the reference is to be the converged images, which have yet to be made; empty where
    nothing is compared with it.
    """
    if quality.extractor is None:
        return {}
    if config.reference == "converged":
        return None
    if is_reference_file(config.reference):
        return load_reference(config.reference, prompts.classes, quality)
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
        if not converged:
            raise InputError(
                f"records: edge/{name}: found no converged image, which others are compared with; "
                "allowed: at least 2 (calibration/failures.jsonl says why they failed)"
            )
        spec = converged[0].task.spec
        references[name] = ReferenceFeatures.of(
            quality,
            LazyImages([record.id for record in converged], image),
            [record.task.prompt for record in converged],
            spec.revision or spec.model,
        )
    return references


def save_reference(path: Path, references: References, quality: QualityModels) -> None:
    """Write the converged images of the edge as what another machine needs of them, atomically:
    features, captions, and the fingerprints of the networks; an ``.npz`` of a few KB an image.
    """
    arrays: dict[str, Any] = {}
    for index, reference in enumerate(references.values()):
        arrays[f"features_{index}"] = reference.features
        if reference.clip is not None and reference.clip is not reference.features:
            arrays[f"clip_{index}"] = reference.clip
    about = {
        "schema": SCHEMA,
        **_fingerprints(quality),
        "classes": {name: list(reference.captions) for name, reference in references.items()},
        "model": next(iter(references.values())).model,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays)
    write_atomic(path, buffer.getvalue())


def load_reference(path: str | Path, classes: Sequence[str], quality: QualityModels) -> References:
    """The inverse of :func:`save_reference`, of the prompt ``classes`` alone.

    Raises :class:`InputError` for another kind of file, one of other networks than ``quality``'s,
    and one without a class.
    """
    check_kind(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            if about["schema"] != SCHEMA:
                raise ValueError(f"schema {about['schema']!r}")
            references: References = {}
            for index, (name, captions) in enumerate(about["classes"].items()):
                features = arrays[f"features_{index}"]
                own = quality.clip is not None and quality.extractor is not quality.clip
                clip = arrays[f"clip_{index}"] if own else features if quality.clip else None
                references[name] = ReferenceFeatures(
                    features, clip, tuple(captions), about["model"]
                )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"quality.reference: {path}: found no reference ({reason}); allowed: "
            "calibration/reference.npz of a run that calibrated the edge"
        ) from None
    for name, wanted in _fingerprints(quality).items():
        if about.get(name) != wanted:
            raise InputError(
                f"quality.reference: {path}: {name}: found {about.get(name)!r}; allowed: "
                f"{wanted!r}, the weights of quality.{name} here"
            )
    for name in classes:
        check_keys(f"quality.reference: {path}: prompt class", [name], references)
    return {name: references[name] for name in classes}


def is_reference_file(reference: str) -> bool:
    """Whether ``quality.reference`` names such a file."""
    return reference.endswith(".npz")


def _fingerprints(quality: QualityModels) -> dict[str, str | None]:
    clip, extractor = quality.clip, quality.extractor
    return {
        "clip": clip.fingerprint if clip else None,
        "extractor": extractor.fingerprint if extractor else None,
    }


def all_features(references: References) -> Features:
    """The features of all reference images, those that classes share once."""
    sets = {id(reference): reference.features for reference in references.values()}
    return np.concatenate(list(sets.values()))
