"""The six Da Vinci CRD services as discovery describes them: hooks, prefetch, versions, configuration options.

Sources: Da Vinci CRD 2.2.1, deviations (version and configuration extensions) and foundation (standard prefetch).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cds_service.determination.crd_outcome import VERSIONS
from cds_service.hooks.services import Service
from cds_service.render.crd_cards import NOT_CHECKED

PRIMARY = frozenset({"order-sign", "order-dispatch", "appointment-book"})
DEFAULT_MAX_CARDS = 10
USAGE = (
    "One endpoint for all coverages. Coverage is required: one instance, by prefetch or readable with the access "
    "token, whose payor carries an identifier. What else a policy needs is read with the access token."
)

_COVERAGE = {
    "patient": "Patient/{{context.patientId}}",
    "coverage": "Coverage?patient={{context.patientId}}&status=active",
}
_ENCOUNTER = {"encounter": "Encounter/{{context.encounterId}}"}
_OF_ORDERS = {
    "devices": "Device?_id={{context.draftOrders.entry.resource.ofType(DeviceRequest).code.resolve().id}}",
    "medications": "Medication?_id={{context.draftOrders.entry.resource.ofType(MedicationRequest).medication"
    ".resolve().id}}",
}
_OF_LOOKED_UP = {
    "devices": "Device?_id={{%deviceRequests.entry.resource.code.resolve().id}}",
    "medications": "Medication?_id={{%medicationRequests.entry.resource.medication.resolve().id}}",
}
_ALTERNATE = "extension('http://hl7.org/fhir/StructureDefinition/alternate-reference').value.resolve()"
_BASED_ON = {
    "deviceRequests": f"DeviceRequest?_id={{{{context.appointments.entry.resource.basedOn.{_ALTERNATE}"
    ".ofType(DeviceRequest).id}}",
    "serviceRequests": "ServiceRequest?_id={{context.appointments.entry.resource.basedOn.resolve()"
    ".ofType(ServiceRequest).id}}",
    "medicationRequests": f"MedicationRequest?_id={{{{context.appointments.entry.resource.basedOn.{_ALTERNATE}"
    ".ofType(MedicationRequest).id}}",
}


def _dispatched(kind: str) -> str:
    return f"{kind}?_id={{{{context.dispatchedOrders.resolve().ofType({kind}).id}}}}"


_DISPATCHED = {
    "communicationRequests": _dispatched("CommunicationRequest"),
    "deviceRequests": _dispatched("DeviceRequest"),
    "medicationRequests": _dispatched("MedicationRequest"),
    "nutritionOrders": _dispatched("NutritionOrder"),
    "serviceRequests": _dispatched("ServiceRequest"),
    "visionPrescriptions": _dispatched("VisionPrescription"),
}
PREFETCH: Mapping[str, Mapping[str, str]] = {
    "order-sign": _COVERAGE | _OF_ORDERS,
    "order-select": _COVERAGE | _OF_ORDERS,
    "order-dispatch": _COVERAGE | _DISPATCHED | _OF_LOOKED_UP,
    "appointment-book": _COVERAGE | _BASED_ON | _OF_LOOKED_UP,
    "encounter-start": _COVERAGE | _ENCOUNTER,
    "encounter-discharge": _COVERAGE | _ENCOUNTER,
}
# Prefetch keys that bring orders and what they refer to: never evidence about the patient.
LOOK_UPS = frozenset(k.lower() for keys in PREFETCH.values() for k in keys) - {"patient", "coverage"} | {
    "practitionerroles",
    "practitioners",
    "organizations",
    "locations",
}

COVERAGE_INFO = "coverage-info"
MAX_CARDS = "max-cards"
_SWITCHES = {
    COVERAGE_INFO: (
        "Coverage Information",
        "Whether an order is covered, needs prior authorization or needs documentation, written to the order.",
    ),
    "therapy-alternatives-opt": (
        "Optional Therapy Alternatives",
        "Covered alternatives to an order that the policy does not support, to accept with one click.",
    ),
    "guideline": ("Guideline", "A clinical guideline that speaks to an order, with a link to it."),
    "off-guideline": ("Off Guideline", "A clinical guideline that advises against an order, with a link to it."),
    "contraindication": ("Contraindication", "Safety warnings about an order."),
    "claim": ("Claim", "Questions about the coding of orders that matter when the claim is made."),
    NOT_CHECKED: ("Not Checked", "Orders of the call that could not be read, so that nothing is said about them."),
}
_ENCOUNTERS = (COVERAGE_INFO, NOT_CHECKED)
_OFFERED = {
    "order-select": tuple(t for t in _SWITCHES if t != "claim"),  # codes are questioned when orders are signed
    "encounter-start": _ENCOUNTERS,
    "encounter-discharge": _ENCOUNTERS,
}
CARD_TYPES = tuple(t for t in _SWITCHES if t != COVERAGE_INFO)


def nothing_to_say(service: Service) -> dict[str, Any]:
    """The answer without cards; at the primary hooks clients look for the list of actions as well."""
    actions: dict[str, Any] = {"systemActions": []} if service.group == "crd" and service.hook in PRIMARY else {}
    return {"cards": [], **actions}


def configuration_options(hook: str) -> list[dict[str, Any]]:
    """Options of one service; cards about orders are offered where orders are judged, not for encounters."""
    offered = _OFFERED.get(hook, tuple(_SWITCHES))
    switches = [
        {"code": c, "type": "boolean", "name": _SWITCHES[c][0], "description": _SWITCHES[c][1], "default": True}
        for c in offered
    ]
    most = {
        "code": MAX_CARDS,
        "type": "integer",
        "name": "Maximum cards",
        "description": "The largest number of cards to return; the most important are kept.",
        "default": DEFAULT_MAX_CARDS,
    }
    return [*switches, most]


_WORDS = {
    "order-sign": ("signing orders", "OrderSignContext"),
    "order-select": ("selecting orders", "OrderSelectContext"),
    "order-dispatch": ("dispatching orders", "OrderDispatchContext"),
    "appointment-book": ("booking appointments", "AppointmentBookContext"),
    "encounter-start": ("start of an encounter", "EncounterContext"),
    "encounter-discharge": ("discharge", "EncounterContext"),
}


def _service(hook: str) -> Service:
    words, schema = _WORDS[hook]
    return Service(
        f"{hook}-crd",
        hook,
        f"Coverage requirements ({words})",
        "Da Vinci CRD: tells for each order whether it is covered and what prior authorization and documentation it "
        "needs; offers covered alternatives.",
        schema,
        group="crd",
        usage=USAGE,
        prefetch=PREFETCH[hook],
        extension={
            "davinci-crd.version": list(VERSIONS),
            "davinci-crd.configuration-options": configuration_options(hook),
        },
    )


CRD_SERVICES = tuple(_service(hook) for hook in _WORDS)
