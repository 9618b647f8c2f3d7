"""``testbed fit`` refuses an estimate that the points do not support, in one line."""

import json

from testbed.cli import main


def test_testbed_fit_refuses_in_one_line_and_takes_it_anyway(tmp_path, capsys):
    path = tmp_path / "flat.csv"
    path.write_text("steps,value\n1,0.5\n2,0.52\n4,0.49\n8,0.5\n16,0.51\n")
    assert main(["fit", str(path)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"testbed: {path}: ") and line.count("\n") == 1 and "--anyway" in line
    assert main(["fit", str(path), "--anyway", "--predict", "6"]) == 0
    assert "taken anyway" in json.loads(capsys.readouterr().out)["notes"][0]
