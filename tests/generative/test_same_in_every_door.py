"""One chart in many shapes, through every door: the determinations are those of the plain spelling."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cds_service.commands.evaluate import answer_file
from cds_service.config import from_environment
from cds_service.errors import InputFileError
from cds_service.hooks.answer import Answer, answer, determinations
from cds_service.hooks.request import parse_chart, validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.replay.judge import Desk, Result
from cds_service.replay.options import terms_of
from cds_service.web.pages.incoming import as_request

Json = dict[str, Any]
Entry = tuple[str, Json]  # fullUrl and resource

BASE = "http://ehr.example.org/fhir"
DAY = "2026-11-30"
PAYER = {"system": "http://example.org/payer-id", "value": "aetna"}
CPT, HCPCS = "http://www.ama-assn.org/go/cpt", "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
KEYS = {
    "Patient": "patient", "Condition": "conditions", "Procedure": "procedures", "Observation": "observations",
    "QuestionnaireResponse": "questionnaireResponses", "Coverage": "coverage", "ClaimResponse": "authorizations",
    "Organization": "payers", "Device": "devices",
}  # fmt: skip


def concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def chart(r: random.Random) -> tuple[list[Entry], list[Entry]]:
    """What is known of a patient, at least one resource of each type; and drafts."""
    subject = {"reference": "Patient/p1"}
    common = {"subject": subject, "status": "completed"}
    known: list[Json] = [
        {"resourceType": "Patient", "id": "p1", "gender": r.choice(["female", "male"]),
         "birthDate": f"{r.randint(1940, 2010)}-05-05", "identifier": [{"system": "http://e.org/mrn", "value": "m1"}]},
        {"resourceType": "Organization", "id": "org1", "name": "Aetna", "identifier": [PAYER]},
        {"resourceType": "Organization", "id": "org2", "name": "A hospital",
         "identifier": [{"system": "http://example.org/npi", "value": "1"}]},
        {"resourceType": "Coverage", "id": "cov1", "status": "active", "beneficiary": subject,
         "period": {"start": "2026-01-01"}, "payor": [{"reference": "Organization/org1"}]},
        {"resourceType": "QuestionnaireResponse", "id": "q1", **common, "authored": "2026-11-01"},
        {"resourceType": "ClaimResponse", "id": "cr1", "status": "active", "use": "preauthorization",
         "type": concept("http://terminology.hl7.org/CodeSystem/claim-type", "institutional"), "patient": subject,
         "created": "2026-01-01", "insurer": {"display": "Aetna"}, "outcome": "complete"},
        {"resourceType": "Device", "id": "dv1", "type": concept(HCPCS, "E0748"), "patient": subject},
    ]  # fmt: skip
    for n, code in enumerate(r.sample(["M50.122", "M48.061", "M43.16", "M54.5", "E11.9"], r.randint(1, 3))):
        known.append({"resourceType": "Condition", "id": f"c{n}", "subject": subject, "recordedDate": "2026-03-02",
                      "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
                      "code": concept("http://hl7.org/fhir/sid/icd-10-cm", code)})  # fmt: skip
    for n, code in enumerate(r.sample(["22612", "97110", "62323", "22551"], r.randint(1, 2))):
        known.append({"resourceType": "Procedure", "id": f"pr{n}", **common, "code": concept(CPT, code),
                      "performedDateTime": "2026-05-01"})  # fmt: skip
    known.append({"resourceType": "Observation", "id": "ob1", **common, "status": "final",
                  "effectiveDateTime": "2026-11-01", "code": concept("http://loinc.org", "39156-5"),
                  "valueQuantity": {"value": r.randint(20, 45), "unit": "kg/m2", "code": "kg/m2",
                                    "system": "http://unitsofmeasure.org"}})  # fmt: skip
    order = {"status": "draft", "intent": "order", "subject": subject, "authoredOn": f"{DAY}T10:00:00-05:00",
             "requester": {"reference": "Practitioner/d1"}, "encounter": {"reference": "Encounter/e1"}}  # fmt: skip
    drafts: list[Json] = [
        {"resourceType": "ServiceRequest", "id": f"o{code}", **order, "code": concept(CPT, code)}
        for code in r.sample(["22551", "20939", "22612", "22630"], r.randint(1, 3))
    ]
    if r.random() < 0.6:
        drafts.append(
            {"resourceType": "DeviceRequest", "id": "dr", **order, "codeReference": {"reference": "Device/dv1"}}
        )
    return [_entry(e) for e in known], [_entry(e) for e in drafts]


def _entry(resource: Json) -> Entry:
    return f"{BASE}/{resource['resourceType']}/{resource['id']}", resource


# --- reference forms: how the coverage names its payer, and the device request its device ------------


def _refer(known: list[Entry], reference: Json, kind: str, url: str | None = None, inner: bool = False) -> list[Entry]:
    out = []
    for full_url, resource in copy.deepcopy(known):
        if resource["resourceType"] == "Coverage":
            resource["payor"] = [reference]
            if inner:
                resource["contained"] = [{"resourceType": "Organization", "id": "in", "identifier": [PAYER]}]
        if url and resource.get("id") == "org1":
            full_url = url
            if kind == "unnamed":
                del resource["id"]
        out.append((full_url, resource))
    return out


UUID = "urn:uuid:6f1c1a52-0000-4000-8000-000000000001"
REFERENCES: dict[str, Callable[[list[Entry]], list[Entry]]] = {
    "relative": lambda k: k,
    "absolute": lambda k: _refer(k, {"reference": f"{BASE}/Organization/org1"}, ""),
    "versioned": lambda k: _refer(k, {"reference": f"{BASE}/Organization/org1/_history/3"}, ""),
    "relative, versioned": lambda k: _refer(k, {"reference": "Organization/org1/_history/3"}, ""),
    "uuid": lambda k: _refer(k, {"reference": UUID}, "", UUID),
    "uuid of a resource without id": lambda k: _refer(k, {"reference": UUID}, "unnamed", UUID),
    "url of a resource without id": lambda k: _refer(
        k, {"reference": "Organization/org9"}, "unnamed", f"{BASE}/Organization/org9"
    ),
    "oid": lambda k: _refer(k, {"reference": "urn:oid:1.2.3.4"}, "", "urn:oid:1.2.3.4"),
    "search": lambda k: _refer(k, {"reference": f"Organization?identifier={PAYER['system']}|{PAYER['value']}"}, ""),
    "search, escaped": lambda k: _refer(
        k, {"reference": "Organization?identifier=http%3A%2F%2Fexample.org%2Fpayer-id%7Caetna"}, ""
    ),
    "search, any system": lambda k: _refer(k, {"reference": "Organization?identifier=aetna"}, ""),
    "search, absolute": lambda k: _refer(
        k, {"reference": f"{BASE}/Organization?identifier={PAYER['system']}|{PAYER['value']}"}, ""
    ),
    "identifier": lambda k: _refer(k, {"identifier": PAYER}, ""),
    "identifier and type": lambda k: _refer(k, {"type": "Organization", "identifier": PAYER}, ""),
    "contained": lambda k: _refer(k, {"reference": "#in"}, "", None, True),
}

# --- shapes ----------------------------------------------------------------------------------------


def bundle(entries: list[Entry], kind: str = "collection", **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, **more,
            "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries]}  # fmt: skip


def nested(entries: list[Entry], *, failing: bool = False) -> Json:
    kinds = dict.fromkeys(r["resourceType"] for _, r in entries)
    parts = [bundle([e for e in entries if e[1]["resourceType"] == k], "searchset") for k in kinds]
    outer: list[Json] = [{"response": {"status": "200 OK"}, "resource": part} for part in parts]
    if failing:
        issue = {"severity": "error", "code": "not-found"}
        outer.append({"response": {"status": "404", "outcome": {"resourceType": "OperationOutcome", "issue": [issue]}}})
    return {"resourceType": "Bundle", "type": "batch-response", "entry": outer}


def history(entries: list[Entry]) -> Json:
    made = bundle(entries, "history")
    older = copy.deepcopy([e for e in made["entry"] if e["resource"]["resourceType"] == "Condition"])
    for each in older:
        each["resource"]["code"] = concept("http://hl7.org/fhir/sid/icd-10-cm", "Z00.00")
    gone = [{"fullUrl": f"{BASE}/Condition/gone", "request": {"method": "DELETE", "url": "Condition/gone"}}]
    past = [{"resource": {**older[0]["resource"], "id": "gone"}}] if older else []
    return {**made, "entry": [*gone, *made["entry"], *older, *past]}


def transaction(entries: list[Entry]) -> Json:
    made = bundle(entries, "transaction")
    for each in made["entry"]:
        each["request"] = {"method": "POST", "url": each["resource"]["resourceType"]}
    return made


def headed(entries: list[Entry], kind: str, first: str) -> Json:
    return bundle([(f"{BASE}/{first}/head", {"resourceType": first, "id": "head"}), *entries], kind)


def parameters(entries: list[Entry]) -> Json:
    half = len(entries) // 2
    return {"resourceType": "Parameters", "parameter": [
        {"name": "chart", "resource": bundle(entries[:half])},
        {"name": "more", "part": [{"name": "one", "resource": r} for _, r in entries[half:]]}]}  # fmt: skip


SHAPES: dict[str, Callable[[list[Entry]], Any]] = {
    "collection": bundle,
    "searchset": lambda e: bundle(e, "searchset", total=len(e)),
    "batch-response": nested,
    "batch-response in a batch-response": lambda e: {
        "resourceType": "Bundle", "type": "batch-response", "entry": [{"resource": nested(e)}]},
    "history": history,
    "transaction": transaction,
    "document": lambda e: headed(e, "document", "Composition"),
    "message": lambda e: headed(e, "message", "MessageHeader"),
    "parameters": parameters,
    "list of resources": lambda e: [r for _, r in e],
    "list of Bundles": lambda e: [{"resourceType": "Bundle", "entry": {"fullUrl": u, "resource": r}} for u, r in e],
}  # fmt: skip
UNURLED = {"list of resources", "parameters"}  # nothing there tells a fullUrl

# --- doors -----------------------------------------------------------------------------------------


class Doors:
    """Every way in, within one process."""

    def __init__(self, folder: Path) -> None:
        settings = from_environment({}, demo=True)
        self.runtime = Runtime.build(settings)
        self.folder = folder
        self.desk = Desk(terms_of(None, None, None))

    def answered(self, service: str, body: Json) -> Answer:
        chosen = self.runtime.services[service]
        return answer(validate(copy.deepcopy(body), chosen), chosen, self.runtime, Caller("test"))

    def hook(self, service: str, body: Json) -> set[Any]:
        return told(determinations(self.answered(service, body)))

    def evaluate(self, body: Json) -> set[Any]:
        path = self.folder / "request.json"
        path.write_text(json.dumps(body))
        return told(determinations(answer_file(path, "order-sign-advisor", None, None)))

    def workbench(self, value: Any) -> set[Any]:
        return self.hook("order-sign-advisor", as_request(parse_chart(json.dumps(value).encode())))

    def replay(self, value: Any) -> set[Any]:
        result = Result()
        self.desk.document(json.dumps(value).encode(), "chart.json", None, result)
        lines = [json.loads(line) for line in result.lines.splitlines()]
        return told([d for line in lines for d in line.get("determinations", [line])])


def told(found: list[Json]) -> set[Any]:
    return {(d["order"], d["policy"], d["role"], d["outcome"]) for d in found}


def request(drafts: list[Entry], prefetch: Json) -> Json:
    return {
        "hook": "order-sign",
        "hookInstance": "1d4c9b4a-ec07-4d5b-a27c-a54877de4738",
        "context": {"userId": "Practitioner/d1", "patientId": "p1", "encounterId": "e1", "draftOrders": bundle(drafts)},
        "prefetch": {**prefetch, "activeOrders": None},  # asked for, and none: as a file that is the whole chart tells
    }


def plain(known: list[Entry]) -> Json:
    """One key for each type."""
    kinds = dict.fromkeys(r["resourceType"] for _, r in known)
    return {KEYS[k]: bundle([e for e in known if e[1]["resourceType"] == k], "searchset") for k in kinds}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Doors:
    return Doors(tmp_path_factory.mktemp("doors"))


CASES = [(s, r) for s in SHAPES for r in REFERENCES if not (s in UNURLED and ("uuid" in r or "oid" in r or "url" in r))]


@pytest.mark.parametrize(("shape", "reference"), CASES)
def test_every_door_reads_every_shape(doors: Doors, shape: str, reference: str) -> None:
    r = random.Random(f"{shape}/{reference}")
    known, drafts = chart(r)
    expected = doors.hook("order-sign-advisor", request(drafts, plain(known)))
    assert any(policy and policy.startswith("aetna/") for _, policy, _, _ in expected)
    known = REFERENCES[reference](known)
    r.shuffle(known)
    made = SHAPES[shape]
    one = request(drafts, {"everything": made(known)})
    assert doors.hook("order-sign-advisor", one) == expected
    assert doors.hook("order-sign-crd", one) == expected
    assert doors.workbench(made(known + drafts)) == expected
    assert doors.replay(made(known + drafts)) == expected


@pytest.mark.parametrize("shape", ["collection", "batch-response", "list of Bundles"])
def test_evaluate_reads_what_the_others_read(doors: Doors, shape: str) -> None:
    known, drafts = chart(random.Random(shape))
    body = request(drafts, {"everything": SHAPES[shape](REFERENCES["search"](known))})
    assert doors.evaluate(body) == doors.hook("order-sign-advisor", request(drafts, plain(known)))


def test_evaluate_tells_what_to_do_with_a_chart(tmp_path: Path) -> None:
    known, drafts = chart(random.Random(1))
    path = tmp_path / "chart.json"
    path.write_text(json.dumps(bundle(known + drafts)))
    with pytest.raises(InputFileError, match="cds-service replay"):
        answer_file(path, None, None, None)


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_part_of_a_batch_that_failed_closes_nothing(doors: Doors, reference: str) -> None:
    """The payer's policies are found all the same; what they ask for may have been in the part that failed."""
    known, drafts = chart(random.Random(reference))
    expected = doors.hook("order-sign-advisor", request(drafts, plain(known)))
    value = nested(REFERENCES[reference](known), failing=True)
    for service in ("order-sign-advisor", "order-sign-crd"):
        done = doors.answered(service, request(drafts, {"everything": value}))
        sources = {name: done.case.source(name).complete for name in ("coverage", "conditions", "observations")}
        assert sources == {"coverage": True, "conditions": False, "observations": False}
        found = told(determinations(done))
        assert {each[:3] for each in found} == {each[:3] for each in expected}
        assert {each[3] for each in found - expected} <= {"needs-information", "not-addressed"}
