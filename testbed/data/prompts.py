"""Where prompts come from: the embedded scene grammar, a user's JSONL file, or the captions of a
folder of images.

Calibration and execution take disjoint captions: for scenes from splits that were not trained on,
for a file or a folder from its beginning and from its end.
"""

from pathlib import Path

from solver.inputs import InputError, read_lines
from testbed.data.captioned import CaptionedImages
from testbed.embedded import scenes


class ScenePrompts:
    """Captions of the scene grammar, with real scenes drawn from held-out captions as reference."""

    classes = scenes.CLASSES

    def available(self, prompt_class):
        """How many captions of a class there are for calibration."""
        return len(scenes.captions(prompt_class, "calibration"))

    def calibration(self, prompt_class, count):
        return _take(
            scenes.captions(prompt_class, "calibration"),
            count,
            prompt_class,
            "sweep.prompts_per_class",
        )

    def held_out(self, prompt_class):
        """All captions of a class that are not for calibration."""
        return [caption.text for caption in scenes.captions(prompt_class, "held-out")]

    def execution(self, prompt_class, count):
        return _take(
            scenes.captions(prompt_class, "held-out"), count, prompt_class, "scenario.users"
        )

    def reference(self, prompt_class, count):
        """``count`` held-out scenes as ``(images, captions)``; captions repeat with other seeds
        when they run out.
        """
        pool = scenes.captions(prompt_class, "held-out")
        chosen = [pool[i % len(pool)] for i in range(count)]
        images = [scenes.render(caption, f"reference/{i}") for i, caption in enumerate(chosen)]
        return images, [caption.text for caption in chosen]


def _take(pool, count, prompt_class, spot):
    if count > len(pool):
        raise InputError(
            f"{spot}: {count} prompts of class '{prompt_class}' are asked for; allowed: at most {len(pool)}, the captions there are"
        )
    return [caption.text for caption in pool[:count]]


class FilePrompts:
    """Prompts of a JSONL file, one ``{"prompt": "...", "class": "..."}`` a line (class optional)."""

    def __init__(self, path):
        self.path, self._pools = Path(path), {}
        for where, value in read_lines(path, ["prompt", "class"]):
            prompt, prompt_class = value.get("prompt"), value.get("class", "all")
            for name, text in (("prompt", prompt), ("class", prompt_class)):
                if not isinstance(text, str) or not text.strip():
                    raise InputError(
                        f"{where}: {name}: found {text!r}; allowed: a non-empty string"
                    )
            self._pools.setdefault(prompt_class, []).append(prompt)
        if not self._pools:
            raise InputError(f"prompts: {path}: no prompt in it")
        self.classes = tuple(self._pools)

    def available(self, prompt_class):
        """How many prompts of a class there are for calibration: half of the different ones."""
        return len(set(self._pools[prompt_class])) // 2

    def _pool(self, prompt_class, count, spot):
        pool, half = list(dict.fromkeys(self._pools[prompt_class])), self.available(prompt_class)
        if count > half:
            raise InputError(
                f"{spot}: {count} prompts of class '{prompt_class}' are asked for; allowed: at most {half}, half of those in {self.path}"
            )
        return pool

    def calibration(self, prompt_class, count):
        return self._pool(prompt_class, count, "sweep.prompts_per_class")[:count]

    def execution(self, prompt_class, count):
        return self._pool(prompt_class, count, "scenario.users")[::-1][:count]


class FolderPrompts(FilePrompts):
    """The first caption of each image of a :class:`testbed.data.captioned.CaptionedImages` folder,
    all of one class.
    """

    classes = ("all",)

    def __init__(self, folder):
        self.path = Path(folder)
        self._pools = {"all": [captions[0] for captions in CaptionedImages(folder).captions]}


def open_prompts(source):
    """``"scenes"``, the path of a JSONL file, or of a folder of images with captions."""
    if source == "scenes":
        return ScenePrompts()
    return FolderPrompts(source) if Path(source).is_dir() else FilePrompts(source)
