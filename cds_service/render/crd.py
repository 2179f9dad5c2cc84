"""The coverage-information extension, per version of the guide, and orders annotated with it.

Source: Da Vinci CRD, ext-coverage-information at tags 2.0.1, 2.1.0 and 2.2.1. An assertion is neutral; `extension`
leaves out, or words otherwise, what a version does not have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from cds_service.determination.crd_outcome import Version

Json = dict[str, Any]
URL = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
TEMP = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
# Types of card, with the displays that both code systems give them: the guide's own, and from 2.2 on HL7's.
CARD_TYPES = "http://terminology.hl7.org/CodeSystem/cdshooks-card-type"
TOPICS = {
    "therapy-alternatives-opt": "Optional Therapy Alternatives",
    "guideline": "Guideline",
    "off-guideline": "Off Guideline",
    "contraindication": "Contraindication",
    "claim": "Claim",
}
DETAIL = "http://terminology.hl7.org/CodeSystem/crd-coverage-detail"
DETAILS = {"policy-link": "Policy Link"}
_URLS = frozenset({"policy-link"})
# Reason codes of the guide's value set, with their displays; before 2.2 there are none that fit, so text says it.
REASONS = {
    "no-member-found": "Member not found",
    "no-active-coverage": "Coverage not active",
    "coverage-not-found": "Coverage not found",
    "technical": "Technical issues",
}
_DEPENDENCIES = frozenset(
    {"Appointment", "CommunicationRequest", "DeviceRequest", "MedicationRequest", "NutritionOrder", "ServiceRequest"}
)
# What may differ from call to call without anything new being said.
_METADATA = frozenset({"date", "coverage-assertion-id"})


def topic(code: str, system: str = TEMP) -> Json:
    """What a card is about, as a type of card."""
    return {"system": system, "code": code, "display": TOPICS[code]}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a text that says which aspect it is about, with a code of the guide where one fits.

    `later` stands in for it where it is too early to ask; empty where the text asks for nothing.
    """

    text: str
    code: str | None = None
    later: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Needed:
    """What info-needed OTH is about (ext-coverage-information: it must have a detail); `later` as in a reason."""

    text: str
    later: str = ""


@dataclass(frozen=True, slots=True)
class PolicyLink:
    """Where the policy can be read, and which version of it spoke."""

    url: str
    qualification: str


@dataclass(frozen=True, slots=True)
class Documents:
    """Documentation that is asked for, what it is for, and the questionnaires to complete."""

    needed: tuple[str, ...] = ()
    purpose: tuple[str, ...] = ()
    questionnaires: tuple[str, ...] = ()


NO_DOCUMENTS = Documents()


@dataclass(frozen=True, slots=True)
class Assertion:
    """What is said of one order, for one group of billing codes. Codes are those of the version spoken."""

    id: str
    coverage: str
    covered: str
    made_on: date
    pa_needed: str | None = None
    documents: Documents = NO_DOCUMENTS
    info_needed: tuple[str, ...] = ()
    billing_codes: tuple[tuple[str, str], ...] = ()
    reasons: tuple[Reason, ...] = ()
    needed: Needed | None = None
    link: PolicyLink | None = None
    contact: Json | None = None
    dependencies: tuple[str, ...] = ()
    satisfied_pa_id: str | None = None
    expires: date | None = None


def in_time(a: Assertion) -> Assertion:
    """The assertion as a secondary hook may carry it: nothing in it asks for information (CRD 2.2, hook-19).

    The one place that all of its texts pass there, in codes and in words.
    """
    reasons = [Reason(r.later) if r.later else r for r in a.reasons]
    needed = Needed(a.needed.later or a.needed.text) if a.needed else None
    return replace(a, documents=NO_DOCUMENTS, reasons=tuple(dict.fromkeys(reasons)), needed=needed)


def extension(a: Assertion, version: Version) -> Json:
    """The assertion as an extension in one version of the guide."""
    return {"url": URL, "extension": list(_parts(a, version))}


def _parts(a: Assertion, version: Version) -> Iterator[Json]:
    yield {"url": "coverage", "valueReference": {"reference": a.coverage}}
    yield _code("covered", a.covered)
    if a.pa_needed:
        yield _code("pa-needed", a.pa_needed)
    yield from (_code("doc-needed", c) for c in a.documents.needed)
    yield from (_code("doc-purpose", c) for c in a.documents.purpose)
    yield from (_code("info-needed", c) for c in a.info_needed)
    for system, code in a.billing_codes:
        yield {"url": "billingCode", "valueCoding": {"system": system, "code": code}}
    yield from (_reason(r, version) for r in a.reasons)
    if a.needed:
        yield _detail(None, "Information needed", a.needed.text, None, version)
    if a.link:
        yield _detail("policy-link", "Policy link", a.link.url, a.link.qualification, version)
    yield from _references(a, version)
    yield {"url": "date", "valueDate": a.made_on.isoformat()}
    yield {"url": "coverage-assertion-id", "valueString": a.id}
    if a.satisfied_pa_id:
        yield {"url": "satisfied-pa-id", "valueString": a.satisfied_pa_id}
    if a.contact:
        yield {"url": "contact", "valueContactDetail": a.contact}
    if a.expires and version != "2.0":
        yield {"url": "expiry-date", "valueDate": a.expires.isoformat()}


