"""What the pages say of the server, the link and requests that arrive, by their result files."""

import statistics

from tests.solver_figures import percent


def share(value):
    """As the tables of gains have it: .954, -.215, -2.75."""
    text = f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def serving(of):
    jobs = {name: job["measured"] for name, job in of["jobs"].items()}
    join = jobs["join"]
    yield "results.md", f"engine's throughput in process | {jobs['throughput']['ratio']:.3f} |"
    yield (
        "results.md",
        f"(an iteration takes {1e3 * join['iteration_s']['p99']:.0f} ms at p99) | "
        f"{1e3 * join['queue_s']['p99']:.0f} ms",
    )
    yield "results.md", f"{jobs['broken']['bodies']} malformed bodies | one line each"


def serving_crowd(of):
    leaving = of["jobs"]["disconnects"]["measured"]
    yield (
        "results.md",
        f"{leaving['requests']} requests of which {leaving['left']} disconnect: those that stay "
        f"are answered with unchanged images | {leaving['answered']} of "
        f"{leaving['requests'] - leaving['left']}",
    )
    yield "results.md", f"left is free after | {1e3 * leaving['one_freed_s']:.1f} ms"


def serving_predictions(of):
    kept = of["jobs"]["predictions"]["measured"]
    yield (
        "results.md",
        f"1.5: median error | {percent(kept['median_error'], 1)} % | 10 %, **missed**",
    )
    yield "results.md", f"the same: inside its 95 % interval | {percent(kept['inside'], 1)} % | 93"
    *most, last = (percent(load["error"]) for load in kept["loads"].values())
    yield "results.md", f"0.75, 1 and 1.5 | {', '.join(most)} and {last} % |"
    yield "results.md", f"quoted ahead, {percent(kept['loads']['1.5']['inside'])} %"


def link(of):
    sizes, links, plain = (
        of[name] for name in ("other_sizes", "other_links", "without_slow_start")
    )
    for what, told in (
        ("sizes that were not fitted, worst of four links", sizes),
        ("links that were not fitted, worst pair", links),
    ):
        error, inside = (percent(told[key], 1) for key in ("worst_median_error", "coverage"))
        yield "results.md", f"| {what}: median error | {error} % | 5 %"
        yield "results.md", f"inside their 95 % intervals | {inside} % | 93 to 97 % |"
    yield "results.md", f"worst link: median error | {percent(plain['worst_median_error'], 1)} %"
    longer = [
        1e3 * (check["measured"]["round_trip"] - check["asked"]["round_trip"])
        for check in of["checks"]
    ]
    yield "results.md", f"what was asked | {min(longer):.1f} to {max(longer):.1f} ms |"


def serving_overload(of):
    took = of["jobs"]["overload"]["measured"]
    met = round(took["deadlines_met"] * took["accepted"])
    yield "results.md", f"refused (429) within, p99 | {1e3 * took['refused_s']['p99']:.0f} ms"
    yield "results.md", f"{percent(took['memory_grown'], 1)} %; {met} of {took['accepted']}"
    assert all(of["jobs"]["restart"]["goals"].values())


