"""What the pages say of the solver, by its result files."""


def percent(value, digits=0):
    return f"{100 * value:.{digits}f}"


def solver(of):
    highs = of["against_highs"]
    ratios = [instance["ratio"] for instance in highs["instances"]]
    million, tables, classes = of["different"], of["tables"], of["classes"]
    yield (
        "results.md",
        f"| {highs['median_ratio']:.0f} times as fast (median of {len(ratios)} instances; "
        f"{min(ratios):.0f} to {max(ratios):.0f}) |",
    )
    yield "results.md", f"| the same, median | {1e3 * highs['median_seconds']:.1f} ms |"
    few = [1e3 * row["median_seconds"] for row in of["few_users"]]
    yield "results.md", "| {:.1f}, {:.1f} and {:.1f} ms |".format(*few)
    yield (
        "results.md",
        f"{million['ratio_to_table']:.1f} times its time ({million['exact_seconds']:.1f} s)",
    )
    yield (
        "results.md",
        f"| {tables['ratio_to_table']:.1f} times; {classes['ratio_to_table']:.1f} times |",
    )
    read = [each["ratio_to_reading"] for each in (million, tables, classes)]
    yield "results.md", "slower by {:.0f}, {:.0f} and {:.0f} times".format(*read)
    yield "results.md", f"users^{of['growth']['exponent']:.2f}"
    yield "results.md", f"| {of['import_seconds']:.2f} s | 0.2 s |"
    yield "paper.md", f"{highs['median_ratio']:.0f} times as fast as HiGHS"


def several_limits(of):
    def instance(**like):
        keys = ("users", "edges", "kinds", "slots", "makespan")
        wanted = [like.get(key) for key in keys]
        (row,) = (row for row in of["instances"] if [row.get(key) for key in keys] == wanted)
        return row

    two, three = instance(users=1000, edges=2), instance(users=1000, edges=3)
    yield (
        "solver.md",
        f"proven in {two['processor_seconds']:.1f} and {three['processor_seconds']:.1f} s of one "
        f"core, two edges with 15 kinds of users in "
        f"{instance(users=1000, edges=2, kinds=15)['processor_seconds']:.1f} s, 300 users under a "
        f"makespan in {instance(users=300, edges=2, makespan=True)['processor_seconds']:.1f} s",
    )
    five = instance(users=300, edges=5)
    yield "solver.md", f"within {percent(five['relative_gap'], 3)} % of the proven bound"


def paper_gap(of):
    lines = {
        "started undecided, a = ½": "half",
        "random starts": "random",
        "penalty grown, random start": "grown, random",
        "the paper's baseline, random": "baseline",
    }
    for title, run in lines.items():
        cells = [
            " / ".join(
                f"{gap[key]:.1f}" if gap[key] < limit else f"{gap[key]:.0f}"
                for key, limit in (("mean", 20), ("median", 20), ("max", 10))
            )
            for gap in (of[name][run]["gap"] for name in ("random", "paper"))
        ]
        yield "paper.md", f"| {title} | {' | '.join(cells)} |"


def pisinger(of):
    assert {row["status"] for row in of["instances"]} == {"optimal"}
    yield "solver.md", "all nine are proven optimal"
    seconds, memory = (max(row[key] for row in of["instances"]) for key in ("seconds", "peak_mb"))
    yield "results.md", f"all proven, in at most {seconds:.1f} s and {memory:.0f} MB"
