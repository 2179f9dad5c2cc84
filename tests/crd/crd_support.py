"""CRD requests and answers for tests: builders, the guide's codes and invariants, and readers of what came back."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import fhirpathpy
import yaml

Json = dict[str, Any]
HERE = Path(__file__).parent
URL = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
BILLING = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"
PAYER_ID = "http://example.org/payer-id"
CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
PATIENT = "crd-patient-1"
SUBJECT = {"reference": f"Patient/{PATIENT}"}
REQUESTER = {"reference": "Practitioner/crd-surgeon"}
ON = "2026-11-02"


def order(code: str, own: str | None = None, system: str = CPT, **elements: Any) -> Json:
    """A draft ServiceRequest with all that the guide's profile demands."""
    return {
        "resourceType": "ServiceRequest",
        "id": own or f"o-{code}",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": SUBJECT,
        "authoredOn": ON,
        "requester": REQUESTER,
        **elements,
    }


def coverage(payer: str | None = "aetna", own: str = "cov-1", **elements: Any) -> Json:
    """An active coverage of a payer known by identifier; with None, of a payor without one."""
    payor = {"identifier": {"system": PAYER_ID, "value": payer}} if payer else {"display": "Aetna"}
    return {
        "resourceType": "Coverage",
        "id": own,
        "status": "active",
        "beneficiary": SUBJECT,
        "payor": [payor],
        **elements,
    }


def bundle(*resources: Json, kind: str = "searchset") -> Json:
    """Resources as a Bundle."""
    return {"resourceType": "Bundle", "type": kind, "entry": [{"resource": r} for r in resources]}


def patient(**elements: Any) -> Json:
    """A synthetic patient."""
    return {"resourceType": "Patient", "id": PATIENT, "birthDate": "1969-03-04", "gender": "female", **elements}


def condition(code: str, own: str = "dx-1") -> Json:
    """An active, confirmed diagnosis (ICD-10-CM)."""
    base = "http://terminology.hl7.org/CodeSystem/condition-"
    return {
        "resourceType": "Condition",
        "id": own,
        "clinicalStatus": {"coding": [{"system": f"{base}clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{base}ver-status", "code": "confirmed"}]},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}]},
        "subject": SUBJECT,
    }


EMPTY_CHART = dict.fromkeys(
    (
        "conditions",
        "procedures",
        "activeOrders",
        "deviceHistory",
        "observations",
        "questionnaireResponses",
        "authorizations",
    )
)


def sign(
    *orders: Json,
    cover: Json | list[Json] | None = None,
    version: str | None = "2.2",
    configuration: Json | None = None,
    prefetch: Json | None = None,
    hook: str = "order-sign",
    **context: Any,
) -> Json:
    """An order-sign (or order-select) request; `cover` is one coverage, several, or by default Aetna's."""
    covers = cover if isinstance(cover, list) else [cover or coverage()]
    body: Json = {
        "hook": hook,
        "hookInstance": str(uuid4()),
        "context": {
            "userId": "Practitioner/crd-surgeon",
            "patientId": PATIENT,
            "draftOrders": bundle(*orders, kind="collection"),
            **context,
        },
        "prefetch": {"patient": patient(), "coverage": bundle(*covers), **EMPTY_CHART, **(prefetch or {})},
    }
    extension = {
        **({"davinci-crd.requestedVersion": version} if version else {}),
        **({"davinci-crd.configuration": configuration} if configuration is not None else {}),
    }
    return {**body, "extension": extension} if extension else body


def example(number: int) -> Json:
    """One of the guide's example requests."""
    loaded: Json = json.loads((HERE / "examples" / f"request-{number}.json").read_text(encoding="utf-8"))
    return loaded


# --- reading answers --------------------------------------------------------------------------------


def updated(answer: Json) -> dict[str, Json]:
    """Resources of the system actions, by reference."""
    return {f"{a['resource']['resourceType']}/{a['resource']['id']}": a["resource"] for a in answer["systemActions"]}


def infos(resource: Json) -> list[Json]:
    """The coverage-information extensions of a resource."""
    return [e for e in resource.get("extension", []) if e["url"] == URL]


