"""Does an emulated link do what is asked of it, and are transfers over it predicted?

    python -m benchmarks.serving.link --out benchmarks/results/link.json

Each preset, and four links of other rates, are measured several times and judged: the round trip
within 1 ms + 2 %, the rates within 8 % (up to 100 Mbit/s). Then requests of answers of 1 kB to 1 MB
go over each of these four links. On each, a fit to one half predicts the other half, whose sizes it
did not see; and each fit, moved to the round trip and rate that another link was measured to have,
predicts that one. It takes about five minutes on an idle machine; all traffic stays on loopback or
in namespaces of its own. The last line is JSON.
"""

import argparse
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from calibration.costs.transfer import TransferFit, fit_transfers, slow_start
from calibration.links import LINKS, MEGABIT, Link
from calibration.records.record import Transfer
from solver.inputs import write_json
from testbed.client.exchange import Server
from testbed.environment import environment
from testbed.link.emulated import EmulatedLink
from testbed.link.probe import LinkCheck, LinkFigures, check
from testbed.models.pipelines import pick_device

#: Rates beyond it are told, not judged.
JUDGED = 100 * MEGABIT
OTHERS = tuple(
    Link(f"{down:g} Mbit/s, {1e3 * trip:g} ms", trip, up * MEGABIT, down * MEGABIT, "made up")
    for trip, up, down in ((0.05, 2, 8), (0.035, 5, 25), (0.025, 20, 60), (0.012, 40, 95))
)
SIZES = (1_000, 1_000_000)  # bytes, drawn between them evenly on a logarithmic scale
GOALS = {"median_error": 0.05, "coverage": (0.93, 0.97)}


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server whose answers have as many bytes as a request says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(asked["bytes"]))
            self.end_headers()
            self.wfile.write(bytes(asked["bytes"]))

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        served.server_close()


def judged(told: LinkCheck) -> dict[str, Any]:
    """A check, and whether it is as near as it should be, but for rates that are not judged."""
    beyond = [way for way in ("up", "down") if getattr(told.asked, way) > JUDGED]
    failures = [
        failure for failure in told.failures if not any(f"rate {way} " in failure for way in beyond)
    ]
    return {**told.to_dict(), "not_judged": beyond, "holds": not failures}


def transfers(url: str, link: EmulatedLink, sizes: Sequence[int]) -> list[Transfer]:
    """A request for an answer of each size; the server takes no time that it would tell."""
    behind = Server(url, link.connect, link.forward(Server(url).address))
    return [
        behind.exchange("POST", "/", {"bytes": int(size)}).transfer(0.0, "emulated", link.title)
        for size in sizes
    ]


def predicted(fit: TransferFit, made: Sequence[Transfer]) -> dict[str, Any]:
    """How far a fit is off transfers that it was not fitted to."""
    rows = [fit.compare(transfer) for transfer in made]
    return {
        "transfers": len(rows),
        "median_error": float(np.median([abs(row.relative_error or 0.0) for row in rows])),
        "coverage": float(np.mean([bool(row.inside) for row in rows])),
    }


def pooled(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The largest median error of any, and the coverage of all."""
    worst = max(row["median_error"] for row in rows)
    coverage = float(
        np.average([r["coverage"] for r in rows], weights=[r["transfers"] for r in rows])
    )
    low, high = GOALS["coverage"]
    return {
        "worst_median_error": worst,
        "coverage": coverage,
        "holds": worst <= GOALS["median_error"] and low <= coverage <= high,
    }


def by_growth(
    made: dict[str, list[Transfer]], measured: dict[str, LinkFigures]
) -> dict[str, float]:
    """The median error of all transfers where windows grow otherwise, on the measured links."""
    errors = {}
    for growth in (1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0):
        off: list[float] = []
        for name, of_link in made.items():
            link = measured[name]
            sizes = np.array([transfer.bytes_down for transfer in of_link])
            seconds = np.array([transfer.seconds for transfer in of_link])
            late = slow_start(sizes, link.round_trip, 8 / link.down, growth)
            rest = late + 8 / link.down * sizes
            off += np.abs((np.median(seconds - rest) + rest) / seconds - 1).tolist()
        errors[f"{growth}"] = float(np.median(off))
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="checks of each link")
    parser.add_argument("--transfers", type=int, default=160, help="requests over each link")
    parser.add_argument("--method", choices=["tun", "relay"], help="(default: the best here)")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    checks, fits, held_out, measured = [], {}, {}, {}
    made: dict[str, list[Transfer]] = {}
    draw = np.random.default_rng(0)
    with server() as url:
        for link in (*LINKS.values(), *OTHERS):
            with EmulatedLink(link, args.method) as emulated:
                told = [check(emulated) for _ in range(args.repeats)]
                checks += [judged(each) for each in told]
                print(told[-1].sentence(), flush=True)
                if link in OTHERS:
                    sizes = np.exp(draw.uniform(*np.log(SIZES), args.transfers)).astype(int)
                    made[link.name] = transfers(url, emulated, sizes)
                    half = args.transfers // 2
                    fits[link.name] = fit_transfers(made[link.name][:half])
                    held_out[link.name] = made[link.name][half:]
                    measured[link.name] = told[-1].measured
    own = {name: predicted(fit, held_out[name]) for name, fit in fits.items()}
    moved = {
        f"{name} to {other}": predicted(
            fit.on(measured[other].round_trip, measured[other].down), held_out[other]
        )
        for name, fit in fits.items()
        for other in fits
        if other != name
    }
    # the control: a straight line, as if there were no slow start
    straight = {
        name: predicted(replace(fit, round_trip=0.0), held_out[name]) for name, fit in fits.items()
    }
    result = {
        "environment": environment(pick_device()),
        "links_hold": all(row["holds"] for row in checks),
        "other_sizes": pooled(list(own.values())),
        "other_links": pooled(list(moved.values())),
        "without_slow_start": pooled(list(straight.values())),
        "median_error_by_growth": by_growth(made, measured),
        "goals": GOALS,
        "checks": checks,
        "fits": {name: fit.to_dict() for name, fit in fits.items()},
        "by_link": {"other_sizes": own, "other_links": moved, "without_slow_start": straight},
    }
    if args.out:
        write_json(args.out, result)
    for name in (
        "links_hold",
        "other_sizes",
        "other_links",
        "without_slow_start",
        "median_error_by_growth",
    ):
        print(f"{name}: {result[name]}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
