"""Conditions, procedures, results, answers, coverage and patient out of FHIR resources."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from cds_service.facts import codes, elements
from cds_service.facts.references import Index, Json
from cds_service.policy import units
from cds_service.policy.case import (
    Answer,
    Code,
    Condition,
    Coverage,
    CoverageClass,
    Observation,
    Patient,
    Period,
    Procedure,
)

# What the words of a status come to; None is open. HL7's own systems come first, but real charts use the same words
# in systems of their own, without a system, and as text.
_CLINICAL = {
    "active": True,
    "recurrence": True,
    "relapse": True,
    "inactive": False,
    "remission": False,
    "resolved": False,
}
_VERIFIED = {
    "confirmed": True,
    "unconfirmed": None,
    "provisional": None,
    "differential": None,
    "refuted": False,
    "entered-in-error": False,
}
_CLINICAL_SYSTEM = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFIED_SYSTEM = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
# What is recorded so is being looked for, and coded as if it were there: ICD-10-CM guidelines, section IV.H.
_IN_QUESTION = re.compile(
    r"\s*(?:rule[\s-]*out|r/o|suspect(?:ed)?|possible|probable|questionable)\b|\s*\?", re.IGNORECASE
)
_UCUM = "http://unitsofmeasure.org"
# A value as text that is a measurement and no more: "<2 ng/mL", "-2.7". Anything else beside it may change it.
_MEASURED = re.compile(r"\s*(<=|>=|[<>≤≥])?\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*([^\s\d]\S*)?\s*", re.ASCII)
_COMPARATORS = {"≤": "<=", "≥": ">="}
QR_CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"


def _first_code(element: Json, name: str) -> str | None:
    bare = None
    concept = element.get(name)
    for coding in elements.listed(concept.get("coding")) if isinstance(concept, dict) else ():
        code = coding.get("code") if isinstance(coding, dict) else None
        if isinstance(code, str) and code:
            if isinstance(coding.get("system"), str):
                return code
            bare = bare or code
    return bare  # real charts leave out the system; the words are the same


def _status(concept: object, known: Mapping[str, bool | None], system: str) -> bool | None:
    """What a status says; None where it cannot be read, or says two things."""
    if not isinstance(concept, dict):
        return None
    codings = [c for c in elements.listed(concept.get("coding")) if isinstance(c, dict)]
    own = [code for c in codings if c.get("system") == system and (code := c.get("code"))]
    said = [_word(code) for code in own or [c.get("code") for c in codings]]
    if not own:
        said = [word for word in said if word in known] or [_word(concept.get("text"))]
    found = {known.get(word) for word in said}
    return found.pop() if len(found) == 1 else None


def _word(code: object) -> str:
    return code.strip().lower().replace(" ", "-") if isinstance(code, str) else ""


def condition(resource: Json, ref: str, faulty: frozenset[str]) -> Condition | None:
    """A diagnosis; None when it is refuted or entered in error, and so is no fact at all."""
    concept, verification, clinical = (resource.get(n) for n in ("code", "verificationStatus", "clinicalStatus"))
    confirmed = True if verification is None else _status(verification, _VERIFIED, _VERIFIED_SYSTEM)
    if confirmed is False:
        return None
    text = elements.first_text(concept)
    if clinical is None:
        active: bool | None = not any(name.startswith("abatement") for name in resource)
        unclear = any(name.startswith(("abatement", "clinicalStatus")) for name in faulty)
    else:
        active, unclear = _status(clinical, _CLINICAL, _CLINICAL_SYSTEM), "clinicalStatus" in faulty
    return Condition(
        ref=ref,
        codes=codes.read(concept)[0],
        active=None if unclear else active,
        confirmed=None if "verificationStatus" in faulty or _IN_QUESTION.match(text) else confirmed,
        onset=elements.choice_span(resource, "onset") or _until(resource.get("recordedDate")),
        text=text,
    )


def _until(written: object) -> Period | None:
    known = elements.span(written)
    return Period(None, known.end) if known else None


def procedure(resource: Json, ref: str, faulty: frozenset[str]) -> Procedure | None:
    """A performed procedure; None when it was not done or entered in error. Without codes it may be any procedure."""
    status = resource.get("status")
    if status in ("not-done", "entered-in-error", "preparation"):
        return None
    done = None if "status" in faulty or status in ("unknown", "stopped", "on-hold") else True
    sites = elements.concepts(resource.get("bodySite"))
    texts = elements.texts(sites)
    if isinstance(resource.get("code"), dict) and (own := elements.text(resource["code"].get("text"))):
        texts += (own,)
    performed = elements.choice_span(resource, "performed")
    return Procedure(
        ref=ref,
        codes=codes.read(resource.get("code"))[0],
        performed=performed,
        body_sites=tuple(c for s in sites for c in codes.read(s)[0]),
        texts=elements.distinct(texts),
        done=done,
    )


def observations(resource: Json, ref: str, faulty: frozenset[str]) -> list[Observation]:
    """The result and those of its components; none when it is cancelled or entered in error.

    One without codes may be any result. A panel that has its value in a component of the same code is that component.
    """
    status = resource.get("status")
    if status in ("cancelled", "entered-in-error"):
        return []
    when = elements.choice_span(resource, "effective") or elements.span(resource.get("effectiveInstant"))
    final = "status" not in faulty and status in ("final", "amended", "corrected", None)
    written = elements.moment(resource.get("effectiveDateTime") or resource.get("effectiveInstant"))
    at = written if isinstance(written, datetime) else None
    own = _result(resource, ref, when, final, at)
    if "component" not in resource:
        return [own]
    parts = [_result(p, ref, when, final, at) for p in elements.listed(resource["component"]) if isinstance(p, dict)]
    named = {code for part in parts for code in part.codes}
    valued = any(name.startswith("value") for name in resource)
    return [own, *parts] if valued or named.isdisjoint(own.codes) else parts


def _result(element: Json, ref: str, when: Period | None, final: bool, at: datetime | None) -> Observation:
    """What the code and value of an Observation, or of one of its components, say."""
    quantity = element.get("valueQuantity")
    number, comparator, unit = _measured(element)
    if isinstance(quantity, dict):
        number = _number(quantity.get("value"))
        comparator, unit = elements.text(quantity.get("comparator")), _unit(quantity)
    flag = element.get("valueBoolean")
    return Observation(
        ref=ref,
        codes=codes.read(element.get("code"))[0],
        effective=when,
        quantity=number,
        comparator=comparator,
        unit=unit,
        flag=flag if isinstance(flag, bool) else None,
        coded=codes.read(element.get("valueCodeableConcept"))[0],
        final=final,
        at=at,
    )


def _measured(element: Json) -> tuple[float | None, str | None, str | None]:
    """Number, comparator and unit of a value that is no Quantity: a whole number, or text that says just that."""
    written = element.get("valueString")
    match = _MEASURED.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        return _number(element.get("valueInteger")), None, None
    if match[3] and not units.known(match[3]):
        return None, None, None
    return float(match[2]), _COMPARATORS.get(match[1], match[1]), match[3]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _unit(quantity: Json) -> str | None:
    """The coded unit; what is shown for it where that is coded in another system than UCUM."""
    code, shown = elements.text(quantity.get("code")), elements.text(quantity.get("unit"))
    return shown or code if quantity.get("system", _UCUM) != _UCUM else code or shown


def answers(resource: Json, ref: str, index: Index, received: date) -> Iterator[Answer]:
    """Answered items of a completed QuestionnaireResponse; `about` is what basedOn and DTR's qr-context tie it to.

    None of one that is dated after the day (UTC) on which it was received: its date is wrong, or it is a draft.
    """
    if resource.get("status") not in ("completed", "amended") or _is_after(resource.get("authored"), received):
        return
    canonical = elements.text(resource.get("questionnaire")) or ""
    authored = elements.moment(resource.get("authored"))
    about = [index.key(r) for r in elements.listed(resource.get("basedOn"))]
    about += [index.key(e.get("valueReference")) for e in elements.extensions(resource, QR_CONTEXT)]
    orders = tuple(dict.fromkeys(k for k in about if k))
    if not orders:
        return  # what names no order may be about another level, or years old
    for link_id, question, value in _items(resource.get("item")):
        yield Answer(ref, canonical, link_id, value, authored, orders, question)


def _is_after(written: object, last: date) -> bool:
    moment = elements.moment(written)
    if isinstance(moment, datetime):
        return moment >= datetime.combine(last + timedelta(days=1), time.min, UTC)
    known = elements.span(written)
    return known is not None and known.start is not None and known.start > last


def _items(items: object, depth: int = 0) -> Iterator[tuple[str, str | None, Any]]:
    for item in elements.listed(items):
        if not isinstance(item, dict) or depth > 16:
            continue
        for answer in elements.listed(item.get("answer")):
            if isinstance(answer, dict) and (link := elements.text(item.get("linkId"))):
                yield link, elements.text(item.get("text")), _answer_value(answer)
                yield from _items(answer.get("item"), depth + 1)
        yield from _items(item.get("item"), depth + 1)


def _answer_value(answer: Mapping[str, Any]) -> bool | float | str | Code | None:
    for name, value in answer.items():
        if name == "valueBoolean" and isinstance(value, bool):
            return value
        if name in ("valueDecimal", "valueInteger") and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if name == "valueCoding" and isinstance(value, dict):
            found = codes.read({"coding": [value]})[0]
            return found[0] if found else None
        if name in ("valueString", "valueDate", "valueDateTime") and isinstance(value, str):
            return value
    return None


def patient(resource: Json, ref: str) -> Patient:
    """Birth date (a range when partial) and administrative gender."""
    return Patient(ref, elements.span(resource.get("birthDate")), elements.text(resource.get("gender")))


def coverage(resource: Json, ref: str, faulty: frozenset[str], index: Index) -> Coverage:
    """One coverage; the payor's identifiers and names come from Coverage.payor and the Organization it points at."""
    order, kind = resource.get("order"), resource.get("type")
    identifiers, names = payers(elements.listed(resource.get("payor")), resource, index)
    return Coverage(
        ref=ref,
        payor_identifiers=identifiers,
        payor_names=names,
        status=None if "status" in faulty else elements.text(resource.get("status")) or "active",
        period=elements.period(resource.get("period")),
        order=order if isinstance(order, int) and not isinstance(order, bool) else None,
        type_codes=codes.read(kind)[0] if kind else (),
        type_texts=elements.texts([kind]) if kind else (),
        classes=tuple(map(_class, elements.listed(resource.get("class")))) if "class" in resource else (),
        unread="type" in faulty or "class" in faulty,
        self_paid=_is_self_paid(elements.listed(resource.get("payor")), index),
    )


def _is_self_paid(payors: list[Any], index: Index) -> bool:
    keys = [index.key(payor) or "" for payor in payors]
    return bool(keys) and all(key.startswith(("Patient/", "RelatedPerson/")) for key in keys)


def _class(item: Json) -> CoverageClass:
    return CoverageClass(_first_code(item, "type"), elements.text(item.get("value")), elements.text(item.get("name")))


def payers(references: list[Any], resource: Json, index: Index) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Identifiers (system, value) and names of what References to payers tell, with the Organizations they point at."""
    identifiers: dict[tuple[str, str], None] = {}
    names: dict[str, None] = {}
    for payer in references:
        if not isinstance(payer, dict):
            continue
        organization = index.resolve(payer, within=resource) or {}
        for identifier in (payer.get("identifier"), *elements.listed(organization.get("identifier"))):
            if isinstance(identifier, dict) and (value := elements.text(identifier.get("value"))):
                identifiers[(str(identifier.get("system") or ""), value)] = None
        for name in (payer.get("display"), organization.get("name"), *elements.listed(organization.get("alias"))):
            if text := elements.text(name):
                names[text] = None
    return tuple(identifiers), tuple(names)
