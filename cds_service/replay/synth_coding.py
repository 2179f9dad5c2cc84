"""Codes as charts really spell them: systems by URL or OID, dots left out, modifiers written in, local codes beside."""

from __future__ import annotations

from random import Random
from typing import Any

from cds_service.facts.codes import CPT, HCPCS, ICD10CM, LOINC, URI

Json = dict[str, Any]

LOCAL = "http://hospital.example.org/orderables"
_CPT_SYSTEMS = (
    "https://www.ama-assn.org/go/cpt",
    "http://www.ama-assn.org/go/CPT",
    "urn:oid:2.16.840.1.113883.6.12",
    "http://www.ama-assn.org/go/cpt/",
)
_HCPCS_SYSTEMS = (
    "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "http://www.cms.gov/Medicare/Coding/MedHCPCSGenInfo",
    "http://terminology.hl7.org/CodeSystem/HCPCS-Level-II",
    "urn:oid:2.16.840.1.113883.6.285",
)
_ICD_SYSTEMS = (
    "https://hl7.org/fhir/sid/icd-10-cm",
    "urn:oid:2.16.840.1.113883.6.90",
    "http://hl7.org/fhir/sid/icd-10",
)
_MODIFIERS = ("51", "59", "62", "80", "RT")


def usual(rng: Random, usual_one: str, others: tuple[str, ...]) -> str:
    """The usual spelling, three times in four."""
    return usual_one if rng.random() < 0.75 else rng.choice(others)


def procedure(rng: Random, code: str, label: str) -> Json:
    """An order's or a procedure's code: CPT or HCPCS, sometimes beside a local code, sometimes with a modifier."""
    system = HCPCS if code[0].isalpha() else CPT
    spelt = code
    if system == CPT and rng.random() < 0.06:
        spelt = f"{code}{rng.choice('- :')}{rng.choice(_MODIFIERS)}"
    elif rng.random() < 0.03:
        spelt = f" {code}"
    uri = usual(rng, URI[system], _CPT_SYSTEMS if system == CPT else _HCPCS_SYSTEMS)
    coding: Json = {"system": uri, "code": spelt.strip(), "display": label}
    if rng.random() < 0.15:
        del coding["display"]
    codings = [coding]
    if rng.random() < 0.25:
        local = {"system": LOCAL, "code": f"SPN-{code}", "display": label.upper()}
        codings = [local, coding] if rng.random() < 0.5 else [coding, local]
    concept: Json = {"coding": codings}
    if rng.random() < 0.3:
        concept["text"] = label
    return concept


def local_only(rng: Random, code: str, label: str) -> Json:
    """An order that only the hospital's own catalogue codes."""
    return {"coding": [{"system": LOCAL, "code": f"SPN-{code}-{rng.randrange(9)}", "display": label}], "text": label}


def diagnosis(rng: Random, code: str, label: str) -> Json:
    """A diagnosis in ICD-10-CM, with or without its dot, in capitals or not."""
    spelt = code
    if rng.random() < 0.2:
        spelt = code.replace(".", "")
    if rng.random() < 0.05:
        spelt = spelt.lower()
    concept: Json = {"coding": [{"system": usual(rng, URI[ICD10CM], _ICD_SYSTEMS), "code": spelt, "display": label}]}
    if rng.random() < 0.4:
        concept["text"] = label
    return concept


def result(code: str, label: str) -> Json:
    """A laboratory or vital-sign code."""
    return {"coding": [{"system": URI[LOINC], "code": code, "display": label}]}


def date_of(rng: Random, day: str) -> str:
    """A date as charts hold it: whole, to the month, or to the year."""
    cut = rng.choices((10, 7, 4), (0.8, 0.14, 0.06))[0]
    return day[:cut]


def moment(rng: Random, day: str) -> str:
    """A time of a day, in some zone."""
    zone = rng.choice(("-05:00", "-06:00", "-08:00", "Z"))
    return f"{day}T{rng.randrange(7, 19):02}:{rng.randrange(60):02}:00{zone}"
