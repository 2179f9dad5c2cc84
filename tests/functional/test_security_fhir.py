"""Hook calls against a FHIR server that misbehaves: an honest answer in time, and no request to anyone else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functional.deployment import (
    COVERAGE,
    ORDERS,
    PATIENT,
    PREFETCH,
    SLIP,
    Deployment,
    bundle,
    hook_request,
    marrow_cards,
)
from tests.functional.hostile_fhir import Behaviour, HostileFhir, Request, Wire

DEADLINE = 1.0
GRACE = 0.2
PAGE = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": SLIP}]}


@dataclass
class Mood:
    """What the server does just now."""

    behaviour: Behaviour = lambda wire, request: wire.json(bundle())

    def __call__(self, wire: Wire, request: Request) -> None:
        self.behaviour(wire, request)


def gigabyte(wire: Wire, _request: Request) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        wire.send(b" " * (1 << 20))


def half(wire: Wire, _request: Request) -> None:
    wire.send(
        b'HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 999\r\n\r\n{"resourceType": "Bu'
    )
    wire.connection.close()


def next_without_end(wire: Wire, request: Request) -> None:
    page = next(_numbers)
    path = request.path.split("?")[0].removeprefix("/fhir/")
    wire.json(PAGE | {"link": [{"relation": "next", "url": f"{path}?page={page}"}]})


_numbers = itertools.count()


class Hostile:
    """One way to misbehave, named for the test report."""

    def __init__(self, name: str, behaviour: Behaviour) -> None:
        self.name, self.behaviour = name, behaviour

    def __repr__(self) -> str:
        return self.name


BEHAVIOURS = [
    Hostile("silence", lambda wire, _request: wire.hold()),
    Hostile("drip", lambda wire, _request: wire.drip(b"HTTP/1.1 200 OK\r\n" * 50, 0.05)),
    Hostile("reset", lambda wire, _request: wire.reset()),
    Hostile("500", lambda wire, _request: wire.json({"resourceType": "OperationOutcome"}, "500 Internal Server Error")),
    Hostile("503 for an hour", lambda wire, _request: wire.json({}, "503 Busy", Retry_After="3600")),
    Hostile("html", lambda wire, _request: wire.respond(b"<html><body>Sign in</body></html>", media="text/html")),
    Hostile("half a body", half),
    Hostile("a gigabyte", gigabyte),
    Hostile("next without end", next_without_end),
]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[HostileFhir]:
    """A server that nobody declared: it must never be asked."""
    with HostileFhir(lambda wire, _request: wire.json(bundle(COVERAGE, SLIP))) as server:
        yield server


@pytest.fixture(scope="module")
def fhir() -> Iterator[HostileFhir]:
    with HostileFhir(Mood()) as server:
        yield server


@pytest.fixture(scope="module")
def site(fhir: HostileFhir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    site = Deployment(tmp_path_factory.mktemp("hostile"), {"CDS_FETCH_DEADLINE": str(DEADLINE)})
    metadata = "http://169.254.169.254/latest"
    site.add("north", "--fhir-server", fhir.base, "--fhir-server", metadata, "--allow-private")
    site.start()
    assert site.call("north", hook_request()).status_code == 200  # what is compiled on first use is compiled
    yield site
    assert site.stop() == 0


def call(site: Deployment, server: str, missing: str) -> tuple[int, dict[str, Any]]:
    """A call without one prefetch key; it is answered in time."""
    prefetch = {key: value for key, value in PREFETCH.items() if key != missing}
    access = {"fhirServer": server, "fhirAuthorization": {"access_token": "secret-token-4711"}}
    answer = site.call("north", hook_request(prefetch=prefetch, **access))
    assert answer.elapsed.total_seconds() <= DEADLINE + GRACE
    assert "secret-token" not in answer.text
    return answer.status_code, answer.json()


def needs_coverage(status: int, body: dict[str, Any]) -> None:
    """Without coverage no order can be settled: 412 that says why."""
    assert status == 412
    [issue] = body["issue"]
    assert issue["expression"] == ["prefetch.coverage"]
    assert issue["diagnostics"].startswith("prefetch.coverage is needed and could not be obtained: ")


def settles_the_rest(status: int, body: dict[str, Any]) -> None:
    """Without conditions the fusion stays open, which is said; the graft is judged."""
    assert status == 200
    assert len(marrow_cards(body["cards"])) == 1
    others = [card for card in body["cards"] if "20939" not in card["summary"]]
    assert [(card["indicator"], card["summary"][:26]) for card in others] == [("info", "More information is needed")]


@pytest.mark.parametrize("hostile", BEHAVIOURS, ids=repr)
def test_misbehaviour_costs_that_source_only(
    site: Deployment, fhir: HostileFhir, elsewhere: HostileFhir, hostile: Hostile
) -> None:
    fhir.behaviour.behaviour = hostile.behaviour  # type: ignore[attr-defined]
    needs_coverage(*call(site, fhir.base, "coverage"))
    settles_the_rest(*call(site, fhir.base, "conditions"))
    assert elsewhere.connections == 0


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
def test_redirects_to_another_host_are_not_followed(
    site: Deployment, fhir: HostileFhir, elsewhere: HostileFhir, status: str
) -> None:
    fhir.behaviour.behaviour = lambda wire, request: wire.json({}, status, Location=elsewhere.base + request.path[5:])  # type: ignore[attr-defined]
    needs_coverage(*call(site, fhir.base, "coverage"))
    settles_the_rest(*call(site, fhir.base, "conditions"))
    assert elsewhere.connections == 0


def test_next_links_to_another_host_are_not_followed(
    site: Deployment, fhir: HostileFhir, elsewhere: HostileFhir
) -> None:
    link = [{"relation": "next", "url": f"{elsewhere.base}/Condition?page=2"}]
    fhir.behaviour.behaviour = lambda wire, _request: wire.json(PAGE | {"link": link})  # type: ignore[attr-defined]
    settles_the_rest(*call(site, fhir.base, "conditions"))
    assert elsewhere.connections == 0


def test_servers_that_are_not_declared_or_never_may_be_called_are_not_asked(
    site: Deployment, elsewhere: HostileFhir
) -> None:
    for server in (elsewhere.base, "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]/fhir", "file:///etc"):
        needs_coverage(*call(site, server, "coverage"))
    assert elsewhere.connections == 0


def test_another_patients_data_is_not_used(site: Deployment, fhir: HostileFhir) -> None:
    theirs = SLIP | {"subject": {"reference": "Patient/somebody-else"}}
    fhir.behaviour.behaviour = lambda wire, _request: wire.json(bundle(theirs))  # type: ignore[attr-defined]
    status, body = call(site, fhir.base, "conditions")
    with site.ledger() as ledger:
        *_, last = ledger.records()
    fusion = [d["outcome"] for d in last["determinations"] if d["code"] == "22551" and d["policy"]]
    assert (status, fusion) == (200, ["needs-information"])
    settles_the_rest(status, body)


def test_an_honest_server_settles_all(site: Deployment, fhir: HostileFhir) -> None:
    fhir.behaviour.behaviour = lambda wire, _request: wire.json(bundle(SLIP))  # type: ignore[attr-defined]
    status, body = call(site, fhir.base, "conditions")
    assert status == 200
    assert len(body["cards"]) == len(marrow_cards(body["cards"])) == 1


IDS = ["p1,p2,p3", "p1&_count=1", "*", "p1?x=1", "../../admin", "p1/$everything", "p1\nx", "p1%2Cp2", "p 1", "ü",
       "a" * 256, "Patient/", "Patient/Patient/p1", "Encounter/p1"]  # fmt: skip


@pytest.mark.parametrize("given", IDS)
@pytest.mark.parametrize("service", ["order-sign-advisor", "order-sign-crd"])
def test_a_patient_id_that_is_none_is_refused_and_asked_of_nobody(
    site: Deployment, fhir: HostileFhir, given: str, service: str
) -> None:
    before = len(fhir.requests)
    body = hook_request(prefetch={}, fhirServer=fhir.base, fhirAuthorization={"access_token": "secret-token-4711"})
    body["context"]["patientId"] = given
    answer = site.call("north", body, f"/cds-services/{service}")
    assert answer.status_code == 400
    [issue] = answer.json()["issue"]
    assert (issue["expression"], issue["diagnostics"]) == (["context.patientId"], "context.patientId is not a FHIR id")
    assert len(fhir.requests) == before


def test_a_patient_id_with_its_type_before_it_is_asked_for_as_an_id(site: Deployment, fhir: HostileFhir) -> None:
    fhir.behaviour.behaviour = lambda wire, _request: wire.json(bundle(COVERAGE))  # type: ignore[attr-defined]
    prefetch = {key: value for key, value in PREFETCH.items() if key != "coverage"}
    body = hook_request(prefetch=prefetch, fhirServer=fhir.base, fhirAuthorization={"access_token": "t-0815-4711"})
    body["context"]["patientId"] = f"Patient/{PATIENT}"
    assert site.call("north", body).status_code == 200
    assert fhir.requests[-1].path.startswith(f"/fhir/Coverage?patient={PATIENT}&")


@pytest.mark.parametrize("given", ["e1,e2", "e1?_include=*", "_search?patient=p2", "*"])
def test_an_encounter_id_that_is_none_is_refused(site: Deployment, fhir: HostileFhir, given: str) -> None:
    before = len(fhir.requests)
    body = hook_request(hook="encounter-start", prefetch={}, fhirServer=fhir.base)
    body["context"] = {"userId": "Practitioner/d1", "patientId": PATIENT, "encounterId": given}
    answer = site.call("north", body, "/cds-services/encounter-start-crd")
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, ["context.encounterId"])
    assert len(fhir.requests) == before


@pytest.mark.parametrize(
    "given", ["Device/_search?patient=p2", "Device/d1?_include=*", "Device/d1,d2", "Device/../Patient/p2"]
)
@pytest.mark.parametrize("service", ["order-sign-advisor", "order-sign-crd"])
def test_a_reference_is_read_and_never_becomes_a_search(
    site: Deployment, fhir: HostileFhir, given: str, service: str
) -> None:
    fhir.behaviour.behaviour = lambda wire, _request: wire.json(bundle())  # type: ignore[attr-defined]
    before = len(fhir.requests)
    device = {"resourceType": "DeviceRequest", "id": "dr", "status": "draft", "intent": "order",
              "subject": {"reference": f"Patient/{PATIENT}"}, "codeReference": {"reference": given}}  # fmt: skip
    access = {"fhirServer": fhir.base, "fhirAuthorization": {"access_token": "secret-token-4711"}}
    assert site.call("north", hook_request(*ORDERS, device, **access), f"/cds-services/{service}").status_code < 500
    assert [r.path for r in fhir.requests[before:] if "Device" in r.path] == []
