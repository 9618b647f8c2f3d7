"""``testbed fit`` prints or writes a fit; what the points do not support is refused in one line."""

import json

import pytest

from testbed.cli import main
from tests.testbed.commands.world import refused


def test_testbed_fit_refuses_in_one_line_and_takes_it_anyway(tmp_path, capsys):
    path = tmp_path / "flat.csv"
    path.write_text("steps,value\n1,0.5\n2,0.52\n4,0.49\n8,0.5\n16,0.51\n")
    assert main(["fit", str(path)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"testbed: {path}: ") and line.count("\n") == 1 and "--anyway" in line
    assert main(["fit", str(path), "--anyway", "--predict", "6"]) == 0
    assert "taken anyway" in json.loads(capsys.readouterr().out)["notes"][0]


def test_fit_prints_or_writes_a_fit(tmp_path, capsys):
    points = tmp_path / "points.csv"
    points.write_text(
        "steps,value\n" + "".join(f"{s},{2 * 0.8**s + 0.3}\n" for s in (1, 2, 3, 5, 8, 12, 20))
    )
    assert main(["fit", str(points), "--predict", "4,30"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "fit/1" and result["chosen"] == "exponential_floor"
    assert result["predictions"][0]["value"] == pytest.approx(2 * 0.8**4 + 0.3, rel=1e-3)
    assert [p["extrapolated"] for p in result["predictions"]] == [False, True]
    assert "whole numbers" in refused(capsys, "fit", points, "--predict", "4;6")
    assert "no such file" in refused(capsys, "fit", tmp_path / "none.csv")
