"""Bad input: 4xx with an OperationOutcome that names the field, within a second, and the next call works."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.charts import CPT, PATIENT, SIX, bundle, case_of, coverage, identified, order, request
from support.contract import broken_rules, validator
from support.service import Service

Json = dict[str, Any]
MEBIBYTE = 1024 * 1024
ADVISOR = "/cds-services/order-sign-advisor"


@pytest.fixture(autouse=True)
def next_call_works(service: Service) -> Iterator[None]:
    yield
    assert [c["indicator"] for c in service.cards(case_of(*SIX)) if "(20939)" in c["summary"]] == ["warning"]


def refused(service: Service, status: int, field: str, **call: Any) -> Json:
    """Send what is bad; the answer is an OperationOutcome that names the field, in good time."""
    started = time.monotonic()
    path = call.pop("path", ADVISOR)
    response = service.request("POST", path, **call)
    assert time.monotonic() - started < 1.0
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/fhir+json"
    outcome: Json = response.json()
    named = {e for i in outcome["issue"] for e in i.get("expression", ())}
    texts = " ".join(i["diagnostics"] for i in outcome["issue"])
    assert field in named or (field in ("$", "Content-Type") and field in texts), (named, texts)
    return outcome


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"not json", b"\xff\xfe{}", b'{"hook": NaN}', b"{'hook': 1}", b"[]", b"null", b"7", b'"order-sign"',
        b'{"hook":"order-sign"}}', b'{"a":1e999999}', b'{"a":"\\ud800"}',
    ],
)  # fmt: skip
def test_not_a_json_object(service: Service, body: bytes) -> None:
    refused(service, 400, "$", data=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "json"])
def test_a_content_type_that_is_not_json(service: Service, media: str) -> None:
    refused(service, 415, "Content-Type", data=json.dumps(case_of(*SIX)), headers={"Content-Type": media})


def _without(name: str) -> Callable[[Json], None]:
    return lambda body: body.pop(name)


def _set(path: str, value: Any) -> Callable[[Json], None]:
    def change(body: Json) -> None:
        *parents, last = path.split(".")
        for name in parents:
            body = body[name]
        body[last] = value

    return change


def _served(authorization: Any) -> Callable[[Json], None]:
    """A server to send the token to: without one nothing depends on it."""
    return lambda body: body.update(fhirServer="https://ehr.example.org/fhir", fhirAuthorization=authorization)


FIELDS: list[tuple[str, Callable[[Json], None]]] = [
    ("hook", _without("hook")),
    ("hook", _set("hook", None)),
    ("hook", _set("hook", 7)),
    ("hook", _set("hook", "")),
    ("hook", _set("hook", "order-select")),
    ("hook", _set("hook", "order-sign\n")),
    ("hookInstance", _without("hookInstance")),
    ("hookInstance", _set("hookInstance", "")),
    ("hookInstance", _set("hookInstance", {})),
    ("context", _without("context")),
    ("context", _set("context", None)),
    ("context", _set("context", [])),
    ("context.patientId", _set("context", {"draftOrders": {"resourceType": "Bundle"}})),
    ("context.patientId", _set("context.patientId", "")),
    ("context.patientId", _set("context.patientId", 12)),
    ("context.draftOrders", _set("context", {"patientId": "x"})),
    ("context.draftOrders", _set("context.draftOrders", None)),
    ("context.draftOrders", _set("context.draftOrders", [])),
    ("context.draftOrders", _set("context.draftOrders", "Bundle")),
    ("context.draftOrders", _set("context.draftOrders", {})),
    ("context.draftOrders.resourceType", _set("context.draftOrders", order("20939"))),
    ("context.draftOrders.entry", _set("context.draftOrders.entry", "none")),
    ("context.draftOrders.entry[0].resource", _set("context.draftOrders.entry", [7])),
    ("prefetch", _set("prefetch", [])),
    ("prefetch", _set("prefetch", "none")),
    ("fhirServer", _set("fhirServer", 5)),
    ("fhirAuthorization", _served("Bearer x")),
    ("fhirAuthorization.access_token", _served({"token_type": "Bearer"})),
]


@pytest.mark.parametrize(("field", "change"), FIELDS, ids=[f"{n}-{f}" for n, (f, _) in enumerate(FIELDS)])
def test_a_field_that_is_missing_or_wrong(service: Service, field: str, change: Callable[[Json], None]) -> None:
    body = case_of(*SIX)
    change(body)
    outcome = refused(service, 400, field, json=body)
    assert {i["severity"] for i in outcome["issue"]} == {"error"}


def test_every_missing_field_is_named_at_once(service: Service) -> None:
    outcome = refused(service, 400, "hook", json={})
    assert {e for i in outcome["issue"] for e in i["expression"]} == {"hook", "hookInstance", "context"}


def test_selections_are_needed_on_order_select(service: Service) -> None:
    body = request(order("20939"), hook="order-select")
    del body["context"]["selections"]
    refused(service, 400, "context.selections", json=body, path="/cds-services/order-select-advisor")
    body["context"]["selections"] = [7]
    refused(service, 400, "context.selections[0]", json=body, path="/cds-services/order-select-advisor")
    body["context"]["selections"] = {"reference": "ServiceRequest/sr-20939"}
    refused(service, 400, "context.selections", json=body, path="/cds-services/order-select-advisor")


def test_no_such_service_and_no_such_method(service: Service) -> None:
    unknown = service.call(case_of(*SIX), "order-sing-advisor")
    assert unknown.status_code == 404
    assert unknown.json()["resourceType"] == "OperationOutcome"
    assert service.get(ADVISOR).status_code == 405
    assert service.get("/nowhere").status_code == 404
    assert service.get("/explanations/00000000-0000-4000-8000-000000000000").status_code == 404


@pytest.mark.parametrize("own", [None, "", 7, ["a"]])
def test_an_order_without_id_costs_that_order_only(service: Service, own: object) -> None:
    nameless = order("22846") | {"id": own}
    if own is None:
        del nameless["id"]
    cards = service.cards(request(nameless, *(order(c) for c in SIX)))
    # What rests on knowing every order becomes unknown; what does not stays.
    assert [c["indicator"] for c in cards if "(20939)" in c["summary"]] == ["warning"]
    [said] = [c for c in cards if "could not be read" in c["summary"]]
    assert said["indicator"] == "info"
    assert "entry" in said["detail"]


def test_orders_none_of_which_has_an_id_are_refused(service: Service) -> None:
    nameless = order("20939")
    del nameless["id"]
    refused(service, 400, "context.draftOrders.entry[0].resource.id", json=request(nameless))


def test_one_id_for_two_orders_costs_the_second(service: Service) -> None:
    cards = service.cards(request(order("22551", "same"), order("20939", "same"), order("20939", "other")))
    assert sum("could not be read" in c["summary"] for c in cards) == 1


# --- too much ----------------------------------------------------------------------------------------


def test_more_than_a_thousand_orders(service: Service) -> None:
    many = [order("93000", f"o{n}") for n in range(1001)]
    refused(service, 413, "context.draftOrders.entry", json=request(*many))
    assert service.answer(request(*many[:1000])) == {"cards": []}


def _nested(levels: int, opening: str, closing: str) -> bytes:
    """A request with `levels` further levels below two of its own."""
    text = json.dumps(case_of(*SIX) | {"extension": {"x": "HERE"}})
    return text.replace('"HERE"', opening * levels + "1" + closing * levels).encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_past_64_levels(service: Service, opening: str, closing: str) -> None:
    headers = {"Content-Type": "application/json"}
    for levels in (63, 1000, 200_000):
        refused(service, 413, "$", data=_nested(levels, opening, closing), headers=headers)
    allowed = service.request("POST", ADVISOR, data=_nested(62, opening, closing), headers=headers)
    assert allowed.status_code == 200, allowed.text


def test_brackets_inside_text_are_not_nesting(service: Service) -> None:
    noted = order("20939", note=[{"text": "[" * 500 + '{"' * 500}])
    assert any("(20939)" in c["summary"] for c in service.cards(request(order("22551"), noted)))


def test_a_note_of_a_megabyte_holds_up_no_one(service: Service) -> None:
    noted = order("20930", note=[{"text": "no BMP " * 140_000}])
    started = time.monotonic()
    service.cards(request(order("22551"), order("20939"), noted))
    assert time.monotonic() - started < 2.0


def test_a_day_in_the_first_year_is_a_day(service: Service) -> None:
    orders = (order(code, authoredOn="0001-03-01") for code in ("22612", "E0748"))
    fusion = {
        "resourceType": "Procedure",
        "id": "past",
        "status": "completed",
        "subject": {"reference": f"Patient/{PATIENT}"},
        "code": {"coding": [{"system": CPT, "code": "22612"}]},
        "performedDateTime": "2020-01-01",
    }
    chart = {"coverage": bundle(coverage(identified("cigna"))), "procedures": bundle(fusion)}
    assert service.cards(request(*orders, prefetch=chart))


def _send(service: Service, head: bytes, chunks: Iterator[bytes]) -> tuple[int, bytes]:
    """A client that sends all it has before it reads, as simple ones do. Returns status and body."""
    where = urlsplit(service.base)
    assert where.hostname is not None
    with socket.create_connection((where.hostname, where.port), timeout=20) as sock:
        sock.sendall(head)
        for chunk in chunks:
            sock.sendall(chunk)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ", 2)[1]), body


def _head(service: Service, *lines: str) -> bytes:
    own = (f"POST {ADVISOR} HTTP/1.1", f"Host: {urlsplit(service.base).netloc}", "Content-Type: application/json")
    return "\r\n".join([*own, "Connection: close", *lines, "", ""]).encode()


def _is_too_large(status: int, body: bytes) -> None:
    assert status == 413
    start, end = body.index(b"{"), body.rindex(b"}") + 1
    outcome = json.loads(body[start:end])
    assert list(validator("OperationOutcome").iter_errors(outcome)) == []
    assert outcome["issue"][0]["code"] == "too-long"


@pytest.mark.parametrize("size", [10 * MEBIBYTE + 1, 24 * MEBIBYTE])
def test_a_body_over_ten_mebibytes_is_drained_then_refused(service: Service, size: int) -> None:
    piece = b" " * MEBIBYTE
    chunks = (piece[: min(MEBIBYTE, size - sent)] for sent in range(0, size, MEBIBYTE))
    _is_too_large(*_send(service, _head(service, f"Content-Length: {size}"), chunks))


def test_a_chunked_body_over_ten_mebibytes_is_drained_then_refused(service: Service) -> None:
    piece = b"%x\r\n" % MEBIBYTE + b" " * MEBIBYTE + b"\r\n"
    chunks = iter([*[piece] * 12, b"0\r\n\r\n"])
    _is_too_large(*_send(service, _head(service, "Transfer-Encoding: chunked"), chunks))


def test_a_large_body_within_the_limit_is_answered_also_in_chunks(service: Service) -> None:
    body = json.dumps(case_of(*SIX)).encode()
    data = body[:-1] + b" " * (9 * MEBIBYTE) + body[-1:]
    pieces = [data[i : i + MEBIBYTE] for i in range(0, len(data), MEBIBYTE)]
    framed = iter([*(b"%x\r\n" % len(p) + p + b"\r\n" for p in pieces), b"0\r\n\r\n"])
    status, answer = _send(service, _head(service, "Transfer-Encoding: chunked"), framed)
    assert status == 200
    response = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    assert list(broken_rules(response)) == []
    assert any("(20939)" in c["summary"] for c in response["cards"])
