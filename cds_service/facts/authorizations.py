"""Authorisations that an order carries: in its own coverage-information, or by insurance -> ClaimResponse.

Source: Da Vinci CRD, coverage-information; FHIR R4, ClaimResponse; Da Vinci PAS, extension-reviewAction (X12 306).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.facts import chart, elements
from cds_service.facts.references import Index, Json
from cds_service.policy.case import Authorization, Coverage, Period

COVERAGE_INFORMATION = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
REVIEW_ACTION = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction"
REVIEW_CODE = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewActionCode"
CERTIFIED = "A1"  # in total; certified in part, modified, pended and refused all leave something open
_GRANT = frozenset({"pa-needed", "expiry-date", "satisfied-pa-id", "coverage"})
_NOTHING = [None]
# A disposition is text for people; where it says one of these, the request was not simply granted.
_NOT_GRANTED = re.compile(
    r"\b(?:den(?:y|ied|ial)|not\s+(?:certified|approved|authori[sz]ed|granted|medically)|reject\w*|refus\w*|declin\w*"
    r"|disapprov\w*|non-?certif\w*|pend(?:ed|ing)|cancel\w*|void\w*|partial\w*|withdrawn)\b",
    re.IGNORECASE,
)


def authorizations(resource: Json, ref: str, index: Index) -> tuple[Authorization, ...]:
    """All that were given, whenever and by whomever: in the order's own annotations, then by its insurance."""
    if "extension" not in resource and "insurance" not in resource:
        return ()
    found = [
        _satisfied(elements.extension_values(extension, _GRANT), ref, index)
        for extension in elements.extensions(resource, COVERAGE_INFORMATION)
    ]
    for reference in elements.listed(resource.get("insurance")):
        response = index.resolve(reference, within=resource)
        if (
            response is not None
            and response.get("resourceType") == "ClaimResponse"
            and _same(response, resource, index)
        ):
            found.append(_granted(response, index.key(reference) or ref, index))
    return tuple([authorization for authorization in found if authorization is not None])


def _same(response: Json, order: Json, index: Index) -> bool:
    """Are both about one patient? What is contained in an order has not been looked at on its own."""
    owners = {index.key(response.get("patient")), index.key(order.get("subject") or order.get("patient"))} - {None}
    return len(owners) < 2


def _satisfied(said: Mapping[str, list[Any]], ref: str, index: Index) -> Authorization | None:
    if "satisfied" not in said.get("pa-needed", ()):
        return None
    last = elements.span(said.get("expiry-date", _NOTHING)[0])
    number = elements.text(said.get("satisfied-pa-id", _NOTHING)[0])
    coverage = index.key(said.get("coverage", _NOTHING)[0])
    return Authorization(number, ref, last.end if last else None, coverage=coverage)


def _granted(response: Json, ref: str, index: Index) -> Authorization | None:
    """`outcome` says that the request was processed, `preAuthRef` which one it was: neither says what came out."""
    number = elements.text(response.get("preAuthRef"))
    state = tuple(response.get(name) for name in ("status", "outcome", "use"))
    if number is None or state != ("active", "complete", "preauthorization") or not _is_positive(response):
        return None
    days = elements.period(response.get("preAuthPeriod")) or Period()
    insurer = Coverage(ref, *chart.payers([response.get("insurer")], response, index))
    return Authorization(number, ref, days.end, days.start, insurer=insurer)


def _is_positive(response: Json) -> bool:
    """No error, no review that ended otherwise than with certification, no words of refusal."""
    said = elements.text(response.get("disposition"))
    if response.get("error") or (said and _NOT_GRANTED.search(said)):
        return False
    return all(code == CERTIFIED for code in _reviews(response))


def _reviews(response: Json) -> Iterator[object]:
    """Codes of all review actions, wherever an adjudication carries one; None for one without a code."""
    stack: list[Any] = [response]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, dict):
            if node.get("url") == REVIEW_ACTION:
                coded = elements.extension_values(node, {REVIEW_CODE, "reviewActionCode"})
                concepts = [c for values in coded.values() for c in values if isinstance(c, dict)]
                yield next((code for c in concepts for code in _codes(c)), None)
            else:
                stack += [value for value in node.values() if isinstance(value, dict | list)]


def _codes(concept: Mapping[str, Any]) -> Iterator[str]:
    for coding in elements.listed(concept.get("coding")):
        code = coding.get("code") if isinstance(coding, dict) else None
        if isinstance(code, str):
            yield code
