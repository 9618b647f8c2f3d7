"""``testbed serve``: the edge's model behind HTTP."""

import argparse
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from solver.inputs import InputError, check_keys
from testbed import config
from testbed.client.exchange import KEY
from testbed.commands.parsing import add_verb, integer

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs

MOST = 65535  # the largest port
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_parsers(verbs: "Verbs") -> None:
    """Add ``testbed serve``."""
    parser = add_verb(
        verbs,
        "serve",
        _serve,
        "serve the edge's model over HTTP, as OpenAI's images API",
        "testbed serve embedded --port 8000",
    )
    parser.add_argument(
        "config", nargs="?", help="preset name or CONFIG.toml (default: the run's, or embedded)"
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="FOLDER",
        help="a run folder, whose profiles say what steps cost",
    )
    parser.add_argument(
        "--profiles",
        type=Path,
        metavar="FILE",
        help="profiles measured elsewhere: what steps are worth; batches are timed on start",
    )
    parser.add_argument("--host", default=LOOPBACK[0], help="default: %(default)s")
    parser.add_argument(
        "--port", type=integer(0), default=8000, help="0: a free one; default: %(default)s"
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        default=os.environ.get(KEY),
        help=f"the key that clients must send (default: {KEY} of the environment, or none)",
    )
    parser.add_argument(
        "--batch", type=integer(1), metavar="N", help="requests in a batch (default: measured)"
    )
    parser.add_argument(
        "--queue",
        type=integer(0),
        default=64,
        metavar="N",
        help="requests that may wait beside the batch (default: %(default)s)",
    )
    parser.add_argument(
        "--policy",
        metavar="NAME",
        help='who chooses steps that are "auto", as in `testbed online`, or your own '
        "module:function; a wrong name lists them (default: externality_price)",
    )
    parser.add_argument(
        "--records", type=Path, metavar="FILE", help="append a JSON line for each served image"
    )


def _serve(args: argparse.Namespace) -> int:
    from calibration.profiles import store
    from solver.online import AT_EDGE, DEFAULT, Setting, find_policy

    if args.host not in LOOPBACK and not args.api_key:
        raise InputError(
            f"--host: found {args.host} without a key; allowed: {', '.join(LOOPBACK)}, "
            f"or --api-key or {KEY}"
        )
    if args.run and args.profiles:
        raise InputError("--profiles: found with --run; allowed: one of the two")
    policy = args.policy or DEFAULT
    if ":" not in policy:
        check_keys("--policy", [policy], AT_EDGE)
    if args.profiles:
        store.load(args.profiles)
    settings = _settings(args)
    if args.records:
        _check_records(args.records)
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"serve: {error.name} is not installed; scripts/install serve does that"
        ) from None
    with _bind(args.host, args.port) as listening:
        print(f"serve: opening {settings.edge.model}", flush=True)
        from testbed.server.listen import listen
        from testbed.server.opening import open_edge
        from testbed.server.service import Service

        opened = open_edge(settings, args.run, args.profiles, args.batch)
        tables = opened.worth.tables(opened.scenario.weights)
        find_policy(policy, Setting(tables, opened.quoter.calls))  # refused here, if one's own

        def make() -> Service:
            return Service(opened, policy, args.queue, args.records)

        return listen(make, listening, args.api_key, args.host in LOOPBACK)


def _check_records(path: Path) -> None:
    """Raise :class:`InputError` for a file to which no record can be appended."""
    from testbed.runs.lines import opened
    from testbed.server.protocol import begins_a_record

    try:
        with opened(path, begins_a_record):
            pass
    except OSError as error:
        text = f"found {path}: {error.strerror}; allowed: a writable file"
        raise InputError(f"--records: {text}") from None
    except InputError as error:
        raise InputError(f"--records: {error}") from None


def _bind(host: str, port: int) -> socket.socket:
    """A socket that listens, made before anything slow: whoever comes earlier waits."""
    if port > MOST:
        raise InputError(f"--port: found {port}; allowed: 0 to {MOST}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = (error.strerror or str(error)).split(" (while")[0]
        text = f"--host, --port: found {host} {port}: {why}; allowed: what is free here"
        raise InputError(text) from None


def _settings(args: argparse.Namespace) -> config.Config:
    """The configuration that is named, or else the run's."""
    if args.run and args.config is None:
        from testbed.runs.folder import RunFolder

        return RunFolder(args.run).need(config.Config)
    from testbed.config.defaults import own_guidance

    settings = config.load(args.config)
    if "edge.guidance" not in settings.defaulted:
        return settings
    return replace(settings, edge=replace(settings.edge, guidance=own_guidance(settings.edge)))
