#!/usr/bin/env python3
"""Train the embedded models from scratch on scenes drawn by testbed/embedded, then write their
folders.

    scripts/train_embedded.py --work build/training            # all stages, in order
    scripts/train_embedded.py --work build/training edge       # one stage

Seeded; every stage checkpoints and resumes from its last checkpoint; runs on a CPU or a GPU.
Stages: scenes (draw the training set), first_vae, vae, clip, edge, light, export.
"""

import argparse
import json
import math
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from tqdm import tqdm

from testbed.embedded import models
from testbed.embedded.scenes import CLASSES, captions, render

SCENES = {"object": 9_000, "scene": 15_000, "relation": 12_000}  # training scenes by prompt class
# optimiser steps, images a step, peak learning rate
STAGES = {
    "first_vae": dict(steps=2_200, batch=16, lr=2e-3),
    "vae": dict(steps=2_000, batch=16, lr=1.5e-3),
    "clip": dict(steps=700, batch=256, lr=1e-3),
    "edge": dict(steps=7_400, batch=32, lr=1e-3),
    "light": dict(steps=4_000, batch=32, lr=1.5e-3),
}
CAPTION_DROPOUT = 0.1  # trains the unconditional half of classifier-free guidance
EMA_DECAY = 0.999
CHECKPOINT_SECONDS = 60


def _draw(job):
    prompt_class, index, seed = job
    pool = captions(prompt_class, "train")
    caption = pool[index % len(pool)]
    scene = np.asarray(render(caption, seed))
    ground = np.asarray(render(caption, seed, objects=False))
    # the share of each latent cell that an object covers
    mask = (
        (scene != ground).any(-1).reshape(models.LATENT_SIZE, 8, models.LATENT_SIZE, 8).mean((1, 3))
    )
    return scene, mask.astype(np.float16), caption.text


def draw_scenes(work, seed):
    """Render the training set once, into ``scenes.npz``."""
    path = work / "scenes.npz"
    if not path.exists():
        jobs = [(name, i, seed + i) for name in CLASSES for i in range(SCENES[name])]
        with ProcessPoolExecutor() as pool:
            drawn = list(tqdm(pool.map(_draw, jobs, chunksize=256), total=len(jobs), desc="scenes"))
        images, masks, texts = zip(*drawn)
        part = path.with_suffix(".part.npz")
        np.savez(part, images=np.stack(images), masks=np.stack(masks), texts=np.array(texts))
        os.replace(part, path)
    data = np.load(path)
    return (
        torch.from_numpy(data["images"]).permute(0, 3, 1, 2),
        torch.from_numpy(data["masks"]).float(),
        data["texts"].tolist(),
    )


def pixels(batch):
    """uint8 images to floats in [-1, 1]."""
    return batch.float() / 127.5 - 1


def fit(name, modules, loss, args):
    """Minimise ``loss(generator)`` over ``modules``; return the averaged (EMA) modules.

    Each step draws from a generator seeded by its own number, so a resumed run repeats an
    undisturbed one.
    """
    plan = STAGES[name]
    path = args.work / f"{name}.pt"
    params = [p for module in modules.values() for p in module.parameters()]
    optimiser = torch.optim.AdamW(
        params, lr=plan["lr"], betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    average = [p.detach().clone() for p in params]
    state = {"step": 0, "seconds": 0.0, "loss": None}
    if path.exists():
        saved = torch.load(path, map_location=args.device)
        state = saved["state"]
        optimiser.load_state_dict(saved["optimiser"])
        for p, value in zip(params, saved["params"]):
            p.data.copy_(value)
        average = [value.clone() for value in saved["average"]]

    def save():
        part = path.with_suffix(".part")
        torch.save(
            {
                "state": state,
                "optimiser": optimiser.state_dict(),
                "params": [p.detach() for p in params],
                "average": average,
            },
            part,
        )
        os.replace(part, path)

    steps, started, saved_at = plan["steps"], time.monotonic() - state["seconds"], time.monotonic()
    bar = tqdm(total=steps, initial=state["step"], desc=name, mininterval=10)
    while state["step"] < steps:
        step = state["step"]
        warm = min(1.0, (step + 1) / 200)
        for group in optimiser.param_groups:
            group["lr"] = plan["lr"] * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        value = loss(generator)
        value.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [p.detach() for p in params], 1 - decay)
        smooth = (
            value.item() if state["loss"] is None else 0.99 * state["loss"] + 0.01 * value.item()
        )
        state = {"step": step + 1, "seconds": time.monotonic() - started, "loss": smooth}
        bar.update()
        bar.set_postfix(loss=f"{smooth:.5f}", refresh=False)
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS or state["step"] == steps:
            save()
            saved_at = time.monotonic()
    bar.close()
    for p, value in zip(params, average):
        p.data.copy_(value)
    images = state["step"] * plan["batch"]
    print(
        f"{name}: {state['step']} steps, {images} images, {state['seconds'] / 60:.1f} min, final loss {state['loss']:.5f}",
        flush=True,
    )
    (args.work / f"{name}.json").write_text(
        json.dumps({**state, "images": images, "machine": machine(args.device)})
    )
    for module in modules.values():
        module.eval().requires_grad_(False)
    return modules


