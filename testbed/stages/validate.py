"""The validation: what was predicted of an allocation, held against its execution."""

from collections.abc import Sequence

from calibration.comparison import Total
from calibration.profiles.profile import Profiles
from calibration.records.record import Record
from calibration.records.task import ModelSpec
from calibration.scenario.scenario import Scenario
from calibration.validation.validate import validate as compare
from solver.allocation import Allocation
from solver.problem import Problem
from testbed.config import Config
from testbed.data.captioned import LazyImages
from testbed.data.prompts import open_prompts
from testbed.metrics.quality import QualityModels
from testbed.metrics.reference import converged_reference, given_reference
from testbed.processes import on_first_process
from testbed.runs.damaged import unless_damaged
from testbed.runs.features import NAME as FEATURES
from testbed.runs.features import SweepFeatures
from testbed.runs.folder import RunFolder
from testbed.runs.store import Pixels
from testbed.stages.calibrate import extract_features
from testbed.stages.checks import check_users
from testbed.stages.frechet_total import frechet_total, kind_of
from testbed.stages.tasks import check_calibrated, offloaded, sweep_records


def validate(config: Config, quality: QualityModels, folder: RunFolder) -> None:
    """Compare the predictions of the folder's problem with its records; writes ``validation.json``.

    What users served in batches came to is part of it where ``serving.json`` is of the same users.
    Raises :class:`InputError` where the folder's files do not belong together.
    """
    problem, scenario = folder.need(Problem), folder.need(Scenario)
    check_users(problem, scenario)
    executed = folder.executed()
    check_calibrated(folder.records("calibration"), _specs(executed), folder.path)
    serving = folder.serving()
    served = tuple(task.id for task in offloaded([record.task for record in executed]))
    if serving and serving.asked.tasks != served:
        serving = None
    validation = compare(
        problem,
        folder.need(Allocation),
        folder.need(Profiles),
        scenario,
        executed,
        _frechet(config, quality, folder, executed),
        serving,
    )
    on_first_process(lambda: folder.save(validation))


def _frechet(
    config: Config, quality: QualityModels, folder: RunFolder, executed: Sequence[Record]
) -> list[Total]:
    """The Fréchet distance of the users' images; none where nothing compares features, of a single
    image, and where images of a place, or a class, were calibrated in another folder.
    """
    images = [record for record in executed if record.task.purpose == "user"]
    if len(images) < 2:
        return []
    sweep = sweep_records(folder.records("calibration"), _specs(executed))
    calibrated = {kind_of(each.task) for each in sweep if each.task.purpose != "converged"}
    if quality.extractor is None or not {kind_of(each.task) for each in images} <= calibrated:
        return []
    features = unless_damaged(folder.features, folder.path / FEATURES)
    if (
        features is None
        or features.extractor != quality.extractor.fingerprint
        # places that were calibrated one after the other
        or not {each.id for each in _with_images(folder, sweep)} <= set(features.ids)
    ):
        features = _extract_again(config, quality, folder, _with_images(folder, sweep))
    by_id = dict(zip(features.ids, features.images))
    total = frechet_total(
        images,
        quality.extractor.images(
            LazyImages(images, lambda record: folder.image("execution", record))
        ),
        [record for record in folder.records("calibration") if record.id in by_id],
        by_id,
        features.reference,
    )
    return [total] if total else []


def _specs(executed: Sequence[Record]) -> dict[str, ModelSpec]:
    return {record.task.place: record.task.spec for record in executed}


def _with_images(folder: RunFolder, sweep: Sequence[Record]) -> list[Record]:
    """The records whose images are there; of the others the calibration made no features."""
    return [each for each in sweep if folder.image_path("calibration", each).exists()]


def _extract_again(
    config: Config, quality: QualityModels, folder: RunFolder, sweep: Sequence[Record]
) -> SweepFeatures:
    """The sweep's features, where the calibration did not keep them all."""
    records = {record.id: record for record in sweep}

    def image(key: str) -> Pixels:
        return folder.image("calibration", records[key])

    prompts = open_prompts(config.prompts)
    references = given_reference(config.quality, prompts, quality)
    if references is None:
        references = converged_reference(sweep, prompts.classes, image, quality)
    assert quality.extractor is not None
    features = extract_features(sweep, references, image, quality.extractor)
    on_first_process(lambda: folder.save_features(features))
    return features