def values(info: Json, url: str) -> list[Any]:
    """Values of one part of coverage-information; a detail comes as a dict of its parts."""
    found = []
    for part in info["extension"]:
        if part["url"] == url:
            inner = part.get("extension")
            value = {p["url"]: _value(p) for p in inner} if inner else _value(part)
            found.append(value)
    return found


def _value(part: Json) -> Any:
    return next(v for k, v in part.items() if k.startswith("value"))


def one(info: Json, url: str) -> Any:
    """The value of a part that must occur once."""
    (value,) = values(info, url)
    return value


def said(answer: Json, ref: str) -> Json:
    """The one coverage-information about an order."""
    (info,) = infos(updated(answer)[ref])
    return info


def texts(info: Json) -> str:
    """All reason texts."""
    return " ".join(r["text"] for r in values(info, "reason"))


# --- the guide's codes and invariants, by version ---------------------------------------------------

REASON_CODES = {
    "gold-card",
    "no-member-found",
    "no-active-coverage",
    "coverage-not-found",
    "auth-out-network",
    "technical",
}
_OLD = {
    "covered": {"covered", "not-covered", "conditional"},
    "pa-needed": {"no-auth", "auth-needed", "satisfied", "performpa", "conditional"},
    "doc-purpose": {"withpa", "withclaim", "withorder", "retain-doc", "OTH"},
    "info-needed": {"performer", "location", "timeframe", "contract-window", "OTH"},
}
CODES: dict[str, dict[str, set[str]]] = {
    "2.0": {**_OLD, "doc-needed": {"clinical", "admin", "both", "conditional"}},
    "2.1": {**_OLD, "doc-needed": {"clinical", "admin", "patient", "conditional"}},
    "2.2": {
        "covered": _OLD["covered"] | {"indeterminate"},
        "pa-needed": _OLD["pa-needed"] | {"indeterminate"},
        "doc-needed": {"clinical", "admin", "patient", "conditional", "indeterminate"},
        "doc-purpose": _OLD["doc-purpose"],
        "info-needed": _OLD["info-needed"] | {"detail-code"},
    },
}
_PARTS = {
    "coverage": (1, 1), "covered": (1, 1), "pa-needed": (0, 1), "doc-needed": (0, 99), "doc-purpose": (0, 99),
    "info-needed": (0, 99), "billingCode": (0, 99), "reason": (0, 99), "detail": (0, 99), "dependency": (0, 99),
    "questionnaire": (0, 99), "date": (1, 1), "coverage-assertion-id": (1, 1), "satisfied-pa-id": (0, 1),
    "contact": (0, 99), "expiry-date": (0, 1),
}  # fmt: skip
CARDINALITY = {
    "2.0": {**{k: v for k, v in _PARTS.items() if k != "expiry-date"}, "doc-needed": (0, 1), "response": (0, 99)},
    "2.1": _PARTS,
    "2.2": _PARTS,
}
INVARIANTS: dict[str, dict[str, str]] = yaml.safe_load((HERE / "invariants.yaml").read_text(encoding="utf-8"))


@cache
def _compiled(expression: str) -> Any:
    from fhirpathpy.models import models

    return fhirpathpy.compile(expression, models["r4"])


def holds(expression: str, resource: Json) -> bool:
    """A FHIRPath constraint on a resource or element; an empty result holds, as validators take it."""
    result = _compiled(expression)(resource, {"reasons": sorted(REASON_CODES)})
    return result in ([], [True])


def faults(info: Json, version: str) -> list[str]:
    """What is wrong with a coverage-information extension in one version of the guide."""
    found = [name for name, expression in INVARIANTS[version].items() if not holds(expression, info)]
    urls = [p["url"] for p in info["extension"]]
    bounds = CARDINALITY[version]
    found += [f"unknown part {u}" for u in set(urls) - set(bounds)]
    found += [u for u, (low, high) in bounds.items() if not low <= urls.count(u) <= high]
    for name, allowed in CODES[version].items():
        found += [f"{name} {v}" for v in values(info, name) if v not in allowed]
    for detail in values(info, "detail"):
        wanted = {"category", "code", "value"} if version == "2.2" else {"code", "value"}
        found += [f"detail {detail}"] if set(detail) - {"qualification"} != wanted else []
    return found
