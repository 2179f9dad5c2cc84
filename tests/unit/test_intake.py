"""Intake: a fault in one element costs only what depends on it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cds_service.facts.intake import Reading, read
from cds_service.facts.repair import FAULT_LIMIT

Json = dict[str, Any]

CPT = "http://www.ama-assn.org/go/cpt"
ORDER: Json = {
    "resourceType": "ServiceRequest",
    "id": "sr-1",
    "status": "draft",
    "intent": "order",
    "code": {"coding": [{"system": CPT, "code": "20939", "display": "Aspirate"}]},
    "subject": {"reference": "Patient/1"},
    "reasonCode": [{"text": "pain"}, {"text": "weakness"}],
}
CONDITION: Json = {
    "resourceType": "Condition",
    "id": "c",
    "clinicalStatus": {"coding": [{"code": "active"}]},
    "code": {"text": "Stenosis"},
    "subject": {"reference": "Patient/1"},
}
EXTENSION = [{"url": "http://example.org/not", "valueBoolean": True}]


def order(**change: Any) -> Json:
    return copy.deepcopy(ORDER) | change


def told(reading: Reading) -> list[tuple[str, str]]:
    return [(fault.path, fault.text) for fault in reading.faults]


def usable(reading: Reading) -> Json:
    assert reading.resource is not None, told(reading)
    assert not any(fault.fatal for fault in reading.faults)
    return reading.resource


# --- not a resource at all, or not one we read -----------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "path", "text"),
    [
        (None, "", "is not a FHIR resource: not a JSON object"),
        ([ORDER], "", "is not a FHIR resource: not a JSON object"),
        ("ServiceRequest", "", "is not a FHIR resource: not a JSON object"),
        ({}, "resourceType", "is missing or not text, so this is not a FHIR resource"),
        ({"resourceType": ["Patient"]}, "resourceType", "is missing or not text, so this is not a FHIR resource"),
        ({"resourceType": "AllergyIntolerance"}, "resourceType", "names a type that is not read by this service"),
        ({"resourceType": "Nope"}, "resourceType", "names a type that is not read by this service"),
    ],
)
def test_other_things_are_unusable(resource: object, path: str, text: str) -> None:
    reading = read(resource, "Thing/1")
    assert reading.resource is None
    assert told(reading) == [(path, text)]
    assert [(fault.ref, fault.fatal) for fault in reading.faults] == [("Thing/1", True)]


def test_valid_resource_is_returned_itself() -> None:
    resource = order()
    assert read(resource, "ServiceRequest/sr-1") == Reading(resource, (), frozenset())
    assert read(resource, "ServiceRequest/sr-1").resource is resource


# --- meaning that may be changed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"modifierExtension": EXTENSION},
        {"modifierExtension": "odd"},
        {"implicitRules": "http://example.org/rules"},
        {"_implicitRules": {"extension": EXTENSION}},
    ],
)
def test_what_may_change_the_meaning_of_all_makes_it_unusable(change: Json) -> None:
    reading = read(order(**change), "ServiceRequest/sr-1")
    (name,) = change
    assert reading.resource is None
    (fault,) = reading.faults
    assert fault.fatal
    assert fault.path == f"ServiceRequest.{name}"
    assert fault.text == (
        f"ServiceRequest/sr-1: {name} may change the meaning of the resource and is not understood by this service"
    )


def test_empty_modifier_extension_changes_nothing() -> None:
    reading = read(order(modifierExtension=[]), "ServiceRequest/sr-1")
    assert usable(reading) == ORDER
    assert reading.faulty == frozenset()


def test_modifier_extension_inside_costs_the_top_level_element() -> None:
    stage = [{"summary": {"text": "I"}}, {"summary": {"text": "II"}, "modifierExtension": EXTENSION}]
    reading = read(CONDITION | {"stage": stage}, "Condition/c")
    assert usable(reading) == CONDITION
    assert reading.faulty == {"stage"}
    assert told(reading) == [
        (
            "Condition.stage[1].modifierExtension",
            "is not understood by this service and may change the meaning; Condition.stage was left out",
        )
    ]


@pytest.mark.parametrize(
    ("resource", "lost"),
    [
        (
            {"resourceType": "MedicationRequest", "dosageInstruction": [{"text": "x", "modifierExtension": EXTENSION}]},
            "dosageInstruction",
        ),
        (
            {"resourceType": "Coverage", "class": [{"type": {"text": "x"}, "modifierExtension": EXTENSION}]},
            "class",
        ),
        (
            {
                "resourceType": "QuestionnaireResponse",
                "item": [{"linkId": "1", "item": [{"linkId": "2", "modifierExtension": EXTENSION}]}],
            },
            "item",
        ),
    ],
)
def test_modifier_extension_at_any_depth(resource: Json, lost: str) -> None:
    reading = read(resource, "Thing/1")
    assert lost not in usable(reading)
    assert reading.faulty == {lost}


# --- liberal readings ------------------------------------------------------------------------------------


def test_object_for_a_list_is_read_as_a_list_of_one() -> None:
    reading = read(order(category={"text": "Surgery"}, reasonCode={"text": "pain"}), "ServiceRequest/sr-1")
    resource = usable(reading)
    assert (resource["category"], resource["reasonCode"]) == ([{"text": "Surgery"}], [{"text": "pain"}])
    assert reading.faulty == frozenset()
    text = "is a single item where FHIR R4 has a list; it was read as a list of one"
    assert set(told(reading)) == {("ServiceRequest.category", text), ("ServiceRequest.reasonCode", text)}


def test_object_for_a_list_that_is_wrong_as_well_is_lost() -> None:
    reading = read(order(reasonCode={"text": 5}), "ServiceRequest/sr-1")
    assert "reasonCode" not in usable(reading)
    assert reading.faulty == {"reasonCode"}


@pytest.mark.parametrize("nothing", [None, {}, [], "", [{}], [None], {"coding": [{}]}, {"coding": [{"code": None}]}])
def test_emptiness_is_left_out_and_is_no_loss(nothing: Any) -> None:
    reading = read(order(code=nothing, reasonCode=[]), "ServiceRequest/sr-1")
    resource = usable(reading)
    assert "reasonCode" not in resource
    assert reading.faulty == frozenset()
    assert "code" not in resource
    assert reading.faults


def test_emptiness_beside_content() -> None:
    coding = [{}, {"system": CPT, "code": "20939", "display": ""}, None]
    reading = read(order(code={"coding": coding, "text": None}), "ServiceRequest/sr-1")
    assert usable(reading)["code"] == {"coding": [{"system": CPT, "code": "20939"}]}
    assert reading.faulty == frozenset()
    assert {path for path, _ in told(reading)} == {
        "ServiceRequest.code.coding[0]",
        "ServiceRequest.code.coding[1].display",
        "ServiceRequest.code.coding[2]",
        "ServiceRequest.code.text",
    }


def test_missing_required_elements_are_named_and_read_around() -> None:
    draft = {"resourceType": "MedicationRequest", "id": "m", "status": "draft", "note": [{"time": "2026"}]}
    reading = read(draft, "MedicationRequest/m")
    assert usable(reading) == draft
    assert reading.faulty == frozenset()
    missing = "is required by FHIR R4 and missing"
    assert set(told(reading)) == {
        ("MedicationRequest.intent", missing),
        ("MedicationRequest.subject", missing),
        ("MedicationRequest.medication[x]", missing),
        ("MedicationRequest.note[0].text", missing),
    }


def test_a_missing_element_does_not_hide_other_faults() -> None:
    coverage = {"resourceType": "Coverage", "id": "c", "status": "nope", "period": {"start": "soon"}, "order": 1}
    reading = read(coverage, "Coverage/c")
    assert usable(reading) == {"resourceType": "Coverage", "id": "c", "order": 1}
    assert reading.faulty == {"status", "period"}
    assert {path for path, text in told(reading) if text == "is required by FHIR R4 and missing"} == {
        "Coverage.payor",
        "Coverage.beneficiary",
    }


def test_absent_value_with_a_reason_is_not_missing() -> None:
    resource = order(_status={"extension": [{"url": "http://example.org/reason", "valueCode": "unknown"}]})
    del resource["status"]
    reading = read(resource, "ServiceRequest/sr-1")
    assert usable(reading) == resource
    assert told(reading) == []


def test_unknown_elements_are_left_out() -> None:
    reading = read(order(foo=1, code={"text": "x", "bar": {"coding": []}}), "ServiceRequest/sr-1")
    assert usable(reading) == order(code={"text": "x"})
    assert reading.faulty == frozenset()
    text = "is not an element of FHIR R4 and was left out"
    assert told(reading) == [("ServiceRequest.code.bar", text), ("ServiceRequest.foo", text)]


@pytest.mark.parametrize(
    ("name", "said"), [("Erika Beispiel", "?"), ("mrn12345", "?"), ("resourcetype", "resourcetype")]
)
def test_unknown_names_are_repeated_only_if_they_look_like_names_of_elements(name: str, said: str) -> None:
    reading = read(order(**{name: 1}), "ServiceRequest/sr-1")
    assert [path for path, _ in told(reading)] == [f"ServiceRequest.{said}"]


@pytest.mark.parametrize("name", ["class_fhir", "status__ext", "resource_type", "fhir_comments"])
def test_python_names_of_fhir_resources_are_not_fhir(name: str) -> None:
    reading = read(order(**{name: "x"}), "ServiceRequest/sr-1")
    assert name not in usable(reading)
    assert reading.faults


# --- what is lost ----------------------------------------------------------------------------------------


def test_the_failing_list_item_is_lost_and_the_rest_kept() -> None:
    codings = [{"system": CPT, "code": 20939.5}, {"system": CPT, "code": "20930"}]
    reading = read(order(code={"coding": codings, "text": "graft"}), "ServiceRequest/sr-1")
    assert usable(reading)["code"] == {"coding": [{"system": CPT, "code": "20930"}], "text": "graft"}
    assert reading.faulty == {"code"}
    assert told(reading) == [
        ("ServiceRequest.code.coding[0].code", "is not text; ServiceRequest.code.coding[0] was left out")
    ]


def test_the_judges_errors_cost_the_innermost_list_item() -> None:
    names = [{"family": "A"}, {"family": "B", "period": {"start": "2026-02-30"}}]
    reading = read({"resourceType": "Patient", "id": "p", "name": names, "birthDate": "2026-02-30"}, "Patient/p")
    assert usable(reading) == {"resourceType": "Patient", "id": "p", "name": names[:1]}
    assert reading.faulty == {"name", "birthDate"}
    text = "is not in the format that FHIR R4 demands; it was left out"
    assert set(told(reading)) == {("Patient.name[1]", text), ("Patient.birthDate", text)}


def test_what_stands_beside_the_meaning_is_lost_alone() -> None:
    notes = [{"text": "a", "time": "yesterday"}, {"text": "b"}, {"text": "c", "time": "2026-02-30"}]
    coding = {"system": CPT, "code": "20939", "version": 5, "extension": [{"url": "http://x", "valueDate": "soon"}]}
    reading = read(order(note=notes, code={"coding": [coding]}), "ServiceRequest/sr-1")
    resource = usable(reading)
    assert resource["note"] == [{"text": "a"}, {"text": "b"}, {"text": "c"}]
    assert resource["code"] == {"coding": [{"system": CPT, "code": "20939"}]}
    assert reading.faulty == frozenset()
    assert len(reading.faults) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "foo"),
        ("intent", "wish"),
        ("priority", "now"),
        ("doNotPerform", "yes"),
        ("doNotPerform", 0),
        ("subject", "Patient/1"),
        ("subject", '{"reference": "Patient/1"}'),
        ("authoredOn", 1767225600),
        ("authoredOn", "2026-13"),
        ("quantityQuantity", {"value": float("inf")}),
        ("quantityQuantity", {"value": float("nan")}),
        ("quantityQuantity", {"value": 10**400}),
        ("quantityQuantity", {"value": "2,5"}),
        ("quantityQuantity", {"value": True}),
        ("quantityQuantity", {"value": 2, "comparator": "about"}),
        ("encounter", {"reference": "Encounter/1", "identifier": [{"value": "x"}, {"value": "y"}]}),
        ("code", {"text": "\ud800"}),
        ("code", {"text": "x" * 1_048_577}),
        ("code", {"text": ["x", "y"]}),
    ],
)
def test_a_wrong_element_is_lost_whole(name: str, value: Any) -> None:
    reading = read(order(**{name: value}), "ServiceRequest/sr-1")
    assert usable(reading) == {key: part for key, part in ORDER.items() if key != name}
    assert reading.faulty == {name}
    assert len(reading.faults) == 1
    assert reading.faults[0].path.startswith(f"ServiceRequest.{name}")


@pytest.mark.parametrize("name", ["clinicalStatus", "verificationStatus"])
def test_status_codings_that_are_not_text(name: str) -> None:
    reading = read(CONDITION | {name: {"coding": [{"code": True}]}}, "Condition/c")
    assert name not in usable(reading)
    assert reading.faulty == {name}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("Encounter", "entered-in-error"),
        ("Observation", "corrected"),
        ("Observation", "entered-in-error"),
        ("Task", "completed"),
    ],
)
def test_codes_that_fhir_resources_does_not_list_are_kept(kind: str, status: str) -> None:
    assert usable(read({"resourceType": kind, "status": status}, "Thing/1"))["status"] == status


def test_losing_a_label_costs_the_label_only() -> None:
    coding = {"system": CPT, "code": "20939", "display": 5, "userSelected": "yes"}
    reading = read(order(code={"coding": [coding]}), "ServiceRequest/sr-1")
    assert usable(reading)["code"] == {"coding": [{"system": CPT, "code": "20939"}]}
    assert reading.faulty == frozenset()
    assert len(reading.faults) == 2


def test_two_types_of_one_choice_cost_both() -> None:
    resource = CONDITION | {"onsetDateTime": "2026", "onsetAge": {"value": 61}, "_onsetDateTime": {"id": "x"}}
    reading = read(resource, "Condition/c")
    assert usable(reading) == CONDITION
    assert reading.faulty == {"onsetDateTime", "onsetAge"}
    assert told(reading) == [
        ("Condition.onset[x]", "is given more than once, in different types; all of them were left out")
    ]


def test_a_choice_with_one_wrong_half_costs_both() -> None:
    reading = read(order(occurrenceDateTime=5, occurrencePeriod={"start": "2026"}), "ServiceRequest/sr-1")
    assert usable(reading) == ORDER
    assert reading.faulty == {"occurrenceDateTime", "occurrencePeriod"}


def test_two_types_of_one_choice_further_down_cost_the_list_item() -> None:
    extension = [{"url": "http://a", "valueString": "x", "valueCode": "y"}, {"url": "http://b", "valueString": "x"}]
    reading = read(order(extension=extension), "ServiceRequest/sr-1")
    assert usable(reading)["extension"] == extension[1:]
    assert reading.faulty == frozenset()
    assert [path for path, _ in told(reading)] == ["ServiceRequest.extension[0].value[x]"]


def test_lists_aligned_with_their_extensions_stay_aligned() -> None:
    name = {"given": [None, "B"], "_given": [{"id": "a"}, None], "family": "F"}
    kept = read({"resourceType": "Patient", "id": "p", "name": [name]}, "Patient/p")
    assert usable(kept)["name"] == [name]
    wrong = [name | {"given": [5, "B"]}, {"family": "G"}]
    lost = read({"resourceType": "Patient", "id": "p", "name": wrong}, "Patient/p")
    assert usable(lost)["name"] == [{"family": "G"}]
    assert lost.faulty == {"name"}


@pytest.mark.parametrize("own", ["a_b", "urn:uuid:1", "a" * 65])
def test_ids_that_still_name_a_resource_are_kept(own: str) -> None:
    reading = read(order(id=own), f"ServiceRequest/{own}")
    assert usable(reading)["id"] == own
    assert reading.faulty == frozenset()
    assert told(reading) == [("ServiceRequest.id", "is not a valid FHIR id; it is used as it is")]


@pytest.mark.parametrize("own", ["", None, 5, "a/b", "a b", "../x", "a" * 256, "<b>", {"x": 1}])
def test_other_ids_are_lost(own: Any) -> None:
    reading = read(order(id=own), "ServiceRequest[0]")
    assert "id" not in usable(reading)
    assert reading.faulty == {"id"}


# --- contained resources ---------------------------------------------------------------------------------


def test_contained_resources_are_read_one_by_one() -> None:
    contained = [
        {"resourceType": "Nope", "id": "a"},
        CONDITION,
        {"resourceType": "Practitioner", "id": "d", "gender": "F", "name": {"family": "Muster"}},
        {"resourceType": "Condition", "id": "e", "modifierExtension": EXTENSION},
        "odd",
    ]
    reading = read(order(contained=contained), "ServiceRequest/sr-1")
    assert usable(reading)["contained"] == [
        CONDITION,
        {"resourceType": "Practitioner", "id": "d", "name": [{"family": "Muster"}]},
    ]
    assert reading.faulty == {"contained"}
    unusable = {path for path, text in told(reading) if text == "cannot be used and was left out"}
    assert unusable == {f"ServiceRequest.contained[{index}]" for index in (0, 3, 4)}
    assert (
        "ServiceRequest.contained[2].gender",
        "is not one of the codes of FHIR R4; Practitioner.gender was left out",
    ) in told(reading)


def test_a_contained_resource_contains_none_itself() -> None:
    reading = read(order(contained=[CONDITION | {"contained": [CONDITION]}]), "ServiceRequest/sr-1")
    assert usable(reading)["contained"] == [CONDITION]
    assert reading.faulty == {"contained"}
    assert told(reading) == [
        ("ServiceRequest.contained[0].contained", "is not allowed in a contained resource and was left out")
    ]


# --- hostile input ---------------------------------------------------------------------------------------


def test_deep_nesting_costs_the_element() -> None:
    value: Any = {"text": "x"}
    for _ in range(900):
        value = {"extension": [value]}
    reading = read(order(code=value), "ServiceRequest/sr-1")
    assert usable(reading) == {name: part for name, part in ORDER.items() if name != "code"}
    assert reading.faulty == {"code"}
    assert told(reading) == [
        ("ServiceRequest.code", "is nested deeper than 64 levels; ServiceRequest.code was left out")
    ]


def test_faults_of_one_resource_are_bounded() -> None:
    reading = read(order(reasonCode=[None] * 10_000 + [{"text": "x"}]), "ServiceRequest/sr-1")
    assert usable(reading)["reasonCode"] == [{"text": "x"}]
    assert len(reading.faults) == FAULT_LIMIT + 1
    assert reading.faults[-1].text == "has more faults than are listed"


def test_the_input_is_never_changed_and_never_repeated() -> None:
    secret = "Zq7patient"
    resource = order(
        status=secret,
        authoredOn=secret,
        subject=secret,
        code={"coding": [{"code": [secret]}], secret: secret},
        note=[{"text": "x", "time": secret}],
        contained=[{"resourceType": secret}, {"resourceType": "Patient", "gender": secret, "birthDate": secret}],
        id=f"{secret} {secret}",
    )
    before = json.dumps(resource)
    reading = read(resource, "ServiceRequest[0]")
    assert json.dumps(resource) == before
    assert len(reading.faults) > 8
    assert secret not in repr(reading.faults)


# --- drafts as the public CDS Hooks Sandbox sends them (re-typed) ----------------------------------------


def test_imaging_draft_before_a_study_is_chosen() -> None:
    draft = {
        "resourceType": "ServiceRequest",
        "id": "example-request-id",
        "status": "draft",
        "intent": "plan",
        "code": {"coding": [{}]},
        "subject": {"reference": "Patient/pat-1"},
        "reasonCode": [],
    }
    reading = read(draft, "ServiceRequest/example-request-id")
    assert usable(reading) == {name: draft[name] for name in ("resourceType", "id", "status", "intent", "subject")}
    assert reading.faulty == frozenset()


def test_medication_draft_with_objects_where_lists_belong() -> None:
    category = {"coding": [{"system": "http://example.org/category", "code": "outpatient"}]}
    draft = {
        "resourceType": "MedicationRequest",
        "id": "request-123",
        "status": "draft",
        "category": category,
        "reasonCode": {"text": "Hypertension"},
        "subject": {"reference": "Patient/pat-1"},
    }
    reading = read(draft, "MedicationRequest/request-123")
    assert usable(reading) == draft | {"category": [category], "reasonCode": [{"text": "Hypertension"}]}
    assert reading.faulty == frozenset()
    assert {path for path, _ in told(reading)} == {
        f"MedicationRequest.{name}" for name in ("category", "reasonCode", "intent", "medication[x]")
    }
