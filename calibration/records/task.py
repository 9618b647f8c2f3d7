"""One task: an image to generate, by which model, where, and with how many steps."""

import hashlib
import json
from functools import cached_property

from calibration.records.split import Split
from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError
from solver.problem import PLACES

#: Purposes of a calibration point's image: timed alone, or made in a batch.
POINTS = ("sweep", "untimed")
PURPOSES = (*POINTS, "converged", "split", "user", "anchor")


@frozen
class ModelSpec(Schema):
    """A model as it was opened: ``revision`` is its commit or a fingerprint of its weights,
    ``scheduler`` the name of diffusers' class, ``guidance`` the scale (>= 0) of classifier-free
    guidance, away from ``negative_prompt`` if there is one.

    Raises :class:`InputError` for a value that is not allowed.
    """

    model: str = limits(empty=False)
    device: str = limits(empty=False)
    dtype: str = limits(empty=False)
    scheduler: str = limits(empty=False)
    guidance: float = limits(least=0)
    revision: str | None = limits(empty=False, default=None)
    negative_prompt: str | None = limits(empty=False, omit_none=True, default=None)

    def __post_init__(self) -> None:
        self.check("model")

    def task(
        self,
        *,
        place: str,
        prompt: str,
        prompt_class: str,
        seed: int,
        steps: int,
        purpose: str,
        user: int | None = None,
        split: Split | None = None,
        local_model: "ModelSpec | None" = None,
    ) -> "Task":
        """The task of an image by this model; see :class:`Task`."""
        return Task(
            place=place,
            model=self.model,
            device=self.device,
            dtype=self.dtype,
            scheduler=self.scheduler,
            prompt=prompt,
            prompt_class=prompt_class,
            seed=seed,
            steps=steps,
            guidance=self.guidance,
            revision=self.revision,
            user=user,
            purpose=purpose,
            negative_prompt=self.negative_prompt,
            split=split,
            local_model=local_model,
        )


@frozen
class Task(Schema):
    """What is asked of the testbed; the same task has the same ``id`` on every machine.

    ``place`` is ``local`` or ``edge``; ``seed`` is that of the image's noise; ``steps`` counts
    denoising steps; ``user`` is None in calibration. ``purpose`` is ``sweep`` (a calibration
    point), ``untimed`` (a point made in a batch, whose time is not used), ``converged`` (a
    reference image with many steps), ``split`` (a point that both models make), ``user`` (an image
    that a user asked for) or ``anchor`` (a control image, :mod:`calibration.costs.drift`).
    ``split``: some of the steps are those of a ``local_model``; the ``place`` is then ``edge``,
    against whose converged image the error is measured. The other fields are those of
    :class:`ModelSpec`.

    Raises :class:`InputError` for a value that is not allowed.
    """

    place: str = limits(choices=PLACES)
    model: str = limits(empty=False)
    device: str = limits(empty=False)
    dtype: str = limits(empty=False)
    scheduler: str = limits(empty=False)
    prompt: str = limits(empty=False)
    prompt_class: str = limits(empty=False)
    seed: int = limits(least=0)
    steps: int = limits(least=1)
    guidance: float = limits(least=0)
    revision: str | None = limits(empty=False, default=None)
    user: int | None = limits(least=0, default=None)
    purpose: str = limits(choices=PURPOSES, default="sweep")
    negative_prompt: str | None = limits(empty=False, omit_none=True, default=None)
    split: Split | None = limits(omit_none=True, default=None)
    local_model: ModelSpec | None = limits(omit_none=True, default=None)

    def __post_init__(self) -> None:
        self.check("task")
        if self.split is not None and not (
            self.place == "edge" and self.local_model and self.split.edge_steps < self.steps
        ):
            raise InputError(
                f"split: found {self.split.name(self.steps)} at {self.place}; allowed: steps at "
                "both places, at the edge, with a local_model"
            )
        # 3 and 3.0, 0.0 and -0.0: one task, one id
        object.__setattr__(self, "guidance", abs(float(self.guidance)))

    @property
    def spec(self) -> ModelSpec:
        """The model that is asked for."""
        return ModelSpec(
            model=self.model,
            device=self.device,
            dtype=self.dtype,
            scheduler=self.scheduler,
            guidance=self.guidance,
            revision=self.revision,
            negative_prompt=self.negative_prompt,
        )

    @property
    def target_key(self) -> tuple[str, str, str | None, str, int, float, str | None]:
        """Equal for the images, of all step counts, whose error is measured against the same
        converged image.
        """
        return (
            self.place,
            self.model,
            self.revision,
            self.prompt,
            self.seed,
            self.guidance,
            self.negative_prompt,
        )

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits: the SHA-256 of the task's fields as canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
