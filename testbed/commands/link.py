"""``testbed link``: a command behind an emulated link."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from calibration.links import LINKS
from solver.inputs import InputError
from testbed.client.exchange import split
from testbed.commands.parsing import add_verb
from testbed.link.emulated import METHODS, EmulatedLink
from testbed.link.probe import check

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs

URL = "{url}"


def add_parsers(verbs: "Verbs") -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "link",
        _link,
        "run a command behind an emulated link to a server; without one, measure the link; "
        "without a preset, list them with their sources",
        f"testbed link lte -- curl {URL}/health",
    )
    parser.add_argument("preset", nargs="?", choices=LINKS, metavar="PRESET", help=", ".join(LINKS))
    parser.add_argument(
        "--to",
        metavar="URL",
        default="http://127.0.0.1:8000",
        help="the server at the other end (default: %(default)s)",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="tun: packets, as root on Linux; relay: streams, without slow start, anywhere "
        "(default: the first that can be had)",
    )
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="-- COMMAND",
        help=f"what to run; {URL} in it, and TESTBED_URL, is the server's address behind the link",
    )


def _link(args: argparse.Namespace) -> int:
    if args.preset is None:
        for each in LINKS.values():
            print(
                f"{each.name}: round trip {1e3 * each.round_trip:g} ms, up {each.up / 1e6:g}, "
                f"down {each.down / 1e6:g} Mbit/s; {each.source}"
            )
        return 0
    command = args.command
    if command and command[0].startswith("-"):
        raise InputError(
            f"link: found {command[0]} after PRESET; allowed: options before it, and -- COMMAND"
        )
    scheme, host, port, path = split(args.to)
    with EmulatedLink(LINKS[args.preset], args.method) as link:
        measured = check(link)
        note = f" (not tun: {measured.note})" if measured.note else ""
        print(f"testbed: {measured.sentence()}{note}", file=sys.stderr, flush=True)
        if not command:
            return int(bool(measured.failures))
        behind = "{}:{}".format(*link.forward((host, port)))
        url = f"{scheme}://{behind}{path}"
        return link.run(
            [word.replace(URL, url) for word in command], {**os.environ, "TESTBED_URL": url}
        )
