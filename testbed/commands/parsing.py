"""What the parsers of several verbs share."""

import argparse
import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from calibration.checks import shown
from solver.inputs import InputError
from solver.problem import PLACES
from testbed import config
from testbed.config import Config

Verb = Callable[[argparse.Namespace], int | None]
if TYPE_CHECKING:
    from calibration.profiles.profile import Profiles
    from calibration.scenario.scenario import Scenario

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """Refuses wrong arguments as everything else is refused: by :class:`InputError`, one line."""

    def error(self, message: str) -> NoReturn:
        """Raise for what argparse found wrong."""
        said = message.removeprefix("argument ")
        listed = "" if "; allowed: " in said else f"; allowed: what `{self.prog} --help` lists"
        raise InputError(said + listed)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            allowed = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"found {shown(value)}; allowed: {allowed}")


def add_verb(
    verbs: "Verbs", name: str, function: Verb, summary: str, example: str
) -> argparse.ArgumentParser:
    """Add a verb that calls ``function``, which returns its exit code (None: 0)."""
    parser = verbs.add_parser(name, help=summary, description=summary, epilog=f"example: {example}")
    parser.set_defaults(function=function)
    return parser


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a verb that measures: a configuration, its models, and a run folder."""
    parser.add_argument("config", nargs="?", help="preset name or CONFIG.toml (default: embedded)")
    parser.add_argument(
        "--out",
        type=Path,
        help="run folder (default: runs/ and the configuration's name); an unfinished run goes on",
    )
    for place in ("local", "edge"):
        parser.add_argument(
            f"--{place}",
            metavar="MODEL",
            help=f"a hub id, folder or server's URL in place of the configuration's {place} model",
        )


def load_configuration(args: argparse.Namespace) -> Config:
    """The configuration that the arguments name; ``args.out`` gets its default.

    Raises :class:`InputError` for one that is wrong.
    """
    args.out = args.out or Path("runs") / config.find(args.config).stem
    return config.load(args.config, local=args.local, edge=args.edge)


def load_settled(args: argparse.Namespace) -> Config:
    """:func:`load_configuration`, its defaults settled."""
    from testbed.config.defaults import settle  # imports the hub's client, which is slow

    return settle(load_configuration(args), args.out)


def check_writable(option: str, path: Path, is_folder: bool = False) -> None:
    """Raise :class:`InputError` where no file can be written at ``path``, or in it where it
    ``is_folder``, before what is to stand there is worked out. The folder is made, as by
    :func:`solver.inputs.write_atomic`.
    """
    folder = path if is_folder else Path(os.path.realpath(path)).parent
    try:
        if path.is_dir() and not is_folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        folder.mkdir(parents=True, exist_ok=True)
        if is_folder or path.is_file() or not path.exists():  # else a pipe, or a device
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise InputError(
            f"{option}: found {path}: {error.strerror}; allowed: what can be written"
        ) from None


def integer(least: int) -> Callable[[str], int]:
    """The argparse type of an integer >= ``least``."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"found {shown(text)}; allowed: an integer >= {least}")
        return value

    return integer


def number(text: str) -> float:
    """The argparse type of a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {shown(text)}; allowed: a number") from None


def add_allocation(parser: argparse.ArgumentParser) -> None:
    """Add what allocates in a run: a method, and a problem of one's own."""
    parser.add_argument(
        "--solver",
        default="exact",
        help="what allocates: exact (default), another method, or your own module:function",
    )
    parser.add_argument(
        "--problem",
        type=Path,
        metavar="FILE",
        help="a problem of your own, with labels.prompt_class, in place of the scenario's",
    )


def add_risk(parser: argparse.ArgumentParser) -> None:
    """Add the probability with which limits may be broken."""
    parser.add_argument(
        "--risk",
        type=number,
        help="keep deadlines and errors with probability 1 - RISK, by upper prediction limits",
    )
    parser.add_argument(
        "--risk-for", choices=("user", "all"), help="for each user (default), or all together"
    )


def load_scenario(args: argparse.Namespace, profiles: "Profiles") -> "Scenario":
    """The scenario that the arguments name, on these profiles, with what :func:`add_risk`'s add."""
    from calibration.scenario.scenario import Scenario
    from calibration.scenario.sites import measured_steps

    scenario = Scenario.load(args.scenario, profiles.classes(), measured_steps(profiles))
    given = {name: getattr(args, name, None) for name in ("risk", "risk_for")}
    if given["risk_for"] and given["risk"] is None and scenario.risk is None:
        raise InputError(
            f"--risk-for: found '{args.risk_for}' without a risk; allowed: with --risk, or where "
            f"{args.scenario} has a risk"
        )
    added = {name: value for name, value in given.items() if value is not None}
    return Scenario.from_dict(scenario.to_dict() | added, str(args.scenario))


def profiles_file(text: str) -> tuple[str | None, Path]:
    """A profiles file, ``local=FILE`` or ``edge=FILE`` for one place of it."""
    place, _, path = text.partition("=")
    return (place, Path(path)) if path and place in PLACES else (None, Path(text))


def joined(files: "Sequence[tuple[str | None, Path]]") -> "Profiles":
    """The profiles of several files as one; raises InputError where they do not fit."""
    from calibration.profiles import store
    from calibration.profiles.merge import Part, merge

    return merge([Part(str(path), place, store.load(path)) for place, path in files])
