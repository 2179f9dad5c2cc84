"""From an open order to a settled one: questionnaire, answers, next call; the forms; the ledger behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from crd_support import (
    HCPCS,
    PATIENT,
    SUBJECT,
    bundle,
    condition,
    coverage,
    faults,
    infos,
    one,
    order,
    patient,
    said,
    sign,
    updated,
    values,
)
from support.listener import Listener
from support.paths import ROOT
from support.service import Service, running

from cds_service.facts import validity
from cds_service.hooks.crd_ids import family_of, record_of

Json = dict[str, Any]
CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"


@pytest.fixture
def ehr(listener: Listener) -> Iterator[Listener]:
    listener.reset(patient())
    yield listener
    listener.reset()


@dataclass(frozen=True)
class Trip:
    """An order that needs information under a payer's policy, and the rest of its request."""

    payer: str
    policy: str
    ref: str
    orders: tuple[Json, ...]
    conditions: tuple[Json, ...] = ()


E0748 = Trip(
    "medicare",
    "medicare/ncd-150-2",
    "ServiceRequest/o-E0748",
    (order("22612"), order("E0748", system=HCPCS)),
    (condition("M96.0"),),
)
MARROW = Trip(
    "cigna",
    "evicore/bone-graft-substitutes",
    "ServiceRequest/o-20939",
    (order("22612"), order("20937"), order("20939")),
)
TRIPS = pytest.mark.parametrize("trip", [E0748, MARROW], ids=["E0748-ncd-150-2", "20939-evicore"])


def body(trip: Trip, ehr: Listener, orders: tuple[Json, ...] | None = None) -> Json:
    made = sign(*(orders or trip.orders), cover=coverage(trip.payer), prefetch={"conditions": bundle(*trip.conditions)})
    del made["prefetch"]["questionnaireResponses"]
    return {**made, "fhirServer": ehr.base}


def package(service: Service, *parameters: Json) -> Json:
    asked = {"resourceType": "Parameters", "parameter": list(parameters)}
    response = service.request("POST", "/Questionnaire/$questionnaire-package", json=asked)
    assert response.status_code == 200, response.text
    given: Json = response.json()
    return given


def forms(answer: Json, policy: str = "") -> list[tuple[Json, Json]]:
    """Questionnaire and draft response of each package, perhaps only of one policy."""
    bundles = [p["resource"] for p in answer["parameter"] if p["name"] == "PackageBundle"]
    assert all(b["type"] == "collection" for b in bundles)
    pairs = [(b["entry"][0]["resource"], b["entry"][1]["resource"]) for b in bundles]
    return [(q, d) for q, d in pairs if f"/Questionnaire/{policy}" in q["url"]]


def completed(draft: Json, questionnaire: Json, yes: bool) -> Json:
    """The draft with every open question answered alike."""
    known = {i["linkId"]: i for i in draft.get("item", ())}
    asked = [i for i in questionnaire["item"] if i["type"] == "boolean"]
    items = [known.get(i["linkId"]) or {"linkId": i["linkId"], "answer": [{"valueBoolean": yes}]} for i in asked]
    return {**draft, "id": "qr-1", "status": "completed", "item": items}


@pytest.mark.crd("found-4", "found-11")
@TRIPS
def test_answers_settle_the_order(service: Service, ehr: Listener, trip: Trip) -> None:
    opened = service.answer(body(trip, ehr), "order-sign-crd")
    info = said(opened, trip.ref)
    assert faults(info, "2.2") == []
    assert (one(info, "covered"), one(info, "doc-needed")) == ("conditional", "clinical")
    canonicals = values(info, "questionnaire")
    assert all(f"/Questionnaire/{trip.policy}/" in c for c in canonicals)

    the_order = next(o for o in trip.orders if trip.ref.endswith(o["id"]))
    given = package(
        service,
        {"name": "coverage", "resource": coverage(trip.payer)},
        *({"name": "order", "resource": o} for o in trip.orders),
        *({"name": "referenced", "resource": c} for c in trip.conditions),
        *({"name": "questionnaire", "valueCanonical": c} for c in canonicals),
        {"name": "context", "valueString": one(info, "coverage-assertion-id")},
    )
    answers = []
    for number, (questionnaire, draft) in enumerate(forms(given)):
        assert validity.problems(questionnaire) == []
        assert validity.problems(draft) == []
        assert draft["questionnaire"] in canonicals
        assert {"url": CONTEXT, "valueReference": {"reference": trip.ref}} in draft["extension"]
        answers.append({**completed(draft, questionnaire, yes=True), "id": f"qr-{number}"})
    assert answers

    ehr.reset(patient(), *answers)
    carried = tuple(updated(opened).get(f"ServiceRequest/{o['id']}", o) for o in trip.orders)
    settled = service.answer(body(trip, ehr, carried), "order-sign-crd")
    after = said(settled, trip.ref)
    assert faults(after, "2.2") == []
    assert one(after, "covered") == "covered"
    assert values(after, "questionnaire") == []
    first, second = one(info, "coverage-assertion-id"), one(after, "coverage-assertion-id")
    assert family_of(second) == family_of(first) == first
    assert record_of(second) != record_of(first)
    assert the_order["id"] == updated(settled)[trip.ref]["id"]

    again = tuple(updated(settled).get(f"ServiceRequest/{o['id']}", o) for o in carried)
    assert service.answer(body(trip, ehr, again), "order-sign-crd")["systemActions"] == []


