"""The case out of a request: what is used, what is refused, and how that is told."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from cds_service.facts.builder import MAX_ORDERS, CaseBuilder
from cds_service.facts.sources import read_value
from cds_service.policy.case import Case, Code, Period, SourceState

Json = dict[str, Any]
CPT = "http://www.ama-assn.org/go/cpt"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def builder() -> CaseBuilder:
    return CaseBuilder("p", date(2026, 11, 23), None, {})


def draft(own: Any = "s1", **elements: Any) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": own,
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": CPT, "code": "20939"}]},
        "subject": {"reference": "Patient/p"},
        **elements,
    }


def bundle(*resources: Any) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": r} for r in resources]}


def case_of(drafts: list[Any] | None = None, **sources: Json) -> tuple[Case, CaseBuilder]:
    made = builder()
    made.draft_orders(bundle(*(drafts or [])), "context.draftOrders")
    for name, value in sources.items():
        made.supply(name.replace("_", "-"), read_value(value))
    return made.build(), made


def condition(own: str = "c1", **elements: Any) -> Json:
    return {
        "resourceType": "Condition",
        "id": own,
        "code": {"coding": [{"system": ICD, "code": "M50.321"}]},
        "subject": {"reference": "Patient/p"},
        **elements,
    }


def status(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


# --- orders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["revoked", "cancelled", "completed", "entered-in-error", "stopped", "ended"])
def test_settled_orders_are_out_of_consideration(state: str) -> None:
    case, made = case_of([draft(status=state), draft("s2")])
    assert [o.ref for o in case.orders] == ["ServiceRequest/s2"]
    assert made.settled == ["ServiceRequest/s1"]
    assert case.faults == ()


def test_an_order_not_to_be_done_is_out_of_consideration_and_its_opposite_is_not() -> None:
    case, _ = case_of([draft(doNotPerform=True), draft("s2", doNotPerform=False)])
    assert [o.ref for o in case.orders] == ["ServiceRequest/s2"]


@pytest.mark.parametrize("state", ["draft", "active", "on-hold", "unknown"])
def test_other_statuses_are_judged(state: str) -> None:
    case, _ = case_of([draft(status=state)])
    assert [(o.ref, o.draft) for o in case.orders] == [("ServiceRequest/s1", True)]


@pytest.mark.parametrize("own", [None, "", 7, []])
def test_an_order_that_cannot_be_named_costs_itself_only(own: Any) -> None:
    case, made = case_of([draft(own), draft("s2")])
    assert [o.ref for o in case.orders] == ["ServiceRequest/s2"]
    assert made.orders_unusable == ("context.draftOrders.entry[0].resource.id",)
    assert case.source("orders").unusable == made.orders_unusable


def test_the_second_of_two_with_one_id_is_refused() -> None:
    case, made = case_of([draft("same"), draft("same", code={"text": "other"})])
    assert [o.codes for o in case.orders] == [(Code("cpt", "20939"),)]
    assert made.orders_unusable == ("context.draftOrders.entry[1].resource.id",)


def test_a_modifier_nobody_understands_makes_an_order_unusable() -> None:
    case, made = case_of([draft(modifierExtension=[{"url": "urn:x", "valueBoolean": True}])])
    assert case.orders == ()
    assert made.orders_unusable == ("ServiceRequest/s1",)
    assert [f.fatal for f in case.faults] == [True]


def test_another_patients_order_is_refused() -> None:
    case, made = case_of([draft(subject={"reference": "Patient/q"}), draft("s2", subject={"reference": "x/Patient/p"})])
    assert [o.ref for o in case.orders] == ["ServiceRequest/s2"]
    assert made.orders_unusable == ("ServiceRequest/s1",)


def test_active_orders_of_the_chart_are_context_and_the_draft_of_the_same_order_wins() -> None:
    chart = bundle(draft("s1", status="active"), draft("a1", status="active"), draft("a2", status="draft"))
    case, _ = case_of([draft("s1")], active_orders=chart)
    assert [(o.ref, o.draft) for o in case.orders] == [("ServiceRequest/a1", False), ("ServiceRequest/s1", True)]


def test_the_order_of_entries_does_not_show() -> None:
    drafts = [draft("b"), draft("a"), draft("c", code={"coding": [{"system": CPT, "code": "20930"}]})]
    sick = [condition("c2"), condition("c1")]
    first, _ = case_of(drafts, conditions=bundle(*sick))
    second, _ = case_of(drafts[::-1], conditions=bundle(*sick[::-1]))
    assert first.orders == second.orders
    assert first.conditions == second.conditions
    assert [o.ref.split("/")[1] for o in first.orders] == ["c", "a", "b"]


# --- the chart ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "active", "confirmed"),
    [
        ({}, True, True),
        ({"clinicalStatus": status(CLINICAL, "active")}, True, True),
        ({"clinicalStatus": status(CLINICAL, "recurrence")}, True, True),
        ({"clinicalStatus": status(CLINICAL, "resolved")}, False, True),
        ({"clinicalStatus": status(CLINICAL, "inactive")}, False, True),
        ({"clinicalStatus": {"coding": [{"code": "resolved"}]}}, False, True),
        ({"clinicalStatus": {"coding": [{"system": CLINICAL, "code": "perhaps"}]}}, None, True),
        ({"abatementDateTime": "2020"}, False, True),
        ({"abatementString": "childhood"}, False, True),
        ({"verificationStatus": status(VERIFICATION, "confirmed")}, True, True),
        ({"verificationStatus": status(VERIFICATION, "provisional")}, True, None),
        ({"verificationStatus": status(VERIFICATION, "differential")}, True, None),
    ],
)
def test_the_status_of_a_condition(elements: Json, active: bool | None, confirmed: bool | None) -> None:
    case, _ = case_of(conditions=bundle(condition(**elements)))
    [found] = case.conditions
    assert (found.active, found.confirmed) == (active, confirmed)


@pytest.mark.parametrize("code", ["refuted", "entered-in-error"])
@pytest.mark.parametrize("system", [VERIFICATION, "urn:local", None])
def test_a_condition_that_never_was_is_no_fact(code: str, system: str | None) -> None:
    coding = {"code": code} | ({"system": system} if system else {})
    case, _ = case_of(conditions=bundle(condition(verificationStatus={"coding": [coding]})))
    assert case.conditions == ()
    assert case.source("conditions").complete


def test_a_faulty_element_is_unknown_not_absent() -> None:
    case, _ = case_of(conditions=bundle(condition(clinicalStatus="active", verificationStatus=[7])))
    [found] = case.conditions
    assert (found.active, found.confirmed) == (None, None)
    assert found.codes == (Code("icd-10-cm", "M50.321"),)
    assert {f.fatal for f in case.faults} == {False}
    assert all("active" not in f.text.split() or "clinicalStatus" in f.text for f in case.faults)


@pytest.mark.parametrize(
    ("elements", "active"),
    [
        ({"abatementDateTime": "2020-13-45"}, None),
        ({"abatementDateTime": 7, "clinicalStatus": status(CLINICAL, "active")}, True),
    ],
)
def test_an_end_that_cannot_be_read_leaves_open_whether_the_condition_is_active(
    elements: Json, active: bool | None
) -> None:
    case, _ = case_of(conditions=bundle(condition(**elements)))
    assert [c.active for c in case.conditions] == [active]


def test_onset_is_a_span_also_when_partial_and_recorded_date_bounds_it() -> None:
    chart = bundle(
        condition("a", onsetDateTime="2026-10"),
        condition("b", recordedDate="2026-10-12"),
        condition("c", onsetPeriod={"start": "2026-01-01"}),
        condition("d", onsetString="long ago"),
    )
    case, _ = case_of(conditions=chart)
    assert [c.onset for c in case.conditions] == [
        Period(date(2026, 10, 1), date(2026, 10, 31)),
        Period(None, date(2026, 10, 12)),
        Period(date(2026, 1, 1), None),
        None,
    ]


@pytest.mark.parametrize(
    "foreign",
    [
        condition(subject={"reference": "Patient/q"}),
        condition(subject={"reference": "https://ehr.example/fhir/Patient/q/_history/1"}),
    ],
)
def test_another_patients_data_is_refused_and_said_to_be(foreign: Json) -> None:
    case, _ = case_of(conditions=bundle(foreign, condition("c2")))
    assert [c.ref for c in case.conditions] == ["Condition/c2"]
    assert case.source("conditions").unusable == ("Condition/c1",)
    assert not case.source("conditions").complete


@pytest.mark.parametrize("own", ["p", "Patient/p", "https://ehr.example/fhir/Patient/p", "Patient/p/_history/3"])
def test_the_patients_own_data_is_used_however_the_reference_is_spelt(own: str) -> None:
    reference = own if "/" in own else f"Patient/{own}"
    case, _ = case_of(conditions=bundle(condition(subject={"reference": reference})))
    assert len(case.conditions) == 1


def test_another_patient_as_the_patient_is_refused() -> None:
    case, _ = case_of(patient={"resourceType": "Patient", "id": "q", "birthDate": "1970"})
    assert case.patient is None
    assert case.source("patient").unusable == ("Patient/q",)


def test_a_partial_birth_date_is_a_range() -> None:
    case, _ = case_of(patient={"resourceType": "Patient", "id": "p", "birthDate": "1970-05", "gender": "female"})
    assert case.patient is not None
    assert case.patient.birth == Period(date(1970, 5, 1), date(1970, 5, 31))


GRANTED: Json = {
    "resourceType": "ClaimResponse",
    "id": "cr",
    "status": "active",
    "type": {"coding": [{"code": "professional"}]},
    "use": "preauthorization",
    "patient": {"reference": "Patient/p"},
    "created": "2026-10-01",
    "insurer": {"display": "x"},
    "outcome": "complete",
    "preAuthRef": "A-1",
}
SPOILT = (
    GRANTED | {"patient": {"reference": "Patient/q"}},
    GRANTED | {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]},
)


def test_a_reference_does_not_lead_to_what_was_refused() -> None:
    insured = draft(insurance=[{"reference": "ClaimResponse/cr"}])
    case, _ = case_of([insured], authorizations=bundle(GRANTED))
    assert len(case.orders[0].authorizations) == 1
    for spoilt in SPOILT:
        case, _ = case_of([insured], authorizations=bundle(spoilt))
        assert case.orders[0].authorizations == ()
        assert case.source("authorizations").unusable == ("ClaimResponse/cr",)


@pytest.mark.parametrize(("response", "counts"), [(GRANTED, True), *((r, False) for r in SPOILT)])
@pytest.mark.parametrize("named", ["ClaimResponse/cr", "urn:uuid:1"])
def test_what_comes_with_draft_orders_is_found_only_if_intake_accepts_it(
    response: Json, counts: bool, named: str
) -> None:
    held = {k: v for k, v in response.items() if k != "id" or named == "ClaimResponse/cr"}
    made = builder()
    basket = bundle(draft(insurance=[{"reference": named}]), held)
    basket["entry"][1]["fullUrl"] = "urn:uuid:1"
    made.draft_orders(basket, "context.draftOrders")
    assert [bool(o.authorizations) for o in made.draft()] == [counts]
    case = made.build()
    assert [bool(o.authorizations) for o in case.orders] == [counts]
    assert any(f.fatal for f in case.faults) is not counts
    assert case.source("orders").complete


@pytest.mark.parametrize("own", ["d", None])
@pytest.mark.parametrize(
    "target",
    [
        {"resourceType": "Device", "type": [5]},
        {"resourceType": "Device", "type": 5},
        {"resourceType": "Teapot", "type": {"text": "x"}},
        {"resourceType": "Device", "type": {"text": "x"}, "modifierExtension": [{"url": "urn:x"}]},
    ],
)
def test_an_order_whose_code_cannot_be_read_where_it_points_is_named(target: Json, own: str | None) -> None:
    request = {
        "resourceType": "DeviceRequest",
        "id": "r",
        "status": "draft",
        "intent": "order",
        "codeReference": {"reference": f"{target['resourceType']}/d" if own else "urn:uuid:1"},
        "subject": {"reference": "Patient/p"},
    }
    made = builder()
    basket = bundle(request, draft(), target | ({"id": own} if own else {}))
    basket["entry"][2]["fullUrl"] = "urn:uuid:1"
    made.draft_orders(basket, "context.draftOrders")
    assert [o.codes for o in made.draft()] == [(), (Code("cpt", "20939"),)]
    assert made.build().source("orders").unusable == ("DeviceRequest/r",)


@pytest.mark.parametrize("others", [{"status": "completed"}, {"id": None}, {"resourceType": [7], "id": None}])
def test_nothing_is_read_through_a_reference_to_an_order(others: Json) -> None:
    """Settled and unnamed orders do not pass intake: following a reference there would stumble."""
    first = {
        "resourceType": "DeviceRequest",
        "id": "r1",
        "status": "draft",
        "intent": "order",
        "codeReference": {"reference": "urn:uuid:1"},
        "subject": {"reference": "Patient/p"},
    }
    made = builder()
    basket = bundle(first, draft("s2", code=[5]) | others)
    basket["entry"][1]["fullUrl"] = "urn:uuid:1"
    made.draft_orders(basket, "context.draftOrders")
    assert [o.codes for o in made.build().orders] == [()]


def test_active_orders_beyond_the_limit_are_left_out_and_said_to_be() -> None:
    many = [draft(f"a{n}", status="active") for n in range(MAX_ORDERS)]
    case, _ = case_of([draft()], active_orders=bundle(*many, draft("done", status="completed")))
    assert len(case.orders) == 1 + MAX_ORDERS
    assert case.source("active-orders").complete
    case, _ = case_of([draft()], active_orders=bundle(*many, draft("a", status="active")))
    again, _ = case_of([draft()], active_orders=bundle(draft("a", status="active"), *many[::-1]))
    assert case.orders == again.orders
    assert len(case.orders) == 1 + MAX_ORDERS
    assert case.source("active-orders").unusable == ("further orders",)


def test_orders_of_the_chart_beyond_the_limit_are_not_judged_and_that_is_said() -> None:
    made = builder()
    made.chart_orders(read_value(bundle(*(draft(f"a{n}") for n in range(MAX_ORDERS + 2)))))
    case = made.build()
    assert len(case.orders) == MAX_ORDERS
    assert case.source("orders").unusable == ("further orders",)
    assert [f.ref for f in case.faults if f.fatal] == ["further orders"]


def test_orders_of_the_chart_are_as_incomplete_as_what_they_were_read_from() -> None:
    made = builder()
    made.chart_orders(read_value(bundle(draft()) | {"total": 2}))
    assert not made.build().source("orders").complete


def test_payors_by_identifier_display_contained_and_urn() -> None:
    insurer = {"resourceType": "Organization", "id": "o", "name": "Name", "alias": ["Alias"]}
    insurer["identifier"] = [{"system": "urn:s", "value": "v"}, {"value": "bare"}, {"system": "urn:s"}]

    def cover(payor: Json, **elements: Any) -> Json:
        who = {"beneficiary": {"reference": "Patient/p"}, "payor": [payor]}
        return {"resourceType": "Coverage", "id": "v", "status": "active", **who, **elements}

    held = bundle(cover({"reference": "urn:uuid:1", "display": "Shown"}), insurer)
    held["entry"][1]["fullUrl"] = "urn:uuid:1"
    for chart in (
        held,
        bundle(cover({"reference": "#o", "display": "Shown"}, contained=[insurer])),
        bundle(cover({"reference": "https://ehr.example/fhir/Organization/o", "display": "Shown"}), insurer),
    ):
        case, _ = case_of(coverage=chart)
        [found] = case.coverages
        assert found.payor_identifiers == (("urn:s", "v"), ("", "bare"))
        assert found.payor_names == ("Shown", "Name", "Alias")


@pytest.mark.parametrize(
    ("state", "performed"),
    [("completed", True), ("in-progress", True), ("not-done", False), ("entered-in-error", False)],
)
def test_procedures_that_were_not_done_are_no_history(state: str, performed: bool) -> None:
    done = {
        "resourceType": "Procedure",
        "id": "x",
        "status": state,
        "code": {"coding": [{"system": CPT, "code": "22551"}]},
        "subject": {"reference": "Patient/p"},
        "performedPeriod": {"start": "2026-01-02", "end": "2026-01-03"},
    }
    case, _ = case_of(procedures=bundle(done))
    assert len(case.procedures) == performed
    if performed:
        assert case.procedures[0].performed == Period(date(2026, 1, 2), date(2026, 1, 3))


def recorded(kind: str, **elements: Any) -> Json:
    """A procedure or result with a readable code."""
    code = {"coding": [{"system": CPT, "code": "22551"}]}
    return {
        "resourceType": kind,
        "id": "x",
        "status": "completed" if kind == "Procedure" else "final",
        "code": code,
        "subject": {"reference": "Patient/p"},
        **elements,
    }


@pytest.mark.parametrize("state", ["Preliminary", 7, ["final"], "FINAL"])
def test_a_result_whose_status_cannot_be_read_is_not_final(state: Any) -> None:
    case, _ = case_of(observations=bundle(recorded("Observation", status=state)))
    assert [o.final for o in case.observations] == [False]


@pytest.mark.parametrize("state", ["final", "amended", "corrected"])
def test_a_final_result_is_final(state: str) -> None:
    case, _ = case_of(observations=bundle(recorded("Observation", status=state)))
    assert [o.final for o in case.observations] == [True]


LONG = "9" * 201


@pytest.mark.parametrize("kind", ["Procedure", "Observation", "Condition"])
@pytest.mark.parametrize(
    "code",
    [
        {"text": "said in words only"},
        {"coding": [{"system": CPT, "code": 22551}]},
        "22551",
        {"coding": [{"system": CPT, "code": LONG}]},
        {"coding": [{"system": f"urn:{'x' * 2000}", "code": "22551"}]},
    ],
    ids=["words", "not text", "not an object", "no code is that long", "no system is that long"],
)
def test_what_is_not_coded_readably_is_a_fact_without_codes(kind: str, code: Any) -> None:
    """It may be any procedure, result or diagnosis: policies must see that there is one."""
    made = condition(code=code) if kind == "Condition" else recorded(kind, code=code)
    name = f"{kind.lower()}s"
    case, _ = case_of(**{name: bundle(made)})
    assert [fact.codes for fact in getattr(case, name)] == [()]


def test_a_reason_that_no_code_can_be_is_unread_not_absent() -> None:
    case, _ = case_of([draft(reasonCode=[{"coding": [{"system": ICD, "code": LONG}]}])])
    assert [(o.reason_codes, o.reasons_faulty) for o in case.orders] == [((), True)]


def test_the_longest_code_is_read() -> None:
    case, _ = case_of(conditions=bundle(condition(code={"coding": [{"system": "urn:local", "code": LONG[1:]}]})))
    assert [c.codes for c in case.conditions] == [(Code("urn:local", LONG[1:]),)]


DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"


@pytest.mark.parametrize(
    ("tie", "about"),
    [
        ({"basedOn": [{"reference": "ServiceRequest/s1"}]}, ("ServiceRequest/s1",)),
        ({"extension": [{"url": DTR, "valueReference": {"reference": "ServiceRequest/s1"}}]}, ("ServiceRequest/s1",)),
        ({"extension": [{"url": f"{DTR}|2.1.0", "valueReference": {"reference": "Coverage/c"}}]}, ("Coverage/c",)),
        ({"extension": [{"url": "urn:other", "valueReference": {"reference": "ServiceRequest/s1"}}]}, ()),
        ({}, ()),
    ],
)
def test_answers_are_about_what_based_on_and_the_dtr_context_name(tie: Json, about: tuple[str, ...]) -> None:
    answered = {
        "resourceType": "QuestionnaireResponse",
        "id": "qr",
        "status": "completed",
        "subject": {"reference": "Patient/p"},
        "item": [{"linkId": "one", "answer": [{"valueBoolean": True}]}],
        **tie,
    }
    case, _ = case_of(answers=bundle(answered))
    assert [(a.link_id, a.value, a.about) for a in case.answers] == ([("one", True, about)] if about else [])


def test_sources_are_read_empty_unavailable_or_never_spoken_of() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    case, _ = case_of([draft()], conditions=bundle(condition()), procedures=bundle(), coverage=outcome)
    states = {n: case.source(n).state for n in ("orders", "conditions", "procedures", "coverage", "observations")}
    assert states == {
        "orders": SourceState.READ,
        "conditions": SourceState.READ,
        "procedures": SourceState.EMPTY,
        "coverage": SourceState.UNAVAILABLE,
        "observations": SourceState.UNAVAILABLE,
    }


def test_faults_never_hold_a_value() -> None:
    secret = "Wolkenbruch"
    chart = bundle(
        condition(code=secret, onsetDateTime=secret, clinicalStatus=secret, note=secret, vendor=secret),
        condition("c2", subject={"reference": f"Patient/{secret}"}),
        condition("c3", modifierExtension=[{"url": secret}]),
    )
    case, _ = case_of([draft(code=secret, authoredOn=secret)], conditions=chart)
    assert len(case.faults) >= 5
    assert secret not in repr([(f.ref, f.path, f.text) for f in case.faults])


def test_an_authorisation_names_its_order_even_where_the_id_is_not_valid() -> None:
    crd = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
    said = {"url": crd, "extension": [{"url": "pa-needed", "valueCode": "satisfied"}]}
    case, _ = case_of([draft("s_1", extension=[said])])
    assert [a.ref for a in case.orders[0].authorizations] == [case.orders[0].ref] == ["ServiceRequest/s_1"]


# --- the day of a live call -------------------------------------------------------------------------

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)  # the evening of the 22nd in the Americas


@pytest.mark.parametrize(
    ("moment", "elements", "day", "offline"),
    [
        (NOON, {"authoredOn": "2026-11-20"}, "2026-11-23", "2026-11-20"),
        (NOON, {"authoredOn": "2019-02-03T08:00:00Z"}, "2026-11-23", "2019-02-03"),
        (NOON, {"authoredOn": "2026-11-24"}, "2026-11-24", "2026-11-24"),
        (NOON, {}, "2026-11-23", "2026-11-23"),
        (NOON, {"authoredOn": "2026-11-20", "occurrenceDateTime": "2026-11-10"}, "2026-11-10", "2026-11-10"),
        (NIGHT, {"authoredOn": "2026-11-20T10:00:00-05:00"}, "2026-11-22", "2026-11-20"),
        (NIGHT, {"authoredOn": "2026-11-22T20:30:00-05:00"}, "2026-11-22", "2026-11-22"),
        (NIGHT, {"authoredOn": "2026-11-20T10:00:00Z"}, "2026-11-23", "2026-11-20"),
    ],
)
def test_a_live_order_is_judged_by_no_earlier_day_than_that_of_receipt(
    moment: datetime, elements: Json, day: str, offline: str
) -> None:
    for live, expected in ((moment, day), (None, offline)):
        made = CaseBuilder("p", date(2026, 11, 23), None, {}, live)
        made.draft_orders(bundle(draft(**elements)), "context.draftOrders")
        [early] = made.draft()
        case = made.build()
        assert str(made.day(early)) == str(case.day(case.orders[0])) == expected


def test_as_of_wins_in_a_live_call_too() -> None:
    made = CaseBuilder("p", date(2026, 11, 23), date(2026, 1, 5), {}, NOON)
    made.draft_orders(bundle(draft(authoredOn="2026-11-20")), "context.draftOrders")
    assert made.day(made.draft()[0]) == date(2026, 1, 5)