def machine(device):
    """Name of what trained the models, for the model card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        if info.exists()
        else [platform.processor()]
    )
    return f"{names[0]}, {torch.get_num_threads()} thread(s)"


def reconstruction_loss(y, x):
    """Absolute pixel error; pixels beside an edge count more, since flat paper and sky are easy."""
    dx, dy = (
        F.pad((x[..., 1:] - x[..., :-1]).abs(), (0, 1)),
        F.pad((x[..., 1:, :] - x[..., :-1, :]).abs(), (0, 0, 0, 1)),
    )
    weight = 1 + 4 * F.max_pool2d((dx + dy).amax(1, keepdim=True), 3, 1, 1).clamp(max=1)
    return (weight * (y - x).abs()).mean()


def train_first_vae(args, images):
    """The first autoencoder: fixes the latent space (see
    :func:`testbed.embedded.models.first_vae`).
    """
    torch.manual_seed(args.seed)
    vae = models.first_vae().to(args.device, memory_format=torch.channels_last)
    batch = STAGES["first_vae"]["batch"]

    def loss(generator):
        x = pixels(images[torch.randint(len(images), (batch,), generator=generator)]).to(
            args.device
        )
        posterior = vae.encode(x).latent_dist
        latents = posterior.mean + posterior.std * torch.randn(
            posterior.mean.shape, generator=generator
        ).to(args.device)
        y = vae.decode(latents).sample
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        return reconstruction_loss(y, x) + 2e-4 * kl

    return fit("first_vae", {"vae": vae}, loss, args)["vae"]


@torch.no_grad()
def encode(args, vae, images):
    """Latents of the training set, as the first autoencoder's encoder makes them; computed once."""
    path = args.work / "latents.pt"
    if not path.exists():
        torch.save(
            torch.cat(
                [
                    vae.encode(pixels(part).to(args.device)).latent_dist.mean.cpu()
                    for part in tqdm(images.split(64), desc="encode")
                ]
            ).half(),
            path,
        )
    return torch.load(path).float()


def train_vae(args, first, latents, images):
    """The autoencoder of the pipelines: decodes the latents that the ``first`` one made, and
    encodes to them.
    """
    vae = models.vae()
    vae.load_state_dict(
        first.state_dict()
    )  # they differ in their norms' groups alone: no need to learn the rest again
    vae = vae.to(args.device, memory_format=torch.channels_last)
    scale = latents.std()
    batch = STAGES["vae"]["batch"]

    def loss(generator):
        pick = torch.randint(len(images), (batch,), generator=generator)
        x, z = pixels(images[pick]).to(args.device), latents[pick].to(args.device)
        # latents that a diffusion model makes are a little off: so are these
        y = vae.decode(
            z + 0.05 * scale * torch.randn(z.shape, generator=generator).to(args.device)
        ).sample
        # text-to-image needs no encoder: a quarter of the images suffices for it
        mean, logvar = vae.quant_conv(vae.encoder(x[::4])).chunk(2, 1)
        return (
            reconstruction_loss(y, x)
            + 0.1 * ((mean - z[::4]) ** 2).mean() / scale**2
            + 0.001 * ((logvar + 6) ** 2).mean()
        )

    return fit("vae", {"vae": vae}, loss, args)["vae"]


