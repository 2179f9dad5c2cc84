"""The chart as it was known on a day: what is dated later is left out, what ended later had not ended yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from cds_service.facts import elements
from cds_service.facts.authorizations import COVERAGE_INFORMATION
from cds_service.facts.orders import SETTLED

Json = dict[str, Any]

# Elements that date a fact, best first: when it was written down, else when it was.
_DATED_BY: Mapping[str, tuple[str, ...]] = {
    "Condition": ("recordedDate", "onsetDateTime", "onsetPeriod"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "Observation": ("issued", "effectiveDateTime", "effectiveInstant", "effectivePeriod"),
    "QuestionnaireResponse": ("authored",),
    "ClaimResponse": ("created",),
    "Coverage": ("period",),
}
# When an order was signed.
_SIGNED_BY: Mapping[str, str] = {"NutritionOrder": "dateTime", "VisionPrescription": "dateWritten"}
_ACTIVE = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}],
}


def first_possible(value: object) -> date | None:
    """The first day that a date, dateTime or Period may mean; None where it says nothing."""
    found = elements.period(value) if isinstance(value, dict) else elements.span(value)
    return found.start if found else None


def signing_day(order: Mapping[str, Any]) -> date | None:
    """The day an order was signed, as written; the first day of a partial date; None where nothing dates it."""
    name = _SIGNED_BY.get(str(order.get("resourceType")), "authoredOn")
    return first_possible(order.get(name)) or elements.first_day(order, "occurrence")


def known_on(day: date | None, resource: Json) -> bool:
    """True unless every date that the resource may mean is later; None is a day after all others."""
    if day is None:
        return True
    for name in _DATED_BY.get(str(resource.get("resourceType")), ()):
        found = first_possible(resource.get(name))
        if found is not None:
            return found <= day
    return True


def as_on(day: date | None, resource: Json) -> Json:
    """A condition that abated after the day was active on it. Everything else is as it is."""
    if day is None or resource.get("resourceType") != "Condition":
        return resource
    ends = [n for n in ("abatementDateTime", "abatementPeriod") if n in resource]
    ended = first_possible(resource[ends[0]]) if ends else None
    if ended is None or ended <= day:
        return resource
    kept = {k: v for k, v in resource.items() if not k.startswith("abatement")}
    return {**kept, "clinicalStatus": _ACTIVE}


def as_draft(order: Json, day: date | None, patient: str) -> Json:
    """The order as it stood before it was signed: a draft, without what payers said of it later."""
    draft = {**order, "status": "draft"}
    if order["resourceType"] != "VisionPrescription":
        draft.setdefault("intent", "order")
    subject = "patient" if order["resourceType"] in ("NutritionOrder", "VisionPrescription") else "subject"
    draft.setdefault(subject, {"reference": f"Patient/{patient}"})
    if "extension" in order:
        draft["extension"] = list(_said_by(day, order["extension"]))
        if not draft["extension"]:
            del draft["extension"]
    return draft


def _said_by(day: date | None, extensions: Any) -> Iterator[Any]:
    for extension in elements.listed(extensions):
        if day is not None and isinstance(extension, dict) and extension.get("url") == COVERAGE_INFORMATION:
            said = first_possible(elements.extension_values(extension, ("date",)).get("date", [None])[0])
            if said is not None and said > day:
                continue
        yield extension


def active_on(day: date | None, order: Json) -> bool:
    """True for an order signed by the day whose service was still to come, as far as the chart tells."""
    signed, status = signing_day(order), order.get("status", "active")
    if status in ("draft", "entered-in-error") or (day is not None and signed is not None and signed > day):
        return False
    if status not in SETTLED:
        return True
    planned = elements.first_day(order, "occurrence")
    return status in ("completed", "fulfilled") and day is not None and planned is not None and planned > day