def online(of):
    cells = {(cell["process"], cell["load"]): cell for cell in of["rate"]["cells"]}
    for load in (0.25, 0.5, 1, 2, 4):
        values = []
        for process in ("poisson", "bursts"):
            cell = cells[process, load]
            gain = cell["gain"]
            values += [gain["externality_price"], gain[cell["best_other"]], gain["window"]]
        yield "results.md", f"| {load} | {' | '.join(map(share, values))} |"
    regrets = [row["regret"]["resolve, iid"]["value"] for row in of["stored"]["rows"]]
    yield "results.md", f"| {percent(regrets[0], 2)} and {percent(regrets[1], 3)} % | met |"
    rate = of["rate"]
    yield "results.md", f"in {rate['as_good_in']} and {rate['beats_window_in']} | met |"
    yield "results.md", f"in 1 ms, p99 | {1e3 * of['decision']['p99']:.2f} ms | met |"
    for quality, kind, end in (
        ("error", "shipped", "met"),
        ("utility", "shipped", "**missed**"),
        ("error", "tuned", "met"),
        ("utility", "tuned", "met"),
    ):
        (row,) = (row for row in of["frontier"][quality][kind]["rows"] if row["load"] == 2)
        value, low, high = (row["ratio"][key] for key in ("value", "low", "high"))
        said = f"equal {quality} | {value:.2f} times ({low:.2f} to {high:.2f}) | {end} |"
        yield "results.md", said
    quotes = [cell for cell in of["quotes"]["cells"] if cell["load"] <= 1]
    for process, where, end in (
        ("poisson", "Poisson (who knows the rate: {} to {} %)", "**missed**"),
        ("bursts", "where nobody can know of the next", "**missed**"),
    ):
        told = [cell for cell in quotes if cell["process"] == process]
        off, known = ([cell[who]["error"] for cell in told] for who in ("quote", "oracle"))
        where = where.format(percent(min(known), 1), percent(max(known), 1))
        yield (
            "results.md",
            f"{where} | {percent(min(off), 1)} to {percent(max(off), 1)} % | {end} |",
        )
    inside = [cell["coverage"] for cell in quotes]
    yield "results.md", f"| {percent(min(inside), 1)} to {percent(max(inside), 1)} % | met |"
    for speed in sorted({row["speed"] for row in of["speeds"]}):
        rows = [row for row in of["speeds"] if row["speed"] == speed]
        gain = statistics.mean(row["gain"] for row in rows)
        more = statistics.mean(row["more"]["value"] for row in rows)
        surely = sum(row["more"]["low"] > 0 for row in rows)
        yield "results.md", f"| {speed:g} | {share(gain)} | {more:+.3f} | {surely} |"
    yield from _executed(of["executed"])


def _executed(of):
    default = "externality_price"
    for cell in of["cells"]:
        means = [share(statistics.mean(cell["gain"][name])) for name in (default, "window")]
        more = [_margin(cell["margin"][name]) for name in ("window", "fixed_price", "window_price")]
        where = {"poisson": "Poisson", "bursts": "bursts"}[cell["process"]]
        yield "results.md", f"| {cell['load']:g}, {where} | {' | '.join(means + more)} |"
    rows = of["streams"]["rows"]
    first = [row for row in rows if row["seed"] == 0]
    for policy in dict.fromkeys(row["live"]["policy"] for row in first):
        cells = []
        for load in sorted({row["live"]["load"] for row in first}):
            gains = [
                [row[kind]["gain"] for kind in ("live", "simulated")]
                for row in first
                if (row["live"]["policy"], row["live"]["load"]) == (policy, load)
            ]
            cells.append(" / ".join(share(statistics.mean(kind)) for kind in zip(*gains)))
        yield "results.md", f"| `{policy}` | {' | '.join(cells)} |"
    told = [row["live"]["executed"]["speed"] for row in rows]
    speeds = [speed for speed in told if speed is not None]  # somebody was at the edge
    yield "results.md", f"it took {min(speeds):.2f} to {max(speeds):.2f} times as long"
    gain, time = (abs(of["simulation"][name]["median"]) for name in ("gain", "time"))
    yield (
        "results.md",
        f"off by {percent(gain, 1)} % in the gain and {percent(time, 1)} % in the mean time "
        f"(medians of {of['simulation']['gain']['streams']} streams)",
    )
    for row in of["quality"]:
        if row["policy"] == default:
            error, utility = (
                f"{row[name]['value']:.2f} | {row[name]['predicted']:.2f}"
                for name in ("error", "utility")
            )
            quotes = f"{percent(row['quote_error'], 1)} % | {percent(row['coverage'])} %"
            yield "results.md", f"| {row['load']:g} | {error} | {utility} | {quotes} |"


def _margin(of):
    """As in +.107 (+.080 to +.133)."""
    value, low, high = (
        f"{'-' if of[name] < 0 else '+'}{share(abs(of[name]))}" for name in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})"
