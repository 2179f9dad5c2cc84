"""Reads FHIR data elements that may be missing or misshapen: dates, periods, texts, quantities. Never raises."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from cds_service.policy.case import Period

_T = TypeVar("_T")
_DATE = re.compile(r"^(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T.*)?)?)?$")


def listed(value: object) -> list[Any]:
    """A list as it is; anything else as nothing."""
    return value if isinstance(value, list) else []


def entries(bundle: object) -> list[Any]:
    """The entries of a Bundle; some writers make a list of one its member."""
    given = bundle.get("entry") if isinstance(bundle, dict) else None
    return [given] if isinstance(given, dict) else listed(given)


def text(value: object) -> str | None:
    """A non-empty string, or None."""
    return value if isinstance(value, str) and value else None


def identifiers(values: object) -> set[tuple[str, str]]:
    """System ("" where there is none) and value of Identifiers; one without a value says nothing."""
    given = [i for i in listed(values) if isinstance(i, dict)]
    return {(text(i.get("system")) or "", value) for i in given if (value := text(i.get("value")))}


def distinct(values: Sequence[_T]) -> tuple[_T, ...]:
    """The values, each once, in the order of their first coming."""
    return tuple(dict.fromkeys(values) if len(values) > 1 else values)


def span(value: object) -> Period | None:
    """The days a FHIR date or dateTime may mean: a year or month is a range. The local date, as written."""
    if not isinstance(value, str):
        return None
    whole = _whole_day(value)
    return _range(value) if whole is None else Period(whole, whole)


def day(value: object) -> date | None:
    """The day of a full date or dateTime; None for a partial one."""
    if not isinstance(value, str):
        return None
    whole = _whole_day(value)
    if whole is not None:
        return whole
    period = _range(value)
    return period.start if period and period.start == period.end else None


def moment(value: object) -> datetime | date | None:
    """When a full dateTime was: an instant where it tells its zone, else the day as written."""
    whole = day(value)
    if whole is None or not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return whole
    return instant if instant.tzinfo else whole


def local_day(moment: datetime, written: object) -> date:
    """The day of a moment where the clock shows the offset of `written`, a dateTime; in UTC where it has none."""
    try:
        zone = datetime.fromisoformat(written).tzinfo if isinstance(written, str) else None
    except ValueError:
        zone = None
    return moment.astimezone(zone or UTC).date()


def _whole_day(value: str) -> date | None:
    """A full date as nearly all are written. None says nothing: `_range` has the last word."""
    if value[4:8:3] != "--" or value[10:11] not in ("", "T") or "\n" in value:
        return None
    try:
        return date.fromisoformat(value[:10])
    except ValueError:
        return None


def _range(value: str) -> Period | None:
    match = _DATE.match(value)
    if match is None:
        return None
    year, month, day = int(match[1]), match[2], match[3]
    try:
        start = date(year, int(month or 1), int(day or 1))
        last_month = int(month or 12)
        end = start if day else date(year, last_month, monthrange(year, last_month)[1])
    except ValueError:
        return None
    return Period(start, end)


def period(value: object) -> Period | None:
    """A FHIR Period; open ends stay open. None when there is none."""
    if not isinstance(value, dict):
        return None
    start, end = span(value.get("start")), span(value.get("end"))
    return Period(start.start if start else None, end.end if end else None) if start or end else None


def choice_span(resource: Mapping[str, Any], name: str) -> Period | None:
    """When something was, from `<name>DateTime` or `<name>Period`."""
    return span(resource.get(name + "DateTime")) or period(resource.get(name + "Period"))


def first_day(resource: Mapping[str, Any], name: str) -> date | None:
    """The first day of `<name>DateTime`, `<name>Period` or `<name>Timing`."""
    direct = day(resource.get(name + "DateTime"))
    if direct:
        return direct
    bounds, timing = resource.get(name + "Period"), resource.get(name + "Timing")
    if isinstance(bounds, dict) and (start := day(bounds.get("start"))):
        return start
    if not isinstance(timing, dict):
        return None
    return min((d for e in listed(timing.get("event")) if (d := day(e))), default=None)


def texts(concepts: list[Any]) -> tuple[str, ...]:
    """Texts of CodeableConcepts: their own text and their codings' displays, each once."""
    found: list[str] = []
    for concept in concepts:
        if isinstance(concept, dict):
            own = concept.get("text")
            if isinstance(own, str) and own:
                found.append(own)
            if "coding" in concept:
                codings = listed(concept["coding"])
                found += [d for c in codings if isinstance(c, dict) and (d := text(c.get("display")))]
    return distinct(found)


def first_text(concept: object) -> str:
    """The first text of a CodeableConcept; empty where it has none."""
    own = text(concept.get("text")) if isinstance(concept, dict) else None
    return own or next(iter(texts([concept])), "")


def concepts(value: object) -> list[Any]:
    """A CodeableConcept or a list of them, as a list."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def extensions(element: Mapping[str, Any], url: str) -> list[dict[str, Any]]:
    """Extensions with a URL (version suffix ignored)."""
    found = []
    for extension in listed(element.get("extension")):
        own = extension.get("url") if isinstance(extension, dict) else None
        if own == url or (isinstance(own, str) and own.startswith(f"{url}|")):
            found.append(extension)
    return found


def extension_values(extension: Mapping[str, Any], names: Collection[str]) -> dict[str, list[Any]]:
    """The value[x] of the nested extensions with these names; a name may come more than once."""
    found: dict[str, list[Any]] = {}
    for inner in listed(extension.get("extension")):
        url = inner.get("url") if isinstance(inner, dict) else None
        if isinstance(url, str):
            name = url.split("|", 1)[0] if "|" in url else url
            if name in names:
                found.setdefault(name, []).append(_value(inner))
    return found


def _value(extension: Mapping[str, Any]) -> Any:
    for name, value in extension.items():
        if name.startswith("value"):
            return value
    return None
