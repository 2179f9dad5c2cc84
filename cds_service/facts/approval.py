"""Whether a ClaimResponse grants what was asked for. Its status and outcome say that it was processed, no more.

Source: FHIR R4, ClaimResponse; Da Vinci PAS, extension-reviewAction (X12 306). Where no review says what came out,
the words for people are all there is, and they are taken for a grant only where they are plainly one: there is no
end to the ways of saying no.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.facts import elements
from cds_service.facts.references import Json

REVIEW_ACTION = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction"
REVIEW_CODE = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewActionCode"
CERTIFIED = "A1"  # in total; certified in part, modified, pended and refused all leave something open
_WORD = re.compile(r"\w+")
# Kinds of amounts, which say nothing of a grant: terminology.hl7.org/CodeSystem/adjudication.
_AMOUNTS = frozenset(_WORD.findall("submitted copay eligible deductible unallocdeduct eligpercent tax benefit"))
_GRANTED = frozenset(_WORD.findall("affirmed approved authorised authorized certified granted"))
# What a first sentence that grants may hold beside: nothing that could limit it, no number, no condition.
_BESIDE = _GRANTED | frozenset(
    _WORD.findall(
        "a after all an and appeal approval are as at authorisation authorization auto automatically been by "
        "certification clinical director for full given has have in is it item items level medical on order overturned "
        "per plan policy prior procedure procedures reconsideration request requested reviewer service services "
        "submitted surgery the this total upon was were your"
    )
)
# Words of refusal that refuse nothing now.
_HARMLESS = re.compile(
    r"\bpreviously\s+denied\b|\b(?:previous|prior|initial|original|earlier|first)\s+(?:denial|refusal)\b"
    r"|\b(?:denial|refusal)\s+(?:(?:is|was|has\s+been)\s+)?(?:overturned|reversed)\b|\bnothing\s+(?:was\s+)?denied\b"
    r"|\bnot\s+a\s+guarantee\s+of\s+\w+",
    re.IGNORECASE,
)
# What takes something back in the sentences after it.
_LIMITS = re.compile(
    r"\b(?:adverse|but|cancel\w*|condition\w*|declin\w*|den(?:y|ied|ial)\w*|disallow\w*|disapprov\w*|except\w*|expired"
    r"|however|if|modif\w*|non|not?|only|part|partial\w*|pend\w*|provided|reduc\w*|refus\w*|reject\w*|rescind\w*"
    r"|revok\w*|subject|suspend\w*|unless|upheld|void\w*|withdrawn|withheld)\b",
    re.IGNORECASE,
)
_STATEMENT = re.compile(r"[.;!\n]+")


def is_granted(response: Json) -> bool:
    """True where every review ended with certification or, without a review, where all that is said is approval."""
    if response.get("error"):
        return False
    reviews, adjudications = _parts(response)
    if reviews:
        return all(code == CERTIFIED for code in reviews)
    notes = [n.get("text") for n in elements.listed(response.get("processNote")) if isinstance(n, dict)]
    reasons = [text for a in adjudications for text in _said(a.get("reason"))]
    disposition = elements.text(response.get("disposition"))
    said = [*notes, *reasons, *([disposition] if disposition and disposition.strip() else ())]
    return all(_approves(text) for text in said) and all(map(_is_neutral, adjudications))


def _approves(text: object) -> bool:
    """Does it begin with a sentence that grants and holds no limit, and take nothing back after it?"""
    if not isinstance(text, str):
        return False
    first, _, rest = _STATEMENT.sub("\n", _HARMLESS.sub("", text)).strip().partition("\n")
    words = set(_WORD.findall(first.lower()))
    return words <= _BESIDE and not words.isdisjoint(_GRANTED) and _LIMITS.search(rest) is None


def _is_neutral(adjudication: Mapping[str, Any]) -> bool:
    """Is its category a kind of amount, or an approval itself?"""
    said = _said(adjudication.get("category"))
    return all(text.lower().removesuffix(" amount") in _AMOUNTS or _approves(text) for text in said)


def _said(concept: object) -> list[str]:
    """A CodeableConcept's text and codes; the display of what has no code."""
    if not isinstance(concept, dict):
        return []
    codings = [c for c in elements.listed(concept.get("coding")) if isinstance(c, dict)]
    found = [concept.get("text"), *(c.get("code") or c.get("display") for c in codings)]
    return [text for text in found if isinstance(text, str) and text]


def _parts(response: Json) -> tuple[list[str | None], list[Json]]:
    """Codes of all review actions (None for one without a code), and all adjudications, wherever they stand."""
    reviews: list[str | None] = []
    adjudications: list[Json] = []
    stack: list[Any] = [response]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, dict) and node.get("url") == REVIEW_ACTION:
            reviews.append(next(_review_codes(node), None))
        elif isinstance(node, dict):
            adjudications += [a for a in elements.listed(node.get("adjudication")) if isinstance(a, dict)]
            stack += [value for value in node.values() if isinstance(value, dict | list)]
    return reviews, adjudications


def _review_codes(action: Mapping[str, Any]) -> Iterator[str]:
    coded = elements.extension_values(action, {REVIEW_CODE, "reviewActionCode"})
    for concept in [c for values in coded.values() for c in values if isinstance(c, dict)]:
        for coding in elements.listed(concept.get("coding")):
            code = coding.get("code") if isinstance(coding, dict) else None
            if isinstance(code, str):
                yield code
