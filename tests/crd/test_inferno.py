"""What ONC's Inferno test kit (its suite for servers of CRD 2.2.1) asserts, in our own words, over HTTP.

The suite calls each hook with the tester's bodies, and again with one thing changed: coverage-info switched off, an
unknown option, unknown context, an unknown element, no configuration, no billing options.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crd_support import (
    BILLING,
    CARDINALITY,
    CPT,
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
    sign,
    updated,
    values,
)
from support.listener import Listener
from support.paths import ROOT
from support.service import Service

from cds_service.config import Settings
from cds_service.hooks.answer import Answer
from cds_service.hooks.runtime import Runtime

Json = dict[str, Any]
PRIMARY = ("order-sign", "order-dispatch", "appointment-book")
HOOKS = (*PRIMARY, "order-select", "encounter-start", "encounter-discharge")
ORDERS = (order("22551"), order("20930"), order("20939"), order("71046"))
VISIT: Json = {
    "resourceType": "Appointment", "id": "visit", "status": "proposed", "serviceType": [{"text": "Clinic visit"}],
    "participant": [{"actor": SUBJECT, "status": "accepted"}],
}  # fmt: skip
ENCOUNTER: Json = {
    "resourceType": "Encounter", "id": "enc-1", "status": "in-progress", "subject": SUBJECT,
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
}  # fmt: skip


def body(hook: str, **prefetch: Any) -> Json:
    """A body for a hook, as a tester gives one: Coverage with a payor that has an identifier, all data sent."""
    made = sign(*ORDERS, cover=coverage(period={"start": "2020-01-01", "end": "2098-12-31"}), prefetch=prefetch)
    made["hook"] = hook
    base = {"userId": "Practitioner/crd-surgeon", "patientId": PATIENT}
    refs = [f"ServiceRequest/{o['id']}" for o in ORDERS]
    if hook == "order-select":
        made["context"]["selections"] = refs[2:]
    elif hook == "order-dispatch":
        made["context"] = {**base, "dispatchedOrders": refs[:3], "performer": "Organization/lab"}
        made["prefetch"]["serviceRequests"] = bundle(*ORDERS)
    elif hook == "appointment-book":
        made["context"] = {**base, "appointments": bundle(VISIT, kind="collection")}
    elif hook.startswith("encounter"):
        made["context"] = {**base, "encounterId": "enc-1"}
        made["prefetch"]["encounter"] = ENCOUNTER
    return made


def in_focus(given: Json) -> dict[str, Json]:
    """The resources that a call is about, by reference."""
    context, hook = given["context"], given["hook"]
    known = {f"ServiceRequest/{o['id']}": o for o in ORDERS}
    if hook == "order-select":
        return {ref: known[ref] for ref in context["selections"]}
    if hook == "order-dispatch":
        return {ref: known[ref] for ref in context["dispatchedOrders"]}
    if hook == "appointment-book":
        return {"Appointment/visit": VISIT}
    return {"Encounter/enc-1": ENCOUNTER} if hook.startswith("encounter") else known


def answer(service: Service, given: Json) -> Json:
    return service.answer(given, f"{given['hook']}-crd")


# --- discovery --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def offered(service: Service) -> list[Json]:
    response = service.get("/cds-services")
    assert response.status_code == 200
    found: list[Json] = response.json()["services"]
    return found


def test_the_first_service_of_each_hook_is_the_crd_service(offered: list[Json]) -> None:
    """The suite, as any client that goes by the hook alone, takes the first."""
    first = {h: next(s["id"] for s in offered if s["hook"] == h) for h in HOOKS}
    assert first == {h: f"{h}-crd" for h in HOOKS}


def test_every_service_is_described(offered: list[Json]) -> None:
    for service in offered:
        assert all(isinstance(service[field], str) and service[field] for field in ("hook", "id", "description"))
        assert re.fullmatch(r"\d+\.\d+\.\d+", service["version"])
        if service["id"].endswith("-crd"):
            versions = service["extension"]["davinci-crd.version"]
            assert versions
            assert all(re.fullmatch(r"[1-9]\d*\.\d+", v) for v in versions)


@pytest.mark.parametrize("hook", PRIMARY)
def test_primary_hooks_offer_to_switch_coverage_information_off(offered: list[Json], hook: str) -> None:
    (service,) = [s for s in offered if s["id"] == f"{hook}-crd"]
    options = service["extension"]["davinci-crd.configuration-options"]
    assert "coverage-info" in {o["code"] for o in options}
    for option in options:
        assert {"code", "type", "name", "description", "default"} <= set(option)
        assert all(isinstance(option[f], str) for f in ("code", "type", "name", "description"))
    for field in ("code", "name", "description"):
        assert len({o[field] for o in options}) == len(options)


# --- every call -------------------------------------------------------------------------------------


def check(given: Json, response: Json) -> None:
    """What holds of every answer with status 200."""
    assert isinstance(response["cards"], list)
    if given["hook"] in PRIMARY:
        assert isinstance(response["systemActions"], list)
    for card in response["cards"]:
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert card["source"]["label"]
        assert {"system", "code"} <= set(card["source"]["topic"])
        assert ("suggestions" not in card) or card["selectionBehavior"] in ("at-most-one", "any")
        for action in (a for s in card.get("suggestions", ()) for a in s["actions"]):
            assert action["type"] in ("create", "delete")  # none is an update with coverage-information
            assert action["description"]
    for action in response.get("systemActions", ()):
        assert action["type"] == "update"
        assert action["description"]
        about: dict[str, set[str]] = {}
        for info in infos(action["resource"]):
            assert faults(info, "2.2") == []
            about.setdefault(one(info, "coverage")["reference"], set()).add(one(info, "coverage-assertion-id"))
        assert all(len(ids) == 1 for ids in about.values())
        assert len(set().union(*about.values())) == len(about)
        source = in_focus(given)[f"{action['resource']['resourceType']}/{action['resource']['id']}"]
        assert _plain(action["resource"]) == _plain(source)


def _plain(resource: Json) -> Json:
    """A resource without coverage-information."""
    rest = [e for e in resource.get("extension", ()) if e not in infos(resource)]
    return {k: v for k, v in resource.items() if k != "extension"} | ({"extension": rest} if rest else {})


def unchanged(given: Json) -> None:
    """The tester's body."""


