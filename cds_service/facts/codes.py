"""Codes come in several spellings; this is where they become one.

ICD-10-CM with or without dot, CPT with modifiers, one of HCPCS' two levels as the other. How systems are named is told
in `code_systems`. Systems that are not read keep their URI, so that a client's own table can map their codes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any

from cds_service.facts import elements
from cds_service.facts.code_systems import (
    ACT_CODE,
    CPT,
    HCPCS,
    ICD10CM,
    ICD10PCS,
    LOINC,
    NDC,
    RXNORM,
    SNOMED,
    SOPT,
    URI,
    key_of,
)
from cds_service.policy.case import Code

__all__ = ["ACT_CODE", "COUNTED", "CPT", "HCPCS", "ICD10CM", "ICD10PCS", "LOINC", "RXNORM", "SNOMED", "SOPT", "URI"]

# How codes of these systems look: what does not is a code of another system, or none.
_LOOKS = {
    CPT: re.compile(r"\d{4}[\dA-Z]"),
    HCPCS: re.compile(r"[A-Z]\d{4}"),
    ICD10CM: re.compile(r"[A-Z]\d[\dA-Z](?:\.[\dA-Z]{1,4})?"),
    ICD10PCS: re.compile(r"[\dA-HJ-NP-Z]{7}"),
    SNOMED: re.compile(r"\d{6,18}"),
    LOINC: re.compile(r"(?:\d{1,7}|L[A-Z]{1,2}\d+|MTHU\d+)-\d", re.IGNORECASE),
}
_NO_MARK = r"[^0-9A-Z]"
# The name of the system, a code, and modifiers of two characters each, whatever stands between them.
_SPELT = re.compile(
    rf"^{_NO_MARK}{{0,9}}(?:(?:CPT|HCPCS|CPT-?4|CPTR)(?:\(R\)|®|\(TM\)|TM)?(?:{_NO_MARK}{{0,3}}CODE)?{_NO_MARK}{{0,3}})?"
    rf"(\d{{4}}[\dA-Z]|[A-Z]\d{{4}})(?:\.0{{1,2}})?"
    rf"(?:{_NO_MARK}{{0,5}}([0-9A-Z]{{2}}(?:{_NO_MARK}{{1,5}}[0-9A-Z]{{2}})*))?{_NO_MARK}{{0,9}}$"
)
_BETWEEN = re.compile(rf"{_NO_MARK}+")
# A quantity written behind a code: "22853 x2". X2 is a modifier too, and behind a hyphen it is one.
_TIMES = re.compile(r"(?<=\w)\s{0,3}[x×*]\s{0,3}\d{1,3}$", re.IGNORECASE)
# A code at the beginning of a text, or behind the name of its system.
_IN_WORDS = re.compile(
    r"(?:^\W{0,3}|\b(?:CPT|HCPCS)(?:\(R\)|®)?[\s:#-]{0,3})(\d{4}[\dA-Z]|[A-V]\d{4})(?!\w)", re.IGNORECASE
)
_FIRST_WORDS = 200
COUNTED = "a quantity"
"""Stands among the modifiers of a code that a quantity is written behind."""


def system_key(uri: str) -> str:
    """Short key of a code system; the URI itself when it is not one that policies read."""
    return key_of(uri) or uri


def is_known(system: str) -> bool:
    """Is this (a key, or a URI) a code system that is known here, whether or not policies read it?"""
    return system in URI or key_of(system) is not None


def is_code(code: Code) -> bool:
    """Does a code look like one of its system? Always, where it is not known how those look."""
    looks = _LOOKS.get(code.system)
    return looks is None or looks.fullmatch(code.code) is not None


@lru_cache(maxsize=4096)  # codes come again and again; they say nothing of a patient
def normalise(uri: str, code: str) -> tuple[Code, tuple[str, ...]]:
    """A code in one spelling, and the CPT/HCPCS modifiers (and COUNTED) that were written into it.

    A text of CPT's or HCPCS' system with more than one reading, or none, stays as it is: see `is_code`.
    """
    key = system_key(uri)
    text = code.strip() if code.isascii() else unicodedata.normalize("NFKC", code.replace("\u00ae", "(R)")).strip()
    if key in (CPT, HCPCS):
        return _billed(key, text)
    if key in (ICD10CM, ICD10PCS):
        return _diagnosis(key, text.upper()), ()
    if key == NDC:
        return Code(key, _eleven_digits(text)), ()
    return Code(key, text), ()


def _eleven_digits(text: str) -> str:
    """An NDC as 5-4-2 digits: one with hyphens says which part is short of a digit; ten digits alone do not."""
    parts = text.split("-")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
        return parts[0].zfill(5) + parts[1].zfill(4) + parts[2].zfill(2)
    return text


def _billed(key: str, text: str) -> tuple[Code, tuple[str, ...]]:
    bare = _TIMES.sub("", text)
    counted = () if bare == text else (COUNTED,)
    match = _SPELT.match(bare.upper())
    if match is None:
        return Code(key, text.upper()), ()
    modifiers = tuple(dict.fromkeys(_BETWEEN.split(match[2]))) if match[2] else ()
    # Level II codes are sent under CPT's system, and the reverse: how a code looks tells.
    return Code(CPT if match[1][0].isdigit() else HCPCS, match[1]), modifiers + counted


def _diagnosis(key: str, text: str) -> Code:
    """A code of ICD-10-CM, or of ICD-10-PCS: both go by `ICD-10`, and each is sent under the other's address."""
    bare = text.replace(".", "")
    dotted = f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 else bare
    diagnosis = _LOOKS[ICD10CM].fullmatch(dotted) is not None
    procedure = text == bare and _LOOKS[ICD10PCS].fullmatch(bare) is not None
    if key == ICD10PCS and (procedure or not diagnosis):
        return Code(ICD10PCS, text)
    return Code(ICD10PCS, text) if procedure and not diagnosis else Code(ICD10CM, dotted)


