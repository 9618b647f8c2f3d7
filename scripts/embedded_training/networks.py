"""Training of CLIP, and of the pipelines' denoisers with their text encoders."""

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel, CLIPTokenizer

from embedded_training.optimise import Modules, fit, pixels
from embedded_training.scenes import Scenes
from embedded_training.settings import CAPTION_DROPOUT, SCENES, STAGES, Run
from testbed.embedded import models


def _token_ids(tok: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    return tok(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def train_clip(run: Run, tok: CLIPTokenizer, scenes: Scenes) -> CLIPModel:
    """The contrastive model of images and captions."""
    torch.manual_seed(run.seed)
    clip = models.clip(tok).to(run.device)
    images, texts = scenes.images, scenes.texts
    ids = _token_ids(tok, texts)
    batch = STAGES["clip"].batch
    starts = np.cumsum([0, *SCENES.values()])
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    same = torch.tensor([numbers[text] for text in texts])

    def loss(generator: torch.Generator) -> torch.Tensor:
        # half of the batches hold one prompt class alone: harder to tell apart
        kind = int(torch.randint(6, (), generator=generator).item())
        low, high = (0, len(texts)) if kind > 2 else (starts[kind], starts[kind + 1])
        pick = torch.randint(int(low), int(high), (batch,), generator=generator)
        out = clip(
            input_ids=ids[pick].to(run.device), pixel_values=pixels(images[pick]).to(run.device)
        )
        # scenes that share a caption are not each other's negatives
        twins = (same[pick][:, None] == same[pick][None]) & ~torch.eye(batch, dtype=torch.bool)
        logits = out.logits_per_text.masked_fill(twins.to(run.device), -1e4)
        target = torch.arange(batch, device=run.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    return fit("clip", {"clip": clip}, loss, run)["clip"]


def train_pipeline(
    which: str, run: Run, tok: CLIPTokenizer, latents: torch.Tensor, scenes: Scenes
) -> Modules:
    """The denoiser and the text encoder of the pipeline ``which``."""
    torch.manual_seed(run.seed)
    latents = latents / latents.std()  # the pipeline's VAE undoes it by its scaling factor
    unet, text_encoder = (
        models.unet(which).to(run.device),
        models.text_encoder(which, tok).to(run.device),
    )
    noise_schedule = models.scheduler()
    signal = noise_schedule.alphas_cumprod.sqrt()[:, None, None, None]
    noise_level = (1 - noise_schedule.alphas_cumprod).sqrt()[:, None, None, None]
    ids, empty = _token_ids(tok, scenes.texts), _token_ids(tok, [""])
    batch = STAGES[which].batch

    def loss(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(latents), (batch,), generator=generator)
        x = latents[pick]
        noise = torch.randn(x.shape, generator=generator)
        # one draw from each of `batch` equal strata of the timesteps: less noise in the gradient
        strata = torch.arange(batch) + torch.rand(batch, generator=generator)
        t = (strata / batch * len(signal)).long()
        drop = torch.rand(batch, generator=generator) < CAPTION_DROPOUT
        words = torch.where(drop[:, None], empty, ids[pick]).to(run.device)
        noisy, velocity = (
            signal[t] * x + noise_level[t] * noise,
            signal[t] * noise - noise_level[t] * x,
        )
        guess = unet(
            noisy.to(run.device), t.to(run.device), encoder_hidden_states=text_encoder(words)[0]
        ).sample
        # objects are small and matter most
        weight = (1 + 3 * scenes.masks[pick][:, None]).to(run.device)
        return (weight * (guess - velocity.to(run.device)) ** 2).mean()

    return fit(which, {"unet": unet, "text_encoder": text_encoder}, loss, run)