@TRIPS
def test_answers_can_settle_it_the_other_way(service: Service, ehr: Listener, trip: Trip) -> None:
    given = package(
        service,
        {"name": "coverage", "resource": coverage(trip.payer)},
        *({"name": "order", "resource": o} for o in trip.orders),
        *({"name": "referenced", "resource": c} for c in trip.conditions),
    )
    answers = [{**completed(d, q, yes=False), "id": f"qr-{n}"} for n, (q, d) in enumerate(forms(given))]
    ehr.reset(patient(), *answers)
    info = said(service.answer(body(trip, ehr), "order-sign-crd"), trip.ref)
    assert one(info, "covered") == "not-covered"


def test_answers_to_another_order_or_not_completed_settle_nothing(service: Service, ehr: Listener) -> None:
    given = package(service, {"name": "coverage", "resource": coverage("cigna")},
                    *({"name": "order", "resource": o} for o in MARROW.orders))  # fmt: skip
    ((questionnaire, draft),) = forms(given, MARROW.policy)
    whole = completed(draft, questionnaire, yes=True)
    other = [{"url": CONTEXT, "valueReference": {"reference": "ServiceRequest/another"}}]
    for useless in ({**whole, "status": "in-progress"}, {**whole, "extension": other},
                    {**whole, "questionnaire": "https://x.example.org/Questionnaire/some/other/form|1"}):  # fmt: skip
        ehr.reset(patient(), useless)
        assert one(said(service.answer(body(MARROW, ehr), "order-sign-crd"), MARROW.ref), "covered") == "conditional"


# --- the forms --------------------------------------------------------------------------------------


def test_a_package_is_prefilled_with_what_the_case_settles(service: Service) -> None:
    """The order itself names the technique: the case settles that question, so nobody need answer it."""
    stimulator = order("E0748", system=HCPCS)
    history = {
        "resourceType": "Procedure", "id": "px", "status": "completed", "subject": SUBJECT,
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "22612"}]},
        "performedDateTime": "2020-01-10",
    }  # fmt: skip
    given = package(
        service,
        {"name": "coverage", "resource": coverage("medicare")},
        {"name": "order", "resource": stimulator},
        {"name": "referenced", "resource": condition("M96.0")},
        {"name": "referenced", "resource": history},
        {"name": "questionnaire", "valueCanonical": _canonical(service, "failed-fusion-nine-months")},
    )
    ((questionnaire, draft),) = forms(given)
    answered = {i["linkId"]: i["answer"][0]["valueBoolean"] for i in draft["item"]}
    assert answered["nine-months"] is True
    assert set(answered) < {i["linkId"] for i in questionnaire["item"]} | {"nine-months"}
    assert draft["status"] == "in-progress"
    assert draft["subject"] == SUBJECT
    assert [e["valueReference"]["reference"] for e in draft["extension"]] == [
        "ServiceRequest/o-E0748",
        "Coverage/cov-1",
    ]


def _canonical(service: Service, rule: str) -> str:
    found = [r for r in every(service) if r["url"].endswith(f".{rule}")]
    return f"{found[0]['url']}|{found[0]['version']}"


def every(service: Service) -> list[Json]:
    return [e["resource"] for e in service.get("/Questionnaire").json()["entry"]]


