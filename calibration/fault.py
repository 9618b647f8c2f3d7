"""What is wrong with a value of a file, and where it stands there."""

from typing import Any, Self

from calibration.checks import shortened, shown

_LONGEST = 300  # characters of a text
_LONGEST_STEP = 60  # of a key in a path
_LONGEST_PATH = 160


class Fault(Exception):
    """A value is refused: ``text`` and ``allowed`` say why, ``path`` says where.

    It gains its path on the way up, so that reading a value that is accepted costs nothing for it.
    """

    def __init__(self, text: str, allowed: str = "") -> None:
        super().__init__(text)
        self.text, self.allowed, self.path, self.depth = text, allowed, "", 0

    @classmethod
    def of(cls, value: Any, allowed: str) -> Self:
        """Of a ``value`` that is not what is ``allowed``."""
        return cls(f"found {shown(value)}", allowed)

    def under(self, step: str) -> Self:
        """The same, seen from the list or table that holds the value at ``step``."""
        self.path, self.depth = shortened(step, _LONGEST_STEP) + self.path, self.depth + 1
        return self

    def message(self, where: str) -> str:
        """One line that begins with ``where``."""
        path = self.path.removeprefix(".")
        if len(path) > _LONGEST_PATH:
            path = f"{path[: _LONGEST_PATH // 2]}...{path[-_LONGEST_PATH // 2 :]}"
        text = ": ".join(part for part in (where, path, shortened(self.text, _LONGEST)) if part)
        return f"{text}; allowed: {self.allowed}" if self.allowed else text
