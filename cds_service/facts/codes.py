"""Code systems come in several spellings; this is where they become one.

CPT as URL or OID, HCPCS with http or https, ICD-10-CM with or without dot, CPT with modifiers. Systems that are
not known keep their URI, so that a client's own table can map their codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cds_service.facts import elements
from cds_service.policy.case import Code

CPT, HCPCS, ICD10CM, ICD10PCS, SNOMED, LOINC, RXNORM, SOPT, ACT_CODE = (
    "cpt", "hcpcs", "icd-10-cm", "icd-10-pcs", "snomed", "loinc", "rxnorm", "sopt", "v3-actcode",
)  # fmt: skip

URI = {
    CPT: "http://www.ama-assn.org/go/cpt",
    HCPCS: "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    ICD10CM: "http://hl7.org/fhir/sid/icd-10-cm",
    ICD10PCS: "http://www.cms.gov/Medicare/Coding/ICD10",
    SNOMED: "http://snomed.info/sct",
    LOINC: "http://loinc.org",
    RXNORM: "http://www.nlm.nih.gov/research/umls/rxnorm",
    SOPT: "https://nahdo.org/sopt",
    ACT_CODE: "http://terminology.hl7.org/CodeSystem/v3-ActCode",
}

# URLs without their scheme, OIDs with or without `urn:oid:`.
_ALIASES = {
    "www.ama-assn.org/go/cpt": CPT,
    "ama-assn.org/go/cpt": CPT,
    "2.16.840.1.113883.6.12": CPT,
    "www.cms.gov/medicare/coding/hcpcsreleasecodesets": HCPCS,
    "www.cms.gov/medicare/coding/medhcpcsgeninfo": HCPCS,
    "2.16.840.1.113883.6.285": HCPCS,
    "2.16.840.1.113883.6.14": HCPCS,
    "hl7.org/fhir/sid/icd-10-cm": ICD10CM,
    "hl7.org/fhir/sid/icd-10": ICD10CM,
    "2.16.840.1.113883.6.90": ICD10CM,
    "www.cms.gov/medicare/coding/icd10": ICD10PCS,
    "hl7.org/fhir/sid/icd-10-pcs": ICD10PCS,
    "2.16.840.1.113883.6.4": ICD10PCS,
    "snomed.info/sct": SNOMED,
    "2.16.840.1.113883.6.96": SNOMED,
    "loinc.org": LOINC,
    "2.16.840.1.113883.6.1": LOINC,
    "www.nlm.nih.gov/research/umls/rxnorm": RXNORM,
    "2.16.840.1.113883.6.88": RXNORM,
    "nahdo.org/sopt": SOPT,
    "www.nahdo.org/sopt": SOPT,
    "phdsc.org/standards/payer-typology.asp": SOPT,
    "www.phdsc.org/standards/payer-typology.asp": SOPT,
    "2.16.840.1.113883.3.221.5": SOPT,
    "hl7.org/fhir/v3/actcode": ACT_CODE,
    "2.16.840.1.113883.5.4": ACT_CODE,
}
# Names in place of a URI, or as HL7's terminology site has them; letters and digits alone count.
_NAMES = {
    "cpt": CPT,
    "cpt4": CPT,
    "hcpcs": HCPCS,
    "hcpcslevelii": HCPCS,
    "hcpcslevel2": HCPCS,
    "icd10cm": ICD10CM,
    "icd10pcs": ICD10PCS,
    "snomed": SNOMED,
    "snomedct": SNOMED,
    "loinc": LOINC,
    "rxnorm": RXNORM,
    "v3actcode": ACT_CODE,
}
_SCHEME = re.compile(r"^(?:https?://(?:terminology\.hl7\.org/codesystem/)?|urn:oid:)")
_NO_NAME = re.compile(r"[./:]")
_NO_LETTER = re.compile(r"[^a-z0-9]")
# The name of the system, a code, modifiers.
_SPELT = (
    r"^(?:(?:CPT(?:\(R\)|®)?|HCPCS)[\s:-]{{0,3}})?{}"
    r"(?:\s{{0,3}}[-:]?\s{{0,3}}([0-9A-Z]{{2}}(?:[-,\s]{{1,3}}[0-9A-Z]{{2}})*))?$"
)
_CPT = re.compile(_SPELT.format(r"(\d{4}[\dA-Z])"))
_HCPCS = re.compile(_SPELT.format(r"([A-V]\d{4})"))
_BETWEEN = re.compile(r"[-,\s]+")
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
    """Short key of a code system; the URI itself when it is not one we know. Case and http(s) do not matter."""
    bare = _SCHEME.sub("", uri.strip().split("|", 1)[0].lower()).rstrip("/")
    return _ALIASES.get(bare) or (None if _NO_NAME.search(bare) else _NAMES.get(_NO_LETTER.sub("", bare))) or uri


@lru_cache(maxsize=4096)  # codes come again and again; they say nothing of a patient
def normalise(uri: str, code: str) -> tuple[Code, tuple[str, ...]]:
    """A code in one spelling, and the CPT/HCPCS modifiers (and COUNTED) that were written into it."""
    key, text = system_key(uri), code.strip()
    if key in (CPT, HCPCS):
        bare = _TIMES.sub("", text)
        counted = () if bare == text else (COUNTED,)
        for system, pattern in ((CPT, _CPT), (HCPCS, _HCPCS)):
            match = pattern.match(bare.upper())
            if match:  # HCPCS level II codes are sent under CPT's system, and the reverse
                modifiers = tuple(dict.fromkeys(_BETWEEN.split(match[2]))) if match[2] else ()
                return Code(system, match[1]), modifiers + counted
        return Code(key, text.upper()), ()
    if key == ICD10CM:
        bare = text.upper().replace(".", "")
        return Code(key, f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 else bare), ()
    return Code(key, text.upper() if key == ICD10PCS else text), ()


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


def without_system(concept: Any) -> tuple[Code, ...]:
    """CPT and HCPCS codes that a CodeableConcept seems to hold: in codings that name no system, or in its words.

    In words, a code counts at their beginning or behind the name of its system. Whether it is one, a catalogue tells.
    """
    if not isinstance(concept, dict):
        return ()
    codings = [c for c in elements.listed(concept.get("coding")) if isinstance(c, dict)]
    written = [c["code"] for c in codings if not c.get("system") and elements.text(c.get("code"))]
    words = elements.text(concept.get("text")) or ""
    written += [match[1] for match in _IN_WORDS.finditer(words[:_FIRST_WORDS])]
    return elements.distinct([normalise(CPT, code)[0] for code in written])


def of_all(value: object) -> tuple[Code, ...]:
    """Codes of a CodeableConcept or a list of them, each once."""
    if not value:
        return ()
    found: list[Code] = []
    for concept in elements.concepts(value):
        found += read(concept)[0]
    return elements.distinct(found)