@pytest.mark.crd("resp-63")
def test_every_questionnaire_is_r4_and_asks_what_the_policy_asks(service: Service) -> None:
    found = every(service)
    assert len({q["id"] for q in found}) == len(found) > 10
    assert len({(q["url"], q["version"]) for q in found}) == len(found)
    for questionnaire in found:
        assert validity.problems(questionnaire) == []
        assert questionnaire["meta"]["profile"] == ["http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire"]
        assert len(questionnaire["id"]) <= 64
        questions = [i for i in questionnaire["item"] if i["type"] == "boolean"]
        assert questions
        assert all(i["text"] for i in questions)


def test_a_questionnaire_is_found_by_canonical_id_and_search_and_can_be_cached(service: Service) -> None:
    one_form = next(q for q in every(service) if "evicore" in q["url"])
    path = one_form["url"].removeprefix(service.base)
    read = service.get(f"{path}|{one_form['version']}")
    assert read.json() == one_form == service.get(path).json() == service.get(f"/Questionnaire/{one_form['id']}").json()
    assert service.get(path, params={"version": one_form["version"]}).json() == one_form
    assert read.headers["Cache-Control"] == "private, max-age=3600"
    again = service.session.get(f"{service.base}{path}", headers={"If-None-Match": read.headers["ETag"]}, timeout=5)
    assert (again.status_code, again.content) == (304, b"")
    searched = service.get("/Questionnaire", params={"url": f"{one_form['url']}|{one_form['version']}"}).json()
    assert [e["resource"] for e in searched["entry"]] == [one_form]
    assert service.get("/Questionnaire", params={"url": "http://nowhere.example.org/q"}).json()["total"] == 0


def searched(service: Service, query: str) -> tuple[list[Json], str, Json]:
    """Resources, the query that was honoured, and the Bundle."""
    found = service.get(f"/Questionnaire?{query}").json()
    ((own),) = [link["url"] for link in found["link"] if link["relation"] == "self"]
    assert all(e["fullUrl"].endswith(f"/Questionnaire/{e['resource']['id']}") for e in found.get("entry", ()))
    return [e["resource"] for e in found.get("entry", ())], own.partition("?")[2], found


def test_questionnaires_are_searched_by_id_name_title_url_and_version(service: Service) -> None:
    first, second, *_ = forms_ = every(service)
    assert searched(service, f"_id={first['id']}")[:2] == ([first], f"_id={first['id']}")
    assert searched(service, f"_id={second['id']},{first['id']}")[0] == [first, second]
    assert searched(service, "_id=none")[2]["total"] == 0
    assert first in searched(service, f"name={first['name'][:9].upper()}")[0]
    titled = [q for q in forms_ if q["title"].startswith(first["title"])]
    assert searched(service, urlencode({"title": first["title"]}))[0] == titled
    named = urlencode({"url": first["url"], "version": first["version"]})
    assert searched(service, named)[:2] == ([first], named)
    assert searched(service, f"{named}&_id={second['id']}")[0] == []


def test_what_a_search_does_not_know_is_ignored_and_not_in_its_self_link(service: Service) -> None:
    first = every(service)[0]
    assert searched(service, f"status=draft&_id={first['id']}&name=&name:exact=x")[:2] == (
        [first],
        f"_id={first['id']}",
    )
    assert searched(service, "")[1] == ""


def test_pages_of_a_search_lead_from_one_to_the_next(service: Service) -> None:
    whole = every(service)
    found, query = [], "_count=20"
    while query:
        page, honoured, bundle_ = searched(service, query)
        assert (honoured, bundle_["total"]) == (query, len(whole))
        assert 0 < len(page) <= 20
        found += page
        query = next((li["url"].partition("?")[2] for li in bundle_["link"] if li["relation"] == "next"), "")
    assert found == whole
    assert [li["relation"] for li in searched(service, "_count=0")[2]["link"]] == ["self"]
    for wrong in ("_count=many", "_count=-1", "_offset=1.5"):
        assert service.get(f"/Questionnaire?{wrong}").status_code == 400


