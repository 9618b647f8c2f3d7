"""Stable Diffusion 3 and 3.5."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin

from testbed.engines.adapters.adapter import Condition
from testbed.engines.adapters.flow import FlowMatching
from testbed.models.samplers import set_steps


class StableDiffusion3(FlowMatching):
    """Two CLIP encoders and a T5, which may be left out; guidance above 1 makes a second half."""

    most_shift = 1.16

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        super().__init__(pipeline)
        self.patch = self.config.patch_size

    def encode(self, prompts: list[str], guidance: Sequence[float]) -> list[Condition]:
        text, _, pooled, _ = self._encode(prompts, False)
        return Condition.split(text=text, pooled=pooled)

    def encode_negative(self, prompt: str | None) -> Condition:
        _, text, _, pooled = self._encode([""], True, prompt)
        return Condition(text[0], pooled=pooled[0])

    def _encode(
        self, prompts: list[str], guided: bool, negative: str | None = None
    ) -> tuple[torch.Tensor, ...]:
        return self.pipeline.encode_prompt(
            prompts,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=guided,
            negative_prompt=negative and [negative],
        )

    def arguments(self, rows: Condition) -> dict[str, Any]:
        return {"encoder_hidden_states": rows.text, "pooled_projections": rows.pooled}

    def set_timesteps(self, scheduler: SchedulerMixin, steps: int) -> torch.Tensor:
        shifts = scheduler.config.get("use_dynamic_shifting", None)
        options = {"mu": self.shift(scheduler)} if shifts else {}
        return set_steps(scheduler, steps, **options)
