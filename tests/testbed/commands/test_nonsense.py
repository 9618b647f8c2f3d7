"""Nonsense in any field: an answer that is certified, or one line and exit code 2; no traceback."""

import contextlib
import copy
import io
import json
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solver import Allocation, Problem, certify
from testbed.cli import main
from tests.conftest import ROOT
from tests.solver.places import random_places

NONSENSE = [
    *(float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e-320, 0.5, -0.0),
    *(0, 1, -1, 7, 2**31, 10**18, 2**63, 10**30, -(10**30), True, None),
    *("", "x", "local", "1", "\ud800"),
    *([], [[]], [None], [float("nan")], [1, 2], [[1.0]], {}, {"x": 1}, {"": []}),
]
#: Every extension of ``problem/2``; feasible.
PROBLEM = random_places(
    11, users=3, **dict.fromkeys(("tier", "slots", "makespan", "split", "transfer", "limits"), True)
)
PROBLEM["labels"] = {"prompt_class": ["object", "scene", "object"]}
PROBLEM["edges"]["cloud"]["error"] = {"family": "exponential", "scale": 1.0, "decay": 0.3}
PROBLEM["edges"]["cloud"]["utility"] = {"family": "saturating", "rate": [0.1, 0.2, 0.3]}
PROBLEM["edges"]["cloud"]["power"] = {"coefficient": 0.01, "frequency": 2}
SCENARIO = {
    "users": [
        {"prompt_class": "object", "device_class": "old", "deadline": 600.0, "link": "wifi"},
        {"prompt_class": "object", "device_class": "server-core", "max_error": 0.95},
    ],
    "seed": 1,
    "time_unit": "auto",
    "energy_unit": 2.0,
    "edge_watts": 20.0,
    "deadline": 60.0,
    "max_error": 0.99,
    "radio": "lte",
    "link": "wifi",
    "risk": 0.4,
    "risk_for": "user",
    "local": {"max_steps": 8},
    "edge": {"max_steps": 12},
    "prompt_classes": {"object": 1},
    "device_classes": {"snapdragon-8-elite": 1, "old": 2},
    "watts": {"snapdragon-8-elite": 8.0},
    "weights": {"cost": 0.5, "utility": 0.5, "time": 0.2, "error": 0.6, "energy": 0.2},
    "devices": {"old": {"ratio": 8.0, "watts": 3.0, "source": "timed"}},
    "links": {"wifi": {"transfer_time": 0.05, "transfer_energy": 0.1, "source": "iperf"}},
    "edges": [
        {"name": "near", "budget": 12, "max_steps": 8, "device_class": "old", "watts": 9.0},
        {
            "name": "far",
            "budget": 9,
            "slots": 2,
            "makespan": {"per_step": 0.05, "per_longest_step": 0.1, "limit": 20.0},
        },
    ],
}


def spots(value, spot=()):
    """The path of every value inside."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*spot, key)
        yield from spots(value[key], (*spot, key))


def edited(draw, base):
    """``base`` with one or two values replaced, left out, doubled, wrapped, or put elsewhere."""
    data = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 2))):
        *way, key = draw(st.sampled_from(list(spots(data))))
        node = data
        for part in way:
            node = node[part]
        edit = draw(st.sampled_from(["replace", "replace", "leave out", "double", "wrap", "copy"]))
        if edit == "replace":
            node[key] = copy.deepcopy(draw(st.sampled_from(NONSENSE)))
        elif edit == "leave out":
            del node[key]
        elif edit == "double" and isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        elif edit == "wrap":
            node[key] = [node[key]]
        else:
            *way, other = draw(st.sampled_from(list(spots(base))))
            source = base
            for part in way:
                source = source[part]
            node[key] = copy.deepcopy(source[other])
        if not list(spots(data)):
            break
    return data


def run(*arguments):
    """Exit code and stderr; hanging is an error."""

    def hangs(*_):
        raise TimeoutError("no answer after 60 s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(err):
            return main([str(argument) for argument in arguments]), err.getvalue()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def is_refused(code, text):
    """Whether it was; then in one line."""
    if code == 0:
        return False
    lines = [line for line in text.splitlines() if not line.startswith("testbed: warning")]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("testbed: "), text
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nonsense")


def solved(folder):
    """Solve the problem in the folder; the answer holds, or the problem was refused."""
    path, answer = folder / "p.json", folder / "a.json"
    if not is_refused(*run("solve", path, "-o", answer)):
        allocation = Allocation.load(answer)
        assert certify(Problem.load(path), allocation) >= 0
        return allocation
    return None


def test_the_bases_are_solved(folder):
    (folder / "p.json").write_text(json.dumps(PROBLEM))
    assert solved(folder).status == "optimal"
    (folder / "s.json").write_text(json.dumps(SCENARIO))
    assert not is_refused(*made(folder))
    assert solved(folder).status == "optimal"


def made(folder):
    profiles = ROOT / "docs" / "profiles.json"
    scenario = ("--scenario", folder / "s.json", "-o", folder / "p.json")
    return run("problem", "--profiles", profiles, *scenario)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_nonsense_in_a_problem(folder, data):
    (folder / "p.json").write_text(json.dumps(edited(data.draw, PROBLEM)))
    solved(folder)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_nonsense_in_a_scenario(folder, data):
    (folder / "s.json").write_text(json.dumps(edited(data.draw, SCENARIO)))
    if not is_refused(*made(folder)):
        solved(folder)
