"""Outside demo mode: who may call, in which version, what may be asserted, and what silence holds back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crd_support import coverage, faults, infos, one, order, said, sign, texts, updated

sys.path.append(str(Path(__file__).parents[1] / "functional"))
from deployment import Deployment

Json = dict[str, Any]
SERVICE = "/cds-services/order-sign-crd"
PACKAGE = "/Questionnaire/$questionnaire-package"
MARROW = sign(order("20939"), order("20930"), version=None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two payers' worth of trust: aetna may be asserted; clients of three versions, one of them silent."""
    deployment = Deployment(tmp_path_factory.mktemp("crd"), {"CDS_PAYERS": "aetna"})
    for name, *options in (
        ("plain",), ("newer", "--crd-version", "2.2"), ("older", "--crd-version", "2.1"), ("quiet", "--silent"),
    ):  # fmt: skip
        deployment.add(name, *options)
    deployment.start()
    yield deployment
    deployment.session.close()
    deployment.stop()


def answer(site: Deployment, client: str, body: Json) -> Json:
    response = site.call(client, body, SERVICE)
    assert response.status_code == 200, response.text
    given: Json = response.json()
    return given


@pytest.mark.parametrize(("client", "version"), [("plain", "2.0"), ("older", "2.1"), ("newer", "2.2")])
def test_the_clients_file_decides_the_version(site: Deployment, client: str, version: str) -> None:
    given = answer(site, client, MARROW)
    info = said(given, "ServiceRequest/o-20930")
    assert faults(info, version) == []
    assert one(info, "covered") == "covered"
    assert one(info, "pa-needed") == ("indeterminate" if version == "2.2" else "conditional")
    assert one(said(given, "ServiceRequest/o-20939"), "covered") == "not-covered"
    asked = {**MARROW, "extension": {"davinci-crd.requestedVersion": "2.2"}}
    assert one(said(answer(site, client, asked), "ServiceRequest/o-20930"), "pa-needed") == "indeterminate"


def test_a_silent_client_gets_neither_cards_nor_actions_but_a_record(site: Deployment) -> None:
    given = answer(site, "quiet", MARROW)
    assert (given["cards"], given.get("systemActions", [])) == ([], [])
    with site.ledger() as ledger:
        kept = [r for r in ledger.records(hook="order-sign") if r["client"] == "quiet"]
    assert [len(r["response"]["systemActions"]) for r in kept] == [2]


def test_the_demo_directory_of_members_is_for_demos(site: Deployment) -> None:
    body = sign(order("20930"), cover=coverage(subscriberId="DEMO-NOT-FOUND"), version="2.2")
    info = said(answer(site, "plain", body), "ServiceRequest/o-20930")
    assert "no member" not in texts(info)
    assert one(info, "covered") == "covered"
    assert len(infos(updated(answer(site, "plain", body))["ServiceRequest/o-20930"])) == 1


def test_questionnaires_are_for_trusted_clients_and_tokens_are_good_once(site: Deployment) -> None:
    film = {"name": "order", "resource": order("71046")}
    body = {"resourceType": "Parameters", "parameter": [{"name": "coverage", "resource": coverage()}, film]}
    assert site.session.post(site.url + PACKAGE, json=body, timeout=10).status_code == 401
    assert site.session.get(f"{site.url}/Questionnaire", timeout=10).status_code == 401
    headers = site.headers("plain", PACKAGE)
    first = site.session.post(site.url + PACKAGE, json=body, headers=headers, timeout=10)
    assert (first.status_code, first.json()["resourceType"]) == (200, "Parameters")
    assert site.session.post(site.url + PACKAGE, json=body, headers=headers, timeout=10).status_code == 401
    listed = site.session.get(f"{site.url}/Questionnaire", headers=site.headers("plain", "/Questionnaire"), timeout=10)
    assert listed.json()["total"] == 0
    versioned = "/Questionnaire/none%7C2026-1"  # aud is the URL as called
    headers = site.headers("plain", versioned)
    assert site.session.get(site.url + versioned, headers=headers, timeout=10).status_code == 404


def test_calls_without_a_token_are_refused(site: Deployment) -> None:
    assert site.session.post(site.url + SERVICE, json=MARROW, timeout=10).status_code == 401
