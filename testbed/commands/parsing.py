"""What the parsers of several verbs share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import config
from testbed.config import Config

Verb = Callable[[argparse.Namespace], int | None]
if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


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
            help=f"a hub id or folder in place of the configuration's {place} model",
        )


def load_configuration(args: argparse.Namespace) -> Config:
    """The configuration that the arguments name, its defaults settled; ``args.out`` gets its own.

    Raises :class:`InputError` for one that is wrong.
    """
    from testbed.defaults import settle  # imports the hub's client, which is slow

    args.out = args.out or Path("runs") / config.find(args.config).stem
    return settle(config.load(args.config, local=args.local, edge=args.edge), args.out)


def integer(least: int) -> Callable[[str], int]:
    """The argparse type of an integer >= ``least``."""

    def integer(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"found {text}; allowed: an integer >= {least}")
        return value

    return integer
