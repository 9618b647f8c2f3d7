"""Files that somebody changed by hand, or damaged: for tests that none ends in a traceback."""

import copy
import json
import math

from hypothesis import strategies as st

from solver.inputs import InputError

_SCALARS = [
    *(None, True, False, 0, -1, 1, 2, 96, 10**30, -(10**400)),
    *(0.0, -0.5, 0.5, 1e-320, 1e308, math.nan, math.inf, -math.inf),
    *("", "x", "edge", "local", "1", "profiles/1", "table", "\n\x00", "\ud800", "long " * 500),
]
scalars = st.sampled_from(_SCALARS) | st.integers() | st.floats() | st.text(max_size=5)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
# what a program, not a file, may hand over
_STRANGE = [b"x", {1, 2}, object(), (1, 2), 1j, [[]] * 3, {1: 2}, {None: None}]


@st.composite
def mutations(draw, valid, most=3):
    """``valid``, a JSON value, changed at up to ``most`` places."""
    values = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, most))):
        spots = _spots(values)
        if not spots:
            return values
        part, key = draw(st.sampled_from(spots))
        change = draw(st.sampled_from(("replace", "replace", "strange", "remove", "add", "swap")))
        if change == "replace":
            part[key] = draw(json_values)
        elif change == "strange":
            # a copy: a later change would otherwise put the one list into itself
            part[key] = copy.deepcopy(draw(st.sampled_from(_STRANGE)))
        elif change == "remove":
            del part[key]
        elif change == "swap":
            other, at = draw(st.sampled_from(spots))
            part[key] = copy.deepcopy(other[at])
        elif isinstance(part, list):
            part.insert(key, draw(json_values))
        else:
            part[draw(st.text(max_size=8) | st.just(7))] = draw(json_values)
    return values


def _spots(value):
    """Every (list or table, index or key) in ``value``."""
    spots = []

    def visit(part):
        if isinstance(part, (list, dict)):
            for key in range(len(part)) if isinstance(part, list) else part:
                spots.append((part, key))
                visit(part[key])

    visit(value)
    return spots


def read_or_refused(read, values):
    """``read(values, where)`` gives what can be written and read again, or an error of one line."""
    try:
        made = read(values, "f.json")
    except InputError as error:
        message = str(error)
        assert message.startswith("f.json: ") and message.isprintable() and len(message) < 900
    else:
        written = json.loads(json.dumps(made.to_dict(), allow_nan=False))
        assert read(written, "f.json") == made
