"""Training of the two autoencoders."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tqdm import tqdm

from embedded_training.optimise import fit, pixels
from embedded_training.settings import STAGES, Run
from testbed.embedded import models


def reconstruction_loss(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Absolute pixel error; pixels beside an edge count more, since flat paper and sky are easy."""
    dx, dy = (
        F.pad((x[..., 1:] - x[..., :-1]).abs(), (0, 1)),
        F.pad((x[..., 1:, :] - x[..., :-1, :]).abs(), (0, 0, 0, 1)),
    )
    weight = 1 + 4 * F.max_pool2d((dx + dy).amax(1, keepdim=True), 3, 1, 1).clamp(max=1)
    return (weight * (y - x).abs()).mean()


def train_first_vae(run: Run, images: torch.Tensor) -> AutoencoderKL:
    """The first autoencoder: it fixes the latent space (see
    :func:`testbed.embedded.models.first_vae`).
    """
    torch.manual_seed(run.seed)
    vae = models.first_vae().to(run.device, memory_format=torch.channels_last)
    batch = STAGES["first_vae"].batch

    def loss(generator: torch.Generator) -> torch.Tensor:
        picked = images[torch.randint(len(images), (batch,), generator=generator)]
        x = pixels(picked).to(run.device)
        posterior = vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(run.device)
        y = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        return reconstruction_loss(y, x) + 2e-4 * kl

    return fit("first_vae", {"vae": vae}, loss, run)["vae"]


@torch.no_grad()
def encode(run: Run, vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Latents of the training set, as the first autoencoder's encoder makes them; computed once."""
    path = run.work / "latents.pt"
    if not path.exists():
        latents = [
            vae.encode(pixels(part).to(run.device)).latent_dist.mean.cpu()
            for part in tqdm(images.split(64), desc="encode")
        ]
        torch.save(torch.cat(latents).half(), path)
    return torch.load(path).float()


def train_vae(
    run: Run, first: AutoencoderKL, latents: torch.Tensor, images: torch.Tensor
) -> AutoencoderKL:
    """The autoencoder of the pipelines: decodes the latents that the ``first`` one made, and
    encodes to them.
    """
    vae = models.vae()
    # they differ in their norms' groups alone: no need to learn the rest again
    vae.load_state_dict(first.state_dict())
    vae = vae.to(run.device, memory_format=torch.channels_last)
    scale = latents.std()
    batch = STAGES["vae"].batch

    def loss(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(images), (batch,), generator=generator)
        x, z = pixels(images[pick]).to(run.device), latents[pick].to(run.device)
        # latents that a diffusion model makes are a little off: so are these
        noise = torch.randn(z.shape, generator=generator).to(run.device)
        y = vae.decode(z + 0.05 * scale * noise).sample
        # text-to-image needs no encoder: a quarter of the images suffices for it
        mean, logvar = vae.quant_conv(vae.encoder(x[::4])).chunk(2, 1)
        return (
            reconstruction_loss(y, x)
            + 0.1 * ((mean - z[::4]) ** 2).mean() / scale**2
            + 0.001 * ((logvar + 6) ** 2).mean()
        )

    return fit("vae", {"vae": vae}, loss, run)["vae"]
