"""Which FHIR types an operator reads, for the code systems of its value set.

The one table of it. What is fetched and offered as prefetch, what lint refuses, and when absence means absence all
follow from it: an operator finds that something is not there only where every type that could hold it was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cds_service.policy.code_sets import CodeSet
from cds_service.policy.model import Criterion, ValueSet

_ANY = ""


@dataclass(frozen=True)
class Type:
    """One FHIR type as evidence: the source it comes from, and the code systems that its code element is written in.

    Each system comes with a regular expression for the beginning of its codes that the type may hold.
    """

    source: str
    resource: str
    systems: dict[str, str] = field(hash=False)

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {system: re.compile(pattern) for system, pattern in self.systems.items()}

    def may_hold(self, system: str, code: str, *, whole: bool = True) -> bool:
        """May a resource of this type have the code? Of the beginning of codes (not `whole`), one that begins so."""
        pattern = self._patterns.get(system)
        return pattern is not None and (not whole or pattern.match(code) is not None)


_DEVICES = r"[AEKLV]\d|B[49]"  # HCPCS level II: supplies, equipment, orthotics and prosthetics, lenses, nutrition
_DRUGS = r"[JQ]\d|C9|S0[01]|P9"
_VACCINES = r"90(?:2[89]|3[0-9]|4[7-9]|[56][0-9]|7[0-5])"
_TESTS = r"[78]|9[1-6]|4[345][0-9]"  # imaging, laboratory, diagnostic medicine, endoscopy
_VISITS = r"9[0279]"

OTHER_ORDERS = (
    Type(
        "active-orders",
        "ServiceRequest",
        {"cpt": _ANY, "hcpcs": _ANY, "icd-10-pcs": _ANY, "snomed": _ANY, "loinc": _ANY},
    ),
    Type("device-requests", "DeviceRequest", {"hcpcs": _DEVICES}),
    Type("medication-requests", "MedicationRequest", {"rxnorm": _ANY, "ndc": _ANY, "cvx": _ANY, "hcpcs": _DRUGS}),
)
"""Where an order beside the judged one may stand."""

PAST_SERVICES = (
    Type("procedures", "Procedure", {"cpt": _ANY, "hcpcs": _ANY, "icd-10-pcs": _ANY, "snomed": _ANY}),
    Type("immunizations", "Immunization", {"cvx": _ANY, "ndc": _ANY, "cpt": _VACCINES}),
    Type("reports", "DiagnosticReport", {"loinc": _ANY, "cpt": _TESTS, "hcpcs": r"G0"}),
    Type("imaging", "ImagingStudy", {"cpt": r"7"}),
    Type("encounters", "Encounter", {"cpt": _VISITS, "hcpcs": r"G[02]|S9|T1"}),
    Type("completed-orders", "ServiceRequest", {"cpt": r"[789]", "hcpcs": _ANY}),
    Type("device-requests", "DeviceRequest", {"hcpcs": _DEVICES}),
)
"""Where the evidence that a service was given may stand."""

MEDICATIONS = tuple(
    Type(source, resource, {"rxnorm": _ANY, "ndc": _ANY, "cvx": _ANY, "hcpcs": _DRUGS, "snomed": _ANY})
    for source, resource in (
        ("medication-requests", "MedicationRequest"),
        ("medication-statements", "MedicationStatement"),
        ("medication-dispenses", "MedicationDispense"),
        ("medication-administrations", "MedicationAdministration"),
    )
)
"""Where the evidence that a drug is or was taken may stand."""

_DIAGNOSES = (Type("conditions", "Condition", {"icd-10-cm": _ANY, "snomed": _ANY}),)
# Some laboratories code a result by the test as it is billed.
_RESULTS = (Type("observations", "Observation", {"loinc": _ANY, "snomed": _ANY, "cpt": _TESTS}),)
_DRAFTS = (
    Type(
        "orders",
        "an order",
        dict.fromkeys(("cpt", "hcpcs", "icd-10-pcs", "snomed", "loinc", "rxnorm", "ndc", "cvx"), _ANY),
    ),
)

# Sources that an operator reads whatever its value set holds, and the types that its value set is looked for in.
_ALWAYS: dict[str, tuple[str, ...]] = {
    "order": ("orders",),
    "companion": ("orders", "active-orders"),
    "operation": ("orders", "active-orders"),
    "interspaces": ("orders", "active-orders", "procedures"),
    "vertebrae": ("orders", "active-orders", "procedures"),
    "age": ("patient",),
    "units": ("orders", "active-orders"),
    "repeated": ("orders",),
    "lacks_primary": ("orders", "active-orders"),
    "procedure": ("procedures",),
    "condition": ("conditions",),
    "indication": ("conditions",),
    "observation": ("observations",),
}
TYPES: dict[str, tuple[Type, ...]] = {
    "order": _DRAFTS,
    "companion": OTHER_ORDERS,
    "condition": _DIAGNOSES,
    "indication": _DIAGNOSES,
    "procedure": PAST_SERVICES,
    "observation": _RESULTS,
    "medication": MEDICATIONS,
}


SOURCES = tuple(
    dict.fromkeys(
        [name for names in _ALWAYS.values() for name in names]
        + [one.source for types in TYPES.values() for one in types]
        + ["answers", "coverage"]
    )
)
"""Every source of facts that something may be read from."""


def sources(types: Iterable[Type], members: CodeSet) -> tuple[str, ...]:
    """Sources in which a member of a value set may stand, in the order of the table."""
    return tuple([t.source for t in types if _holds(t, members)])


def _holds(one: Type, members: CodeSet) -> bool:
    if any(one.may_hold(code.system, code.code) for code in members.codes):
        return True
    return any(one.may_hold(p.system, p.prefix, whole=False) for group in members.prefixes.values() for p in group)


def reads(criterion: Criterion, sets: Mapping[str, CodeSet]) -> frozenset[str]:
    """Names of the sources that a criterion reads, given its value sets compiled."""
    name, arguments = criterion.operator
    found = set(_ALWAYS.get(name, ()))
    types = TYPES.get(name, ())
    value_set = getattr(arguments, "value_set", None)
    if types and value_set is not None and (name != "companion" or arguments.scope == "basket"):
        found.update(sources(types, sets[value_set]))
    if criterion.ask:
        found.add("answers")
    return frozenset(found)


def systems_of(name: str) -> tuple[str, ...]:
    """Code systems that what an operator reads can be written in; empty for an operator that reads no codes."""
    return tuple(dict.fromkeys(system for one in TYPES.get(name, ()) for system in one.systems))


def foreign(name: str, members: ValueSet) -> str:
    """Of a value set's systems, one that can never stand in what the operator reads; "" where all can."""
    known = systems_of(name)
    used = [c.system for c in members.codes] + [p.system for p in members.prefixes]
    return next((s for s in used if known and s not in known), "")
