"""Dates, references and prefetch values as they come."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from cds_service.facts import elements
from cds_service.facts.references import Index, key_of
from cds_service.facts.sources import read_prefetch, read_value
from cds_service.policy.case import Period, SourceState

Json = dict[str, Any]


def between(start: str, end: str) -> Period:
    return Period(date.fromisoformat(start), date.fromisoformat(end))


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("2026", between("2026-01-01", "2026-12-31")),
        ("2026-02", between("2026-02-01", "2026-02-28")),
        ("2024-02", between("2024-02-01", "2024-02-29")),
        ("2026-11-20", between("2026-11-20", "2026-11-20")),
        ("2026-11-20T23:30:00-05:00", between("2026-11-20", "2026-11-20")),
        ("2026-11-20T00:30:00+13:00", between("2026-11-20", "2026-11-20")),
        ("2026-13", None),
        ("2026-02-30", None),
        ("2026-W01-1", None),
        ("2026-11-20Tlate\nand later", None),
        ("2026-11-20\n", between("2026-11-20", "2026-11-20")),
        ("0000", None),
        ("20261120", None),
        ("11/20/2026", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (2026, None),
        (["2026"], None),
    ],
)
def test_a_partial_date_is_a_range_and_a_wrong_one_is_none(written: object, span: Period | None) -> None:
    assert elements.span(written) == span
    one_day = span is not None and span.start == span.end
    assert elements.day(written) == (span.start if one_day and span else None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"start": "2026-01", "end": "2026-03"}, between("2026-01-01", "2026-03-31")),
        ({"start": "2026"}, Period(date(2026, 1, 1), None)),
        ({"end": "2026-03-05"}, Period(None, date(2026, 3, 5))),
        ({"start": "?"}, None),
        ({}, None),
        ("2026", None),
    ],
)
def test_periods(value: object, expected: Period | None) -> None:
    assert elements.period(value) == expected


def test_the_first_day_of_what_is_to_happen() -> None:
    assert elements.first_day({"occurrenceDateTime": "2026-12-01"}, "occurrence") == date(2026, 12, 1)
    assert elements.first_day({"occurrencePeriod": {"start": "2026-12-02"}}, "occurrence") == date(2026, 12, 2)
    timing = {"occurrenceTiming": {"event": ["2027-01-05", "2026-12-03", "soon"]}}
    assert elements.first_day(timing, "occurrence") == date(2026, 12, 3)
    assert elements.first_day({"occurrenceDateTime": "2026-12"}, "occurrence") is None
    assert elements.first_day({}, "occurrence") is None


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("Condition/c1", "Condition/c1"),
        ("Condition/c1/_history/2", "Condition/c1"),
        ("https://ehr.example/fhir/Condition/c1", "Condition/c1"),
        ("https://ehr.example/fhir/r4/Condition/c1/_history/2", "Condition/c1"),
        ("https://ehr.example/Condition/c1/", "Condition/c1"),
        ("urn:uuid:7b1f6d1a-96d4-4f4a-8f5e-0d6b7c1c0001", "urn:uuid:7b1f6d1a-96d4-4f4a-8f5e-0d6b7c1c0001"),
        ("#inner", "#inner"),
        ("c1", "c1"),
        ("condition/c1", "condition/c1"),
    ],
)
def test_references_in_every_form(reference: str, key: str) -> None:
    assert key_of(reference) == key
    assert Index().key({"reference": reference}) == key
    assert Index().key(reference) == key


def test_what_is_no_literal_reference_has_no_key() -> None:
    for value in (
        None,
        7,
        {},
        {"reference": None},
        {"reference": ""},
        {"identifier": {"value": "x"}},
        {"display": "x"},
    ):
        assert Index().key(value) is None


def test_full_urls_and_contained_resources_are_found() -> None:
    index = Index()
    inner = {"resourceType": "Organization", "id": "in"}
    outer = {"resourceType": "Coverage", "id": "v", "contained": [7, inner]}
    index.add(outer, "urn:uuid:1")
    index.add({"resourceType": "Organization", "name": "no id"}, "urn:uuid:2")
    assert index.key({"reference": "urn:uuid:1"}) == "Coverage/v"
    assert index.resolve({"reference": "urn:uuid:1"}) is outer
    assert index.resolve({"reference": "urn:uuid:2"}) == {"resourceType": "Organization", "name": "no id"}
    assert index.resolve({"reference": "#in"}, within=outer) is inner
    assert index.resolve({"reference": "#in"}) is None
    assert index.resolve({"reference": "#other"}, within=outer) is None


def test_the_first_of_two_with_one_id_stays() -> None:
    index = Index()
    first, second = ({"resourceType": "Condition", "id": "c", "n": n} for n in (1, 2))
    index.add(first)
    index.add(second)
    assert index.resolve("Condition/c") is first
    index.settle(second, None)
    assert index.resolve("Condition/c") is first
    index.settle(first, {"clean": True})
    assert index.resolve("Condition/c") == {"clean": True}


def test_the_first_of_two_with_one_full_url_stays() -> None:
    index = Index()
    url = "https://x.example/fhir/Condition/c"
    index.add({"resourceType": "Condition", "id": "c"}, url)
    index.add({"resourceType": "Condition", "id": "d"}, url)
    assert index.key(url) == "Condition/c"


def test_a_reference_that_comes_to_mean_another_resource_is_noticed() -> None:
    index = Index()
    assert index.key("urn:uuid:1") == "urn:uuid:1"
    index.add({"resourceType": "Condition", "id": "c"}, "https://x.example/fhir/Condition/c")
    assert index.shifts == 0
    index.add({"resourceType": "Condition", "id": "d"}, "urn:uuid:1")
    assert (index.shifts, index.key("urn:uuid:1")) == (1, "Condition/d")


# --- what a prefetch value means ----------------------------------------------------------------------

PATIENT: Json = {"resourceType": "Patient", "id": "p"}
ERROR: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
HINT: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}]}


def searchset(*resources: Json, **parts: Any) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": r} for r in resources], **parts}


@pytest.mark.parametrize(
    ("value", "state", "count"),
    [
        (None, SourceState.EMPTY, 0),
        ({"resourceType": "Bundle"}, SourceState.EMPTY, 0),
        (searchset(), SourceState.EMPTY, 0),
        (PATIENT, SourceState.READ, 1),
        (searchset(PATIENT), SourceState.READ, 1),
        (ERROR, SourceState.UNAVAILABLE, 0),
        (searchset(ERROR), SourceState.UNAVAILABLE, 0),
        (searchset(HINT), SourceState.EMPTY, 0),
        (searchset(PATIENT, ERROR), SourceState.READ, 1),
        ("[object Object]", SourceState.UNAVAILABLE, 0),
        ([], SourceState.EMPTY, 0),
        ([PATIENT], SourceState.READ, 1),
        ([PATIENT, 7], SourceState.READ, 1),
        (searchset(entry={"resource": PATIENT}), SourceState.READ, 1),
        (7, SourceState.UNAVAILABLE, 0),
    ],
)
def test_read_empty_or_unavailable(value: object, state: SourceState, count: int) -> None:
    supplied = read_value(value)
    assert (supplied.source.state, len(supplied.resources)) == (state, count)


INCLUDED: Json = {"resource": {"resourceType": "Organization", "id": "o"}, "search": {"mode": "include"}}
FURTHER: Json = {"link": [{"relation": "next", "url": "https://ehr.example/next"}]}


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (searchset(entry=[{"fullUrl": "urn:x"}]), 0),
        (searchset(type="collection", entry=[{"fullUrl": "urn:x"}, {"resource": PATIENT}]), 1),
        (searchset(entry=[{"resource": {"id": "x"}}]), 0),
        (searchset(entry=[7]), 0),
        (searchset(entry="none"), 0),
        ({"resourceType": "Bundle", "type": "searchset", "total": 12}, 0),
        (searchset(PATIENT, total=12), 1),
        (searchset(total=1, entry=[INCLUDED]), 1),
        (searchset(PATIENT, total="many"), 1),
        (searchset(PATIENT, ERROR), 1),
        (searchset(PATIENT, {"resourceType": "OperationOutcome", "issue": [{"severity": ["?"]}]}), 1),
        (searchset(PATIENT, link={"relation": "next", "url": "https://ehr.example/next"}), 1),
        (searchset(PATIENT, link=[{"relation": "next", "url": 7}]), 1),
    ],
)
def test_absence_is_not_concluded_from_a_bundle_that_is_not_whole(value: Json, count: int) -> None:
    supplied = read_value(value)
    assert not supplied.source.complete
    assert (len(supplied.resources), supplied.next_page) == (count, None)


@pytest.mark.parametrize(
    "value",
    [
        searchset(PATIENT, total=1),
        searchset(PATIENT, HINT, total=1),
        searchset(PATIENT, PATIENT, total=1),
        searchset(total=1, entry=[INCLUDED, {"resource": PATIENT, "search": {"mode": "match"}}]),
        searchset(PATIENT, entry=None),
    ],
)
def test_a_bundle_that_is_whole_is_complete(value: Json) -> None:
    assert read_value(value).source.complete


def test_a_next_page_cures_only_what_it_alone_leaves_open() -> None:
    """A reader of the next pages may take the source as complete then: what else is missing must not be lost."""
    assert read_value(searchset(PATIENT, total=9, **FURTHER)).next_page == "https://ehr.example/next"
    assert read_value(searchset(PATIENT, ERROR, **FURTHER)).next_page is None
    one = {"resourceType": "Condition", "id": "a"}
    for others in ({"Condition": ERROR}, {"more": searchset(one, total=2)}, {"more": searchset(one, **FURTHER)}):
        assert read_prefetch({"conditions": searchset(one, **FURTHER), **others})["conditions"].next_page is None


def test_a_bundle_with_further_pages_is_not_complete() -> None:
    link = [{"relation": "self", "url": "a"}, {"relation": "next", "url": "https://ehr.example/next"}]
    supplied = read_value(searchset(PATIENT, link=link))
    assert supplied.next_page == "https://ehr.example/next"
    assert not supplied.source.complete


def test_keys_of_the_clients_own_are_recognised_by_what_they_hold() -> None:
    condition = {"resourceType": "Condition", "id": "c"}
    found = read_prefetch({"problems": searchset(condition), "Patient": PATIENT, "conditions": None, "coverages": None})
    assert found["conditions"].source.state is SourceState.READ
    assert found["patient"].source.state is SourceState.READ
    assert found["coverage"].source.state is SourceState.EMPTY
    assert read_prefetch(None) == {}


def test_two_entries_for_one_source_are_taken_together() -> None:
    one, two = ({"resourceType": "Condition", "id": i} for i in "ab")
    found = read_prefetch({"conditions": searchset(one), "more": searchset(two)})
    assert [r["id"] for r, _ in found["conditions"].resources] == ["a", "b"]
    spoilt = read_prefetch({"conditions": searchset(one), "Condition": ERROR})
    assert spoilt["conditions"].source.state is SourceState.UNAVAILABLE
    assert [r["id"] for r, _ in spoilt["conditions"].resources] == ["a"]


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23T10:00:00", date(2026, 11, 23)),
        ("2026-11-23T10:00:00+99:00", date(2026, 11, 23)),
        ("2026-11-23", date(2026, 11, 23)),
        ("2026-11", None),
        ("soon", None),
        (7, None),
    ],
)
def test_a_moment_is_an_instant_only_where_the_zone_is_told(written: object, moment: date | None) -> None:
    found = elements.moment(written)
    assert (found, type(found)) == (moment, type(moment))
