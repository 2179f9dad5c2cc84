"""The Da Vinci CRD guide's metrics as rows to read: one table of the whole, one of its parts, one for CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cds_service.ledger.crd_metrics import SEGMENTS

Json = dict[str, Any]
COVERED = (("covered", "c1"), ("not-covered", "c2"), ("conditional", "c3"), ("indeterminate", "c4"))
_TEXTS = {
    "1_with_coverage_information": "Orders that got coverage information",
    "2_by_covered": "Orders by what was said of coverage",
    "3_prior_authorization_with_questionnaire": "Orders that need prior authorization: with a questionnaire",
    "4_documentation_with_questionnaire": "Orders that need documentation: with a questionnaire",
    "5_authorization_satisfied": "Orders with a settled authorization",
    "6_answered_within_5_seconds": "Calls answered within 5 seconds",
    "7_reduction_of_submissions": "Fewer prior authorization requests than before",
}
OUTSIDE = "Needs data from outside: how many requests were submitted before and since. This service sees neither."
_ORDERS, _CALLS = "1_with_coverage_information", "6_answered_within_5_seconds"
_SHORT = tuple(key for key in _TEXTS if key[0] in "13456")
HEADS = ("Calls", "Orders", "1", *(f"2 {name.replace('-', ' ')}" for name, _ in COVERED), "3", "4", "5", "6")


class Number(NamedTuple):
    """One line of the table: `share` is None where the ledger cannot know."""

    number: str
    text: str
    tone: str
    share: Json | None


def lines(found: Json) -> Iterator[Number]:
    """The whole, metric by metric; the second has a line for each answer about coverage."""
    for key, text in _TEXTS.items():
        if key != "2_by_covered":
            yield Number(key[0], text, "c1", found[key])
            continue
        yield Number(key[0], text, "", None)
        for code, tone in COVERED:
            yield Number("", code.replace("-", " "), tone, _covered(found, code))


def _covered(found: Json, code: str) -> Json:
    of = found[_ORDERS]["of"]
    share: Json = found["2_by_covered"].get(code, {"count": 0, "of": of, "percent": 0.0 if of else None})
    return share


class Part(NamedTuple):
    """One payer, client or hook: calls, orders, then percentages in the order of `HEADS`."""

    name: str
    cells: tuple[str, ...]


def parts(found: Json, labels: Mapping[str, str]) -> list[tuple[str, list[Part]]]:
    """The same by payer and client (metric 8) and by hook (9), those with most calls first."""
    return [(name, [_part(labels.get(k, k), v) for k, v in _busiest(found[f"by_{name}"])]) for name in SEGMENTS]


def _busiest(segments: Json) -> list[tuple[str, Json]]:
    return sorted(segments.items(), key=lambda i: -i[1][_CALLS]["of"])


def _part(name: str, found: Json) -> Part:
    orders, calls = found[_ORDERS]["of"], found[_CALLS]["of"]
    first, *others = (percent(found[key]) for key in _SHORT)
    covered = (percent(_covered(found, code)) for code, _ in COVERED)
    return Part(name, (f"{calls:,}", f"{orders:,}", first, *covered, *others))


def percent(share: Json) -> str:
    """A share in percent; a dash where there was nothing to count."""
    return "–" if share["percent"] is None else f"{share['percent']:.1f}%"


def table(found: Json) -> Iterator[Json]:
    """Everything as rows for CSV; what needs data from outside says so instead of a number."""
    yield from _rows("all", "", found)
    for name in SEGMENTS:
        for value, part in found[f"by_{name}"].items():
            yield from _rows(name, value, part)


def _rows(by: str, value: str, found: Json) -> Iterator[Json]:
    for key, text in _TEXTS.items():
        row = {"by": by, "value": value, "metric": int(key[0]), "name": text, "covered": ""}
        if key == "2_by_covered":
            yield from ({**row, "covered": code, **share} for code, share in found[key].items())
        elif found[key] is None:
            yield {**row, "note": OUTSIDE}
        else:
            yield {**row, **found[key]}
