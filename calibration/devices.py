"""Device classes of UEs: how much slower than the measured machine they are, by published timings.

A device's ratio is its seconds per denoising step of Stable Diffusion 1.5 at 512x512 (two UNet calls, for
classifier-free guidance) over those of the reference server GPU. A local model's measured time is multiplied by
it: the result is *emulated*. Watts are *modelled*: published bounds, for want of measurements on these devices.
"""

from dataclasses import dataclass

REFERENCE_STEP_TIME = 1 / 24.9  # s: RTX 4090, eager, 24.9 steps per second
_REFERENCE = "RTX 4090 at 24.9 steps/s (Stable Diffusion 1.5, 512x512)"
_PHONE_WATTS = "upper bound: the SoC draws less than 10 W generating images (Qualcomm's Stable Diffusion demonstration)"


@dataclass(frozen=True)
class DeviceClass:
    """``ratio``: its step time over the measured machine's; ``watts``: modelled power while computing; sources in words."""

    name: str
    ratio: float
    source: str
    watts: float
    watts_source: str

    @property
    def basis(self):
        """``measured`` where the local time is used as it is, ``emulated`` where it is multiplied by the ratio."""
        return "measured" if self.ratio == 1 else "emulated"


def _snapdragon(name, product, unet_ms, watts=10.0, watts_source=_PHONE_WATTS):
    ratio = round(2 * unet_ms / 1000 / REFERENCE_STEP_TIME, 2)
    source = f"{product}: 2 x {unet_ms} ms per step (Qualcomm AI Hub Models, stable_diffusion_v1_5, w8a16) over {_REFERENCE}"
    return DeviceClass(name, ratio, source, watts, watts_source)


DEVICES = {
    device.name: device
    for device in (
        _snapdragon("snapdragon-8-elite-gen-5", "Snapdragon 8 Elite Gen 5", 44.8),
        _snapdragon("snapdragon-8-elite", "Snapdragon 8 Elite (Galaxy S25)", 60.2),
        _snapdragon("snapdragon-8-gen-3", "Snapdragon 8 Gen 3 (Galaxy S24)", 79.1),
        _snapdragon(
            "snapdragon-x-elite", "Snapdragon X Elite (laptop)", 113.0,
            23.0, "the 23 W reference design, the whole laptop (Qualcomm)",
        ),
        _snapdragon("snapdragon-7-gen-4", "Snapdragon 7 Gen 4", 184.0),
        DeviceClass(
            "server-core", 1.0, "the machine that was measured, as it is",
            20.0, "two busy cores of a server with their share of the machine, about 10 W each",
        ),
    )
}
