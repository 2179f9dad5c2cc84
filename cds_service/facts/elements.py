"""Reads FHIR data elements that may be missing or misshapen: dates, periods, texts, quantities. Never raises."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from cds_service.policy.case import Period

_DATE = re.compile(r"^(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T.*)?)?)?$")


def listed(value: object) -> list[Any]:
    """A list as it is; anything else as nothing."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """A non-empty string, or None."""
    return value if isinstance(value, str) and value else None


def span(value: object) -> Period | None:
    """The days a FHIR date or dateTime may mean: a year or month is a range. The local date, as written."""
    match = _DATE.match(value) if isinstance(value, str) else None
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


def day(value: object) -> date | None:
    """The day of a full date or dateTime; None for a partial one."""
    period = span(value)
    return period.start if period and period.start == period.end else None


def period(value: object) -> Period | None:
    """A FHIR Period; open ends stay open. None when there is none."""
    if not isinstance(value, dict):
        return None
    start, end = span(value.get("start")), span(value.get("end"))
    return Period(start.start if start else None, end.end if end else None) if start or end else None


def choice_span(resource: Mapping[str, Any], name: str) -> Period | None:
    """When something was, from `<name>DateTime` or `<name>Period`."""
    return span(resource.get(f"{name}DateTime")) or period(resource.get(f"{name}Period"))


def first_day(resource: Mapping[str, Any], name: str) -> date | None:
    """The first day of `<name>DateTime`, `<name>Period` or `<name>Timing`."""
    direct = day(resource.get(f"{name}DateTime"))
    if direct:
        return direct
    bounds = resource.get(f"{name}Period")
    if isinstance(bounds, dict) and (start := day(bounds.get("start"))):
        return start
    timing = resource.get(f"{name}Timing")
    events = [d for e in listed(timing.get("event")) if (d := day(e))] if isinstance(timing, dict) else []
    return min(events) if events else None


def concept_texts(concept: object) -> Iterator[str]:
    """Texts of a CodeableConcept: its own text and its codings' displays."""
    if isinstance(concept, dict):
        if own := text(concept.get("text")):
            yield own
        for coding in listed(concept.get("coding")):
            if isinstance(coding, dict) and (display := text(coding.get("display"))):
                yield display


def concepts(value: object) -> list[Any]:
    """A CodeableConcept or a list of them, as a list."""
    return [value] if isinstance(value, dict) else listed(value)


def extensions(resource: Mapping[str, Any], url: str) -> Iterator[dict[str, Any]]:
    """Extensions with a URL (version suffix ignored)."""
    for extension in listed(resource.get("extension")):
        if isinstance(extension, dict) and str(extension.get("url", "")).split("|", 1)[0] == url:
            yield extension


def extension_values(extension: Mapping[str, Any], url: str) -> Iterator[Any]:
    """The value[x] of each nested extension with a name."""
    for inner in extensions(extension, url):
        yield next((v for k, v in inner.items() if k.startswith("value")), None)
