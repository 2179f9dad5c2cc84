"""Orders out of FHIR request resources, with the authorisations they carry."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from cds_service.facts import codes, elements
from cds_service.facts.authorizations import authorizations
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Code, Order
from cds_service.policy.not_looked_at import Unseen

ORDER_TYPES = frozenset(
    {
        "ServiceRequest", "DeviceRequest", "MedicationRequest", "NutritionOrder", "VisionPrescription",
        "CommunicationRequest", "Appointment", "Encounter",
    }
)  # fmt: skip

# Statuses that take an order out of consideration: nothing is left to decide.
SETTLED = frozenset(
    {"revoked", "cancelled", "completed", "entered-in-error", "stopped", "ended", "fulfilled", "noshow", "finished"}
)
BILLING_OPTIONS = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"

# Resources that orders refer to, or that come with them: no orders themselves. With ORDER_TYPES they are all that may
# stand among draft orders in silence; whatever else does (older types, resources that wrap orders) is not looked at.
SUPPORT_TYPES = frozenset(
    {
        "Account", "ActivityDefinition", "AllergyIntolerance", "Binary", "BodySite", "BodyStructure", "CareTeam",
        "ClaimResponse", "ClinicalImpression", "Condition", "Consent", "Contract", "Coverage",
        "CoverageEligibilityResponse", "DetectedIssue", "Device", "DeviceDefinition", "DeviceMetric",
        "DiagnosticReport", "DocumentReference", "Endpoint", "EpisodeOfCare", "FamilyMemberHistory", "Flag", "Goal",
        "Group", "HealthcareService", "ImagingStudy", "Immunization", "InsurancePlan", "Location", "Measure",
        "Media", "Medication", "MedicationAdministration", "MedicationDispense", "MedicationKnowledge",
        "MedicationStatement", "Observation", "OperationOutcome", "Organization", "OrganizationAffiliation",
        "Patient", "Person", "PlanDefinition", "Practitioner", "PractitionerRole", "Procedure", "Provenance",
        "Questionnaire", "QuestionnaireResponse", "RelatedPerson", "RiskAssessment", "Schedule", "Slot", "Specimen",
        "SpecimenDefinition", "Substance",
    }
)  # fmt: skip

# Types that wrap or were orders, by the names they may be told by: any other name may be a text that somebody wrote.
OTHER_TYPES = frozenset(
    {
        "Basic", "Bundle", "CarePlan", "Claim", "Communication", "Composition", "CoverageEligibilityRequest",
        "DeviceUseRequest", "DeviceUseStatement", "DiagnosticOrder", "DiagnosticRequest", "EnrollmentRequest",
        "ImmunizationRecommendation", "List", "MedicationOrder", "MedicationPrescription", "MessageHeader",
        "NutritionIntake", "NutritionRequest", "Parameters", "ProcedureRequest", "ProcessRequest", "ReferralRequest",
        "RequestGroup", "RequestOrchestration", "SupplyDelivery", "SupplyRequest", "Task", "Transport",
    }
)  # fmt: skip

_ASKING = frozenset({"ServiceRequest", "DeviceRequest", "MedicationRequest"})
# Elements of these that say what is asked for.
_CHOICE = frozenset(
    {
        "code", "codeCodeableConcept", "codeReference", "medication", "medicationCodeableConcept",
        "medicationReference", "orderDetail", "note", "contained", "dosageInstruction", "instantiatesCanonical",
        "instantiatesUri", "parameter",
    }
)  # fmt: skip
_BILLING = (codes.CPT, codes.HCPCS)

_CODE_ELEMENT = {
    "ServiceRequest": "code",
    "DeviceRequest": "codeCodeableConcept",
    "MedicationRequest": "medicationCodeableConcept",
    "Appointment": "serviceType",
    "Encounter": "serviceType",
}
_NONE: tuple[tuple[Code, ...], bool] = ((), False)
_QUANTITY_ELEMENTS = ("quantity", "dispenseRequest", "parameter")
# FHIR R4 has no element in them that says how many of the service are ordered.
_WITHOUT_COUNT = frozenset({"NutritionOrder", "VisionPrescription"})
# Units of a parameter that is a number of pieces; UCUM writes them as 1 or as an annotation, such as {each}.
_COUNTED_IN = frozenset({"1", "each", "ea", "unit", "units", "piece", "pieces", "count", "device", "devices"})
_ANNOTATION = re.compile(r"\{[^{}]*\}")
_CODE_REFERENCE = {"DeviceRequest": "codeReference", "MedicationRequest": "medicationReference"}


def is_settled(resource: Json) -> bool:
    """Is nothing left to decide about this order, whether or not it can be read?"""
    status = resource.get("status")
    return (isinstance(status, str) and status in SETTLED) or resource.get("doNotPerform") is True


def order(
    resource: Json, ref: str, *, draft: bool, faulty: frozenset[str], index: Index, local: Mapping[Code, Code]
) -> Order:
    """One order; elements that intake dropped (`faulty`) are None or marked, never guessed."""
    get = resource.get
    ordered = _product(resource, index)
    concepts = _concepts(resource, ordered)
    found, modifiers = _codes(concepts, local)
    units = _units(resource, faulty)
    if codes.COUNTED in modifiers:  # how it goes together with the order's own quantity, nobody can tell
        units, modifiers = None, tuple(m for m in modifiers if m != codes.COUNTED)
    occurrence = elements.first_day(resource, "occurrence") or elements.day(get("start"))
    authored = elements.day(get("authoredOn")) or elements.day(get("created"))
    sites = elements.concepts(get("bodySite"))
    reasons, unread = _reasons(resource, index) if "reasonCode" in resource or "reasonReference" in resource else _NONE
    return Order(  # by position: nineteen keywords would triple what this costs
        ref,
        found,
        draft,
        units,
        modifiers,
        _texts(resource, ordered, concepts, found),
        reasons,
        _keys(get("reasonReference"), index),
        unread or (bool(faulty) and ("reasonCode" in faulty or "reasonReference" in faulty)),
        codes.of_all(sites),
        elements.texts(sites),
        index.key(get("encounter")),
        _identifier(get("requisition") or get("groupIdentifier")),
        _keys(get("basedOn"), index),
        _keys(get("insurance"), index),
        occurrence,
        authored,
        authorizations(resource, ref, index, found),
        faulty,
    )


def coded_by(resource: Json, index: Index) -> list[Any]:
    """The concepts that say what is ordered: the order's own, and those of the device or medication it refers to."""
    return _concepts(resource, _product(resource, index))


