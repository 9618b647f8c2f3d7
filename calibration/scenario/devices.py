"""Device classes of users: how much slower they are than the measured machine, by published
timings.

A device's ratio is its published seconds per denoising step over those of a reference, another
published measurement of the same model at the same size. The reference stands for the machine
measured here: a local model's measured time is multiplied by the ratio, and the result is
*emulated*. The decoding is multiplied as well, because the references' own decoding times are not
published. Watts are *modelled*: they are published bounds, as nobody measured these devices.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """``step_time``: seconds per denoising step; ``source`` in words."""

    step_time: float
    source: str


_RTX_4090 = Reference(1 / 24.9, "RTX 4090 at 24.9 steps/s, eager (Stable Diffusion 1.5, 512x512)")
_H200 = Reference(
    1 / 2.18 / 20,
    "one H200 at 2.18 images/s, 20 steps, FP8 (SDXL, 1024x1024, MLPerf Inference v4.1, offline)",
)
_PHONE_WATTS = (
    "upper bound: the SoC draws less than 10 W generating images "
    "(Qualcomm's Stable Diffusion demonstration)"
)
_RTX_4090_WATTS = "upper bound: the card's rated power, 450 W (NVIDIA)"


@dataclass(frozen=True)
class DeviceClass:
    """A kind of device, as ``published``.

    ``watts``: modelled power while computing, with its source; ``step_time`` and ``decode_time`` in
    seconds (None: not published). ``own_ratio`` is that of a scenario's own class. Without it and a
    ``reference`` it is the machine that was measured.
    """

    name: str
    published: str
    watts: float
    watts_source: str
    step_time: float | None = None
    reference: Reference | None = None
    decode_time: float | None = None
    own_ratio: float | None = None

    @property
    def ratio(self) -> float:
        """Its seconds per step over its reference's; 1 for the measured machine."""
        if self.own_ratio is not None:
            return self.own_ratio
        if self.reference is None or self.step_time is None:
            return 1.0
        return round(self.step_time / self.reference.step_time, 2)

    @property
    def source(self) -> str:
        """What the ratio rests on, in words."""
        return (
            f"{self.published} over {self.reference.source}" if self.reference else self.published
        )

    @property
    def basis(self) -> str:
        """``emulated`` where local times are multiplied by the ratio, else ``measured``."""
        return "emulated" if self.reference or self.own_ratio is not None else "measured"


def _snapdragon(
    name: str,
    product: str,
    unet_ms: float,
    decode_ms: float,
    watts: float = 10.0,
    watts_source: str = _PHONE_WATTS,
) -> DeviceClass:
    """A step is two UNet calls, for classifier-free guidance."""
    published = (
        f"{product}: 2 x {unet_ms} ms per step, {decode_ms} ms to decode "
        "(Qualcomm AI Hub Models, stable_diffusion_v1_5, w8a16, 512x512)"
    )
    return DeviceClass(
        name, published, watts, watts_source, 2 * unet_ms / 1000, _RTX_4090, decode_ms / 1000
    )


DEVICES = {
    device.name: device
    for device in (
        _snapdragon("snapdragon-8-elite-gen-5", "Snapdragon 8 Elite Gen 5", 44.8, 117),
        _snapdragon("snapdragon-8-elite", "Snapdragon 8 Elite (Galaxy S25)", 60.2, 180),
        _snapdragon("snapdragon-8-gen-3", "Snapdragon 8 Gen 3 (Galaxy S24)", 79.1, 203),
        _snapdragon(
            "snapdragon-x-elite",
            "Snapdragon X Elite (laptop)",
            113.0,
            264,
            23.0,
            "the 23 W reference design, the whole laptop (Qualcomm)",
        ),
        _snapdragon("snapdragon-7-gen-4", "Snapdragon 7 Gen 4", 184.0, 512),
        DeviceClass(
            "jetson-agx-orin",
            "Jetson AGX Orin: 9.94 s an image of 20 steps, decoding included "
            "(SDXL, 1024x1024, MLPerf Inference v4.1)",
            60.0,
            "upper bound: the module's largest power mode, 60 W (NVIDIA)",
            9.94 / 20,
            _H200,
        ),
        DeviceClass(
            "rtx-4090",
            "RTX 4090: 24.9 steps/s, eager (Stable Diffusion 1.5, 512x512)",
            450.0,
            _RTX_4090_WATTS,
            1 / 24.9,
            _RTX_4090,
        ),
        DeviceClass(
            "rtx-4090-compiled",
            "RTX 4090: 33.5 steps/s, compiled (Stable Diffusion 1.5, 512x512)",
            450.0,
            _RTX_4090_WATTS,
            1 / 33.5,
            _RTX_4090,
        ),
        DeviceClass(
            "server-core",
            "the machine that was measured, as it is",
            20.0,
            "two busy cores of a server with their share of the machine, about 10 W each",
        ),
    )
}