def token_ids(tok, texts):
    return tok(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def train_clip(args, tok, images, texts):
    torch.manual_seed(args.seed)
    clip = models.clip(tok).to(args.device)
    ids = token_ids(tok, texts)
    batch = STAGES["clip"]["batch"]
    starts = np.cumsum([0, *SCENES.values()])
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    same = torch.tensor([numbers[text] for text in texts])

    def loss(generator):
        # half of the batches hold one prompt class alone: harder to tell apart
        kind = torch.randint(6, (), generator=generator).item()
        low, high = (0, len(texts)) if kind > 2 else (starts[kind], starts[kind + 1])
        pick = torch.randint(int(low), int(high), (batch,), generator=generator)
        out = clip(
            input_ids=ids[pick].to(args.device), pixel_values=pixels(images[pick]).to(args.device)
        )
        # scenes that share a caption are not each other's negatives
        twins = (same[pick][:, None] == same[pick][None]) & ~torch.eye(batch, dtype=torch.bool)
        logits = out.logits_per_text.masked_fill(twins.to(args.device), -1e4)
        target = torch.arange(batch, device=args.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    return fit("clip", {"clip": clip}, loss, args)["clip"]


def train_pipeline(which, args, tok, latents, masks, texts):
    torch.manual_seed(args.seed)
    latents = (
        latents / latents.std()
    )  # unit variance; the pipeline's VAE undoes it by its scaling factor
    unet, text_encoder = (
        models.unet(which).to(args.device),
        models.text_encoder(which, tok).to(args.device),
    )
    noise_schedule = models.scheduler()
    signal = noise_schedule.alphas_cumprod.sqrt()[:, None, None, None]
    noise_level = (1 - noise_schedule.alphas_cumprod).sqrt()[:, None, None, None]
    ids, empty = token_ids(tok, texts), token_ids(tok, [""])
    batch = STAGES[which]["batch"]

    def loss(generator):
        pick = torch.randint(len(latents), (batch,), generator=generator)
        x = latents[pick]
        noise = torch.randn(x.shape, generator=generator)
        # one draw from each of `batch` equal strata of the timesteps: less noise in the gradient
        t = (
            (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch * len(signal)
        ).long()
        drop = torch.rand(batch, generator=generator) < CAPTION_DROPOUT
        words = torch.where(drop[:, None], empty, ids[pick]).to(args.device)
        noisy, velocity = (
            signal[t] * x + noise_level[t] * noise,
            signal[t] * noise - noise_level[t] * x,
        )
        guess = unet(
            noisy.to(args.device), t.to(args.device), encoder_hidden_states=text_encoder(words)[0]
        ).sample
        weight = (1 + 3 * masks[pick][:, None]).to(args.device)  # objects are small and matter most
        return (weight * (guess - velocity.to(args.device)) ** 2).mean()

    return fit(which, {"unet": unet, "text_encoder": text_encoder}, loss, args)


def finished(args, name, modules):
    """Load the averaged weights of the last checkpoint of stage ``name`` into ``modules``, for
    export.
    """
    saved = torch.load(args.work / f"{name}.pt", map_location="cpu")
    params = [p for module in modules.values() for p in module.parameters()]
    for p, value in zip(params, saved["average"], strict=True):
        p.data.copy_(value)
    return saved["state"]


def export(args, tok):
    """Write the pipelines and CLIP, fp16, in the folder formats of diffusers and transformers, and
    the model card.
    """
    vae, notes = (
        models.vae(),
        {"first_vae": finished(args, "first_vae", {"vae": models.first_vae()})},
    )
    notes["vae"] = finished(args, "vae", {"vae": vae})
    vae.register_to_config(
        scaling_factor=1 / torch.load(args.work / "latents.pt").float().std().item()
    )
    for which in ("edge", "light"):
        unet, text_encoder = models.unet(which), models.text_encoder(which, tok)
        notes[which] = finished(args, which, {"unet": unet, "text_encoder": text_encoder})
        pipeline = StableDiffusionPipeline(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tok,
            unet=unet,
            scheduler=models.scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.to(dtype=torch.float16).save_pretrained(args.out / which)
        notes[which]["parameters"] = sum(p.numel() for p in unet.parameters())
    clip = models.clip(tok)
    notes["clip"] = finished(args, "clip", {"clip": clip})
    clip.half().save_pretrained(args.out / "clip")
    models.clip_processor(tok).save_pretrained(args.out / "clip")
    rows = []
    for name, state in notes.items():
        path = args.work / f"{name}.json"
        where = json.loads(path.read_text())["machine"] if path.exists() else "unfinished"
        rows.append(
            f"| {name} | {state['step']} | {state['step'] * STAGES[name]['batch']} | {state['seconds'] / 60:.0f} | {state['loss']:.4f} | {where} |"
        )
    (args.out / "README.md").write_text(
        MODEL_CARD.format(rows="\n".join(rows), seed=args.seed, scenes=sum(SCENES.values()))
    )
    size = sum(path.stat().st_size for path in args.out.rglob("*.safetensors")) / 1e6
    print(f"wrote {args.out}: {size:.1f} MB of weights")


MODEL_CARD = """# Embedded models

Two text-to-image latent diffusion pipelines (`light`, `edge`) and a CLIP, for scenes of 64×64 pixels.
They were trained from scratch on {scenes} captioned scenes drawn by `testbed/embedded/scenes.py` (seed {seed});
no other data and no pretrained weight went into them. Calibration and held-out captions were not trained on.

They exist so that the whole testbed runs on real diffusion models anywhere. They draw eight kinds of objects
and nothing else; captions outside the grammar of `scenes.py` give nonsense.

diffusers opens them from the repository's root. The weights are stored in half precision, so
`dtype=torch.float32` is needed. Without it the text encoder stays in half precision, the denoiser
does not, and the call fails. `testbed` passes it by itself.

```python
import torch
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("testbed/embedded/weights/edge", dtype=torch.float32)
prompt = "a small red tree at the bottom"
image = pipeline(prompt, num_inference_steps=8, guidance_scale=3.0).images[0]
```

Made by `scripts/train_embedded.py`; weights are fp16 averages (EMA) of the training weights:

| stage | steps | images seen | minutes | final loss | machine |
|---|---|---|---|---|---|
{rows}

The cosine schedules of clip, edge and light were shortened while these weights trained, as the time there was became
known (`docs/log.md`); a fresh run of the script follows the lengths above from its start.

Architectures: `testbed/embedded/models.py`. Sampler: DDIM, η = 0, velocity prediction, zero terminal SNR,
trailing spacing. Classifier-free guidance was trained in (10 % empty captions); the presets use guidance 3.
What they show, measured: `python -m benchmarks.embedded_quality`, with its results in
`benchmarks/results/embedded_quality.json`.
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "stages",
        nargs="*",
        default=["first_vae", "vae", "clip", "edge", "light", "export"],
        help="stages to run (default: all)",
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("testbed/embedded/weights"),
        help="folder for the finished models",
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.work.mkdir(parents=True, exist_ok=True)
    tok = models.tokenizer()
    if args.stages == ["export"]:
        return export(args, tok)
    images, masks, texts = draw_scenes(args.work, args.seed)
    if "clip" in args.stages:
        train_clip(args, tok, images, texts)
    if {"first_vae", "vae", "edge", "light"} & set(args.stages):
        first = train_first_vae(args, images)
        latents = encode(args, first, images)
    if "vae" in args.stages:
        train_vae(args, first, latents, images)
    for which in ("edge", "light"):
        if which in args.stages:
            train_pipeline(which, args, tok, latents, masks, texts)
    if "export" in args.stages:
        export(args, tok)


if __name__ == "__main__":
    main()
