"""The base of all sections of params.yaml, and digests of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A part of params.yaml: unknown keys and wrong types are errors, and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def model_copy(self: S, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> S:
        """Return a copy with other values, which pydantic itself would not check."""
        return self.model_validate({**dict(super().model_copy(deep=deep)), **(update or {})})


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,23}", text):
        raise ValueError(
            f"{text!r} cannot be a name. Fix: use at most 24 lower-case letters, digits and `-`. DVC reads a dot as "
            "the start of a setting"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]  # Label Studio accepts titles made of such names
Share = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=1)]


def fingerprint(*parts: object) -> str:
    """Return a digest, 16 hexadecimal digits, of settings and plain JSON values that a result depends on.

    A setting at its default is left out, and the order of settings does not count. A new setting with a default
    therefore keeps all published results valid.
    """

    def plain(part: object) -> object:
        return part.model_dump(mode="json", exclude_defaults=True) if isinstance(part, Section) else part

    text = json.dumps([plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
