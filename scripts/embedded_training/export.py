"""The finished models, in the folder formats of diffusers and transformers, and their card."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTokenizer

from embedded_training.optimise import Modules
from embedded_training.settings import SCENES, STAGES, Run
from testbed.embedded import models

#: The model card, with places for what the training noted.
CARD = Path(__file__).with_name("model_card.md")


def _finished(run: Run, name: str, modules: Modules) -> dict[str, Any]:
    """Load the averaged weights of the last checkpoint of the stage ``name`` into ``modules``;
    returns the stage's progress.
    """
    saved = torch.load(run.work / f"{name}.pt", map_location="cpu")
    params = [p for module in modules.values() for p in module.parameters()]
    for p, value in zip(params, saved["average"], strict=True):
        p.data.copy_(value)
    return saved["state"]


def export(run: Run, tok: CLIPTokenizer) -> None:
    """Write the pipelines and CLIP, fp16, and the model card."""
    vae = models.vae()
    notes = {"first_vae": _finished(run, "first_vae", {"vae": models.first_vae()})}
    notes["vae"] = _finished(run, "vae", {"vae": vae})
    deviation = torch.load(run.work / "latents.pt").float().std().item()
    vae.register_to_config(scaling_factor=1 / deviation)
    for which in ("edge", "light"):
        unet, text_encoder = models.unet(which), models.text_encoder(which, tok)
        notes[which] = _finished(run, which, {"unet": unet, "text_encoder": text_encoder})
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
        pipeline.to(dtype=torch.float16).save_pretrained(run.out / which)
    clip = models.clip(tok)
    notes["clip"] = _finished(run, "clip", {"clip": clip})
    clip.half().save_pretrained(run.out / "clip")
    models.clip_processor(tok).save_pretrained(run.out / "clip")
    rows = "\n".join(_row(run, name, state) for name, state in notes.items())
    card = CARD.read_text(encoding="utf-8").format(
        rows=rows, seed=run.seed, scenes=sum(SCENES.values())
    )
    (run.out / "README.md").write_text(card)
    size = sum(path.stat().st_size for path in run.out.rglob("*.safetensors")) / 1e6
    print(f"wrote {run.out}: {size:.1f} MB of weights")


def _row(run: Run, name: str, state: dict[str, Any]) -> str:
    path = run.work / f"{name}.json"
    where = json.loads(path.read_text())["machine"] if path.exists() else "unfinished"
    return (
        f"| {name} | {state['step']} | {state['step'] * STAGES[name].batch} "
        f"| {state['seconds'] / 60:.0f} | {state['loss']:.4f} | {where} |"
    )
