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

_ALIASES = {
    "www.ama-assn.org/go/cpt": CPT,
    "ama-assn.org/go/cpt": CPT,
    "cpt": CPT,
    "cpt-4": CPT,
    "2.16.840.1.113883.6.12": CPT,
    "urn:oid:2.16.840.1.113883.6.12": CPT,
    "www.cms.gov/medicare/coding/hcpcsreleasecodesets": HCPCS,
    "www.cms.gov/medicare/coding/medhcpcsgeninfo": HCPCS,
    "terminology.hl7.org/codesystem/hcpcs-level-ii": HCPCS,
    "hcpcs": HCPCS,
    "2.16.840.1.113883.6.285": HCPCS,
    "urn:oid:2.16.840.1.113883.6.285": HCPCS,
    "urn:oid:2.16.840.1.113883.6.14": HCPCS,
    "hl7.org/fhir/sid/icd-10-cm": ICD10CM,
    "hl7.org/fhir/sid/icd-10": ICD10CM,
    "urn:oid:2.16.840.1.113883.6.90": ICD10CM,
    "www.cms.gov/medicare/coding/icd10": ICD10PCS,
    "hl7.org/fhir/sid/icd-10-pcs": ICD10PCS,
    "urn:oid:2.16.840.1.113883.6.4": ICD10PCS,
    "snomed.info/sct": SNOMED,
    "urn:oid:2.16.840.1.113883.6.96": SNOMED,
    "loinc.org": LOINC,
    "urn:oid:2.16.840.1.113883.6.1": LOINC,
    "www.nlm.nih.gov/research/umls/rxnorm": RXNORM,
    "urn:oid:2.16.840.1.113883.6.88": RXNORM,
    "nahdo.org/sopt": SOPT,
    "www.nahdo.org/sopt": SOPT,
    "phdsc.org/standards/payer-typology.asp": SOPT,
    "www.phdsc.org/standards/payer-typology.asp": SOPT,
    "2.16.840.1.113883.3.221.5": SOPT,
    "urn:oid:2.16.840.1.113883.3.221.5": SOPT,
    "terminology.hl7.org/codesystem/v3-actcode": ACT_CODE,
    "hl7.org/fhir/v3/actcode": ACT_CODE,
    "urn:oid:2.16.840.1.113883.5.4": ACT_CODE,
}
_SCHEME = re.compile(r"^https?://")
_CPT = re.compile(r"^(\d{4}[\dA-Z])(?:[-\s:]?([0-9A-Z]{2}(?:[-,\s][0-9A-Z]{2})*))?$")
_HCPCS = re.compile(r"^([A-V]\d{4})(?:[-\s:]?([0-9A-Z]{2}(?:[-,\s][0-9A-Z]{2})*))?$")
_BETWEEN = re.compile(r"[-,\s]")


def system_key(uri: str) -> str:
    """Short key of a code system; the URI itself when it is not one we know. Case and http(s) do not matter."""
    bare = _SCHEME.sub("", uri.strip().split("|", 1)[0].lower()).rstrip("/")
    return _ALIASES.get(bare, uri)


@lru_cache(maxsize=4096)  # codes come again and again; they say nothing of a patient
def normalise(uri: str, code: str) -> tuple[Code, tuple[str, ...]]:
    """A code in one spelling, and the CPT/HCPCS modifiers that were written into it."""
    key, text = system_key(uri), code.strip()
    if key in (CPT, HCPCS):
        for system, pattern in ((CPT, _CPT), (HCPCS, _HCPCS)):
            match = pattern.match(text.upper())
            if match:  # HCPCS level II codes are sent under CPT's system, and the reverse
                return Code(system, match[1]), tuple(dict.fromkeys(_BETWEEN.split(match[2]))) if match[2] else ()
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


def of_all(value: object) -> tuple[Code, ...]:
    """Codes of a CodeableConcept or a list of them, each once."""
    if not value:
        return ()
    found: list[Code] = []
    for concept in elements.concepts(value):
        found += read(concept)[0]
    return elements.distinct(found)