@pytest.mark.parametrize("path", ["/Questionnaire/none", "/Questionnaire/a/b/c", "/Questionnaire/a/b/c%7C9"])
def test_questionnaires_that_do_not_exist(service: Service, path: str) -> None:
    response = service.get(path)
    assert (response.status_code, response.json()["resourceType"]) == (404, "OperationOutcome")


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"resourceType": "Bundle"}, 400),
        ({"resourceType": "Parameters"}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "coverage", "resource": coverage()}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "questionnaire", "valueCanonical": "x"}]}, 400),
        (
            {"resourceType": "Parameters", "parameter": [
                {"name": "coverage", "resource": coverage()},
                {"name": "questionnaire", "valueCanonical": "http://x.example.org/Questionnaire/a/b/c"},
            ]},
            404,
        ),
        (
            {"resourceType": "Parameters", "parameter": [
                {"name": "coverage", "resource": coverage()},
                {"name": "order", "resource": {"resourceType": "ServiceRequest"}},
            ]},
            400,
        ),
        ({"resourceType": "Parameters", "parameter": [{"name": "order", "resource": order("20939")}]}, 400),
        (
            {"resourceType": "Parameters", "parameter": [
                {"name": "coverage", "resource": coverage(beneficiary={"reference": "Patient/another"})},
                {"name": "order", "resource": order("20939")},
            ]},
            400,
        ),
        (
            {"resourceType": "Parameters", "parameter": [
                {"name": "coverage", "resource": coverage()},
                *({"name": "order", "resource": order("20939", f"o{n}")} for n in range(1001)),
            ]},
            413,
        ),
    ],
)  # fmt: skip
def test_packages_that_cannot_be_made(service: Service, parameters: Json, status: int) -> None:
    response = service.request("POST", "/Questionnaire/$questionnaire-package", json=parameters)
    assert response.status_code == status
    assert response.json()["resourceType"] == "OperationOutcome"


def test_a_package_for_settled_orders_is_empty_and_says_so(service: Service) -> None:
    given = package(
        service, {"name": "coverage", "resource": coverage()}, {"name": "order", "resource": order("71046")}
    )
    ((note),) = given["parameter"]
    assert note["name"] == "OperationOutcome"
    assert note["resource"]["issue"][0]["details"]["text"] == "No questionnaire is needed."


def said_instead(given: Json) -> list[str]:
    """What an answer without packages says."""
    ((note),) = given["parameter"]
    return [i["details"]["text"] for i in note["resource"]["issue"]]


NAMELESS = (
    "The payer is not known: Coverage.payor has no identifier, and no Organization with one came as 'referenced'."
)
PLANLESS = "The payer of Coverage/cov-1 is not known: its type and class lead to no plan of Aetna that is known here."
PARTED = {k: v for k, v in order("20939", "dr").items() if k != "code"} | {
    "resourceType": "DeviceRequest",
    "codeReference": {"reference": "Device/d"},
}


@pytest.mark.parametrize(
    ("cover", "the_order", "texts"),
    [
        (coverage(payor=[{"reference": "Organization/aetna"}]), order("20939"), [NAMELESS]),
        (coverage("nobody"), order("20939"), ["Coverage.payor.identifier is not one of a payer that is served here."]),
        (
            coverage(type={"coding": [{"system": "https://nahdo.org/sopt", "code": "211"}]}),
            order("20939"),
            [PLANLESS],
        ),
        (coverage(), PARTED, ["What DeviceRequest/dr takes its code from did not come as 'referenced'."]),
        (
            coverage(),
            {"resourceType": "Task", "id": "t", "for": SUBJECT},
            ["A resource that came as 'order' is of no type that is read here as an order."],
        ),
    ],
)
def test_a_package_that_cannot_be_made_for_want_of_data_says_what_is_missing(
    service: Service, cover: Json, the_order: Json, texts: list[str]
) -> None:
    given = package(service, {"name": "coverage", "resource": cover}, {"name": "order", "resource": the_order})
    assert said_instead(given) == texts


def test_an_organization_that_came_names_the_payer(service: Service) -> None:
    identifier = coverage("cigna")["payor"][0]["identifier"]
    given = package(
        service,
        {"name": "coverage", "resource": coverage(payor=[{"reference": "Organization/o"}])},
        *({"name": "order", "resource": o} for o in MARROW.orders),
        {"name": "referenced", "resource": {"resourceType": "Organization", "id": "o", "identifier": [identifier]}},
    )
    assert forms(given, MARROW.policy)
    assert "OperationOutcome" not in {p["name"] for p in given["parameter"]}


