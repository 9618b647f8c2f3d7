"""MLPerf's folder of captioned images: its table, and what of it calibrates."""

import json

import pytest

from solver.inputs import InputError
from testbed.cli import main
from testbed.commands import estimate_cost
from testbed.data.captioned import CaptionedImages
from testbed.data.prompts import open_prompts
from testbed.models.published.operations import Operations

HEADER = "image_id\tcaption\tfile_name"


def table(path, captions, header=HEADER, end="\n", images=None):
    """A folder with an empty image for each of ``captions``, which are written as they stand, or
    with fewer ``images``, in turns.
    """
    images = images or len(captions)
    rows = [f"{i}\t{caption}\t{i % images}.jpg" for i, caption in enumerate(captions)]
    for name in ("captions", "images"):
        (path / name).mkdir(parents=True)
    file = path / "captions" / "captions.tsv"
    file.write_text(end.join([header, *rows, ""]), encoding="utf-8", newline="")
    for i in range(images):
        (path / "images" / f"{i}.jpg").touch()
    return path


def test_a_row_that_begins_with_a_quote_swallows_no_other_row(tmp_path):
    captions = [f"caption {i}" for i in range(10)]
    captions[2], captions[5] = '"Stop sign on a street', '"Open sign in a window'
    captions[7], captions[8] = '"Stop" sign', '"Stop" and "Go"'
    read = CaptionedImages(table(tmp_path, captions))
    assert read.captions == [[caption] for caption in captions]
    assert [path.name for path in read.paths] == [f"{i}.jpg" for i in range(10)]


def test_cells_that_pandas_quoted_lose_only_its_quotes(tmp_path):
    written = ['"A ""STOP"" sign"', '"""Stop"""', '"Go"', "plain"]
    read = CaptionedImages(table(tmp_path, written)).captions
    assert read == [['A "STOP" sign'], ['"Stop"'], ['"Go"'], ["plain"]]


def test_a_table_whose_cells_are_all_quoted(tmp_path):
    (tmp_path / "captions_source.tsv").write_text(
        '"image_id"\t"caption"\t"file_name"\r\n"7"\t"A ""red"" ball"\t"0.jpg"\r\n'
    )
    (tmp_path / "0.jpg").touch()
    assert CaptionedImages(tmp_path).captions == [['A "red" ball']]


@pytest.mark.parametrize(
    "caption, cells", [("a\tb", 4), ("a\nb", 2), ('"a\tb"', 4), ('"a ""b""\nc"', 2)]
)
def test_a_caption_with_a_tab_or_a_line_break_is_named_by_its_line(tmp_path, caption, cells):
    table(tmp_path, ["x", "y", caption, "z"])
    with pytest.raises(InputError, match=f"captions.tsv: line 4: found {cells} cells; allowed: 3"):
        CaptionedImages(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        "image_id,caption,file_name",
        "image_id\tcaption\tcaption\tfile_name",
        "0\ta ball\t0.jpg",
        "image_id\tcaption",
    ],
)
def test_a_table_without_its_headings_or_with_one_twice(tmp_path, header):
    """Of two columns of captions the last one was taken, whatever it held."""
    table(tmp_path, ["x\tx", "y\ty"], header=header)
    with pytest.raises(InputError, match="captions.tsv: line 1: found .*; allowed: image_id, capt"):
        CaptionedImages(tmp_path)


def test_line_ends_of_old_macs_are_told_from_a_table_without_rows(tmp_path):
    with pytest.raises(InputError, match=r"line 1: found image_id, caption, file_name\\r0"):
        CaptionedImages(table(tmp_path, ["x", "y"], end="\r"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_captions_hold_separators_that_are_no_line_ends(tmp_path, end):
    read = CaptionedImages(table(tmp_path, ["a\u2028b", "c\x85d"], end=end))
    assert read.captions == [["a b"], ["c d"]] and len(read.paths) == 2


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """MLPerf's folder: of 5,000 rows 4,964 captions differ, 5,000 others follow."""
    captions = [f"caption {i}" for i in range(10_000)]
    for i in range(36):
        captions[4000 + i] = "A man riding a wave on top of a surfboard." if i < 4 else captions[i]
    captions[0] = "A man riding a wave on top of a surfboard."
    captions[9_999] = captions[1]  # calibrates already
    table(tmp_path / "coco2014", captions, images=2)
    monkeypatch.chdir(tmp_path)
    return captions


def test_mlperfs_first_five_thousand_rows_calibrate_as_they_stand(coco, capsys, monkeypatch):
    prompts = open_prompts("coco2014")
    calibrating, repeats = prompts.calibration("all", 5000), prompts.repeats("all", 5000)
    assert calibrating == list(dict.fromkeys(coco[:5000])) and len(calibrating) == 4964
    assert repeats["A man riding a wave on top of a surfboard."] == 5
    assert sum(repeats.values()) == 5000 and list(repeats) == calibrating
    executing = prompts.execution("all", 30)
    assert executing == coco[9_998:9_968:-1] and not set(executing) & set(calibrating)
    with pytest.raises(InputError, match="sweep.prompts_per_class: 5001 .* at most 5000, half"):
        prompts.calibration("all", 5001)
    # counting those of SDXL takes seconds, and is tested elsewhere
    monkeypatch.setattr(estimate_cost, "operations", lambda _: Operations(1, 1, 1))
    assert main(["run", "mlperf", "--plan"]) == 0
    assert "evaluations of a denoiser" in capsys.readouterr().out


def test_the_plan_refuses_a_folder_that_the_run_would_refuse(tmp_path, monkeypatch, capsys):
    table(tmp_path / "coco2014", [f"caption {i}" for i in range(10)])
    monkeypatch.chdir(tmp_path)
    assert main(["run", "mlperf", "--plan"]) == 2
    err = capsys.readouterr().err
    assert "5000 prompts of class 'all' are asked for; allowed: at most 5" in err
    assert err.count("\n") == 1


def test_the_plan_refuses_an_output_folder_of_something_else(tmp_path, small_config, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert main(["run", str(small_config), "--plan", "--out", str(tmp_path / "out")]) == 2
    assert "not empty and not a run folder" in capsys.readouterr().err


def test_captions_of_the_calibrating_half_are_never_executed(tmp_path):
    prompts = open_prompts(str(table(tmp_path, ["a", "b", "b", "c", "a", "b"])))
    assert prompts.calibration("all", 3) == ["a", "b"] and prompts.execution("all", 1) == ["c"]
    with pytest.raises(InputError, match="scenario.users: 2 prompts .* at most 1"):
        prompts.execution("all", 2)


def test_the_plan_of_json_captions_is_the_same(tmp_path):
    values = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(4)],
        "annotations": [{"image_id": i, "caption": "ab"[i % 2]} for i in range(4)],
    }
    for i in range(4):
        (tmp_path / f"{i}.jpg").touch()
    (tmp_path / "captions.json").write_text(json.dumps(values))
    assert open_prompts(str(tmp_path)).calibration("all", 2) == ["a", "b"]
