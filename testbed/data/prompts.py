"""Where prompts come from: the embedded scene grammar, a user's JSONL file, or the captions of a
folder of images.

Calibration and execution take disjoint captions: of scenes from splits that were not trained on, of
a file or a folder from its beginning and from its end.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from calibration.checks import shown
from solver.inputs import InputError, read_lines
from testbed.data.captioned import CaptionedImages
from testbed.embedded import scenes

#: Characters of a prompt: text encoders read some hundred tokens of it, and of megabytes they would
#: make tokens for minutes.
LONGEST = 20_000
#: The settings that ask for prompts, as messages name them.
_CALIBRATION, _EXECUTION = "sweep.prompts_per_class", "scenario.users"


def check_prompt(where: str, value: object) -> None:
    """Raise :class:`InputError` for what is no text, empty, or no prompt for its length."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise InputError(
            f"{where}: found {shown(value)}; "
            f"allowed: non-empty text of at most {LONGEST} characters"
        )


class ScenePrompts:
    """Captions of the scene grammar, with real scenes drawn from held-out captions as reference."""

    classes = scenes.CLASSES

    def available(self, prompt_class: str) -> int:
        """How many captions of a class there are for calibration."""
        return len(scenes.captions(prompt_class, "calibration"))

    def spare(self, prompt_class: str) -> int:
        """How many captions of a class there are for execution."""
        return len(scenes.captions(prompt_class, "held-out"))

    def calibration(self, prompt_class: str, count: int) -> list[str]:
        """``count`` captions of a class; raises :class:`InputError` if there are fewer."""
        pool = scenes.captions(prompt_class, "calibration")
        return _take(pool, count, prompt_class, _CALIBRATION)

    def repeats(self, prompt_class: str, count: int) -> Mapping[str, int]:
        """How often each of ``count`` captions counts: once."""
        return dict.fromkeys(self.calibration(prompt_class, count), 1)

    def held_out(self, prompt_class: str) -> list[str]:
        """All captions of a class that are not for calibration."""
        return [caption.text for caption in scenes.captions(prompt_class, "held-out")]

    def execution(self, prompt_class: str, count: int) -> list[str]:
        """``count`` held-out captions of a class; raises :class:`InputError` if there are fewer."""
        pool = scenes.captions(prompt_class, "held-out")
        return _take(pool, count, prompt_class, _EXECUTION)

    def reference(self, prompt_class: str, count: int) -> tuple[list[Image.Image], list[str]]:
        """``count`` held-out scenes and their captions, which repeat with other seeds when they run
        out.
        """
        pool = scenes.captions(prompt_class, "held-out")
        chosen = [pool[i % len(pool)] for i in range(count)]
        images = [scenes.render(caption, f"reference/{i}") for i, caption in enumerate(chosen)]
        return images, [caption.text for caption in chosen]


def _take(pool: Sequence[scenes.Caption], count: int, prompt_class: str, setting: str) -> list[str]:
    if count > len(pool):
        raise InputError(
            f"{setting}: {count} prompts of class '{prompt_class}' are asked for; "
            f"allowed: at most {len(pool)}, the captions there are"
        )
    return [caption.text for caption in pool[:count]]


class FilePrompts:
    """Prompts of a JSONL file: ``{"prompt": "...", "class": "..."}`` lines (class optional)."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._pools: dict[str, list[str]] = {}
        for where, value in read_lines(path, ["prompt", "class"]):
            prompt, prompt_class = value.get("prompt", ""), value.get("class", "all")
            for name, text in (("prompt", prompt), ("class", prompt_class)):
                check_prompt(f"{where}: {name}", text)
            self._pools.setdefault(prompt_class, []).append(prompt)
        if not self._pools:
            raise InputError(f"prompts: {path}: no prompt in it")
        self.classes = tuple(self._pools)

    def available(self, prompt_class: str) -> int:
        """How many prompts of a class there are for calibration: half of the different ones."""
        return len(set(self._pools[prompt_class])) // 2

    #: How many there are for execution: the other half.
    spare = available

    def calibration(self, prompt_class: str, count: int) -> list[str]:
        """The first ``count`` prompts of a class; raises :class:`InputError` if half of them are
        fewer.
        """
        return self._pool(prompt_class, count, _CALIBRATION)[:count]

    def repeats(self, prompt_class: str, count: int) -> Mapping[str, int]:
        """How often each of the first ``count`` prompts counts: once."""
        return dict.fromkeys(self.calibration(prompt_class, count), 1)

    def execution(self, prompt_class: str, count: int) -> list[str]:
        """The last ``count`` prompts of a class, the last first; raises :class:`InputError` if half
        of them are fewer.
        """
        return self._pool(prompt_class, count, _EXECUTION)[::-1][:count]

    def _pool(self, prompt_class: str, count: int, setting: str) -> list[str]:
        _check_count(count, self.available(prompt_class), prompt_class, setting, self.path)
        return list(dict.fromkeys(self._pools[prompt_class]))


class FolderPrompts(FilePrompts):
    """The first caption of each image of a :class:`testbed.data.captioned.CaptionedImages` folder,
    all of one class.

    The images calibrate as they stand, those with equal captions too: the caption is then one
    prompt, which :meth:`repeats` counts. Captions of the calibrating half are not executed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        self._pools = {"all": [captions[0] for captions in CaptionedImages(folder).captions]}
        self.classes = tuple(self._pools)

    def available(self, prompt_class: str) -> int:
        """How many images there are for calibration: half."""
        return len(self._pools[prompt_class]) // 2

    def calibration(self, prompt_class: str, count: int) -> list[str]:
        """The different captions of the first ``count`` images; raises :class:`InputError` if half
        of the images are fewer.
        """
        return list(self.repeats(prompt_class, count))

    def repeats(self, prompt_class: str, count: int) -> Mapping[str, int]:
        """How many of the first ``count`` images have each caption; raises as above."""
        _check_count(count, self.available(prompt_class), prompt_class, _CALIBRATION, self.path)
        return Counter(self._pools[prompt_class][:count])

    def spare(self, prompt_class: str) -> int:
        """How many captions there are for execution."""
        return min(self.available(prompt_class), len(self._not_calibrating(prompt_class)))

    def execution(self, prompt_class: str, count: int) -> list[str]:
        """The last ``count`` captions that do not calibrate, the last first."""
        _check_count(count, self.spare(prompt_class), prompt_class, _EXECUTION, self.path)
        return self._not_calibrating(prompt_class)[:count]

    def _not_calibrating(self, prompt_class: str) -> list[str]:
        captions, half = self._pools[prompt_class], self.available(prompt_class)
        calibrating = set(captions[:half])
        return [
            text for text in dict.fromkeys(captions[: half - 1 : -1]) if text not in calibrating
        ]


def _check_count(count: int, most: int, prompt_class: str, setting: str, path: Path) -> None:
    if count > most:
        raise InputError(
            f"{setting}: {count} prompts of class '{prompt_class}' are asked for; "
            f"allowed: at most {most}, half of those in {path}"
        )


def open_prompts(source: str) -> ScenePrompts | FilePrompts:
    """``"scenes"``, the path of a JSONL file, or of a folder of images with captions."""
    if source == "scenes":
        return ScenePrompts()
    if Path(source).is_dir():
        return FolderPrompts(source)
    if not Path(source).exists():
        raise InputError(
            f"prompts: {source}: no such file or folder, neither from the working folder "
            f"({Path.cwd()}) nor beside the configuration"
        )
    return FilePrompts(source)
