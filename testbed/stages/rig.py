"""A configuration with its models opened: what calibration and execution share, and the tasks of
both.
"""

from typing import NamedTuple

import numpy as np

from calibration.records.task import Task
from calibration.sweep import grid as plan
from calibration.sweep.adaptive import AdaptiveSweep
from solver.inputs import InputError, check_keys
from solver.problem import PLACES
from testbed.data.captioned import CaptionedImages, Pictures
from testbed.data.prompts import open_prompts
from testbed.metrics import quality
from testbed.metrics.inception import Inception
from testbed.models.pipelines import open_pipeline, pick_device
from testbed.processes import processes
from testbed.stages.executor import Executor

EXECUTION_SEED = plan.SEEDS  # seeds of executed images start here
ANCHOR_EVERY = 3  # users


class Testbed:
    """The pipelines of ``places``, the metrics' models and the prompts of a
    :class:`testbed.config.Config`.
    """

    def __init__(self, config, places=PLACES):
        if config.quality.reference == "converged" and "edge" not in places:
            allowed = "with local: 'scenes', a folder of captioned images"
            raise InputError(
                f"--place: found local with quality.reference = 'converged', the edge's images; allowed {allowed}"
            )
        self.config = config
        self.prompts = open_prompts(config.prompts)
        if config.quality.reference == "scenes" and not hasattr(self.prompts, "reference"):
            allowed = "'converged', or a folder of captioned images"
            raise InputError(
                f"quality.reference: 'scenes' needs prompts = \"scenes\"; allowed with other prompts: {allowed}"
            )
        if config.quality.reference not in ("scenes", "converged"):
            self.pictures = CaptionedImages(config.quality.reference)
        processes()  # first: it gives each process its GPU
        self.device = pick_device(config.device)
        self.models, pipelines = {}, {}
        for place in places:
            model = getattr(config, place)
            pipeline, revision = open_pipeline(model, self.device)
            pipelines[place] = pipeline
            self.models[place] = {
                "model": model.model,
                "revision": revision,
                "device": str(self.device),
                "dtype": model.dtype,
                "scheduler": type(pipeline.scheduler).__name__,
                "guidance": model.guidance,
                **({"negative_prompt": model.negative_prompt} if model.negative_prompt else {}),
            }
        self.clip = quality.Clip(config.quality.clip, self.device, config.quality.clip_revision)
        self.extractor = self.clip if config.quality.extractor == "clip" else Inception(self.device)
        self.executor = Executor(pipelines, self.clip, self.device, config.sweep.converged_batch)

    def sweep(self):
        """Tasks of the fixed calibration sweep; an adaptive one begins with the like."""
        sweep = self.config.sweep
        prompts = {
            name: self.prompts.calibration(name, sweep.prompts_per_class)
            for name in self.prompts.classes
        }
        return plan.sweep(
            self.models,
            prompts,
            list(sweep.seeds),
            list(sweep.steps),
            sweep.converged_steps,
            sweep.noise,
        )

    def adaptive_sweep(self):
        """The sweep that grows until its intervals are narrow enough."""
        sweep, pool = self.config.sweep, self.prompts
        prompts = {
            name: pool.calibration(name, min(sweep.most_prompts, pool.available(name)))
            for name in pool.classes
        }
        extent = list(sweep.seeds), list(sweep.steps), sweep.converged_steps
        return AdaptiveSweep(
            self.models, prompts, *extent, sweep.prompts_per_class, sweep.half_width, sweep.noise
        )

    def check(self, scenario):
        """Raise :class:`InputError` now for what would stop the chain after hours of calibration."""
        self.sweep()
        for place in PLACES:
            limit, measured = getattr(scenario, place)["max_steps"], max(self.config.sweep.steps)
            if limit > measured:
                raise InputError(
                    f"scenario: {place}.max_steps: found {limit}; allowed: at most {measured}, the largest of sweep.steps"
                )
        self._pools([user["prompt_class"] for user in scenario.users])

    def _pools(self, classes):
        """For each prompt class that users ask for, as many prompts as there are such users."""
        for name in classes:
            check_keys("scenario: prompt_classes", [name], self.prompts.classes)
        return {
            name: self.prompts.execution(name, classes.count(name))
            for name in dict.fromkeys(classes)
        }

    def users(self, allocation, classes):
        """Tasks that carry out an allocation: each UE's images at its place with its steps, and
        their converged images.

        After every few UEs come anchors (:mod:`calibration.costs.drift`), like images of the middle
        of the sweep's grid, at each place.
        """
        grid, name = sorted(self.config.sweep.steps), self.prompts.classes[0]
        anchor = {
            "prompt_class": name,
            "prompt": self.prompts.calibration(name, 1)[0],
            "steps": grid[len(grid) // 2],
            "purpose": "anchor",
        }
        pools = {name: iter(pool) for name, pool in self._pools(classes).items()}
        tasks = []
        for user, (name, offloaded, steps) in enumerate(
            zip(classes, allocation.offload, allocation.steps)
        ):
            place, prompt = PLACES[offloaded], next(pools[name])
            for image in range(self.config.execute.images_per_user):
                seed = self.execution_seed(prompt, image)
                asked = {
                    **self.models[place],
                    "place": place,
                    "prompt": prompt,
                    "prompt_class": name,
                    "user": user,
                    "seed": seed,
                }
                tasks.append(
                    Task(**asked, steps=self.config.sweep.converged_steps, purpose="converged")
                )
                tasks.append(Task(**asked, steps=int(steps), purpose="user"))
            if user % ANCHOR_EVERY == 0:
                tasks += [
                    Task(**self.models[place], place=place, **anchor, seed=EXECUTION_SEED + user)
                    for place in PLACES
                ]
        return tasks

    def execution_seed(self, prompt, image):
        """Of the noise of a prompt's image number ``image``, none that a sweep uses."""
        return EXECUTION_SEED + plan.noise_seed(prompt, image, self.config.sweep.noise)

    def given_reference(self):
        """Reference set of each class, ``{class: ReferenceSet}``; a folder's is one for all.

        None if the reference is to be the converged images, which have yet to be made.
        """
        asked, size = self.config.quality.reference, self.config.quality.reference_size
        if asked == "converged":
            return None
        if asked == "scenes":
            drawn = {name: self.prompts.reference(name, size) for name in self.prompts.classes}
            return {name: ReferenceSet.of(self, *pair) for name, pair in drawn.items()}
        return dict.fromkeys(
            self.prompts.classes, ReferenceSet.of(self, *self.pictures.reference(size))
        )

    def converged_reference(self, records, store):
        """The same of the edge model's converged images."""
        made = [
            r
            for r in records
            if r["asked"]["purpose"] == "converged" and r["asked"]["place"] == "edge"
        ]
        of = {
            name: [r for r in made if r["asked"]["prompt_class"] == name]
            for name in self.prompts.classes
        }
        pairs = {
            name: (
                Pictures([r["id"] for r in own], store.image),
                [r["asked"]["prompt"] for r in own],
            )
            for name, own in of.items()
        }
        return {name: ReferenceSet.of(self, *pair) for name, pair in pairs.items()}


class ReferenceSet(NamedTuple):
    """Real or converged images: their features, CLIP's as well, both (images, width), and their
    captions.
    """

    features: np.ndarray
    clip: np.ndarray
    captions: list[str]

    @classmethod
    def of(cls, testbed, images, captions):
        clip = testbed.clip.images(images)
        return cls(
            clip if testbed.extractor is testbed.clip else testbed.extractor.images(images),
            clip,
            captions,
        )
