"""Charts to order-sign events: by patient, encounter and signing day, with the chart as known on that day."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cds_service.facts.builder import CaseBuilder
from cds_service.facts.sources import read_value
from cds_service.replay.charts import Chart, Entry, charts_of, events

Json = dict[str, Any]
PATIENT = {"resourceType": "Patient", "id": "p1", "birthDate": "1970-01-01"}


def resource(kind: str, own: str, **elements: Any) -> Json:
    return {"resourceType": kind, "id": own, "subject": {"reference": "Patient/p1"}, **elements}


def order(own: str = "o1", **elements: Any) -> Json:
    given: Json = {"status": "completed", "intent": "order", "authoredOn": "2026-03-10"} | elements
    return resource("ServiceRequest", own, **{k: v for k, v in given.items() if v is not None})


def bodies(*resources: Json) -> list[Json]:
    return [e.body for e in events(Chart("p1", [Entry(PATIENT), *map(Entry, resources)]))]


def drafts(body: Json) -> list[str]:
    return [e["resource"]["id"] for e in body["context"]["draftOrders"]["entry"]]


def facts(body: Json, key: str) -> list[Json]:
    return [e["resource"] for e in body["prefetch"][key]["entry"]]


def ids(body: Json, key: str) -> list[str]:
    return [r["id"] for r in facts(body, key)]


def test_orders_of_one_encounter_and_day_are_one_event() -> None:
    e1, e2 = {"reference": "Encounter/e1"}, {"reference": "https://ehr.example.org/fhir/Encounter/e2/_history/3"}
    chart = [
        order("a", encounter=e1, authoredOn="2026-03-10T09:00:00-05:00"),
        order("b", encounter=e1, authoredOn="2026-03-10T23:59:00-05:00"),
        order("c", encounter=e2),
        order("d", encounter=e1, authoredOn="2026-03-11"),
        order("e"),
    ]
    found = list(events(Chart("p1", [Entry(PATIENT), *map(Entry, chart)])))
    assert [(e.id, e.as_of, drafts(e.body)) for e in found] == [
        ("p1/-/2026-03-10", date(2026, 3, 10), ["e"]),
        ("p1/e1/2026-03-10", date(2026, 3, 10), ["a", "b"]),
        ("p1/e2/2026-03-10", date(2026, 3, 10), ["c"]),
        ("p1/e1/2026-03-11", date(2026, 3, 11), ["d"]),
    ]
    assert found[1].body["context"]["encounterId"] == "e1"
    assert "encounterId" not in found[0].body["context"]
    assert len({e.body["hookInstance"] for e in found}) == 4


@pytest.mark.parametrize(
    ("elements", "event"),
    [
        ({"authoredOn": "2026-03"}, "p1/-/2026-03-01"),
        ({"authoredOn": "2026"}, "p1/-/2026-01-01"),
        ({"authoredOn": None, "occurrenceDateTime": "2026-05-02T08:00:00Z"}, "p1/-/2026-05-02"),
        ({"authoredOn": None}, "p1/-/undated"),
        ({"authoredOn": "yesterday"}, "p1/-/undated"),
    ],
)
def test_the_signing_day_of_badly_dated_orders(elements: Json, event: str) -> None:
    (found,) = events(Chart("p1", [Entry(order(**elements))]))
    assert found.id == event
    assert (found.as_of is None) == event.endswith("undated")


@pytest.mark.parametrize("status", ["completed", "active", "revoked", "on-hold", "draft", None])
def test_a_signed_order_was_a_draft_before(status: str | None) -> None:
    (body,) = bodies(order(status=status, intent=None))
    (entry,) = body["context"]["draftOrders"]["entry"]
    assert (entry["resource"]["status"], entry["resource"]["intent"]) == ("draft", "order")


@pytest.mark.parametrize("elements", [{"status": "entered-in-error"}, {"intent": "filler-order"}, {"intent": "option"}])
def test_what_nobody_signed_is_no_event(elements: Json) -> None:
    assert bodies(order(**elements)) == []


def test_facts_dated_later_are_left_out() -> None:
    (body,) = bodies(
        order(),
        resource("Condition", "before", recordedDate="2026-03-10", onsetDateTime="2026-01-01"),
        resource("Condition", "later", recordedDate="2026-03-11", onsetDateTime="2026-01-01"),
        resource("Condition", "undated"),
        resource("Condition", "perhaps", onsetDateTime="2026"),
        resource("Procedure", "done", performedPeriod={"start": "2026-03-10", "end": "2026-03-12"}),
        resource("Procedure", "to-come", performedDateTime="2026-04"),
        resource("Observation", "late-result", effectiveDateTime="2026-03-09", issued="2026-03-12T10:00:00Z"),
        resource("Observation", "result", effectiveDateTime="2026-03-09"),
        resource("QuestionnaireResponse", "answered-later", authored="2026-03-11"),
    )
    assert ids(body, "conditions") == ["before", "undated", "perhaps"]
    assert ids(body, "procedures") == ["done"]
    assert ids(body, "observations") == ["result"]
    assert ids(body, "questionnaireResponses") == []


def test_a_condition_that_abated_later_was_active() -> None:
    resolved = {"coding": [{"code": "resolved"}]}
    (body,) = bodies(
        order(),
        resource("Condition", "c1", abatementDateTime="2026-03-20", clinicalStatus=resolved),
        resource("Condition", "c2", abatementDateTime="2026-03-09", clinicalStatus=resolved),
    )
    first, second = facts(body, "conditions")
    assert first["clinicalStatus"]["coding"][0]["code"] == "active"
    assert "abatementDateTime" not in first
    assert second["clinicalStatus"] == resolved


def test_orders_of_other_events_are_active_ones_as_far_as_the_chart_tells() -> None:
    found = bodies(
        order("signed-now"),
        order("waiting", authoredOn="2026-03-01", status="active"),
        order("performed", authoredOn="2026-03-01", status="completed"),
        order("to-be-performed", authoredOn="2026-03-01", occurrenceDateTime="2026-04-01"),
        order("later", authoredOn="2026-03-12", status="active"),
        order("never", authoredOn="2026-03-01", status="entered-in-error"),
    )
    body = next(b for b in found if drafts(b) == ["signed-now"])
    assert ids(body, "activeOrders") == ["waiting", "to-be-performed"]
    assert {r["status"] for r in facts(body, "activeOrders")} == {"active"}


def test_what_a_payer_said_later_is_not_known_yet() -> None:
    url = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
    said = [{"url": url, "extension": [{"url": "date", "valueDate": d}]} for d in ("2026-03-09", "2026-03-15")]
    (body,) = bodies(order(extension=said))
    (entry,) = body["context"]["draftOrders"]["entry"]
    assert entry["resource"]["extension"] == said[:1]


def test_a_transaction_refers_by_uuid() -> None:
    urls = [f"urn:uuid:00000000-0000-4000-8000-00000000000{n}" for n in range(4)]
    entries: list[Json] = [
        {"fullUrl": urls[0], "resource": {"resourceType": "Patient", "birthDate": "1970"}},
        {"fullUrl": urls[1], "resource": {"resourceType": "Organization", "name": "Aetna"}},
        {"fullUrl": urls[2], "resource": {"resourceType": "Coverage", "status": "active",
                                          "beneficiary": {"reference": urls[0]}, "payor": [{"reference": urls[1]}]}},
        {"fullUrl": urls[3], "resource": {"resourceType": "ServiceRequest", "status": "active", "intent": "order",
                                          "subject": {"reference": urls[0]}, "authoredOn": "2026-03-10"}},
    ]  # fmt: skip
    (chart,), lacking = charts_of({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert lacking == []
    assert chart.patient == urls[0].removeprefix("urn:uuid:")
    (event,) = events(chart)
    assert drafts(event.body) == [urls[3].removeprefix("urn:uuid:")]
    assert [r["resourceType"] for r in facts(event.body, "coverage")] == ["Coverage", "Organization"]


def test_the_patient_of_a_transaction_is_found_by_its_full_url() -> None:
    """Others refer to it by that alone, and what is not this patient's is not used."""
    url = "urn:uuid:00000000-0000-4000-8000-000000000009"
    sick = resource("Condition", "c", subject={"reference": url})
    [event] = events(Chart("p1", [Entry(PATIENT, url), Entry(order(subject={"reference": url})), Entry(sick)]))
    body = event.body
    builder = CaseBuilder("p1", date(2026, 3, 10), None, {}, prefetch=body["prefetch"])
    builder.draft_orders(body["context"]["draftOrders"], "context.draftOrders")
    builder.supply("conditions", read_value(body["prefetch"]["conditions"]))
    case = builder.build()
    assert (len(case.orders), len(case.conditions)) == (1, 1)


def test_several_patients_are_kept_apart_and_the_homeless_reported() -> None:
    other = {**order("o2"), "subject": {"reference": "Patient/p2"}}
    stray = {k: v for k, v in order("o3").items() if k != "subject"}
    bundle = {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": "x"}]}
    charts, lacking = charts_of({**bundle, "entry": [{"resource": r} for r in (PATIENT, order(), other, stray)]})
    assert [(c.patient, len(c.entries)) for c in charts] == [("p1", 2), ("p2", 1)]
    assert lacking == ["its further pages are not in the file", "ServiceRequest 4 names no patient"]


def test_an_order_without_subject_belongs_to_the_only_patient() -> None:
    stray = {k: v for k, v in order().items() if k != "subject"}
    (chart,), lacking = charts_of({"resourceType": "Bundle", "entry": [{"resource": PATIENT}, {"resource": stray}]})
    (event,) = events(chart)
    (entry,) = event.body["context"]["draftOrders"]["entry"]
    assert (lacking, entry["resource"]["subject"]) == ([], {"reference": "Patient/p1"})
