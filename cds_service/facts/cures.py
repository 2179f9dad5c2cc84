"""Plain cures: spellings of a primitive value that FHIR R4 does not allow and that can mean one thing only.

Private to `facts/repair.py`. A value that could mean two things is never guessed: a date with slashes, a number with a
comma, a code as a number with a fraction. A time of day without a zone stays as it is written: it tells a day, which is
what facts are read from, and no instant (`facts/elements.py`). Source: FHIR R4 (4.0.1), data types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from cds_service.facts.validity import COMPARED, Element


class Cure(NamedTuple):
    """`cured` gives the plain spelling, or the value itself where it has nothing to cure; `text` is what was done."""

    cured: Callable[[Any], Any]
    text: str


_AROUND = "".join(map(chr, (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F,
                            0x205F, 0x2060, 0x3000, 0xFEFF)))  # fmt: skip
_WITHIN = re.compile(f"[{re.escape(_AROUND)}]+")
_TIMED = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)? ?([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_ZONELESS = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+", re.ASCII)
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)T00:00(?::00(?:\.0+)?)?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(\.\d{1,17})?", re.ASCII)
_TRUTH = {"true": True, "false": False}


def trimmed(value: Any) -> Any:
    """A text without what blanks it: those of Unicode, and marks that take no room."""
    return value.strip(_AROUND) if isinstance(value, str) else value


def _in_order(value: Any) -> Any:
    return _WITHIN.sub(" ", value.strip(_AROUND)) if isinstance(value, str) else value


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value


def _truth(value: Any) -> Any:
    return _TRUTH.get(value.strip(_AROUND).lower(), value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    text = trimmed(value)
    return json.loads(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else value


def _whole(value: Any) -> Any:
    number = _number(value)
    return int(number) if isinstance(number, float) and number.is_integer() and isinstance(value, str) else number


def _moment(value: Any) -> Any:
    """Seconds, T and the colon of the zone as FHIR R4 has them; no zone where none is written."""
    match = _TIMED.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    day, clock, seconds, fraction, zone = match.groups()
    parts = f".{fraction[:6]}" if fraction else ""
    offset = (zone or "").upper()
    if len(offset) in (3, 5):
        offset = f"{offset[:3]}:{offset[3:] or '00'}"
    return f"{day}T{clock}:{seconds or '00'}{parts}{offset}"


def _day(value: Any) -> Any:
    match = _MIDNIGHT.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else value


_TRIM = Cure(trimmed, "has blanks around it, which were passed over")
_ORDER = Cure(_in_order, "has blanks that a code does not have, which were passed over")
_DIGITS = Cure(_digits, "is a number where FHIR R4 has text; its digits were read")
_TRUE = Cure(_truth, "is text where FHIR R4 has true or false; it was read as what it says")
_VALUE = Cure(_number, "is text where FHIR R4 has a number; it was read as that number")
_COUNT = Cure(_whole, _VALUE.text)
_TIME = Cure(_moment, "is a time that FHIR R4 writes otherwise; it was read as what it says")
_DATE = Cure(_day, "has a time at midnight where FHIR R4 has a day; the day was read")
_CLOCK = Cure(lambda v: f"{v}:00" if isinstance(v, str) and len(v) == 5 else v, "lacks seconds; none were read")
# By the kind of primitive, tried one after the other.
CURES: dict[str, tuple[Cure, ...]] = {
    "boolean": (_TRUE,),
    "canonical": (_TRIM,),
    "code": (_DIGITS, _ORDER),
    "date": (_TRIM, _DATE),
    "dateTime": (_TRIM, _TIME),
    "decimal": (_VALUE,),
    "id": (_TRIM,),
    "instant": (_TRIM, _TIME),
    "integer": (_COUNT,),
    "oid": (_TRIM,),
    "positiveInt": (_COUNT,),
    "time": (_TRIM, _CLOCK),
    "unsignedInt": (_COUNT,),
    "uri": (_TRIM,),
    "url": (_TRIM,),
    "uuid": (_TRIM,),
}
NO_ZONE = "has no time zone; its day was read as it is written"


def cure(owner: str, element: Element, value: Any) -> tuple[Any, str]:
    """The value in its plain spelling, and what was done to it; the value itself and "" where nothing was."""
    told = ""
    cures = CURES.get(element.kind, ())
    if element.kind == "string" and f"{owner}.{element.name}" in COMPARED:
        cures = (_TRIM,)
    for cured, text in cures:
        plain = cured(value)
        if (plain is not value and plain != value) or type(plain) is not type(value):
            value, told = plain, text
    if element.codes and isinstance(value, str) and value not in element.codes and value.lower() in element.codes:
        value, told = value.lower(), "is a code in another case, which was passed over"
    return value, told


def is_zoneless(kind: str, value: Any) -> bool:
    """Is it a time of day without a zone, in the one form that `cure` leaves of it?"""
    return kind in ("dateTime", "instant") and isinstance(value, str) and _ZONELESS.fullmatch(value) is not None
