#!/usr/bin/env python3
"""Train the embedded models from scratch on scenes drawn by testbed/embedded, then write their
folders.

    scripts/train_embedded.py --work build/training            # all stages, in order
    scripts/train_embedded.py --work build/training edge       # one stage

Seeded; every stage checkpoints and resumes from its last checkpoint; runs on a CPU or a GPU.
Stages: scenes (draw the training set), first_vae, vae, clip, edge, light, export.
"""

import argparse
from pathlib import Path

import torch
from embedded_training.autoencoders import encode, train_first_vae, train_vae
from embedded_training.export import export
from embedded_training.networks import train_clip, train_pipeline
from embedded_training.scenes import draw_scenes
from embedded_training.settings import Run

from testbed.embedded import models

ROOT = Path(__file__).resolve().parents[1]
#: In their order.
STAGES = ("first_vae", "vae", "clip", "edge", "light", "export")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "stages",
        nargs="*",
        default=list(STAGES),
        help="stages to run (default: all)",
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "testbed" / "embedded" / "weights",
        help="folder for the finished models",
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    args = parser.parse_args()
    if wrong := [stage for stage in args.stages if stage not in (*STAGES, "scenes")]:
        parser.error(f"stages: found {wrong[0]!r}; allowed: scenes, {', '.join(STAGES)}")
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(args.work, args.out, args.seed, device)
    run.work.mkdir(parents=True, exist_ok=True)
    tok = models.tokenizer()
    if args.stages == ["export"]:
        return export(run, tok)
    scenes = draw_scenes(run)
    if "clip" in args.stages:
        train_clip(run, tok, scenes)
    if {"first_vae", "vae", "edge", "light"} & set(args.stages):
        first = train_first_vae(run, scenes.images)
        latents = encode(run, first, scenes.images)
    if "vae" in args.stages:
        train_vae(run, first, latents, scenes.images)
    for which in ("edge", "light"):
        if which in args.stages:
            train_pipeline(which, run, tok, latents, scenes)
    if "export" in args.stages:
        export(run, tok)


if __name__ == "__main__":
    main()
