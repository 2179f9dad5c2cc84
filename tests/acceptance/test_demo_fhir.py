"""The demo FHIR server: a read-only FHIR R4 view of the stories."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from fhir.resources.R4B import get_fhir_model_class
from support.contract import validator
from support.service import Service
from support.stories import stories, story

Json = dict[str, Any]
FHIR = "application/fhir+json"


def get(service: Service, query: str, status: int = 200, **headers: str) -> Json:
    response = service.get(f"/fhir/{query}", headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].split(";")[0] == FHIR
    resource: Json = response.json()
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    return resource


def ids(bundle: Json, mode: str = "match") -> set[str]:
    entries = bundle.get("entry", [])
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries if e["search"]["mode"] == mode}


def test_metadata_says_what_there_is(service: Service) -> None:
    stated = get(service, "metadata")
    assert (stated["resourceType"], stated["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    offered = {r["type"]: r for r in stated["rest"][0]["resource"]}
    for kind, resource in offered.items():
        assert {i["code"] for i in resource["interaction"]} == {"read", "search-type"}
        for parameter in resource["searchParam"]:
            get(service, f"{kind}?{parameter['name']}=nothing-like-this", Prefer="handling=strict")
    assert offered["Coverage"]["searchInclude"] == ["Coverage:payor"]
    assert {r["resourceType"] for s in stories() for r in s.chart()} <= offered.keys()


def test_every_resource_of_every_chart_can_be_read(service: Service) -> None:
    for resource in (r for s in stories() for r in s.chart()):
        response = service.get(f"/fhir/{resource['resourceType']}/{resource['id']}")
        assert response.json() == resource


@pytest.mark.parametrize("accept", ["application/json+fhir", "application/fhir+json", "application/json", "*/*", "x/y"])
def test_any_accept_is_served(service: Service, accept: str) -> None:
    assert get(service, "Patient/p1", Accept=accept)["id"] == "p1"


@pytest.mark.parametrize("who", ["p1", "Patient/p1", "https://ehr.example.org/fhir/Patient/p1"])
@pytest.mark.parametrize("name", ["patient", "subject"])
def test_search_by_patient(service: Service, name: str, who: str) -> None:
    found = get(service, f"Condition?{name}={who}")
    assert ids(found) == {f"Condition/c{n}" for n in range(1, 5)}
    assert found["total"] == 4
    assert found["link"] == [{"relation": "self", "url": found["link"][0]["url"]}]
    assert found["link"][0]["url"].startswith(f"{service.base}/fhir/Condition?{name}=")
    assert all(e["fullUrl"].startswith(f"{service.base}/fhir/Condition/") for e in found["entry"])


def test_search_by_form_gives_the_same(service: Service) -> None:
    by_form = service.request("POST", "/fhir/Coverage/_search", data={"patient": "p1", "_include": "Coverage:payor"})
    assert by_form.status_code == 200
    assert by_form.json() == get(service, "Coverage?patient=p1&_include=Coverage:payor")


def test_coverage_with_its_payor(service: Service) -> None:
    found = get(service, "Coverage?patient=p1&_include=Coverage:payor")
    assert (ids(found), ids(found, "include"), found["total"]) == ({"Coverage/cov1"}, {"Organization/o1"}, 1)
    assert ids(get(service, "Coverage?patient=p1"), "include") == set()


def test_search_by_id_and_status(service: Service) -> None:
    assert ids(get(service, "Patient?_id=p1,p2,nobody")) == {"Patient/p1", "Patient/p2"}
    drafts = {f"ServiceRequest/{r['id']}" for r in story("unsigned-orders").chart() if r["resourceType"][:2] == "Se"}
    assert len(drafts) == 6
    assert ids(get(service, "ServiceRequest?patient=p10&status=draft,active")) == drafts
    assert ids(get(service, "ServiceRequest?patient=p10&status=active")) == set()
    assert ids(get(service, "ServiceRequest?patient=p10&status=draft&status=active")) == set()


@pytest.mark.parametrize(
    ("token", "matches"),
    [
        ("M50.321", True),
        ("http://hl7.org/fhir/sid/icd-10-cm|M50.321", True),
        ("http://hl7.org/fhir/sid/icd-10-cm|", True),
        ("nothing,M50.321", True),
        ("http://snomed.info/sct|M50.321", False),
        ("|M50.321", False),
        ("M50.32", False),
        ("|", False),
    ],
)
def test_search_by_code(service: Service, token: str, matches: bool) -> None:
    found = get(service, f"Condition?patient=p1&code={token}")
    assert ("Condition/c1" in ids(found)) is matches


def test_what_is_not_known_is_ignored_unless_the_client_is_strict(service: Service) -> None:
    everything = get(service, "Condition?patient=p1")
    lenient = get(service, "Condition?patient=p1&onset-date=ge2020&_sort=-date&_count=1&_format=json")
    assert ids(lenient) == ids(everything)
    assert "onset-date" not in lenient["link"][0]["url"]
    refused = get(service, "Condition?patient=p1&onset-date=ge2020", 400, Prefer="handling=strict")
    assert refused["issue"][0]["expression"] == ["onset-date"]


def test_an_empty_answer_has_no_empty_list(service: Service) -> None:
    empty = get(service, "Condition?patient=nobody")
    assert empty["total"] == 0
    assert "entry" not in empty


@pytest.mark.parametrize("query", ["Patient/nobody", "Teapot", "Teapot/1", "Patient/p1/_history", ""])
def test_what_is_not_there_is_404(service: Service, query: str) -> None:
    assert get(service, query, 404)["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(("method", "path"), [("POST", "Patient"), ("PUT", "Patient/p1"), ("DELETE", "Patient/p1")])
def test_nothing_can_be_written(service: Service, method: str, path: str) -> None:
    response = service.request(method, f"/fhir/{path}", json={"resourceType": "Patient"})
    assert response.status_code == 405
    assert list(validator("OperationOutcome").iter_errors(response.json())) == []


def test_patients_have_what_the_sandbox_reads(service: Service) -> None:
    found = get(service, "Patient")
    assert found["total"] == len(stories())
    for entry in found["entry"]:
        assert isinstance(entry["resource"]["name"][0]["given"], list)
        assert requests.get(entry["fullUrl"], timeout=5).status_code == 200
    assert get(service, "Practitioner/COREPRACTITIONER1")["id"] == "COREPRACTITIONER1"
