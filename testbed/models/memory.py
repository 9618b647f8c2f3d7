"""Fit a pipeline into the memory that there is, and decode where half precision overflows. What is
chosen changes times, so it is recorded.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline

from solver.inputs import InputError

_ROOM = 4  # images whose decoding fits beside the weights where nothing is done to save memory


def place(
    pipeline: DiffusionPipeline,
    device: torch.device,
    strategy: str,
    resolution: int,
    model: str,
) -> None:
    """Move ``pipeline`` to ``device`` by ``strategy``, or by :func:`choose` for ``"auto"``;
    ``pipeline.memory`` holds the strategy's name.

    ``whole``: all parts stay there. ``sliced``: images of a batch are decoded one by one, and
    attention is computed in slices where torch has no fused one (on MPS; elsewhere slices would
    slow it). ``offload``: each part is moved there only while it computes.
    """
    if strategy == "auto":
        sizes = {
            name: _size(part)
            for name, part in pipeline.components.items()
            if isinstance(part, torch.nn.Module)
        }
        decoding = resolution**2 * 1024 * pipeline.vae.dtype.itemsize
        strategy = choose(sizes, decoding, free(device), model)
    if strategy == "sliced":
        pipeline.vae.enable_slicing()
        if device.type == "mps":
            pipeline.enable_attention_slicing()
    if strategy == "offload" and device.type != "cpu":
        if device.type == "cuda" and device.index is None:  # diffusers would take the first GPU
            device = torch.device("cuda", torch.cuda.current_device())
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    pipeline.memory = strategy


def choose(sizes: Mapping[str, float], decoding: float, available: float | None, model: str) -> str:
    """The quickest strategy that fits. Bytes: ``sizes`` of the parts' weights; ``decoding`` an
    image, whose widest layers have 256 channels at full size, four tensors at a time; ``available``
    on the device, None where it is the machine's own memory.

    Raises :class:`InputError` if not even the largest part fits.
    """
    weights, largest = sum(sizes.values()), max(sizes.values())
    if available is None or available >= weights + _ROOM * decoding:
        return "whole"
    if available >= weights + decoding:
        return "sliced"
    if available >= largest + decoding:
        return "offload"
    part = max(sizes, key=lambda name: sizes[name])
    raise InputError(
        f"model: {model}: {available / 1e9:.1f} GB are free on the device, its {part} alone needs "
        f"about {(largest + decoding) / 1e9:.1f} GB; allowed: a smaller dtype or resolution, a "
        'smaller model, or device = "cpu"'
    )


def free(device: torch.device) -> int | None:
    """Bytes free on ``device``; None on a CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


def guard_decoder(pipeline: DiffusionPipeline) -> None:
    """Decode in the VAE's own dtype, and in float32 from the first image on whose decoding in half
    precision is not finite though its latents are.

    SDXL's overflows always, which its config says. Its pipelines convert it to float32 and back for
    each image, and on MPS others convert it to the latents' dtype; here it stays as it is.
    """
    vae = pipeline.vae
    if (
        isinstance(pipeline, StableDiffusionXLPipeline)
        and vae.config.force_upcast
        and vae.dtype == torch.float16
    ):
        vae.to(torch.float32)
    decode, to = vae.decode, vae.to

    def decoded_of(latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        try:
            return decode(latents, *args, **kwargs)
        except torch.OutOfMemoryError as error:  # which Sana's call takes for a warning
            said = str(error)
        raise MemoryError(said)  # out here, without the frames that hold the memory

    def guarded(latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        decoded = decoded_of(latents.to(vae.dtype), *args, **kwargs)
        if vae.dtype != torch.float32 and vae.judged:
            # of what the denoiser spoilt the decoder is innocent
            whole = latents.flatten(1).isfinite().all(1)
            if not decoded[0][whole].isfinite().all():
                warnings.warn(
                    f"the decoder overflows in {vae.dtype}: it goes on in float32, as "
                    "vae_dtype = 'float32' begins",
                    stacklevel=2,
                )
                to(torch.float32)
                decoded = decoded_of(latents.float(), *args, **kwargs)
        return decoded

    def moved(*args: Any, **kwargs: Any) -> torch.nn.Module:
        device, _, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        return to(device, non_blocking=non_blocking, memory_format=memory_format)

    vae.decode, vae.to, vae.judged = guarded, moved, True


@contextmanager
def unjudged(pipeline: DiffusionPipeline) -> Iterator[None]:
    """Decode latents with noise in them: where they overflow, those of images may not."""
    pipeline.vae.judged = False
    try:
        yield
    finally:
        pipeline.vae.judged = True


def _size(part: torch.nn.Module) -> int:
    return sum(
        tensor.numel() * tensor.element_size() for tensor in (*part.parameters(), *part.buffers())
    )