def _references(a: Assertion, version: Version) -> Iterator[Json]:
    allowed = _DEPENDENCIES | ({"VisionPrescription"} if version == "2.2" else set())
    for ref in a.dependencies:
        if ref.split("/", 1)[0] in allowed:
            yield {"url": "dependency", "valueReference": {"reference": ref}}
    for canonical in a.documents.questionnaires:
        yield {"url": "questionnaire", "valueCanonical": canonical}


def _code(url: str, code: str) -> Json:
    return {"url": url, "valueCode": code}


def _reason(reason: Reason, version: Version) -> Json:
    concept: Json = {"text": reason.text}
    if reason.code and version == "2.2":
        coding = {"system": TEMP, "code": reason.code, "display": REASONS[reason.code]}
        concept = {"coding": [coding], **concept}
    return {"url": "reason", "valueCodeableConcept": concept}


def _detail(code: str | None, name: str, value: str, qualification: str | None, version: Version) -> Json:
    """One detail: 2.0 has neither the codes nor URLs, 2.1 has no category. The guide has no code for what is needed."""
    concept: Json = {"text": name}
    if code and version != "2.0":
        temp = {"system": TEMP, "code": code, "display": DETAILS[code]}
        official = {"system": DETAIL, "code": code, "display": DETAILS[code]}
        concept = {"coding": [official, temp] if version == "2.2" else [temp], **concept}
    parts: list[Json] = [{"url": "category", "valueCode": "cat-other"}] if version == "2.2" else []
    kind = "valueUrl" if code in _URLS and version != "2.0" else "valueString"
    parts += [{"url": "code", "valueCodeableConcept": concept}, {"url": "value", kind: value}]
    if qualification:
        parts.append({"url": "qualification", "valueString": qualification})
    return {"url": "detail", "extension": parts}


# --- annotating an order ----------------------------------------------------------------------------


def is_coverage_information(value: object) -> bool:
    """True for an extension with the guide's URL, with or without a version suffix."""
    return isinstance(value, dict) and str(value.get("url", "")).split("|", 1)[0] == URL


def part(value: Mapping[str, Any], url: str) -> Any:
    """The value[x] of the first nested extension of a name, or None."""
    nested = value.get("extension")
    for inner in nested if isinstance(nested, list) else ():
        if isinstance(inner, dict) and inner.get("url") == url:
            return next((v for k, v in inner.items() if k.startswith("value")), None)
    return None


def about(value: Mapping[str, Any], coverage: str) -> bool:
    """True when a coverage-information extension is about this coverage."""
    reference = part(value, "coverage")
    text = reference.get("reference") if isinstance(reference, dict) else None
    return isinstance(text, str) and f"/{text}".split("/_history/")[0].endswith(f"/{coverage}")


def own(resource: Mapping[str, Any], coverage: str) -> list[Json]:
    """The coverage-information that a resource carries about this coverage."""
    given = resource.get("extension")
    listed = given if isinstance(given, list) else [given]
    return [e for e in listed if isinstance(e, dict) and is_coverage_information(e) and about(e, coverage)]


def _substance(value: Mapping[str, Any]) -> str:
    nested = value.get("extension")
    kept = [e for e in (nested if isinstance(nested, list) else ()) if _says_something(e.get("url"))]
    return json.dumps(sorted((_plain(e) for e in kept), key=_sorted), sort_keys=True)


def _says_something(url: object) -> bool:
    """False for date and id, and for extensions of others (absolute URLs), which no assertion of ours is about."""
    return url not in _METADATA and ":" not in str(url)


def _sorted(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _plain(value: Any) -> Any:
    """References by type and id, so that an absolute one says the same as a relative one; without element ids."""
    if isinstance(value, dict):
        named = {k: v for k, v in value.items() if k != "id"}
        return {k: _tail(v) if k == "reference" and isinstance(v, str) else _plain(v) for k, v in named.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _tail(reference: str) -> str:
    return "/".join(reference.split("/_history/", maxsplit=1)[0].rstrip("/").split("/")[-2:])


def says_the_same(before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> bool:
    """True when nothing is new but date and id: then nothing is sent (CRD 2.2, resp-35)."""
    return sorted(map(_substance, before)) == sorted(map(_substance, now))


def annotated(resource: Mapping[str, Any], coverage: str, extensions: list[Json]) -> Json:
    """The whole resource with these extensions about one coverage; all else as it was, other extensions in order."""
    given = resource.get("extension")
    replaced = own(resource, coverage)
    listed = given if isinstance(given, list) else [given] if given else []
    kept = [e for e in listed if not any(e is r for r in replaced)]
    return {**resource, "extension": [*kept, *extensions]}
