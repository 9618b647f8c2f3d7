"""The whole chain on the embedded models, and how far its predictions are from what was measured,
energy among them.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.notes import Notes
from benchmarks.gpu.setting import Setting
from calibration.profiles.store import load
from solver.inputs import read_json
from testbed.cli import main

_CONFIG = """
device = "{device}"
[local]
model = "embedded:light"
[edge]
model = "embedded:edge"
[quality]
reference_size = {reference}
[sweep]
steps = {steps}
prompts_per_class = {prompts}
converged_steps = {converged}
batches = {batches}
[execute]
images_per_user = 1
[scenario]
users = {users}
edge_budget = {budget}
local = {{ max_steps = {most} }}
edge = {{ max_steps = {most} }}
device_classes = {{ server-core = 1 }}
"""
_TRUE = {"steps": [1, 2, 3, 4, 6, 8, 12, 16], "prompts": 4, "converged": 32, "reference": 256}
_TRUE |= {"users": 15, "budget": 60, "most": 16, "batches": [1, 2, 4, 8]}
_SMALL = {"steps": [1, 2, 3], "prompts": 2, "converged": 4, "reference": 8}
_SMALL |= {"users": 3, "budget": 9, "most": 3, "batches": [1, 2]}


def run(notes: Notes, setting: Setting) -> str:
    """Run the chain in a folder that is thrown away; note its totals, verdicts and energy fits."""
    values = {**(_SMALL if setting.small else _TRUE), "device": setting.device}
    with tempfile.TemporaryDirectory() as folder:
        config, out = Path(folder, "chain.toml"), Path(folder, "run")
        config.write_text(_CONFIG.format(**values))
        with contextlib.redirect_stderr(io.StringIO()) as text:
            code = main(["run", str(config), "--out", str(out)])
        print(text.getvalue())
        failures = [line for line in text.getvalue().splitlines() if line.startswith("FAIL")]
        notes.add(config=values, exit_code=code, failures=failures)
        if code:
            raise RuntimeError(f"testbed run exits {code}: {text.getvalue().splitlines()[-1]}")
        validation = read_json(out / "validation.json")
        profiles = load(out / "profiles.json")
    totals = validation["totals"]
    notes.add(totals=totals, coverage=validation["coverage"], drift=validation["drift"])
    for place in profiles.places:
        fits = {profile.prompt_class: profile.energy for profile in place.classes}
        notes.add(**{f"energy {place.place}": fits})
    return f"{len(failures)} predictions fail; {'; '.join(map(_total, totals[:4]))}"


def _total(total: dict[str, Any]) -> str:
    measured = total["measured"]
    if measured is None:
        return f"{total['quantity']} not measured"
    relative = total["predicted"] / measured - 1
    inside = "inside" if total["inside"] else "outside"
    return f"{total['quantity']} {relative:+.1%}, {inside} its interval ({total['basis']})"
