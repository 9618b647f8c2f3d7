"""A folder of images with captions as the reference of a calibration."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from solver.inputs import InputError
from testbed.cli import main
from testbed.config import QualityConfig
from testbed.data.prompts import ScenePrompts, open_prompts
from testbed.metrics.quality import QualityModels
from testbed.metrics.reference import all_features, converged_reference, given_reference
from testbed.runs.folder import RunFolder
from tests.testbed.data.world import folder
from tests.testbed.own_pairs import save
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


CONFIG = """
prompts = "{folder}"
[local]
model = "some/model"
revision = "replaced with it"
guidance = 7.5
[edge]
model = "some/other"
guidance = 7.5
[quality]
clip = "embedded:clip"
reference = "{folder}"
[sweep]
steps = [1, 2, 3]
prompts_per_class = 3
converged_steps = 4
batches = [1, 2]
[scenario]
users = 2
edge_budget = 4
local = {{ max_steps = 3 }}
edge = {{ max_steps = 3 }}
"""


@pytest.mark.slow
def test_a_whole_run_on_folders_of_models_and_of_photographs(tmp_path, capsys):
    images, captions = ScenePrompts().reference("object", 8)
    files = [f"{i}.png" for i in range(8)]
    for file, image in zip(files, images):
        image.save(tmp_path / file)
    listed = {"images": [{"id": i, "file_name": file} for i, file in enumerate(files)]}
    listed["annotations"] = [{"image_id": i, "caption": said} for i, said in enumerate(captions)]
    (tmp_path / "captions.json").write_text(json.dumps(listed))
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path))
    models = {"local": str(save("sd", tmp_path / "sd")), "edge": str(save("sdxl", tmp_path / "xl"))}
    command = ["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]
    command += ["--local", models["local"], "--edge", models["edge"]]
    run, picture = RunFolder(tmp_path / "run"), (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(b"")
    assert main(command) == 2
    assert "5.png: not a readable image" in capsys.readouterr().err
    assert not run.records("calibration")  # said before anything was generated
    (tmp_path / "5.png").write_bytes(picture)
    with few_timings():
        assert main(command) == 0
    assert run.report_path.is_file()
    made = {(record.task.place, record.task.model) for record in run.records("calibration")}
    assert made == set(models.items())
    profiles = run.profiles()
    metrics = profiles.metrics
    assert metrics.frechet.reference == str(tmp_path)
    assert metrics.frechet.reference_size == 8
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
                    "3 images and 8 reference images cannot carry"
                )


def test_a_class_without_a_converged_image_is_one_line():
    with pytest.raises(InputError, match="edge/scene: found no converged image"):
        converged_reference([], ["scene"], lambda key: None, None)
