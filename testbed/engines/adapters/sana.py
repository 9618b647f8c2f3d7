"""Sana, and Sana-Sprint, distilled from it."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderDC, SanaPipeline, SchedulerMixin

from testbed.engines.adapters.adapter import Condition
from testbed.engines.adapters.pixart import BinnedAdapter

#: The prompt goes to the language model behind these lines, which the call has as a default.
_INSTRUCTION = (
    inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
)


class Sana(BinnedAdapter):
    """A language model as text encoder; guidance above 1 makes a second half. Latents and outputs
    are float32 whatever the network's dtype.
    """

    decoders = (AutoencoderDC,)
    nominal = 32
    noise_dtype = torch.float32

    def _encode(
        self, prompts: list[str], guided: bool, negative: str = ""
    ) -> tuple[torch.Tensor, ...]:
        return self.pipeline.encode_prompt(
            prompts,
            guided,
            negative,
            device=self.device,
            complex_human_instruction=_INSTRUCTION,
        )

    def arguments(self, rows: Condition) -> dict[str, Any]:
        return {
            "encoder_hidden_states": rows.text.to(self.denoiser.dtype),
            "encoder_attention_mask": rows.mask,
        }

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        times = timesteps * self.config.timestep_scale
        return super().denoise(latents.to(self.denoiser.dtype), times, arguments).float()

    def call_options(self, steps: int) -> dict[str, Any]:
        """Its default size is 1024 pixels, whatever the network was made for."""
        height, width = self.pixels
        return {"height": height, "width": width}


class SanaSprint(Sana):
    """The network takes the guidance scale itself: there is no second half. Each step predicts the
    image, and adds new noise to it, from the request's seed, at angles (:class:`SCMScheduler`)
    instead of times.
    """

    sets_begin_index = True
    takes_negative_prompt = False
    most_steps = 4

    def guided(self, guidance: float) -> bool:
        return False

    def encode(self, prompts: list[str], guidance: Sequence[float]) -> list[Condition]:
        text, mask = self.pipeline.encode_prompt(
            prompts, device=self.device, complex_human_instruction=_INSTRUCTION
        )
        scales = torch.tensor(guidance, dtype=torch.float32, device=self.device).to(text.dtype)
        scales = scales * self.config.guidance_embeds_scale
        return Condition.split(text=text, mask=mask, guidance=scales)

    def arguments(self, rows: Condition) -> dict[str, Any]:
        return {**super().arguments(rows), "guidance": rows.guidance}

    def start(self, noise: torch.Tensor, scheduler: SchedulerMixin) -> torch.Tensor:
        return noise * scheduler.config.sigma_data

    def denoise(
        self, latents: torch.Tensor, timesteps: torch.Tensor, arguments: dict[str, Any]
    ) -> torch.Tensor:
        sigma = self.pipeline.scheduler.config.sigma_data
        flow = torch.sin(timesteps) / (torch.cos(timesteps) + torch.sin(timesteps))
        time = flow.view(-1, 1, 1, 1)
        inputs = latents / sigma * torch.sqrt(time**2 + (1 - time) ** 2)
        outputs = self.denoiser(
            inputs.to(self.denoiser.dtype), timestep=flow, return_dict=False, **arguments
        )[0]
        outputs = ((1 - 2 * time) * inputs + (1 - 2 * time + 2 * time**2) * outputs) / torch.sqrt(
            time**2 + (1 - time) ** 2
        )
        return outputs.float() * sigma

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return super().decode(latents / self.pipeline.scheduler.config.sigma_data)

    def call_options(self, steps: int) -> dict[str, Any]:
        """The default has an angle between two steps, which other counts must not have."""
        middle = {} if steps == 2 else {"intermediate_timesteps": None}
        return {**super().call_options(steps), **middle}
