"""What a scenario lists: users one by one, own device classes, links and edges."""

from calibration.scenario.devices import DeviceClass
from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError


@frozen
class User(Schema):
    """Number ``user``, who asks for images of ``prompt_class`` on a device of ``device_class``.

    ``deadline`` (s) and ``max_error`` of an image and the ``link`` to the edge by name; None: as
    the scenario has it.
    """

    user: int
    prompt_class: str
    device_class: str
    deadline: float | None = limits(above=0, omit_none=True, default=None)
    max_error: float | None = limits(above=0, omit_none=True, default=None)
    link: str | None = limits(omit_none=True, default=None)

    @property
    def kind(self) -> tuple[str, str, str | None]:
        """What decides how places serve a user: all whose kind is equal are served alike."""
        return self.prompt_class, self.device_class, self.link


@frozen
class OwnDevice(Schema):
    """A device class of one's own: ``ratio``, its seconds over those of the measured machine, or
    ``step_time``, its seconds for a denoising step of the local model; ``watts`` while computing;
    and the ``source`` of these numbers, in words.
    """

    watts: float = limits(least=0)
    source: str = limits(empty=False)
    ratio: float | None = limits(above=0, omit_none=True, default=None)
    step_time: float | None = limits(above=0, omit_none=True, default=None)

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.step_time is None):
            number = "neither" if self.ratio is None else "both"
            raise InputError(f"ratio: found {number}; allowed: one of ratio and step_time")

    def device(self, name: str, measured_step_time: float) -> DeviceClass:
        """The device class, next to a machine that takes ``measured_step_time`` for a step."""
        ratio = self.ratio
        if self.step_time is not None:
            ratio = self.step_time / measured_step_time if measured_step_time else 1.0
        return DeviceClass(name, self.source, self.watts, self.source, own_ratio=ratio)


@frozen
class Link(Schema):
    """How a user's images travel to and from the edge: ``transfer_time`` (s) and
    ``transfer_energy`` (J) of each, and their ``source``, in words. ``rate`` (bit/s) of the latents
    of split images; None: they take as long as an image.
    """

    transfer_time: float = limits(least=0)
    transfer_energy: float = limits(least=0, default=0.0)
    rate: float | None = limits(above=0, omit_none=True, default=None)
    source: str = limits(default="the scenario")


@frozen
class MakespanLimit(Schema):
    """``per_step`` x all steps + ``per_longest_step`` x the most of one user <= ``limit``, s."""

    per_step: float = limits(least=0)
    per_longest_step: float = limits(least=0)
    limit: float = limits(least=0)


@frozen
class EdgeSite(Schema):
    """An edge with its own ``budget`` of steps, which runs the model that was measured.

    ``max_steps`` of an image there; ``device_class``: how much slower it is, None: as measured;
    ``watts`` where no meter measured it; ``slots``: users that it can serve; ``makespan`` of their
    batch. None: as the scenario has it, or no such limit.
    """

    name: str = limits(empty=False)
    budget: int = limits(least=0)
    max_steps: int | None = limits(least=0, omit_none=True, default=None)
    device_class: str | None = limits(omit_none=True, default=None)
    watts: float | None = limits(least=0, omit_none=True, default=None)
    slots: int | None = limits(least=0, omit_none=True, default=None)
    makespan: MakespanLimit | None = limits(omit_none=True, default=None)
