"""The bodies of requests and answers, and errors in OpenAI's shape."""

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.checks import is_whole
from calibration.scenario.scenario import Weights
from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError

BODY, PROMPT, USER, IMAGES, STEPS, PARTIAL = 65536, 4000, 256, 10, 1000, 3
FORMATS = ("png", "jpeg", "webp")
#: OpenAI's fields that change nothing here.
WITHOUT_EFFECT = ("quality", "style", "background", "moderation", "safety_identifier")

_RECORD = b'{"time": '  # how a line of --records begins


class Refused(Exception):
    """A request is answered with an error: HTTP ``status``, OpenAI's ``type`` and ``code``, the
    field (``param``), and for some the seconds after which to ask again.
    """

    TYPES = {401: "authentication_error", 429: "rate_limit_error"}

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The answer's body."""
        kind = self.TYPES.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        line = " ".join(self.message.split())
        return {"error": {"message": line, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        if self.retry_after is None:
            return {}
        return {"Retry-After": str(max(1, int(np.ceil(self.retry_after))))}


@frozen
class Generation(Schema):
    """The body of ``POST /v1/images/generations``; None: the server's own choice.

    Seconds for ``deadline``, milliseconds for ``slo_ms``; the others are in docs/serving.md.
    """

    prompt: str = limits(empty=False)
    model: str | None = None
    n: int = limits(least=1, default=1)
    size: str = "auto"
    response_format: str = limits(choices=("b64_json", "file"), default="b64_json")
    output_format: str = limits(choices=FORMATS, default="png")
    output_compression: int = limits(least=0, default=100)
    user: str | None = None
    stream: bool = False
    partial_images: int = limits(least=0, default=0)
    num_inference_steps: Any = "auto"
    guidance_scale: float | None = limits(least=0, default=None)
    negative_prompt: str | None = None
    seed: int | None = limits(least=0, default=None)
    deadline: float | None = limits(above=0, default=None)
    slo_ms: float | None = limits(above=0, default=None)
    max_error: float | None = limits(above=0, default=None)
    weights: Weights | None = None
    prompt_class: str | None = None

    def __post_init__(self) -> None:
        steps = self.num_inference_steps
        for name, most in (
            ("n", IMAGES),
            ("output_compression", 100),
            ("partial_images", PARTIAL),
            ("guidance_scale", 100),
            ("seed", 2**63 - 1),
        ):
            value = getattr(self, name)
            if value is not None and value > most:
                raise InputError(f"{name}: found {value}; allowed: at most {most}")
        for name, most in (("prompt", PROMPT), ("negative_prompt", PROMPT), ("user", USER)):
            text = getattr(self, name) or ""
            if len(text) > most:
                raise InputError(f"{name}: found {len(text)} characters; allowed: at most {most}")
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise InputError(f"{name}: found half a character (a surrogate); allowed: text")
        if steps != "auto" and not (is_whole(steps) and 1 <= steps <= STEPS):
            raise InputError(
                f"num_inference_steps: found {str(steps)[:40]}; allowed: 1 to {STEPS}, or 'auto'"
            )
        if self.deadline is not None and self.slo_ms is not None:
            raise InputError("slo_ms: found beside deadline; allowed: one of the two")
        single = self.stream or self.response_format == "file"
        if single and self.n > 1:
            raise InputError(f"n: found {self.n}; allowed: 1 in a stream and as a file")
        if self.stream and self.response_format == "file":
            raise InputError("response_format: found 'file'; allowed: 'b64_json' in a stream")
        if self.partial_images and not self.stream:
            raise InputError(
                f"partial_images: found {self.partial_images}; allowed: 0 without stream"
            )

    @classmethod
    def parse(cls, body: bytes) -> "Generation":
        """The request of a ``body``; raises :class:`Refused`."""
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            message = f"body: not valid JSON: {type(error).__name__}"
            raise Refused(400, "invalid_value", message) from None
        if isinstance(values, dict):
            values = {
                name: value
                for name, value in values.items()
                if name not in WITHOUT_EFFECT and value is not None
            }
        try:
            return cls.from_dict(values, "request")
        except InputError as error:
            raise invalid(error) from None

    @property
    def limit(self) -> float | None:
        """The deadline in seconds."""
        return self.deadline if self.slo_ms is None else self.slo_ms / 1000


def invalid(error: InputError) -> Refused:
    """The refusal of wrong input, with the field that its line names."""
    line = str(error).removeprefix("request: ")
    first = line.split(":", 1)[0].split(" ", 1)[0].strip("'").split(".")[0]
    known = first in Generation.__dataclass_fields__
    return Refused(400, "invalid_value", line, first if known else None)


def begins_a_record(line: bytes) -> bool:
    """Whether ``line`` is that of a served image in ``--records``, cut off anywhere."""
    return line.startswith(_RECORD) or _RECORD.startswith(line)


def encode(image: NDArray[np.uint8], output_format: str, compression: int) -> bytes:
    """The file of an ``image``, (height, width, 3); ``compression``: the quality of jpeg and webp,
    where 100 makes webp lossless.
    """
    options: dict[str, Any] = {}
    if output_format == "jpeg":
        options = {"quality": compression}
    if output_format == "webp":
        options = {"quality": compression, "lossless": compression == 100}
    file = io.BytesIO()
    Image.fromarray(image).save(file, output_format.upper(), **options)
    return file.getvalue()