def read(concept: Any, local: Mapping[Code, Code] | None = None) -> tuple[tuple[Code, ...], tuple[str, ...]]:
    """Codes and modifiers of a CodeableConcept, local codes mapped by the client's own table as well.

    A coding without system or code is passed over.
    """
    given = concept.get("coding") if isinstance(concept, dict) else None
    if not isinstance(given, list):
        return (), ()
    found: list[Code] = []
    extras: tuple[str, ...] = ()
    for coding in given:
        if isinstance(coding, dict):
            system, text = coding.get("system"), coding.get("code")
            if isinstance(system, str) and isinstance(text, str) and text:
                code, modifiers = normalise(system, text)
                found.append(code)
                extras += modifiers
                if local and code in local:
                    found.append(local[code])
    return (tuple(found), extras) if len(found) < 2 else (elements.distinct(found), elements.distinct(extras))


def seeming(concept: Any, own: Container[str] = ()) -> tuple[Code, ...]:
    """CPT and HCPCS codes that a CodeableConcept seems to hold, in a coding or in its words.

    In codings without a system, with one that is not known, or whose codes do not look like this one; not with one of
    `own`, which the client has declared to be dictionaries of its own. In words, a code counts at their beginning or
    behind the name of its system. Whether it is one, a catalogue tells.
    """
    if not isinstance(concept, dict):
        return ()
    codings = [c for c in elements.listed(concept.get("coding")) if isinstance(c, dict)]
    found = [_seeming(elements.text(c.get("system")) or "", c.get("code"), own) for c in codings]
    words = elements.text(concept.get("text")) or ""
    found += [normalise(CPT, match[1])[0] for match in _IN_WORDS.finditer(words[:_FIRST_WORDS])]
    return elements.distinct([code for code in found if code is not None])


def _seeming(system: str, code: object, own: Container[str]) -> Code | None:
    if not (isinstance(code, str) and code):
        return None
    named = normalise(system, code)[0] if system else None
    if named is not None and (named.system in own or (is_known(named.system) and is_code(named))):
        return None
    return normalise(CPT, code)[0]


def of_all(value: object) -> tuple[Code, ...]:
    """Codes of a CodeableConcept or a list of them, each once."""
    if not value:
        return ()
    found: list[Code] = []
    for concept in elements.concepts(value):
        found += read(concept)[0]
    return elements.distinct(found)
