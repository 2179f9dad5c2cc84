"""The case out of a request: what is used, what is refused, and how that is told."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from cds_service.facts.builder import MAX_ORDERS, CaseBuilder
from cds_service.facts.sources import read_value
from cds_service.policy.case import Case, Code, Coverage, CoverageClass, Period, SourceState

Json = dict[str, Any]
CPT = "http://www.ama-assn.org/go/cpt"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
UCUM = "http://unitsofmeasure.org"
VENDOR = {"system": "urn:emr", "code": "17"}
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


MRN: Json = {"identifier": {"system": "urn:mrn", "value": "1"}}


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
    assert not case.source("orders").complete


def test_the_same_order_twice_is_one_order() -> None:
    case, made = case_of([draft("same"), draft("same"), draft("other")])
    assert [o.ref for o in case.orders] == ["ServiceRequest/other", "ServiceRequest/same"]
    assert (made.orders_unusable, case.faults, case.source("orders").complete) == ((), (), True)


def test_a_modifier_nobody_understands_makes_an_order_unusable() -> None:
    case, made = case_of([draft(modifierExtension=[{"url": "urn:x", "valueBoolean": True}])])
    assert case.orders == ()
    assert made.orders_unusable == ("ServiceRequest/s1",)
    assert [f.fatal for f in case.faults] == [True]


def test_another_patients_order_is_refused() -> None:
    case, made = case_of([draft(subject={"reference": "Patient/q"}), draft("s2", subject={"reference": "x/Patient/p"})])
    assert [o.ref for o in case.orders] == ["ServiceRequest/s2"]
    assert made.orders_unusable == ("ServiceRequest/s1",)


def test_another_patients_order_leaves_the_basket_complete() -> None:
    """It was read: it is not one that a policy looks for in vain."""
    case, made = case_of([draft(subject={"reference": "Patient/q"}), draft("s2")])
    assert (case.source("orders").complete, case.source("orders").foreign) == (True, ("ServiceRequest/s1",))
    assert [f.text for f in case.faults] == ["belongs to another patient and is not used"]
    made = builder()
    made.chart_orders(read_value(bundle(draft(subject={"reference": "Patient/q"}))))
    assert (made.build().source("orders").complete, made.orders_unusable) == (True, ("ServiceRequest/s1",))


def test_an_order_of_which_it_is_not_clear_whose_it_is_leaves_the_basket_open() -> None:
    case, made = case_of([draft(subject=MRN), draft("s2")])
    assert [o.ref for o in case.orders] == ["ServiceRequest/s2"]
    assert (made.orders_unusable, case.source("orders").complete) == (("ServiceRequest/s1",), False)
    assert [f.text for f in case.faults] == ["does not say clearly whose it is and is not used"]


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
        ({"clinicalStatus": {"text": "Resolved"}}, False, True),
        ({"clinicalStatus": {"text": "doing better"}}, None, True),
        ({"clinicalStatus": {"coding": [{"system": "urn:emr", "code": "17"}], "text": "Active"}}, True, True),
        ({"clinicalStatus": {"coding": [{"system": CLINICAL}], "text": "resolved"}}, False, True),
        ({"clinicalStatus": {"coding": [VENDOR, {"system": CLINICAL, "code": "active"}]}}, True, True),
        ({"clinicalStatus": {"coding": [VENDOR, {"code": "resolved"}]}}, False, True),
        ({"clinicalStatus": {"coding": [VENDOR, {"system": CLINICAL, "code": "perhaps"}]}}, None, True),
        ({"clinicalStatus": {"coding": [{"code": "active"}, {"code": "resolved"}]}}, None, True),
        ({"clinicalStatus": {"coding": [{"code": "active"}, {"code": "recurrence"}]}}, True, True),
        ({"abatementDateTime": "2020"}, False, True),
        ({"abatementString": "childhood"}, False, True),
        ({"verificationStatus": status(VERIFICATION, "confirmed")}, True, True),
        ({"verificationStatus": status(VERIFICATION, "provisional")}, True, None),
        ({"verificationStatus": status(VERIFICATION, "differential")}, True, None),
        ({"verificationStatus": {"text": "Confirmed"}}, True, True),
        ({"verificationStatus": {"text": "awaiting biopsy"}}, True, None),
        ({"verificationStatus": {"coding": [VENDOR]}}, True, None),
        ({"verificationStatus": {"coding": [VENDOR, {"system": VERIFICATION, "code": "confirmed"}]}}, True, True),
    ],
)
def test_the_status_of_a_condition(elements: Json, active: bool | None, confirmed: bool | None) -> None:
    case, _ = case_of(conditions=bundle(condition(**elements)))
    [found] = case.conditions
    assert (found.active, found.confirmed) == (active, confirmed)


@pytest.mark.parametrize(
    "said",
    [
        {"text": "Refuted"},
        {"text": "Entered in error"},
        {"coding": [VENDOR, {"system": VERIFICATION, "code": "refuted"}]},
        {"coding": [{"system": "urn:emr", "code": "confirmed"}, {"system": VERIFICATION, "code": "entered-in-error"}]},
        {"coding": [VENDOR], "text": "refuted"},
    ],
)
def test_a_condition_that_is_said_never_to_have_been_is_no_fact_however_it_is_said(said: Json) -> None:
    case, _ = case_of(conditions=bundle(condition(verificationStatus=said)))
    assert case.conditions == ()


@pytest.mark.parametrize(
    ("words", "confirmed"),
    [
        ("Rule out cauda equina syndrome", None),
        ("R/O myelopathy", None),
        (" r/o myelopathy", None),
        ("Suspected myelopathy", None),
        ("? myelopathy", None),
        ("Probable myelopathy", None),
        ("Myelopathy", True),
        ("Rules of the house", True),
        ("Myelopathy, stroke ruled out", True),
    ],
)
@pytest.mark.parametrize("by", ["text", "display"])
def test_what_is_recorded_as_a_question_is_not_confirmed(by: str, words: str, confirmed: bool | None) -> None:
    coding = {"system": ICD, "code": "G95.9"}
    code = {"coding": [coding], "text": words} if by == "text" else {"coding": [coding | {"display": words}]}
    for verification in ({}, {"verificationStatus": status(VERIFICATION, "confirmed")}):
        case, _ = case_of(conditions=bundle(condition(code=code, **verification)))
        assert [c.confirmed for c in case.conditions] == [confirmed]


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


PATIENT: Json = {"resourceType": "Patient", "id": "p", "identifier": [MRN["identifier"], {"value": "x"}]}


@pytest.mark.parametrize(
    ("identifier", "ours"),
    [
        ({"system": "urn:mrn", "value": "1"}, True),
        ({"system": "urn:mrn", "value": "2"}, False),
        ({"system": "urn:other", "value": "1"}, False),
        ({"value": "1"}, False),
        ({"value": "x"}, True),
    ],
)
def test_what_names_its_patient_by_identifier_is_used_where_it_is_the_patients(identifier: Json, ours: bool) -> None:
    sick = bundle(condition(subject={"identifier": identifier}))
    prefetched = CaseBuilder("p", date(2026, 11, 23), None, {}, prefetch={"patient": PATIENT})
    read_before, unknown = builder(), builder()
    read_before.supply("patient", read_value(PATIENT))
    for made, used in ((prefetched, ours), (read_before, ours), (unknown, False)):
        made.supply("conditions", read_value(sick))
        case = made.build()
        assert (len(case.conditions), case.source("conditions").complete) == (used, used)
        told = [] if used else ["does not say clearly whose it is and is not used"]
        assert [f.text for f in case.faults] == told


URN = "urn:uuid:0d7f8d6c-6a3b-4a63-8a51-0a6c5f1f4a77"


@pytest.mark.parametrize(
    ("patient", "text"),
    [
        ({"id": "p"}, ""),
        ({"id": "q"}, "belongs to another patient and is not used"),
        ({"identifier": [MRN["identifier"]]}, ""),
        ({"id": "q", "identifier": [MRN["identifier"]]}, ""),
        ({"identifier": [{"system": "urn:mrn", "value": "2"}]}, "does not say clearly whose it is and is not used"),
        (None, "does not say clearly whose it is and is not used"),
    ],
)
def test_a_patient_by_urn_is_whom_the_bundle_shows(patient: Json | None, text: str) -> None:
    chart = bundle(condition(subject={"reference": URN}))
    if patient is not None:
        chart["entry"].append({"fullUrl": URN, "resource": {"resourceType": "Patient", **patient}})
    made = CaseBuilder("p", date(2026, 11, 23), None, {}, prefetch={"patient": PATIENT})
    made.supply("conditions", read_value(chart))
    case = made.build()
    assert [f.text for f in case.faults] == ([text] if text else [])
    assert (len(case.conditions), case.source("conditions").complete) == (not text, not text)


def test_a_patient_by_urn_is_known_by_the_entry_of_the_prefetch_and_by_the_uuid_as_id() -> None:
    known = CaseBuilder("p", date(2026, 11, 23), None, {}, prefetch={"who": bundle(PATIENT)})
    entry = {"fullUrl": URN, "resource": PATIENT}
    by_url = CaseBuilder(
        "p", date(2026, 11, 23), None, {}, prefetch={"who": {"resourceType": "Bundle", "entry": [entry]}}
    )
    by_id = CaseBuilder(URN.rpartition(":")[2], date(2026, 11, 23), None, {})
    for made, used in ((known, False), (by_url, True), (by_id, True)):
        made.draft_orders(bundle(draft(subject={"reference": URN})), "context.draftOrders")
        assert len(made.build().orders) == used


@pytest.mark.parametrize(
    ("reference", "base", "ours"),
    [
        ("https://other.example/fhir/Patient/p", "https://ehr.example/fhir", False),
        ("https://ehr.example/fhir/tenant/Patient/p", "https://ehr.example/fhir", False),
        ("https://ehr.example/fhir/Patient/p/_history/2", "https://ehr.example/fhir/", True),
        ("http://EHR.example:80/fhir/Patient/p", "https://ehr.example/fhir", True),
        ("Patient/p/_history/2", "https://ehr.example/fhir", True),
        ("https://other.example/fhir/Patient/p", "", True),
    ],
)
def test_a_patient_of_another_server_is_another_patient(reference: str, base: str, ours: bool) -> None:
    made = CaseBuilder("p", date(2026, 11, 23), None, {}, base=base)
    made.supply("conditions", read_value(bundle(condition(subject={"reference": reference}))))
    case = made.build()
    assert len(case.conditions) == ours
    assert [f.text for f in case.faults] == ([] if ours else ["belongs to another patient and is not used"])


@pytest.mark.parametrize("reference", ["Group/g", "q", "#who", "urn:oid:1.2"])
def test_what_leads_to_no_patient_is_not_taken_for_the_patients(reference: str) -> None:
    case, _ = case_of(conditions=bundle(condition(subject={"reference": reference})))
    assert (case.conditions, case.source("conditions").complete) == ((), False)


def test_a_contained_patient_is_known_by_identifier() -> None:
    who = {"resourceType": "Patient", "id": "who", "identifier": [MRN["identifier"]]}
    case, _ = case_of(patient=PATIENT, conditions=bundle(condition(subject={"reference": "#who"}, contained=[who])))
    assert len(case.conditions) == 1


@pytest.mark.parametrize("subject", [None, {"display": "somebody"}, {"identifier": {"system": "urn:mrn"}}])
def test_what_names_no_patient_is_taken_for_the_patients(subject: Json | None) -> None:
    case, _ = case_of(conditions=bundle(condition(subject=subject)))
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
    GRANTED | {"patient": {"identifier": {"system": "urn:mrn", "value": "2"}}},
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
    (*others, last) = made.build().source("orders").unusable
    assert last == "DeviceRequest/r"
    assert len(others) == (target["resourceType"] == "Teapot")  # no resource of FHIR: an order, for all we know


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
    assert {o.codes for o in made.build().orders} == {()}


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


SOPT = "https://nahdo.org/sopt"
CLASS = "http://terminology.hl7.org/CodeSystem/coverage-class"


def covered(**elements: Any) -> Coverage:
    insured: Json = {"beneficiary": {"reference": "Patient/p"}, "payor": [{"display": "Aetna"}]}
    case, _ = case_of(coverage=bundle({"resourceType": "Coverage", "id": "v", "status": "active"} | insured | elements))
    [found] = case.coverages
    return found


def test_what_a_coverage_says_of_itself_is_read() -> None:
    ppo = {"system": SOPT, "code": "112", "display": "Medicare PPO"}
    act = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PPO"}
    plan = {"type": {"coding": [{"system": CLASS, "code": "plan"}]}, "value": "H5521-001", "name": "Aetna Medicare"}
    group = {"type": {"coding": [{"code": "group"}]}, "value": "7"}
    found = covered(type={"coding": [ppo, act], "text": "Managed Medicare"}, **{"class": [plan, group]})
    assert found.type_codes == (Code("sopt", "112"), Code("v3-actcode", "PPO"))
    assert found.type_texts == ("Managed Medicare", "Medicare PPO")
    assert found.classes == (CoverageClass("plan", "H5521-001", "Aetna Medicare"), CoverageClass("group", "7"))
    assert not found.unread


def test_a_coverage_that_says_nothing_of_itself() -> None:
    bare = covered()
    assert (bare.type_codes, bare.type_texts, bare.classes, bare.unread) == ((), (), (), False)
    worded = {"type": {"text": "Plan"}, "value": "Gold"}
    assert covered(**{"class": [worded]}).classes == (CoverageClass(None, "Gold"),)
    assert covered(type={"coding": [{"code": "112"}]}).type_codes == ()  # a code of no system means nothing


@pytest.mark.parametrize(
    "elements",
    [
        {"type": "112"},
        {"type": {"coding": [{"system": SOPT, "code": 112.5}]}},
        {"class": [{"type": {"text": "plan"}, "value": 7}]},
        {"class": [{"type": {"text": "plan"}, "value": "x", "modifierExtension": [{"url": "urn:x"}]}]},
    ],
)
def test_a_type_or_class_that_cannot_be_read_is_not_taken_for_absent(elements: Json) -> None:
    assert covered(**elements).unread
    assert not covered(period={"start": "yesterday"}).unread


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


@pytest.mark.parametrize("state", ["Preliminary", 7, ["final", "final"], "done"])
def test_a_result_whose_status_cannot_be_read_is_not_final(state: Any) -> None:
    case, _ = case_of(observations=bundle(recorded("Observation", status=state)))
    assert [o.final for o in case.observations] == [False]


@pytest.mark.parametrize("state", ["final", "amended", "corrected", ["final"], "FINAL", " Final "])
def test_a_final_result_is_final(state: str) -> None:
    case, _ = case_of(observations=bundle(recorded("Observation", status=state)))
    assert [o.final for o in case.observations] == [True]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"valueString": "<2 ng/mL"}, (2.0, "<", "ng/mL")),
        ({"valueString": " ≤ 2.5ug/L "}, (2.5, "<=", "ug/L")),
        ({"valueString": "-2.7"}, (-2.7, None, None)),
        ({"valueString": "2 ng/mL (ref <10)"}, (None, None, None)),
        ({"valueString": "5-10 ng/mL"}, (None, None, None)),
        ({"valueString": "5-10"}, (None, None, None)),
        ({"valueString": "2,5 ng/mL"}, (None, None, None)),
        ({"valueString": "1e3"}, (None, None, None)),
        ({"valueString": "2 furlongs"}, (None, None, None)),
        ({"valueString": "about 2 ng/mL"}, (None, None, None)),
        ({"valueString": "9" * 400}, (None, None, None)),
        ({"valueString": "Negative"}, (None, None, None)),
        ({"valueInteger": 3}, (3.0, None, None)),
        (
            {"valueQuantity": {"value": 2, "unit": "ng/mL", "system": "urn:s", "code": "258806002"}},
            (2.0, None, "ng/mL"),
        ),
        ({"valueQuantity": {"value": 2, "unit": "shown", "system": UCUM, "code": "ng/mL"}}, (2.0, None, "ng/mL")),
        ({"valueQuantity": {"value": 2, "unit": "ng/ml"}}, (2.0, None, "ng/ml")),
    ],
)
def test_the_number_of_a_result(value: Json, read: tuple[Any, ...]) -> None:
    case, _ = case_of(observations=bundle(recorded("Observation", **value)))
    assert [(o.quantity, o.comparator, o.unit) for o in case.observations] == [read]
    part = recorded("Observation", code={"text": "panel"}, component=[{"code": recorded("")["code"], **value}])
    case, _ = case_of(observations=bundle(part))
    assert [(o.quantity, o.comparator, o.unit) for o in case.observations if o.codes] == [read]


def test_components_are_results_and_a_panel_of_the_same_code_is_its_component() -> None:
    def coded(code: str, **more: Any) -> Json:
        return {"code": {"coding": [{"system": CPT, "code": code}]}, **more}

    one, other = coded("22551", valueInteger=1), coded("22552", valueInteger=2)
    cases = (
        (recorded("Observation", component=[one]), [("22551", 1.0)]),
        (recorded("Observation", component=[other]), [("22551", None), ("22552", 2.0)]),
        (recorded("Observation", valueInteger=3, component=[one]), [("22551", 3.0), ("22551", 1.0)]),
        (recorded("Observation", status="cancelled", component=[one]), []),
    )
    for resource, results in cases:
        case, _ = case_of(observations=bundle(resource))
        assert [(o.codes[0].code, o.quantity) for o in case.observations] == results
        assert {o.ref for o in case.observations} <= {"Observation/x"}


LONG = "9" * 201


@pytest.mark.parametrize("kind", ["Procedure", "Observation", "Condition"])
@pytest.mark.parametrize(
    "code",
    [
        {"text": "said in words only"},
        {"coding": [{"system": CPT, "code": 22551.5}]},
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


@pytest.mark.parametrize(
    ("authored", "read"),
    [
        ("2026-11-23", date(2026, 11, 23)),
        ("2026-11-23T23:59:59.999Z", datetime(2026, 11, 23, 23, 59, 59, 999000, UTC)),
        ("2026-11-24T00:30:00+01:00", datetime(2026, 11, 23, 23, 30, tzinfo=UTC)),
        ("2026-11-23T10:00:00", date(2026, 11, 23)),
        ("2026-11-23T10:00:60Z", date(2026, 11, 23)),
        ("0001-01-01T00:00:00+14:00", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
        ("2026-11", None),
        (None, None),
        ("2026-11-24", "after"),
        ("2026-11-23T23:30:00-01:00", "after"),
        ("2027", "after"),
        ("9999-12-31T23:59:59-12:00", "after"),
    ],
)
def test_answers_keep_the_time_they_were_given_and_none_was_given_after_they_came(authored: Any, read: Any) -> None:
    answered = {
        "resourceType": "QuestionnaireResponse",
        "id": "qr",
        "status": "completed",
        "subject": {"reference": "Patient/p"},
        "basedOn": [{"reference": "ServiceRequest/s1"}],
        "item": [{"linkId": "one", "text": "One?", "answer": [{"valueBoolean": True}]}],
    } | ({"authored": authored} if authored else {})
    case, _ = case_of(answers=bundle(answered))
    assert [(a.authored, a.question) for a in case.answers] == ([] if read == "after" else [(read, "One?")])
    assert [type(a.authored) for a in case.answers] == ([] if read == "after" else [type(read)])


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
