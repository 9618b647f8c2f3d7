"""Points from a CSV file, and what of it is refused."""

import pytest

from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.points import points_from_csv
from solver.inputs import InputError


def test_csv(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(
        "\ufeffsteps, value ,sd\n1,0.9,0.1\n\n2, 0.5,0.1\n4,0.25,0.05\n", encoding="utf-8"
    )
    assert points_from_csv(path) == (
        CurvePoint(1, 0.9, se=0.1),
        CurvePoint(2, 0.5, se=0.1),
        CurvePoint(4, 0.25, se=0.05),
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1: column 'steps' is missing"),
        ("steps,valeu\n1,2\n", "line 1: 'valeu' is unknown; perhaps you meant 'value'"),
        ("steps\n1\n", "line 1: column 'value' is missing"),
        ("steps,value\n1,x\n2,1\n3,1\n", "line 2: value: found 'x'; allowed: a finite number"),
        ("steps,value\n1,2\n\n1.5,2\n", "line 4: steps: found '1.5'; allowed: a whole number"),
        ("steps,value\n1,2\n2\n", "line 3: found 1 fields"),
        ("steps,value,sd\n1,2,0\n", "line 2: sd: found '0'; allowed: a positive number"),
        ("steps,value\n1,inf\n", "line 2: value: found 'inf'"),
        ("steps,value\n1,2\n1,3\n2,2\n", "found 2 different step counts; allowed: at least 3"),
        ("steps,value,value\n", "column twice"),
    ],
)
def test_wrong_csv_files_are_refused_with_file_and_line(tmp_path, text, message):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        points_from_csv(path)
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


def test_a_missing_csv_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing.csv: no such file"):
        points_from_csv(tmp_path / "nothing.csv")
