"""What each metric of a profile is: enough to tell whether values that were measured elsewhere can
be compared with these.
"""

import hashlib

from testbed.metrics.distances import CMMD_WIDTH

INTERVAL = "95 %, of the expected distance of as many images of other prompts to this reference, by a jackknife over prompts"


def metrics(testbed, reference):
    """The ``metrics`` of ``profiles/1``. ``reference``: as
    :meth:`testbed.stages.rig.Testbed.given_reference` gives it.

    What a path or an id names is also told by its content (``..._sha256``, 12 digits), which is the
    same on every machine.
    """
    config, sweep, edge, pool = (
        testbed.config.quality,
        testbed.config.sweep,
        testbed.models.get("edge"),
        testbed.prompts,
    )
    prompts = {
        "prompts": testbed.config.prompts,
        "prompts_sha256": _sha256(
            [pool.calibration(name, pool.available(name)) for name in pool.classes]
        ),
    }
    captions = [sorted(one.captions) for one in reference.values()]  # images are made in any order
    compared = {
        "extractor": testbed.extractor.definition,
        "extractor_sha256": testbed.extractor.fingerprint,
        "reference": config.reference,
        "reference_size": len(captions[0]),
        "reference_sha256": _sha256(captions),
        **(
            {"reference_model": edge["revision"] or edge["model"]}
            if config.reference == "converged"
            else {}
        ),
        "interval": INTERVAL,
    }
    return {
        "error": {
            "name": "relative distance to the converged sample",
            "converged_steps": sweep.converged_steps,
            "noise": sweep.noise,
            **prompts,
        },
        "utility": {
            "name": "rescaled CLIP score",
            "model": config.clip,
            "model_sha256": testbed.clip.fingerprint,
            **prompts,
        },
        "frechet": compared,
        "kid": {"name": "kernel distance, squared MMD with a cubic kernel, unbiased", **compared},
        "cmmd": {
            "name": f"1000 × squared MMD with a Gaussian kernel of σ = {CMMD_WIDTH:g} on features of length 1, unbiased",
            **compared,
        },
    }


def _sha256(texts):
    """Twelve hex digits of lists of texts."""
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:12]