def unknown_option(given: Json) -> None:
    given["extension"]["davinci-crd.configuration"] = {"a-random-option": True}


def unknown_context(given: Json) -> None:
    given["context"]["aRandomKey"] = True


def unknown_element(given: Json) -> None:
    given["aRandomElement"] = True
    given["extension"]["org.example.random"] = {"a": 1}


def no_configuration(given: Json) -> None:
    given["extension"].pop("davinci-crd.configuration", None)


CHANGES = (unchanged, unknown_option, unknown_context, unknown_element, no_configuration)


@pytest.mark.crd("found-2", "resp-26")
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("hook", HOOKS)
def test_every_call_is_answered_with_coverage_information(
    service: Service, hook: str, change: Callable[[Json], None]
) -> None:
    given = body(hook)
    change(given)
    response = answer(service, given)
    check(given, response)
    assert list(updated(response)) == list(in_focus(given))
    assert all(len(infos(r)) == 1 for r in updated(response).values())


@pytest.mark.parametrize("hook", HOOKS)
def test_coverage_information_switched_off(service: Service, hook: str) -> None:
    given = body(hook)
    given["extension"]["davinci-crd.configuration"] = {"coverage-info": False}
    response = answer(service, given)
    check(given, response)
    assert response.get("systemActions", []) == []
    assert "coverage-info" not in {c["source"]["topic"]["code"] for c in response["cards"]}


@pytest.mark.parametrize("hook", ["order-sign", "appointment-book"])
def test_what_carries_the_same_assertion_already_needs_no_action(service: Service, hook: str) -> None:
    given = body(hook)
    carried = list(updated(answer(service, given)).values())
    name = {"order-sign": "draftOrders", "appointment-book": "appointments"}[hook]
    given["context"][name] = bundle(*carried, kind="collection")
    response = answer(service, given)
    assert response["systemActions"] == []


def test_orders_with_billing_options_are_answered_without_them_too(service: Service) -> None:
    option = {"url": BILLING, "valueCodeableConcept": {"coding": [{"system": CPT, "code": "20939"}]}}
    with_options = order("20939")
    with_options["code"] = {**with_options["code"], "extension": [option]}
    for given in (with_options, order("20939")):
        assert list(updated(service.answer(sign(given), "order-sign-crd"))) == ["ServiceRequest/o-20939"]


# --- specific coverage responses --------------------------------------------------------------------


@pytest.fixture
def ehr(listener: Listener) -> Iterator[Listener]:
    listener.reset(patient())
    yield listener
    listener.reset()


