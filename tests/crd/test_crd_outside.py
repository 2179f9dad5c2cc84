"""What an outside tester found: numbers, contained types, changed echoes, doubled ids, reasons, keys of the client."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from crd_support import HCPCS, REQUESTER, SUBJECT, bundle, coverage, infos, one, order, sign, texts, updated

from cds_service.cli import cli
from cds_service.hooks.answer import Answer
from cds_service.hooks.exact import as_written

Json = dict[str, Any]
Ask = Callable[..., Answer]
REF = "ServiceRequest/o-20939"


def _device() -> Json:
    code = {"coding": [{"system": HCPCS, "code": "E0748"}]}
    base = {"resourceType": "DeviceRequest", "id": "stimulator", "status": "draft", "intent": "order"}
    return {**base, "codeCodeableConcept": code, "subject": SUBJECT, "authoredOn": "2026-11-02", "requester": REQUESTER}


@pytest.mark.parametrize("number", ["123456789012345678901234567890", "18446744073709551616", "-9223372036854775809"])
def test_whole_numbers_beyond_64_bits_come_back(ask: Ask, number: str) -> None:
    response = ask(sign(order("20939", unknownElement=int(number)))).response
    assert f'"unknownElement":{number}' in orjson.dumps(response, default=as_written).decode()


def test_a_contained_type_that_is_not_read_here_is_no_fault(ask: Ask) -> None:
    given = order("20939", contained=[{"resourceType": "Specimen", "id": "s"}], specimen=[{"reference": "#s"}])
    found = updated(ask(sign(given)).response)[REF]
    assert {k: v for k, v in found.items() if k != "extension"} == given
    assert one(infos(found)[0], "covered") == "not-covered"


def test_a_contained_resource_that_is_broken_costs_itself(ask: Ask) -> None:
    broken = order("20939", contained=[{"resourceType": "Condition", "id": "c", "subject": 5}])
    answer = ask(sign(order("22551"), broken)).response
    assert REF in updated(answer)
    issues = answer["extension"]["cds-service.warnings"]["issue"]
    assert any("contained[0]" in e for i in issues for e in i["expression"])


def test_a_coverage_with_an_unread_contained_type_is_served(ask: Ask) -> None:
    cover = coverage(contained=[{"resourceType": "InsurancePlan", "id": "plan"}])
    assert REF in updated(ask(sign(order("20939"), cover=cover)).response)


def _versioned(info: Json) -> None:
    info["extension"][0]["valueReference"]["reference"] += "/_history/3"


def _with_ids(info: Json) -> None:
    for number, part in enumerate(info["extension"]):
        part["id"] = f"e{number}"


def _with_an_extension_of_others(info: Json) -> None:
    info["extension"].append({"url": "http://example.org/seen-by", "valueString": "desk"})


@pytest.mark.parametrize("change", [_versioned, _with_ids, _with_an_extension_of_others])
def test_what_a_client_adds_to_our_extension_is_nothing_new(ask: Ask, change: Callable[[Json], None]) -> None:
    carried = copy.deepcopy(updated(ask(sign(order("20939"))).response)[REF])
    change(infos(carried)[0])
    assert ask(sign(carried)).response["systemActions"] == []


def test_a_versioned_assertion_is_replaced_not_doubled(ask: Ask) -> None:
    carried = copy.deepcopy(updated(ask(sign(order("20939"))).response)[REF])
    _versioned(infos(carried)[0])
    infos(carried)[0]["extension"][1]["valueCode"] = "covered"
    assert len(infos(updated(ask(sign(carried)).response)[REF])) == 1


def test_the_order_returned_is_the_order_judged(ask: Ask) -> None:
    first, second = order("20939", priority="routine", unknown=1.5), order("20939", priority="urgent", unknown=2.5)
    assert updated(ask(sign(first, second)).response)[REF]["priority"] == "routine"


def test_open_statements_do_not_read_as_facts(ask: Ask) -> None:
    response = ask(sign(_device(), cover=coverage("cigna"))).response
    reason = texts(infos(updated(response)["DeviceRequest/stimulator"])[0])
    assert "Not known whether this holds: " in reason
    assert "Obesity is recorded." not in reason.split("Not known whether this holds: ")[0]


@pytest.mark.parametrize("key", ["serviceRequestBundle", "serviceRequest", "orders"])
def test_dispatched_orders_under_a_key_of_the_clients_own(ask: Ask, key: str) -> None:
    body = sign(order("20939"), hook="order-dispatch", prefetch={key: bundle(order("20939"))})
    del body["context"]["draftOrders"]
    body["context"] |= {"dispatchedOrders": [REF], "performer": "Practitioner/p"}
    assert [*updated(ask(body).response)] == [REF]


def test_evaluate_keeps_numbers_as_written(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(sign(order("20939", unknown=1.25))).replace("1.25", "1.00"), encoding="utf-8")
    told = CliRunner().invoke(cli, ["evaluate", str(file), "--service", "order-sign-crd", "--json"])
    assert told.exit_code == 0, told.output
    assert '"unknown": 1.00' in told.output