def test_a_questionnaire_in_a_package_has_the_address_of_its_id(service: Service) -> None:
    given = package(
        service,
        {"name": "coverage", "resource": coverage("cigna")},
        *({"name": "order", "resource": o} for o in MARROW.orders),
    )
    for made in (p["resource"] for p in given["parameter"]):
        entry = made["entry"][0]
        assert entry["fullUrl"].endswith(f"/Questionnaire/{entry['resource']['id']}")
        assert service.get(entry["fullUrl"].removeprefix(service.base)).json() == entry["resource"]


def test_an_assertion_id_alone_leads_to_its_questionnaires(service: Service, ehr: Listener) -> None:
    info = said(service.answer(body(MARROW, ehr), "order-sign-crd"), MARROW.ref)
    given = package(
        service,
        {"name": "coverage", "resource": coverage("cigna")},
        {"name": "context", "valueString": one(info, "coverage-assertion-id")},
    )
    assert [f"{q['url']}|{q['version']}" for q, _ in forms(given)] == values(info, "questionnaire")
    assert all("item" not in draft for _, draft in forms(given))
    text = [{"name": "coverage", "resource": coverage("cigna")}, {"name": "context", "valueString": "not-ours"}]
    assert said_instead(package(service, *text)) == ["The context is no assertion of this service to this client."]
    strange = {"name": "context", "valueString": f"{one(info, 'coverage-assertion-id')[:-1]}99"}
    assert said_instead(package(service, text[0], strange)) == said_instead(package(service, *text))


def test_an_unchanged_questionnaire_is_not_sent_again(service: Service) -> None:
    parameters = [
        {"name": "coverage", "resource": coverage("cigna")},
        *({"name": "order", "resource": o} for o in MARROW.orders),
    ]
    assert forms(package(service, *parameters))
    later = {"name": "changedsince", "valueInstant": "2099-01-01T00:00:00Z"}
    assert said_instead(package(service, *parameters, later)) == [
        "No questionnaire that is needed has changed since then."
    ]


def test_without_a_way_to_the_answers_the_form_is_asked_for_again(service: Service) -> None:
    answer = service.answer(sign(*MARROW.orders, cover=coverage("cigna")), "order-sign-crd")
    assert one(said(answer, MARROW.ref), "covered") == "conditional"
    assert PATIENT not in json.dumps(infos(updated(answer)[MARROW.ref]))


# --- the ledger -------------------------------------------------------------------------------------


@pytest.mark.crd("found-37", "metric-1")
def test_the_ledger_keeps_guidance_and_the_guides_metrics(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        answer = service.answer(sign(*MARROW.orders, order("71046"), cover=coverage("cigna")), "order-sign-crd")
        service.answer(sign(order("22551"), order("20939"), hook="order-select", selections=["ServiceRequest/o-20939"]),
                       "order-select-crd")  # fmt: skip
    url = ("--database-url", f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    record = record_of(one(said(answer, MARROW.ref), "coverage-assertion-id"))
    kept = json.loads(_ledger("show", str(record), *url))
    assert kept["response"] == answer
    metrics = json.loads(_ledger("metrics", "--crd", *url))
    assert (metrics["calls"], metrics["orders"]) == (2, 5)
    assert metrics["1_with_coverage_information"] == {"count": 5, "of": 5, "percent": 100.0}
    assert metrics["2_by_covered"]["not-covered"] == {"count": 1, "of": 5, "percent": 20.0}
    asked = sum(bool(values(infos(r)[0], "questionnaire")) for r in updated(answer).values())
    assert metrics["4_documentation_with_questionnaire"] == {"count": asked, "of": asked, "percent": 100.0}
    assert metrics["6_answered_within_5_seconds"] == {"count": 2, "of": 2, "percent": 100.0}
    assert metrics["7_reduction_of_submissions"] is None
    assert {k: v["2_by_covered"]["not-covered"]["count"] for k, v in metrics["by_payer"].items() if k == "aetna"} == {
        "aetna": 1
    }
    assert set(metrics["by_payer"]) == {"aetna", "cigna"}
    assert set(metrics["by_hook"]) == {"order-sign", "order-select"}
    assert set(metrics["by_client"]) == {"demo"}
    assert json.loads(_ledger("metrics", "--crd", "--hook", "order-select", *url))["calls"] == 1


def _ledger(*arguments: str) -> str:
    command = [sys.executable, "-m", "cds_service.cli", "ledger", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
