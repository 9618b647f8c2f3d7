"""What each metric of a profile is, so that values measured elsewhere can be compared with it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from calibration.profiles.profile import MetricDefinition, Metrics
from testbed.config import Config
from testbed.data.prompts import FilePrompts, ScenePrompts
from testbed.metrics.kernels import CMMD_WIDTH
from testbed.metrics.quality import QualityModels
from testbed.metrics.reference import References

INTERVAL = (
    "95 %, of the expected distance of as many images of other prompts to this reference, "
    "by a jackknife over prompts"
)


def metrics(
    config: Config,
    prompts: ScenePrompts | FilePrompts,
    quality: QualityModels,
    references: References,
) -> Metrics:
    """The definitions of the metrics of a calibration, empty of what is not measured.

    What a path or an id names is also told by its content (``..._sha256``, 12 digits), which is the
    same on every machine: of a model its weights, of prompts their texts, of a reference the
    captions alone.
    """
    pool = [prompts.calibration(name, prompts.available(name)) for name in prompts.classes]
    own = [f", {n} at the {place} place" for place, (_, n) in config.sweep.own_steps.items()]
    error = MetricDefinition(
        name="relative distance to the converged sample" + "".join(own),
        converged_steps=config.sweep.converged_steps,
        noise=config.sweep.noise,
        prompts=config.prompts,
        prompts_sha256=_sha256(pool),
    )
    utility = MetricDefinition()
    if quality.clip:
        utility = MetricDefinition(
            name="rescaled CLIP score",
            model=config.quality.clip,
            model_sha256=quality.clip.fingerprint,
            prompts=config.prompts,
            prompts_sha256=error.prompts_sha256,
        )
    if quality.extractor is None:
        return Metrics(error, utility)
    # images are made in any order
    captions = [sorted(reference.captions) for reference in references.values()]
    model = next(iter(references.values())).model
    frechet = MetricDefinition(
        extractor=quality.extractor.definition,
        extractor_sha256=quality.extractor.fingerprint,
        reference=config.quality.reference if model is None else "converged",
        reference_size=len(captions[0]),
        reference_sha256=_sha256(captions),
        reference_model=model,
        interval=INTERVAL,
    )
    return Metrics(
        error=error,
        utility=utility,
        frechet=frechet,
        kid=replace(frechet, name="kernel distance, squared MMD with a cubic kernel, unbiased"),
        cmmd=replace(
            frechet,
            name=f"1000 × squared MMD with a Gaussian kernel of σ = {CMMD_WIDTH:g} on features of "
            "length 1, unbiased",
        ),
    )


def _sha256(texts: Sequence[Sequence[str]]) -> str:
    """Twelve hex digits of lists of texts."""
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:12]
