"""Features that a calibration extracted, kept for the validation, which compares with them."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from solver.inputs import InputError, check_kind, write_atomic

NAME = "calibration/features.npz"


@dataclass(frozen=True, eq=False)
class SweepFeatures:
    """Features of a sweep's images, (n, width), and of the reference images, (m, width).

    ``ids``: the images' records; ``extractor``: the fingerprint of the network they are from.
    """

    ids: tuple[str, ...]
    images: NDArray[np.float32]
    reference: NDArray[np.float32]
    extractor: str

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file, atomically."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            ids=np.array(self.ids, dtype=str),
            images=self.images,
            reference=self.reference,
            extractor=np.array(self.extractor),
        )
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of :meth:`save`; raises :class:`InputError` for another kind of file."""
        check_kind(path)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(
                    tuple(arrays["ids"].tolist()),
                    arrays["images"],
                    arrays["reference"],
                    str(arrays["extractor"]),
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: cannot be read as features: {reason}") from None
