"""What a page without login may show of a case: no reference to the patient, no code or text that a chart made up."""

from __future__ import annotations

import re
from typing import Any

from cds_service.policy.case import Code
from cds_service.policy.safe_names import safe_name
from cds_service.policy.trace import Missing, Trace
from cds_service.policy.vocabulary import Vocabulary

Json = dict[str, Any]
# Codes of known systems in the shape that they have there (normalised: facts/codes.py).
_SHAPES = {
    "cpt": re.compile(r"\d{4}[\dA-Z]"),
    "hcpcs": re.compile(r"[A-V]\d{4}"),
    "icd-10-cm": re.compile(r"[A-Z]\d[\dA-Z](?:\.[\dA-Z]{1,4})?"),
    "icd-10-pcs": re.compile(r"[\dA-HJ-NP-Z]{7}"),
    "snomed": re.compile(r"\d{6,18}"),
    "loinc": re.compile(r"(?:L[AP])?\d{1,7}-\d"),
    "rxnorm": re.compile(r"\d{1,8}"),
}


def is_public(code: Code, vocabulary: Vocabulary) -> bool:
    """True for a code that the catalogue or a value set lists, or that looks as codes of its system do.

    Any other may be anything that someone wrote where FHIR has a code: a name, too.
    """
    shape = _SHAPES.get(code.system)
    if shape is not None and shape.fullmatch(code.code):
        return True
    if code in vocabulary.procedures:
        return True
    return any(code in vocabulary.sets[name].codes for name in vocabulary.sets_of(code))


def public_trace(trace: Trace, vocabulary: Vocabulary) -> Json:
    """As `Trace.to_json`, without references to the patient and without codes that are not public."""
    id_, op, outcome, text, evidence, missing, cites, children = trace
    node: Json = {"id": id_, "op": op, "outcome": outcome.value}
    if text:
        node["text"] = text
    if evidence:
        node["evidence"] = [_fact(*fact, vocabulary) for fact in evidence]
    if missing:
        node["missing"] = [public_missing(m) for m in missing]
    if cites:
        node["cites"] = list(cites)
    if children:
        node["children"] = [public_trace(child, vocabulary) for child in children]
    return node


def public_missing(missing: Missing) -> Json:
    """What is missing, with its state in our own words alone."""
    return {"text": missing.text, "source": missing.source, "state": public_state(missing.state)}


def public_state(state: str) -> str:
    """What was found, without the references that it may end with."""
    if "/" not in state:
        return state
    words, colon, _ = state.partition(":")
    return words if colon and "/" not in words else "could not be read"


def _fact(ref: str, text: str, code: str, vocabulary: Vocabulary) -> Json:
    told = {"ref": public_ref(ref), "text": text, "code": _told(code, vocabulary)}
    return told if text and code else {name: value for name, value in told.items() if value}


def _told(code: str, vocabulary: Vocabulary) -> str:
    """A code as evidence names it: `cpt 20939`, or `text: ` and the order's own words."""
    if code.startswith("text: "):
        return "named in its text"
    system, _, own = code.partition(" ")
    return code if not code or is_public(Code(system, own), vocabulary) else "code withheld"


def public_ref(ref: str) -> str:
    """A reference as a page may show it; what is written where FHIR has an id may be anything, a name too."""
    if ref.startswith("Patient/"):
        return "the patient's record"
    return safe_name(ref)
