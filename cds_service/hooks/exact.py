"""Numbers as they were written: FHIR decimals carry precision, so 1.00 must not come back as 1.0 (FHIR R4, decimal)."""

from __future__ import annotations

import json
from typing import Any

import orjson


class WrittenNumber(float):
    """A number that remembers its text; elsewhere it is a plain float."""

    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        """From the text of a JSON number."""
        number = super().__new__(cls, text)
        number.text = text
        return number


_SAFE_DIGITS = 18  # whole numbers of more digits may not fit in 64 bits, which is all that orjson writes


def loads_exact(body: bytes) -> Any:
    """Parse JSON so that every decimal, and every large whole number, keeps its text; the body is known to be JSON."""
    return json.loads(body, parse_float=WrittenNumber, parse_int=_whole)


def _whole(text: str) -> int | WrittenNumber:
    return int(text) if len(text) <= _SAFE_DIGITS else WrittenNumber(text)


def as_written(value: object) -> Any:
    """`default` for orjson: a number's own text. Raises TypeError for what is not JSON."""
    if isinstance(value, WrittenNumber):
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is not JSON")


def holds_decimal(value: object) -> bool:
    """True when a parsed JSON value holds a number whose text may differ from what would be written."""
    if isinstance(value, dict):
        return any(holds_decimal(v) for v in value.values())
    if isinstance(value, list):
        return any(holds_decimal(v) for v in value)
    return isinstance(value, float)
