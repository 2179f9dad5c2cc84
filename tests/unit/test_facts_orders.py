"""Orders out of request resources: what was ordered, how often, why, on what authority."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cds_service.facts.orders import order
from cds_service.facts.references import Index
from cds_service.policy.case import Authorization, Code, Coverage, Order

Json = dict[str, Any]
CPT = "http://www.ama-assn.org/go/cpt"
CRD = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition"


def service(**elements: Any) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": "s1",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": CPT, "code": "22552"}]},
        "subject": {"reference": "Patient/p"},
        "authoredOn": "2026-11-20",
        **elements,
    }


def made(resource: Json, *known: Json, faulty: frozenset[str] = frozenset(), local: Any = None) -> Order:
    index = Index()
    for each in known:
        index.add(each)
    ref = f"{resource['resourceType']}/{resource['id']}"
    return order(resource, ref, draft=True, faulty=faulty, index=index, local=local or {})


def test_a_plain_order() -> None:
    got = made(service(encounter={"reference": "https://x.example/fhir/Encounter/e/_history/1"}))
    assert got.ref == "ServiceRequest/s1"
    assert got.codes == (Code("cpt", "22552"),)
    assert (got.units, got.modifiers, got.texts) == (1, (), ())
    assert got.encounter == "Encounter/e"
    assert got.authored_on == date(2026, 11, 20)
    assert got.authorizations == ()


# --- units ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "units"),
    [
        ({}, 1),
        ({"quantityQuantity": {"value": 2}}, 2),
        ({"quantityQuantity": {"value": 2.0}}, 2),
        ({"quantityQuantity": {"value": 2.5}}, None),
        ({"quantityQuantity": {"value": 0}}, None),
        ({"quantityQuantity": {"value": -1}}, None),
        ({"quantityQuantity": {"value": True}}, None),
        ({"quantityQuantity": {"value": "2"}}, None),
        ({"quantityQuantity": {"value": 2, "comparator": ">="}}, None),
        ({"quantityQuantity": {"unit": "each"}}, None),
        ({"quantityRatio": {"numerator": {"value": 2}}}, None),
        ({"quantityRange": {"low": {"value": 1}}}, None),
    ],
)
def test_units_are_a_whole_number_or_unknown(quantity: Json, units: int | None) -> None:
    assert made(service(**quantity)).units == units


def test_a_quantity_that_was_left_out_as_faulty_is_unknown_not_one() -> None:
    assert made(service(), faulty=frozenset({"quantityQuantity"})).units is None


@pytest.mark.parametrize("quantity", [{}, {"quantityQuantity": {"value": 2}}])
def test_a_quantity_written_behind_the_code_leaves_units_open_and_is_no_modifier(quantity: Json) -> None:
    got = made(service(code={"coding": [{"system": CPT, "code": "22853-59 x2"}]}, **quantity))
    assert (got.codes, got.modifiers, got.units) == ((Code("cpt", "22853"),), ("59",), None)


# --- what was ordered -------------------------------------------------------------------------------------


def test_billing_options_are_codes_of_the_order() -> None:
    option = {
        "url": f"{CRD}/ext-billing-options",
        "valueCodeableConcept": {"coding": [{"system": CPT, "code": "20939"}]},
    }
    got = made(service(code={"extension": [option], "coding": [{"system": "urn:local", "code": "B"}]}))
    assert got.codes == (Code("urn:local", "B"), Code("cpt", "20939"))


def test_modifiers_are_taken_from_the_code() -> None:
    got = made(service(code={"coding": [{"system": CPT, "code": "63030-50"}]}))
    assert (got.codes, got.modifiers) == ((Code("cpt", "63030"),), ("50",))


def test_a_drug_by_reference_to_a_contained_medication() -> None:
    rxnorm = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "212033"}]}
    prescription = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "contained": [{"resourceType": "Medication", "id": "med", "code": rxnorm}],
        "medicationReference": {"reference": "#med"},
    }
    assert made(prescription).codes == (Code("rxnorm", "212033"),)
    outside = {"resourceType": "Medication", "id": "m", "code": rxnorm}
    assert made(prescription | {"medicationReference": {"reference": "Medication/m"}}, outside).codes == (
        Code("rxnorm", "212033"),
    )
    assert made(prescription | {"medicationReference": {"reference": "#gone"}}).codes == ()


def test_a_device_by_concept_or_by_reference() -> None:
    hcpcs = {"coding": [{"system": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "code": "E0748"}]}
    by_code = {"resourceType": "DeviceRequest", "id": "d", "codeCodeableConcept": hcpcs}
    by_reference = {"resourceType": "DeviceRequest", "id": "d", "codeReference": {"reference": "Device/x"}}
    device = {"resourceType": "Device", "id": "x", "type": hcpcs}
    assert made(by_code).codes == made(by_reference, device).codes == (Code("hcpcs", "E0748"),)


def test_names_of_a_device_and_ingredients_of_a_drug_say_what_is_ordered() -> None:
    device = {
        "resourceType": "Device",
        "id": "x",
        "deviceName": [{"name": "INFUSE Bone Graft", "type": "user-friendly-name"}, {}, 7],
        "modelNumber": "7510400",
    }
    by_reference = {"resourceType": "DeviceRequest", "id": "d", "codeReference": {"reference": "Device/x"}}
    assert made(by_reference, device).texts == ("INFUSE Bone Graft", "7510400")
    inside = by_reference | {"contained": [device], "codeReference": {"reference": "#x"}}
    assert made(inside).texts == ("INFUSE Bone Graft", "7510400")
    rxnorm = {
        "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "373764"}],
        "text": "dibotermin",
    }
    drug = {"resourceType": "Medication", "id": "m", "ingredient": [{"itemCodeableConcept": rxnorm}, {}, 7]}
    prescription = {
        "resourceType": "MedicationRequest",
        "id": "r",
        "medicationReference": {"reference": "Medication/m"},
    }
    got = made(prescription, drug)
    assert (got.codes, got.texts) == ((Code("rxnorm", "373764"),), ("dibotermin",))


def test_displays_are_read_where_no_billing_code_says_what_it_is() -> None:
    local = {"coding": [{"system": "urn:hospital", "code": "77", "display": "INFUSE BONE GRAFT SMALL KIT"}]}
    assert made(service(code=local)).texts == ("INFUSE BONE GRAFT SMALL KIT",)
    both = {"coding": [*local["coding"], {"system": CPT, "code": "20930"}]}
    assert made(service(code=both)).texts == ()


def test_text_comes_from_code_detail_and_notes_and_not_from_displays() -> None:
    got = made(
        service(
            code={"text": "graft", "coding": [{"system": CPT, "code": "20930", "display": "catalogue wording"}]},
            orderDetail=[{"text": "detail"}, {"coding": [{"display": "detail by display"}]}],
            note=[{"text": "note"}, {"text": ""}, {}, 7],
        )
    )
    assert got.texts == ("graft", "detail", "detail by display", "note")


def test_reasons_sites_and_ties() -> None:
    icd = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M4802"}]}
    got = made(
        service(
            reasonCode=[icd, icd],
            reasonReference=[{"reference": "Condition/c"}],
            bodySite=[{"text": "C4-C6", "coding": [{"system": "http://snomed.info/sct", "code": "1"}]}],
            requisition={"system": "urn:r", "value": "77"},
            basedOn=[{"reference": "ServiceRequest/parent"}],
        )
    )
    assert got.reason_codes == (Code("icd-10-cm", "M48.02"),)
    assert got.reason_refs == ("Condition/c",)
    assert (got.body_sites, got.body_site_texts) == ((Code("snomed", "1"),), ("C4-C6",))
    assert (got.requisition, got.based_on) == ("urn:r|77", ("ServiceRequest/parent",))
    assert not got.reasons_faulty
    assert made(service(), faulty=frozenset({"reasonCode"})).reasons_faulty


ICD = "http://hl7.org/fhir/sid/icd-10-cm"


@pytest.mark.parametrize(
    ("reasons", "unread"),
    [
        ({}, False),
        ({"reasonCode": [{"coding": [{"system": ICD, "code": "M54.5"}], "text": "low back pain"}]}, False),
        ({"reasonCode": [{"coding": [{"system": "urn:local", "code": "9"}, {"system": ICD, "code": "M54.5"}]}]}, False),
        ({"reasonCode": [{"text": "r/o cauda equina"}]}, True),
        ({"reasonCode": [{"coding": [{"system": ICD, "code": "M54.5"}]}, {"text": "saddle anesthesia"}]}, True),
        ({"reasonCode": [{"coding": [{"system": "urn:local", "code": "9"}]}]}, True),
        ({"reasonCode": [{"coding": [{"code": "M54.5"}]}]}, True),
        ({"reasonReference": [{"reference": "Condition/c"}]}, False),
        ({"reasonReference": [{"reference": "Condition/c"}, {"display": "cauda equina"}]}, True),
        ({"reasonReference": [{"reference": "#inside"}]}, True),
    ],
)
def test_a_reason_in_words_is_a_reason_that_is_not_read(reasons: Json, unread: bool) -> None:
    assert made(service(**reasons)).reasons_faulty is unread


@pytest.mark.parametrize(
    ("elements", "occurrence"),
    [
        ({"occurrenceDateTime": "2026-12-01T08:00:00Z"}, date(2026, 12, 1)),
        ({"occurrencePeriod": {"start": "2026-12-02"}}, date(2026, 12, 2)),
        ({"occurrenceDateTime": "2026-12"}, None),
        ({}, None),
    ],
)
def test_the_day_it_is_to_happen(elements: Json, occurrence: date | None) -> None:
    assert made(service(**elements)).occurrence == occurrence


# --- authorisation ------------------------------------------------------------------------------------------


def asserted(pa_needed: str = "satisfied", url: str = f"{CRD}/ext-coverage-information", **parts: Json) -> Json:
    inner = [{"url": "pa-needed", "valueCode": pa_needed}, *({"url": k, **v} for k, v in parts.items())]
    return service(extension=[{"url": "urn:other"}, {"url": url, "extension": inner}])


def test_coverage_information_with_a_satisfied_authorisation() -> None:
    number = {"satisfied-pa-id": {"valueString": "PA-1"}}
    assert made(asserted(**number)).authorizations == (Authorization("PA-1", "ServiceRequest/s1", None),)
    versioned = asserted(url=f"{CRD}/ext-coverage-information|2.1.0", **number)
    assert made(versioned).authorizations == (Authorization("PA-1", "ServiceRequest/s1", None),)
    assert made(asserted()).authorizations == (Authorization(None, "ServiceRequest/s1", None),)


@pytest.mark.parametrize("pa_needed", ["no-auth", "auth-needed", "performpa", "conditional", "SATISFIED", ""])
def test_other_assertions_are_no_authorisation(pa_needed: str) -> None:
    assert made(asserted(pa_needed)).authorizations == ()


@pytest.mark.parametrize(
    ("expiry", "last"),
    [("2026-11-20", date(2026, 11, 20)), ("2026-02", date(2026, 2, 28)), ("2020", date(2020, 12, 31)), ("soon", None)],
)
def test_an_authorisation_ends_with_its_expiry_date(expiry: str, last: date | None) -> None:
    found = made(asserted(**{"expiry-date": {"valueDate": expiry}})).authorizations
    assert [a.expires for a in found] == [last]


def test_every_coverage_s_authorisation_is_read() -> None:
    both = [
        asserted(**{"satisfied-pa-id": {"valueString": n}, "coverage": {"valueReference": {"reference": c}}})
        for n, c in (("PA-2", "https://ehr.example/fhir/Coverage/other"), ("PA-1", "Coverage/mine"))
    ]
    extensions = [extension for one in both for extension in one["extension"]]
    found = made(service(extension=extensions)).authorizations
    assert [(a.number, a.coverage) for a in found] == [("PA-2", "Coverage/other"), ("PA-1", "Coverage/mine")]


def told(pa_needed: str, day: str | None = None, coverage: str = "Coverage/c", **parts: Json) -> Json:
    """One coverage-information of a coverage, on a day."""
    about: dict[str, Json] = {"coverage": {"valueReference": {"reference": coverage}}, **parts}
    if day:
        about["date"] = {"valueDate": day}
    extension: Json = asserted(pa_needed, f"{CRD}/ext-coverage-information", **about)["extension"][1]
    return extension


@pytest.mark.parametrize(
    ("billed", "counts"),
    [
        ([{"system": CPT, "code": "22552"}], True),
        ([{"system": CPT, "code": "20939"}, {"system": CPT, "code": "22552-51"}], True),
        ([{"system": CPT, "code": "20939"}], False),
        ([{"code": "22552"}], False),
    ],
)
def test_an_annotation_for_other_codes_than_are_ordered_now_authorises_nothing(
    billed: list[Json], counts: bool
) -> None:
    annotation = told("satisfied")
    annotation["extension"] += [{"url": "billingCode", "valueCoding": coding} for coding in billed]
    assert len(made(service(extension=[annotation])).authorizations) == counts


def test_what_is_not_covered_is_not_authorised() -> None:
    assert made(service(extension=[told("satisfied", covered={"valueCode": "not-covered"})])).authorizations == ()
    assert len(made(service(extension=[told("satisfied", covered={"valueCode": "covered"})])).authorizations) == 1


@pytest.mark.parametrize(
    ("day", "other", "stands"),
    [
        ("2026-10-01", told("auth-needed", "2026-11-15"), False),
        ("2026-10-01", told("satisfied", "2026-11-15", covered={"valueCode": "not-covered"}), False),
        ("2026-10-01", told("auth-needed", "2026-10-01"), False),
        ("2026-10-01", told("auth-needed"), False),
        (None, told("auth-needed", "2026-09-30"), False),
        ("2026-10-01", told("auth-needed", "2026-09-30"), True),
        ("2026-10-01", told("auth-needed", "2026-11-15", "Coverage/other"), True),
    ],
)
def test_a_statement_that_may_be_newer_displaces_one_of_the_same_coverage(
    day: str | None, other: Json, stands: bool
) -> None:
    for both in ([told("satisfied", day), other], [other, told("satisfied", day)]):
        assert len(made(service(extension=both)).authorizations) == stands


def claim(**elements: Any) -> Json:
    return {
        "resourceType": "ClaimResponse",
        "id": "cr",
        "status": "active",
        "use": "preauthorization",
        "outcome": "complete",
        "preAuthRef": "AUTH-9",
        "insurer": {"display": "Acme"},
        **elements,
    }


CLAIMED = service(insurance=[{"reference": "Coverage/v"}, {"reference": "ClaimResponse/cr"}])


def reviewed(*codes: str | None) -> Json:
    """A claim response whose items were reviewed with these outcomes (Da Vinci PAS)."""
    pas = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition"
    return claim(item=[
        {"itemSequence": 1, "adjudication": [{"category": {"coding": [{"code": "submitted"}]}, "extension": [
            {"url": f"{pas}/extension-reviewAction", "extension": [
                {"url": f"{pas}/extension-reviewActionCode",
                 "valueCodeableConcept": {"coding": [{"system": "https://codesystem.x12.org/005010/306", "code": c}]}},
            ] if c else []},
        ]}]}
        for c in codes
    ])  # fmt: skip


ACME = Coverage("ClaimResponse/cr", (), ("Acme",))


def test_insurance_that_leads_to_a_claim_response_with_a_number() -> None:
    assert made(CLAIMED, claim()).authorizations == (Authorization("AUTH-9", "ClaimResponse/cr", insurer=ACME),)
    within = made(CLAIMED, claim(preAuthPeriod={"start": "2026-11-01", "end": "2026-12-31"})).authorizations
    assert [(a.begins, a.expires) for a in within] == [(date(2026, 11, 1), date(2026, 12, 31))]
    contained = made(service(insurance=[{"reference": "#cr"}], contained=[claim()])).authorizations
    assert [(a.number, a.ref) for a in contained] == [("AUTH-9", "#cr")]
    by_identifier = service(
        subject={"reference": "Patient/p", "identifier": {"system": "urn:mrn", "value": "1"}},
        insurance=[{"reference": "#cr"}],
    )
    for value, counts in (("1", True), ("2", False)):
        owned = claim(patient={"identifier": {"system": "urn:mrn", "value": value}})
        assert len(made(by_identifier | {"contained": [owned]}).authorizations) == counts
        assert len(made(service(insurance=[{"reference": "#cr"}], contained=[owned])).authorizations) == 1
    another = claim(patient={"reference": "Patient/somebody-else"})
    assert made(service(insurance=[{"reference": "#cr"}], contained=[another])).authorizations == ()
    assert len(made(CLAIMED, reviewed("A1", "A1")).authorizations) == 1


AMOUNT = {"category": {"coding": [{"code": "benefit"}], "text": "Benefit Amount"}, "amount": {"value": 0}}


@pytest.mark.parametrize(
    "said",
    [
        {"disposition": "Certified in total"},
        {"disposition": " "},
        {"disposition": "APPROVED."},
        {"disposition": "Your request has been authorised as requested"},
        {"disposition": "Approved. Previously denied request overturned on appeal"},
        {"disposition": "Approved on appeal; initial denial reversed"},
        {"disposition": "Approved; nothing denied"},
        {"disposition": "Approved. This is not a guarantee of payment."},
        {"processNote": [{"text": "Approved by medical director"}]},
        {"adjudication": [AMOUNT], "item": [{"adjudication": [AMOUNT]}]},
        {"item": [{"adjudication": [{"category": {"text": "Approved"}, "reason": {"text": "Approved"}}]}]},
        reviewed("A1") | {"disposition": "Denied in part", "processNote": [{"text": "Denied"}]},
    ],
)
def test_a_claim_response_that_says_nothing_but_approval_grants(said: Json) -> None:
    assert len(made(CLAIMED, claim() | said).authorizations) == 1


@pytest.mark.parametrize(
    "said",
    [
        "Does not meet medical necessity criteria",
        "Unable to approve",
        "Could not be approved",
        "Request cannot be certified",
        "Additional information required",
        "Adverse determination",
        "Under review",
        "Not covered",
        "On hold",
        "Disallowed",
        "unapproved",
        "Non-approved",
        "Expired",
        "Member not eligible",
        "Denegado",
        "Rechazado",
        "No authorization required",
        "Authorization requested",
        "Approval withheld",
        "Approved in part",
        "Approved with changes: 1 of 2 units",
        "Approved pending receipt of records",
        "Approved. Item 2 was denied.",
        "Approved; subject to review",
        "Previously denied",
        ".",
    ],
)
def test_whatever_is_not_plainly_an_approval_grants_nothing(said: str) -> None:
    for element in (
        {"disposition": said},
        {"processNote": [{"text": said}]},
        {"item": [{"adjudication": [{"category": {"text": said}}]}]},
        {"addItem": [{"detail": [{"adjudication": [{"reason": {"text": said}}]}]}]},
    ):
        assert made(CLAIMED, claim(**element)).authorizations == ()


def test_a_reason_by_code_is_read_as_well() -> None:
    refused = {"category": {"coding": [{"code": "submitted"}]}, "reason": {"coding": [{"code": "ar002"}]}}
    assert made(CLAIMED, claim(adjudication=[refused])).authorizations == ()
    assert made(CLAIMED, claim(adjudication=[{"category": {"coding": [{"code": "denied"}]}}])).authorizations == ()


@pytest.mark.parametrize(
    "response",
    [
        claim(status="cancelled"),
        claim(status="entered-in-error"),
        claim(status="draft"),
        claim(outcome="error"),
        claim(outcome="queued"),
        claim(outcome="partial"),
        claim(use="claim"),
        claim(use="predetermination"),
        claim(use=None),
        claim(disposition="Denied: not medically necessary"),
        claim(disposition="Request was NOT certified."),
        claim(error=[{"code": {"text": "x"}}]),
        reviewed("A3"),
        reviewed("A1", "A4"),
        reviewed("A2"),
        reviewed(None),
        claim(preAuthRef=None),
        claim(preAuthRef=""),
        claim(resourceType="Claim"),
        claim(id="another"),
    ],
)
def test_a_claim_response_that_grants_nothing(response: Json) -> None:
    assert made(CLAIMED, response).authorizations == ()