def _reasons(resource: Json, index: Index) -> tuple[tuple[Code, ...], bool]:
    """Codes of the reasons, and whether one of them says nothing that is read.

    One in words alone, in a code of a system that is not known here, or in a resource within the order.
    """
    found: list[Code] = []
    keys = map(index.key, elements.listed(resource.get("reasonReference")))
    unread = any(key is None or key.startswith("#") for key in keys)
    for concept in elements.concepts(resource.get("reasonCode")):
        own, _ = codes.read(concept)
        found += own
        unread = unread or not any(code.system in codes.URI for code in own)
    return elements.distinct(found), unread


def is_blank(resource: Json) -> bool:
    """Is it a form that nobody has filled in yet: nothing chosen, and not a word? As it came, before intake."""
    if resource["resourceType"] not in _ASKING:
        return False
    return not any(_holds(value) for name, value in resource.items() if name.removeprefix("_") in _CHOICE)


def _holds(value: object) -> bool:
    """Does an element hold anything but emptiness?"""
    if isinstance(value, dict):
        return any(map(_holds, value.values()))
    if isinstance(value, list):
        return any(map(_holds, value))
    return bool(value.strip()) if isinstance(value, str) else value is not None


def unseen(
    order: Order, resource: Json, index: Index, is_catalogued: Callable[[Code], bool], own: Collection[str]
) -> tuple[Unseen, str] | None:
    """Why what an order asks for is not known, and which code it may be; None where it is, or is nobody's business.

    For an order that no policy knows by its codes. `own` are the code systems that the client has declared to be its
    own; an order in codes of such dictionaries is passed over: each laboratory test has one.
    """
    if any(code.system in _BILLING and not codes.is_code(code) for code in order.codes):
        return Unseen.NOT_A_CODE, ""
    told = [*coded_by(resource, index), *elements.concepts(resource.get("orderDetail"))]
    for code in (code for concept in told for code in codes.seeming(concept, own)):
        if is_catalogued(code):
            return Unseen.NO_SYSTEM, code.code
    if order.codes:
        return None
    if _CODE_ELEMENT.get(order.resource_type, "") in order.faulty:
        return Unseen.FAULTY_CODE, ""
    return (Unseen.NO_CODE, "") if order.resource_type in _ASKING and not order.texts else None


def words(order: Order, resource: Json, index: Index) -> tuple[str, ...]:
    """How the concepts of an order without a billing code say what is ordered; not what stands in its notes."""
    return () if any(code.system in _BILLING for code in order.codes) else elements.texts(coded_by(resource, index))


def _product(resource: Json, index: Index) -> Json | None:
    """The device or medication that an order is for, where it is in a resource of its own."""
    kind = resource["resourceType"]
    reference = resource.get(_CODE_REFERENCE[kind]) if kind in _CODE_REFERENCE else None
    return index.resolve(reference, within=resource) if reference else None