def test_technical_issues(service: Service, ehr: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every query is answered 500: all is indeterminate for a technical reason, whatever a policy would say."""
    failed = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    monkeypatch.setattr(ehr, "answer", lambda _path: (500, failed))
    given = body("order-sign") | {"fhirServer": ehr.base}
    cover = coverage(payor=[{"reference": "Organization/payer"}])
    given["prefetch"] = {"coverage": bundle(cover)}
    response = answer(service, given)
    check(given, response)
    assert list(updated(response)) == list(in_focus(given))
    for resource in updated(response).values():
        (info,) = infos(resource)
        assert one(info, "covered") == "indeterminate"
        assert [c["code"] for r in values(info, "reason") for c in r["coding"]] == ["technical"]


@pytest.mark.parametrize(
    ("cover", "code"),
    [
        (coverage(subscriberId="DEMO-NOT-FOUND"), "no-member-found"),
        (coverage(subscriberId="DEMO-SEVERAL"), "coverage-not-found"),
        (coverage(status="cancelled"), "no-active-coverage"),
    ],
    ids=["no member", "not found", "not active"],
)
@pytest.mark.parametrize("hook", HOOKS)
def test_coverage_that_is_not_resolved(service: Service, hook: str, cover: Json, code: str) -> None:
    given = body(hook, coverage=bundle(cover))
    response = answer(service, given)
    check(given, response)
    for resource in updated(response).values():
        (info,) = infos(resource)
        assert one(info, "covered") == "not-covered"
        assert [c["code"] for r in values(info, "reason") for c in r["coding"]] == [code]


# --- must support -----------------------------------------------------------------------------------

CONTACT = {"name": "Medical policy line", "telecom": [{"system": "phone", "value": "+1 555 010 0199"}]}


@pytest.fixture(scope="module")
def with_contact(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """The bundled content, with whom to ask: at a payer, and at a policy of it."""
    cards = tmp_path_factory.mktemp("contact") / "cards"
    shutil.copytree(ROOT / "cards", cards)
    payers = cards / "payers.yaml"
    text = payers.read_text(encoding="utf-8")
    assert '    label: "Aetna"\n' in text
    payers.write_text(
        text.replace('    label: "Aetna"\n', f'    label: "Aetna"\n    contact: {json.dumps(CONTACT)}\n', 1),
        encoding="utf-8",
    )
    policy = cards / "aetna" / "spinal-fusion" / "policy.yaml"
    text = policy.read_text(encoding="utf-8")
    policy.write_text(
        text.replace("notice: unofficial encoding\n", "notice: unofficial encoding\ncontact: {name: Fusion desk}\n", 1),
        encoding="utf-8",
    )
    return Runtime.build(Settings(demo=True, public_url="https://payer.example.org", cards=str(cards)))


@pytest.mark.crd("conf-5")
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_whom_to_ask_is_told_where_somebody_is_named(
    ask: Callable[..., Answer], with_contact: Runtime, version: str
) -> None:
    answers = updated(ask(sign(order("22551"), order("20939"), version=version), with_contact).response)
    assert values(infos(answers["ServiceRequest/o-20939"])[0], "contact") == [CONTACT]
    assert values(infos(answers["ServiceRequest/o-22551"])[0], "contact") == [{"name": "Fusion desk"}]
    others = updated(ask(sign(order("20939"), cover=coverage("cigna")), with_contact).response)
    assert values(infos(others["ServiceRequest/o-20939"])[0], "contact") == []


@pytest.mark.crd("conf-5")
def test_all_parts_of_coverage_information_are_demonstrated(ask: Callable[..., Answer], with_contact: Runtime) -> None:
    granted = {
        "resourceType": "ClaimResponse", "id": "pa-1", "status": "active", "use": "preauthorization",
        "outcome": "complete", "patient": SUBJECT, "created": "2026-10-01", "insurer": {"display": "Aetna"},
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": "professional"}]},
        "preAuthRef": "PA-77",
    }  # fmt: skip
    marrow = order("20939", "authorised", insurance=[{"reference": "ClaimResponse/pa-1"}])
    bodies = [
        sign(order("22551"), order("20939"), marrow, prefetch={"authorizations": granted},
             cover=coverage(period={"end": "2098-12-31"})),
    ]  # fmt: skip
    found: set[str] = set()
    for given in bodies:
        for resource in updated(ask(given, with_contact).response).values():
            found |= {part["url"] for info in infos(resource) for part in info["extension"]}
    assert len(CARDINALITY["2.2"]) == 16
    assert found == set(CARDINALITY["2.2"])


@pytest.mark.parametrize("us_core", ["3.1.1", "6.1.0", "7.0.0"])
def test_charts_of_each_us_core_version_are_read(service: Service, us_core: str) -> None:
    base = "http://hl7.org/fhir/us/core/StructureDefinition"
    profile = "us-core-condition" if us_core == "3.1.1" else "us-core-condition-problems-health-concerns"
    tumour = {**condition("C41.2"), "meta": {"profile": [f"{base}/{profile}|{us_core}"]}}
    orders = (order("22612"), order("20937"), order("20939"))
    read = sign(*orders, cover=coverage("cigna"), prefetch={"conditions": bundle(tumour)})
    without = copy.deepcopy(read)
    without["prefetch"]["conditions"] = None
    covered = [
        one(infos(updated(service.answer(b, "order-sign-crd"))["ServiceRequest/o-20939"])[0], "covered")
        for b in (read, without)
    ]
    assert covered == ["not-covered", "conditional"]
