"""What `testbed solve --compare`, `--sweep`, `--pareto` and `testbed figures` print and write."""

import math
from dataclasses import asdict

from tqdm import tqdm

from solver import METHODS, InputError, studies
from solver.inputs import write_atomic
from testbed import tables
from testbed.figures import claims
from testbed.figures import lines as paper

#: Values of one sweep, at most.
MOST_VALUES = 10_000


def compare(problem, solver, seed, csv):
    """Print the table of all methods, and of ``solver`` if it is someone's own."""
    others = [] if solver in METHODS else [solver]
    rows = studies.compare(problem, others, first_seed=seed)
    _show(
        list(
            tqdm(rows, desc="compare", total=len(METHODS) + 1 + len(others), delay=2, leave=False)
        ),
        csv,
        "compare",
    )


def sweep(problem, text, solver, settings, csv):
    """Print the table of a sweep, ``KEY=START:STOP:STEP``."""
    key, values = steps_of(text)
    rows = studies.sweep(problem, key, values, solver, **settings)
    _show(list(tqdm(rows, desc=key, total=len(values), delay=2, leave=False)), csv, "sweep")


def pareto(problem, csv):
    """Print the Pareto front over the weights, and how many were tried."""
    tried = list(studies.weightings(problem))
    rows = list(
        tqdm(studies.optima(problem, tried), desc="pareto", total=len(tried), delay=2, leave=False)
    )
    front = studies.pareto(rows)
    _show(front, csv, "pareto")
    print(
        f"{len(tried)} weightings tried, {len(front)} different optima that none of the others beats"
    )


def figures(out, seeds, chosen, grid=paper.GRID, budgets=paper.BUDGETS):
    """Write the paper's figures and claims into the folder ``out``, and print the table of the
    claims and the paths.
    """
    from testbed.figures import plots

    checked = []
    for method, unpublished in tqdm(claims.to_check(chosen, grid), desc="figures", unit="set"):
        checked += claims.check(method, unpublished, seeds, budgets)
    table = claims.summary(checked, chosen)
    print(tables.text(claims.by_method(table), widest=50))
    written = [out / "claims.csv", out / "claims.md"]
    tables.write_csv(written[0], [claim.row() for claim in checked])
    write_atomic(written[1], claims.markdown(table, chosen, seeds, grid))
    for name, values in (
        ("fig1", list(paper.fig1(chosen, seeds, budgets))),
        ("fig2", list(paper.fig2(chosen, budgets))),
    ):
        paths = [out / f"{name}{suffix}" for suffix in (".csv", ".svg", ".png")]
        tables.write_csv(paths[0], [asdict(row) for row in values])
        getattr(plots, name)(values, paths[1:])
        written += paths
    print(*written, sep="\n")


def steps_of(text):
    """``KEY=START:STOP:STEP`` -> the key and its values, ``STOP`` included if a step meets it.
    InputError for anything else.
    """
    key, _, spec = text.partition("=")
    try:
        start, stop, step = map(float, spec.split(":"))
        count = math.floor((stop - start) / step + 1e-9) + 1
        if not key or not step or not 1 <= count <= MOST_VALUES:
            raise ValueError
    except (ValueError, OverflowError, ZeroDivisionError):
        allowed = f"KEY=START:STOP:STEP with 1 to {MOST_VALUES} values, e.g. edge_budget=100:500:50"
        raise InputError(f"--sweep: found '{text}'; allowed: {allowed}") from None
    values = [float(f"{start + index * step:.12g}") for index in range(count)]
    return key, [int(value) if value.is_integer() else value for value in values]


def _show(rows, csv, kind):
    """Print the table and below it the notes; write ``csv`` and its plot beside it."""
    print(
        tables.text(
            [{name: value for name, value in row.items() if name != "note"} for row in rows]
        )
    )
    for row in rows:
        if row.get("note"):
            print(f"{next(iter(row.values()))}: {row['note']}")
    if csv:
        from testbed.figures import plots

        plot = csv.with_suffix(".svg")
        tables.write_csv(csv, rows)
        getattr(plots, kind)(rows, [plot])
        print(csv, plot, sep="\n")