def _concepts(resource: Json, ordered: Json | None) -> list[Any]:
    found = elements.concepts(resource.get(_CODE_ELEMENT.get(resource["resourceType"], "")))
    if ordered is None:
        return found
    parts = [i.get("itemCodeableConcept") for i in elements.listed(ordered.get("ingredient")) if isinstance(i, dict)]
    every = [ordered.get("code"), ordered.get("type"), *parts]
    return found + [concept for each in every for concept in elements.concepts(each)]


def _names(device: Json) -> list[Any]:
    """Names of a device that are not in its type."""
    return [
        *(n.get("name") for n in elements.listed(device.get("deviceName")) if isinstance(n, dict)),
        device.get("modelNumber"),
    ]


def _codes(concepts: list[Any], local: Mapping[Code, Code]) -> tuple[tuple[Code, ...], tuple[str, ...]]:
    if len(concepts) == 1 and "extension" not in concepts[0]:
        own, extra = codes.read(concepts[0], local)
        return own, tuple(sorted(extra)) if extra else ()
    found: list[Code] = []
    modifiers: list[str] = []
    for concept in concepts:
        options = [e.get("valueCodeableConcept") for e in elements.extensions(concept, BILLING_OPTIONS)]
        for each in (concept, *options):
            own, extra = codes.read(each, local)
            found += own
            modifiers += extra
    return elements.distinct(found), tuple(sorted(set(modifiers)))


def product(resource: Json | None, index: Index) -> str | None:
    """The reference of the device or medication that an order is for, where it leads nowhere; else None."""
    if resource is None or resource["resourceType"] not in _CODE_REFERENCE:
        return None
    reference = resource.get(_CODE_REFERENCE[resource["resourceType"]])
    if reference is None or index.resolve(reference, within=resource) is not None:
        return None
    return index.key(reference)


def _texts(resource: Json, ordered: Json | None, concepts: list[Any], coded: tuple[Code, ...]) -> tuple[str, ...]:
    found = [concept["text"] for concept in concepts if "text" in concept]
    if not any(code.system in (codes.CPT, codes.HCPCS) for code in coded):
        found += elements.texts(concepts)  # without a billing code, the displays of its codings say what it is
    if resource["resourceType"] in _CODE_REFERENCE:
        reference = resource.get(_CODE_REFERENCE[resource["resourceType"]])
        found += [reference.get("display")] if isinstance(reference, dict) else []
    if ordered is not None:
        found += _names(ordered)
    if "orderDetail" in resource:
        found += elements.texts(elements.concepts(resource["orderDetail"]))
    if "note" in resource:
        found += [n.get("text") for n in elements.listed(resource["note"]) if isinstance(n, dict)]
    return elements.distinct([t for t in found if isinstance(t, str) and t]) if found else ()


def _units(resource: Json, faulty: frozenset[str]) -> int | None:
    """How many are ordered; None where the type has an element for it that is not read, or has none.

    Only a ServiceRequest without a quantity is one service (FHIR R4, ServiceRequest.quantity). A prescription's
    quantity is that of one dispense.
    """
    if faulty and any(name.startswith(_QUANTITY_ELEMENTS) for name in faulty):
        return None
    kind = resource["resourceType"]
    if kind in _WITHOUT_COUNT:
        return None
    if kind == "MedicationRequest":
        dispense = resource.get("dispenseRequest")
        return _count(dispense.get("quantity")) if isinstance(dispense, dict) else None
    if kind == "DeviceRequest":
        return _device_count(resource)
    if "quantityRatio" in resource or "quantityRange" in resource:
        return None
    quantity = resource.get("quantityQuantity")
    return 1 if quantity is None else _count(quantity)


def _device_count(resource: Json) -> int | None:
    """DeviceRequest of R4 has no quantity of its own: a parameter that is a count, where there is exactly one."""
    given = [p.get("valueQuantity") for p in elements.listed(resource.get("parameter")) if isinstance(p, dict)]
    counts = [q for q in given if isinstance(q, dict) and _is_count(q)]
    return _count(counts[0]) if len(counts) == 1 else None


def _is_count(quantity: Json) -> bool:
    unit = elements.text(quantity.get("code")) or elements.text(quantity.get("unit")) or "1"
    return unit.strip().lower() in _COUNTED_IN or _ANNOTATION.fullmatch(unit) is not None


def _count(quantity: object) -> int | None:
    value = quantity.get("value") if isinstance(quantity, dict) and not quantity.get("comparator") else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and value >= 1 else None


def _keys(references: object, index: Index) -> tuple[str, ...]:
    if not isinstance(references, list):
        return ()
    return elements.distinct(list(filter(None, map(index.key, references))))


def _identifier(value: object) -> str | None:
    if not isinstance(value, dict) or not elements.text(value.get("value")):
        return None
    return f"{value.get('system', '')}|{value['value']}"
