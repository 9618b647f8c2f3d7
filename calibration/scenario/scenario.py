"""A scenario: who asks for which images on which device, and what counts in the objective.

A scenario is a TOML file (or the ``[scenario]`` table of a run's configuration); every key is
optional::

    users = 30                  # or each one: [[users]] prompt_class = "...", device_class = "..."
    seed = 0                    # of the assignment of prompt classes and devices to users
    edge_budget = 180           # steps that the edge serves in all, eq. (1); default 6 per user
    time_unit = "auto"          # seconds that count as 1 in the cost; see below
    energy_unit = "auto"        # joules that count as 1 in the cost
    edge_watts = 20.0           # modelled power of the edge, used where no meter measured it
    deadline = 2.0              # seconds for each image; default none
    max_error = 0.5             # largest error of an image; default none
    radio = "lte"               # modelled: a phone's radio, calibration.links; default none

    [local]
    max_steps = 16              # S_{n,0}^max of eq. (2)
    [edge]
    max_steps = 32              # S_{n,1}^max

    [prompt_classes]            # shares of the users, any positive scale
    object = 1
    scene = 1
    relation = 1
    [device_classes]            # shares of the users; names: calibration.scenario.devices
    snapdragon-8-elite-gen-5 = 1
    snapdragon-8-elite = 1
    snapdragon-8-gen-3 = 1
    snapdragon-x-elite = 1
    snapdragon-7-gen-4 = 1
    [watts]                     # modelled power of device classes, in place of the published bounds
    snapdragon-8-gen-3 = 8.0

    [weights]                   # w1, w2 and c1, c2, c3 of eq. (8), all >= 0
    cost = 0.5
    utility = 0.5
    time = 0.2
    error = 0.6
    energy = 0.2

The cost adds seconds, joules and an error that has no unit, so seconds and joules are first divided
by ``time_unit`` and ``energy_unit``. ``"auto"`` is the mean over the users of serving them locally
with the local ``max_steps``: one unit is a typical local request, whatever the machine.

What may be added, each as often as there are such things::

    risk = 0.05                 # deadlines and errors are kept with probability 1 - risk ...
    risk_for = "user"           # ... for each user, or "all": for all of them together
    link = "wifi"               # of users that name none

    [devices.old-phone]         # a device class of one's own
    step_time = 0.4             # s, of the local model there; or ratio = 8.0, to what was measured
    watts = 3.0
    source = "timed on my phone"
    [links.wifi]                # what offloading an image adds
    transfer_time = 0.05        # s
    transfer_energy = 0.1       # J
    rate = 35e6                 # bit/s of latents; default: they take as long as an image
    source = "iperf and the phone's power meter"

    [[edges]]                   # in place of edge_budget, edge_watts and [edge]
    name = "cell"
    budget = 100                # steps
    max_steps = 32              # optional, as all that follows
    device_class = "rtx-4090"   # its seconds over those of the edge that was measured
    watts = 300.0
    slots = 8                   # users that it can serve
    makespan = {per_step = 0.05, per_longest_step = 0.1, limit = 20.0}

    [[users]]                   # in place of their number
    prompt_class = "object"
    device_class = "old-phone"
    deadline = 1.5              # optional, as all that follows
    max_error = 0.4
    link = "wifi"

All edges run the model whose profile is ``edge``. :mod:`calibration.scenario.problem` makes an
allocation problem of profiles and a scenario.
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from calibration.checks import number, table, whole
from calibration.links import LINKS
from calibration.scenario.devices import DEVICES
from calibration.scenario.draw import assign
from calibration.scenario.parts import EdgeSite, Link, OwnDevice, User
from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError, check_keys, read_json, read_text

USERS, MOST_USERS, MOST_WEIGHT = 30, 1_000_000, 1e9
STEPS_PER_USER = 6  # of the default edge budget
MAX_STEPS = {"local": 16, "edge": 32}
RISK_FOR = ("user", "all")
CLASSES = ("object", "scene", "relation")
RADIOS = tuple(name for name, link in LINKS.items() if link.radio)
PHONES = (
    "snapdragon-8-elite-gen-5",
    "snapdragon-8-elite",
    "snapdragon-8-gen-3",
    "snapdragon-x-elite",
    "snapdragon-7-gen-4",
)


@frozen
class PlaceLimits(Schema):
    """``max_steps``: the most steps of an image at a place, S_{n,r}^max of eq. (2)."""

    max_steps: int = limits(least=0)


@frozen
class Weights(Schema):
    """w1, w2 of eq. (8), ``cost`` and ``utility``; c1, c2, c3: ``time``, ``error``, ``energy``."""

    cost: float = limits(least=0, default=0.5)
    utility: float = limits(least=0, default=0.5)
    time: float = limits(least=0, default=0.2)
    error: float = limits(least=0, default=0.6)
    energy: float = limits(least=0, default=0.2)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value > MOST_WEIGHT:
                raise InputError(f"{name}: found {value:g}; allowed: at most {MOST_WEIGHT:g}")


@dataclass(frozen=True, kw_only=True)
class Scenario(Schema):
    """The settings above with every default filled in, and the ``users`` one by one."""

    SCHEMA: ClassVar[str] = "scenario/1"

    users: tuple[User, ...]
    edge_budget: int = limits(least=0)
    local: PlaceLimits
    edge: PlaceLimits
    weights: Weights = Weights()
    seed: int = limits(least=0, default=0)
    time_unit: float | str = "auto"
    energy_unit: float | str = "auto"
    edge_watts: float = limits(least=0, default=20.0)
    deadline: float | None = limits(above=0, default=None)
    max_error: float | None = limits(above=0, default=None)
    radio: str | None = limits(choices=RADIOS, omit_none=True, default=None)
    prompt_classes: Mapping[str, float] = limits(above=0, empty=False)
    device_classes: Mapping[str, float] = limits(above=0, empty=False)
    watts: Mapping[str, float] = limits(least=0)
    devices: Mapping[str, OwnDevice] = dataclasses.field(default_factory=dict)
    links: Mapping[str, Link] = dataclasses.field(default_factory=dict)
    link: str | None = limits(omit_none=True, default=None)
    edges: tuple[EdgeSite, ...] = ()
    risk: float | None = limits(above=0, omit_none=True, default=None)
    risk_for: str = limits(choices=RISK_FOR, default="user")

    def __post_init__(self) -> None:
        if self.risk is not None and self.risk >= 1:
            raise InputError(f"risk: found {self.risk:g}; allowed: a number between 0 and 1")
        names = [edge.name for edge in self.edges]
        for name in names:
            if names.count(name) > 1 or name == "local" or "." in name:
                allowed = "different names, none of them 'local' or with a dot"
                raise InputError(f"edges: found the name {name!r}; allowed: {allowed}")
        for name in self.devices:
            if name in DEVICES:
                raise InputError(f"devices: found {name}, a published class; allowed: another name")
        for user in self.users:
            _known(f"users[{user.user}]: link", user.link, self.links)
        _known("link", self.link, self.links)
        for edge in self.edges:
            known = [*DEVICES, *self.devices]
            _known(f"edges: {edge.name}: device_class", edge.device_class, known)

    @classmethod
    def load(
        cls,
        path: str | Path,
        classes: set[str] | None = None,
        measured: Mapping[str, int] = MAX_STEPS,
    ) -> Self:
        """Read a scenario from TOML, or from the JSON that ``to_dict`` gives.

        ``classes``: the prompt classes that there are profiles of. Where the file names none, and
        the default classes are not all among them, equally many users ask for each. ``measured``:
        as :meth:`from_dict` has it. Raises :class:`InputError`.
        """
        path = Path(path)
        if path.suffix == ".json":
            return cls.from_dict(read_json(path), str(path), measured)
        default: dict[str, Any] = {}
        if classes is not None and not classes >= set(CLASSES):
            default = {"prompt_classes": dict.fromkeys(sorted(classes), 1)}
        text = read_text(path)
        try:
            given = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not a readable TOML file: {error}") from None
        return cls.from_dict(default | given, str(path), measured)

    @classmethod
    def from_dict(
        cls,
        values: object,
        where: str | None = None,
        measured: Mapping[str, int] = MAX_STEPS,
    ) -> Self:
        """Resolve settings: fill in the defaults and draw the users.

        ``measured``: by place, the most steps that a default may be
        (:func:`calibration.scenario.sites.measured_steps`). Raises :class:`InputError`, a line that
        names ``where`` and the key.
        """
        where = where or "scenario"
        given = {key: value for key, value in table(where, values).items() if value is not None}
        known = [*DEVICES, *table(f"{where}: devices", given.get("devices", {}))]
        for name in ("device_classes", "watts"):
            table(f"{where}: {name}", given.get(name, {}), known)
        for name in ("time_unit", "energy_unit"):
            if given.get(name, "auto") != "auto":
                number(f"{where}: {name}", given[name], above=0.0, also=", or 'auto'")
        resolved = {
            "schema": cls.SCHEMA,
            "edge_budget": 0,
            "prompt_classes": dict.fromkeys(CLASSES, 1),
            "device_classes": dict.fromkeys(PHONES, 1),
            "watts": {},
            **given,
            "users": [],
        }
        for place, most in MAX_STEPS.items():
            own = table(f"{where}: {place}", given.get(place, {}))
            resolved[place] = {"max_steps": min(most, measured.get(place, most)), **own}
        scenario = super().from_dict(resolved, where)
        users = _users(f"{where}: users", given.get("users", USERS), scenario)
        budget = given.get("edge_budget", STEPS_PER_USER * len(users))
        if scenario.edges:
            total = sum(edge.budget for edge in scenario.edges)
            if given.get("edge_budget", total) != total:
                raise InputError(
                    f"{where}: edge_budget: found {budget} beside [[edges]]; allowed: none, as "
                    "each of them has its own"
                )
            budget = total
        try:
            return dataclasses.replace(scenario, users=users, edge_budget=budget)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def _known(where: str, name: str | None, names: Iterable[str]) -> None:
    if name is not None:
        check_keys(where, [name], names)


def _users(where: str, given: Any, scenario: Scenario) -> tuple[User, ...]:
    """The users of ``given``: how many to draw, or a list with the classes of each."""
    if isinstance(given, list):
        if not given:
            raise InputError(f"{where}: found none; allowed: at least one")
        known = [*DEVICES, *scenario.devices]
        return tuple(
            _user(f"{where}[{index}]", index, user, known) for index, user in enumerate(given)
        )
    whole(where, given, 1)
    if given > MOST_USERS:
        raise InputError(f"{where}: found {given}; allowed: at most {MOST_USERS}")
    prompts = assign(scenario.prompt_classes, given, f"{scenario.seed}/prompt class")
    devices = assign(scenario.device_classes, given, f"{scenario.seed}/device class")
    return tuple(map(User, range(given), prompts, devices))


def _user(where: str, index: int, given: object, devices: Sequence[str]) -> User:
    user = table(where, given)
    for name in ("prompt_class", "device_class"):
        if not isinstance(user.get(name), str):
            raise InputError(f"{where}: {name}: found {user.get(name)!r}; allowed: a name")
    check_keys(f"{where}: device_class", [user["device_class"]], devices)
    if user.get("user", index) != index:
        raise InputError(
            f"{where}: user: found {user['user']!r}; allowed: {index}, its place in the list"
        )
    return User.from_dict({**user, "user": index}, where)
