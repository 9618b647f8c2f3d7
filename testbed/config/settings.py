"""A run's settings: two models, the metrics' model, the prompts, the calibration sweep, what to
execute, and a scenario (see :mod:`calibration.scenario.scenario`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from calibration.links import LINKS
from calibration.schema import Schema, frozen, limits
from calibration.sweep.grid import NOISES
from solver.inputs import InputError
from testbed.client.exchange import split
from testbed.config.paths import REFERENCES, check_revision

_CHECKPOINTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
#: The keys whose defaults depend on more than the configuration, or are worth a mention.
SETTLED = (
    "prompts",
    "local.guidance",
    "edge.guidance",
    "quality.clip",
    "quality.reference",
    "sweep.steps",
    "sweep.prompts_per_class",
    "sweep.converged_steps",
)
#: In the place of a scorer: no image is scored.
NONE = "none"
MOST_BATCH = 1024
_DTYPES = ("float32", "float16", "bfloat16")
#: The model of a place behind a URL, where the configuration names none: the one that is served.
SERVED = "served"
#: Settings that are a server's own.
_OF_SERVER = ("revision", "variant", "dtype", "scheduler", "vae_dtype", "memory", "allow_pickle")


@frozen
class ModelConfig(Schema):
    """One text-to-image pipeline.

    ``model`` is ``embedded:NAME``, a folder, or a hub id; ``variant``, e.g. "fp16", says which of a
    model's weight files. ``guidance`` leads away from ``negative_prompt``. ``resolution`` is in
    pixels a side (None: the model's own); ``scheduler`` names a class of diffusers', made from the
    config of the model's own. ``vae_dtype`` is that of the decoding (None: ``dtype``, and float32
    where that overflows). ``memory`` is a strategy of :mod:`testbed.models.memory` ("auto": by what
    is free). ``allow_pickle`` opens weights that can run any code, where there are no safetensors.

    ``url``: that of a server with OpenAI's images API, which then makes the images; ``model`` is
    the name that it gives the model.
    """

    model: str = limits(empty=False)
    revision: str | None = limits(empty=False, default=None)
    variant: str | None = limits(empty=False, default=None)
    dtype: str = limits(choices=_DTYPES, default="float32")
    guidance: float = limits(least=0.0, default=3.0)
    negative_prompt: str | None = limits(empty=False, default=None)
    resolution: int | None = None
    scheduler: str | None = limits(empty=False, default=None)
    vae_dtype: str | None = limits(choices=_DTYPES, default=None)
    memory: str = limits(choices=("auto", "whole", "sliced", "offload"), default="auto")
    allow_pickle: bool = False
    url: str | None = limits(empty=False, omit_none=True, default=None)

    def __post_init__(self) -> None:
        if self.url is not None:
            split(self.url)
            for name in _OF_SERVER:
                if (value := getattr(self, name)) != type(self).__dataclass_fields__[name].default:
                    raise InputError(f"{name}: found {value!r}; allowed with url: leave it out")
        pixels = self.resolution
        if pixels is not None and (pixels <= 0 or pixels % 64):
            raise InputError(f"resolution: found {pixels}; allowed: a multiple of 64")
        if self.url is None and Path(self.model).suffix in _CHECKPOINTS:
            raise InputError(
                f"model: found {self.model!r}, a single-file checkpoint; allowed: a folder; make "
                "one of it once, with diffusers' StableDiffusionPipeline.from_single_file(FILE)"
                ".save_pretrained(FOLDER) (of SDXL: StableDiffusionXLPipeline)"
            )
        check_revision("model", self.model, "revision", self.revision)


@frozen
class QualityConfig(Schema):
    """What images are compared by, and with.

    ``clip``: embedded:clip, a folder, or a hub id of a CLIP model; "none": images are not scored,
    and utility is left out. ``extractor``: of the features that the distances compare; that CLIP
    model, or "inception" (v3), as the FID has it. ``reference``: held-out real scenes; "converged",
    the edge model's own converged images; a folder of captioned images; or a file with which an
    edge's calibration keeps its converged images. ``reference_size``: scenes of each prompt class
    in the reference; of a folder, its first images. ``allow_pickle`` opens pickled weights of the
    CLIP model where there are no safetensors; only their tensors are read.
    """

    clip: str = limits(empty=False, default="embedded:clip")
    clip_revision: str | None = limits(empty=False, default=None)
    extractor: str = limits(choices=("clip", "inception"), default="clip")
    reference: str = "scenes"
    reference_size: int = limits(least=2, default=512)
    allow_pickle: bool = False

    @property
    def compares(self) -> bool:
        """Whether images are compared with a reference."""
        return self.clip != NONE or self.extractor != "clip"

    def __post_init__(self) -> None:
        check_revision("clip", self.clip, "clip_revision", self.clip_revision)

    def check_reference(self, where: str) -> None:
        """Raise :class:`InputError` for a reference that is not here; a report needs none."""
        path = Path(self.reference)
        file = path.suffix == ".npz" and path.is_file()
        if self.reference not in REFERENCES and not path.is_dir() and not file:
            raise InputError(
                f"{where}: quality.reference: found {self.reference!r}; allowed: scenes, "
                "converged, a folder of images with captions, or the reference.npz of another "
                "calibration"
            )


@frozen
class SweepConfig(Schema):
    """The calibration sweep.

    ``timed``: the first prompts of each class, whose images are made alone and timed; the others
    are made in batches. ``half_width`` (relative, of 95 % intervals; e.g. 0.1) makes the sweep
    adaptive: it begins with ``prompts_per_class`` prompts, and takes as many more of each class, up
    to ``most_prompts``, at those of ``steps``, as the intervals need. ``noise``: of each prompt and
    seed its own; "shared": the same for all prompts of a seed, as MLPerf has it.
    ``converged_batch``: images in a batch, of those that are not timed. ``batches``: batch sizes
    that continuous batching is timed at on the edge. ``local_steps``: of a local model that takes
    other steps than the edge's, as one that is distilled to few; the largest are those of its
    converged images. ``splits``: step counts of images that both models share, in several ways.
    """

    steps: tuple[int, ...] = limits(empty=False, default=(1, 2, 3, 4, 6, 8, 12, 16, 32))
    prompts_per_class: int = limits(least=2, default=12)
    timed: int = limits(least=2, default=6)
    half_width: float | None = limits(least=0.001, default=None)
    most_prompts: int = limits(least=3, default=200)
    seeds: tuple[int, ...] = limits(empty=False, default=(0,))
    noise: str = limits(choices=NOISES, default="own")
    converged_steps: int = limits(least=1, default=96)
    converged_batch: int = limits(least=1, default=12)
    batches: tuple[int, ...] = limits(empty=False, default=(1, 2, 4, 8, 16))
    local_steps: tuple[int, ...] | None = None
    splits: tuple[int, ...] | None = limits(empty=False, omit_none=True, default=None)

    @property
    def own_steps(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """Places with step counts of their own: the grid, and the steps of converged images."""
        if self.local_steps is None:
            return {}
        *grid, converged = sorted(self.local_steps)
        return {"local": (tuple(grid), converged)}

    def grid(self, place: str) -> tuple[int, ...]:
        """The step counts at ``place``."""
        return self.own_steps.get(place, (self.steps, 0))[0]

    def converged(self, place: str) -> int:
        """The steps of converged images at ``place``."""
        return self.own_steps.get(place, ((), self.converged_steps))[1]

    def __post_init__(self) -> None:
        if self.local_steps is not None:
            _check_different("local_steps", self.local_steps or (0,), 1)
            if len(self.local_steps) < 4 or self.half_width is not None:
                raise InputError(
                    f"local_steps: found {list(self.local_steps)}; allowed: at least three step "
                    "counts, as a fit needs, and that of converged images; not with half_width"
                )
        if self.splits is not None:
            _check_different("splits", self.splits, 2)
            if max(self.splits) > max(self.steps) or self.half_width is not None:
                raise InputError(
                    f"splits: found {list(self.splits)}; allowed: at most {max(self.steps)}, the "
                    "largest of steps; not with half_width"
                )
        for name, least in (("steps", 1), ("seeds", 0), ("batches", 1)):
            _check_different(name, getattr(self, name), least)
        if len(self.steps) < 3:
            raise InputError(
                f"steps: found {list(self.steps)}; allowed: at least three, as a fit needs"
            )
        if 1 not in self.batches or len(self.batches) < 2 or max(self.batches) > MOST_BATCH:
            raise InputError(
                f"batches: found {list(self.batches)}; allowed: 1 and larger batch sizes, up to "
                f"{MOST_BATCH}"
            )


def _check_different(name: str, values: Sequence[int], least: int) -> None:
    if min(values) < least or len(set(values)) < len(values):
        raise InputError(
            f"{name}: found {list(values)}; "
            f"allowed: a list of different whole numbers of at least {least}"
        )


@frozen
class ExecuteConfig(Schema):
    """How the users' images are made.

    ``order`` is that in which the edge serves its users' requests in batches ("shortest" remaining
    steps first). ``arrival_rate``: of these requests, a second, in a Poisson stream (None: all at
    once).
    """

    images_per_user: int = limits(least=1, default=1)
    order: str = limits(choices=("first_come", "shortest"), default="first_come")
    arrival_rate: float | None = limits(least=1e-6, default=None)


@frozen
class LinkConfig(Schema):
    """The emulated way to a place behind a URL: a ``preset`` of :mod:`calibration.links`, by a
    ``method`` of :mod:`testbed.link.emulated` (None: the best that can be had).
    """

    preset: str = limits(choices=tuple(LINKS))
    method: str | None = limits(choices=("tun", "relay"), default=None)


@frozen
class Config(Schema):
    """A whole run. ``prompts`` is ``"scenes"``, a JSONL file of ``{"prompt", "class"}`` lines, or a
    folder of captioned images. ``link``: None is the network as it is.

    ``defaulted``: the keys of :data:`SETTLED` that nobody gave, e.g. ``quality.clip``;
    :func:`testbed.config.defaults.settle` gives them values that fit the models and the prompts.
    """

    SCHEMA: ClassVar[str] = "run/1"

    local: ModelConfig
    edge: ModelConfig
    device: str = limits(empty=False, default="auto")
    prompts: str = limits(empty=False, default="scenes")
    quality: QualityConfig = field(default_factory=QualityConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    execute: ExecuteConfig = field(default_factory=ExecuteConfig)
    scenario: Mapping[str, Any] = field(default_factory=dict)
    link: LinkConfig | None = limits(omit_none=True, default=None)
    defaulted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.link and not (self.local.url or self.edge.url):
            raise InputError("link: found a link to no server; allowed with the url of a place")
        if self.sweep.splits and (self.local.url or self.edge.url):
            raise InputError(
                f"sweep.splits: found {list(self.sweep.splits)} with a url; allowed with two "
                "models in this process, as latents are handed over"
            )
