"""A folder of images with captions as the reference of a calibration."""

from types import SimpleNamespace

import numpy as np
import pytest

from solver.inputs import InputError
from testbed.cli import main
from testbed.config import QualityConfig
from testbed.data.prompts import open_prompts
from testbed.metrics.quality import QualityModels
from testbed.metrics.reference import all_features, converged_reference, given_reference
from testbed.runs.folder import RunFolder
from tests.testbed.data.world import folder
from tests.testbed.stages.world import few_timings


@pytest.mark.parametrize("own", [False, True])
def test_all_classes_share_the_folders_images(tmp_path, own):
    """``own``: with an extractor of its own, CLIP's features are kept beside it, for the scale of
    utility.
    """
    clip = SimpleNamespace(images=lambda images: np.array([image.mean() for image in images]))
    extractor = (
        SimpleNamespace(images=lambda images: np.array([image.max() for image in images]))
        if own
        else clip
    )
    quality = QualityConfig(reference=str(folder(tmp_path)), reference_size=2)
    prompts = open_prompts("scenes")
    references = given_reference(quality, prompts, QualityModels(clip, extractor))
    assert set(references) == {"object", "relation", "scene"}
    assert len({id(reference) for reference in references.values()}) == 1
    scene = references["scene"]
    assert scene.clip.tolist() == [85, 90] and scene.captions == ("a red ball", "a blue ball")
    assert scene.features.tolist() == ([255, 90] if own else [85, 90])
    assert len(all_features(references)) == 2


@pytest.mark.slow
def test_a_calibration_against_a_folder_of_photographs(tmp_path, small_config, capsys):
    folder(tmp_path / "photos")
    text = small_config.read_text().replace(
        "[quality]", f'[quality]\nreference = "{tmp_path / "photos"}"'
    )
    small_config.write_text(
        text.replace("[1, 2, 3, 6]", "[1, 2, 3]").replace(
            "converged_steps = 12", "converged_steps = 4"
        )
    )
    broken = tmp_path / "photos" / "val2017" / "c.png"
    picture = broken.read_bytes()
    broken.write_bytes(b"")
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 2
    assert "c.png: not a readable image" in capsys.readouterr().err
    assert not (
        tmp_path / "run" / "calibration" / "records.jsonl"
    ).exists()  # said before anything was generated
    broken.write_bytes(picture)
    with few_timings():
        assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 0
    profiles = RunFolder(tmp_path / "run").profiles()
    metrics = profiles.metrics
    assert metrics.frechet.reference == str(tmp_path / "photos")
    assert metrics.frechet.reference_size == 3
    contents = {
        metrics.frechet.extractor_sha256,
        metrics.frechet.reference_sha256,
        metrics.error.prompts_sha256,
    }
    # the extractor is the scorer of utility
    assert len({*contents, metrics.utility.model_sha256}) == 3 == len(contents)
    for place in profiles.places:
        for profile in place.classes:
            for point, kid, cmmd in zip(profile.frechet, profile.kid, profile.cmmd, strict=True):
                assert point.n == kid.n == cmmd.n == 3
                assert point.steps == kid.steps == cmmd.steps
                assert all(each.low <= each.value <= each.high for each in (point, kid, cmmd))
                assert not point.carried and point.note.startswith(
                    "3 images and 3 reference images cannot carry"
                )


def test_a_class_without_a_converged_image_is_one_line():
    with pytest.raises(InputError, match="edge/scene: found no converged image"):
        converged_reference([], ["scene"], lambda key: None, None)
