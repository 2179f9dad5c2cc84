"""Authorisations that an order carries: in its own coverage-information, or by insurance -> ClaimResponse.

Source: Da Vinci CRD, coverage-information; FHIR R4, ClaimResponse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from cds_service.facts import chart, codes, elements
from cds_service.facts.approval import is_granted
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Authorization, Code, Coverage, Period

COVERAGE_INFORMATION = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
_PARTS = frozenset({"pa-needed", "covered", "expiry-date", "satisfied-pa-id", "coverage", "billingCode", "date"})
_NOTHING = [None]
_Said = Mapping[str, list[Any]]
"""The parts of one coverage-information, by name."""


def authorizations(resource: Json, ref: str, index: Index, own: tuple[Code, ...]) -> tuple[Authorization, ...]:
    """All that were given for its `own` codes, whenever and by whomever: by its annotations, then its insurance."""
    if "extension" not in resource and "insurance" not in resource:
        return ()
    every = [elements.extension_values(e, _PARTS) for e in elements.extensions(resource, COVERAGE_INFORMATION)]
    said = [one for one in every if _concerns(one, own)]
    found = [_satisfied(one, ref, index) for one in said if _stands(one, said, index)]
    for reference in elements.listed(resource.get("insurance")):
        response = index.resolve(reference, within=resource)
        if (
            response is not None
            and response.get("resourceType") == "ClaimResponse"
            and _same(response, resource, index)
        ):
            found += _granted(response, index.key(reference) or ref, index)
    return tuple(found)


def _concerns(said: _Said, own: tuple[Code, ...]) -> bool:
    """Is it about what is ordered now? An order may have been amended since it was annotated."""
    billed = said.get("billingCode")
    return billed is None or not set(own).isdisjoint(codes.read({"coding": billed})[0])


def _satisfies(said: _Said) -> bool:
    return "satisfied" in said.get("pa-needed", ()) and "not-covered" not in said.get("covered", ())


def _stands(one: _Said, every: Sequence[_Said], index: Index) -> bool:
    """Does it authorise, and says nothing of the same coverage otherwise that may be newer?"""
    if not _satisfies(one):
        return False
    coverage, day = _coverage(one, index), _day(one)
    rivals = [_day(r) for r in every if not _satisfies(r) and _coverage(r, index) == coverage]
    return all(day and rival and rival < day for rival in rivals)


def _day(said: _Said) -> date | None:
    return elements.day(said.get("date", _NOTHING)[0])


def _coverage(said: _Said, index: Index) -> str | None:
    return index.key(said.get("coverage", _NOTHING)[0])


def _satisfied(said: _Said, ref: str, index: Index) -> Authorization:
    last = elements.span(said.get("expiry-date", _NOTHING)[0])
    number = elements.text(said.get("satisfied-pa-id", _NOTHING)[0])
    return Authorization(number, ref, last.end if last else None, coverage=_coverage(said, index))


def _same(response: Json, order: Json, index: Index) -> bool:
    """Are both about one patient? What is contained in an order has not been looked at on its own.

    A patient named by identifier alone is taken for the order's, unless that one is known by others.
    """
    patient, subject = response.get("patient"), order.get("subject") or order.get("patient")
    owners = {index.key(patient), index.key(subject)} - {None}
    if len(owners) > 1 or index.key(patient) is not None or not isinstance(patient, dict):
        return len(owners) < 2
    known = elements.identifiers((index.resolve(subject) or {}).get("identifier"))
    known |= elements.identifiers([subject.get("identifier")] if isinstance(subject, dict) else [])
    given = elements.identifiers([patient.get("identifier")])
    return not given or not known or not given.isdisjoint(known)


def _granted(response: Json, ref: str, index: Index) -> list[Authorization]:
    """`outcome` says that the request was processed, `preAuthRef` which one it was: neither says what came out."""
    number = elements.text(response.get("preAuthRef"))
    state = tuple(response.get(name) for name in ("status", "outcome", "use"))
    if number is None or state != ("active", "complete", "preauthorization") or not is_granted(response):
        return []
    days = elements.period(response.get("preAuthPeriod")) or Period()
    insurer = Coverage(ref, *chart.payers([response.get("insurer")], response, index))
    return [Authorization(number, ref, days.end, days.start, insurer=insurer)]
