"""The envelope of a hook request: what nothing depends on is forgiven, what is depended on is named."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from support.charts import PATIENT, PAYER_ID, SIX, bundle, case_of, coverage, identified, order, patient
from support.service import Service

Json = dict[str, Any]
ODD: list[Any] = ["odd text", "", " ", 7, -1.5, True, None, [], ["x"], {}, {"x": 1}, [None]]
ACCESS = {
    "access_token": "synthetic",
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "patient/*.read",
    "subject": "client",
    "patient": PATIENT,
}
# Nothing else may be refused. A trailing dot: members below it as well.
DEPENDED = {
    "hook", "hookInstance", "fhirServer", "fhirAuthorization", "fhirAuthorization.access_token", "prefetch",
    "context", "context.patientId", "context.draftOrders", "context.draftOrders.resourceType",
    "context.draftOrders.entry",
}  # fmt: skip
FORGIVEN = {
    "fhirAuthorization.token_type", "fhirAuthorization.expires_in", "fhirAuthorization.scope",
    "fhirAuthorization.subject", "fhirAuthorization.patient", "fhirAuthorization.other", "extension", "other",
    "context.userId", "context.encounterId", "context.other", "context.performer", "context.selections",
    "context.draftOrders.id", "context.draftOrders.type", "context.draftOrders.total", "context.draftOrders.link",
    "context.draftOrders.meta", "context.draftOrders.timestamp", "context.draftOrders.other", "prefetch.other",
}  # fmt: skip


def sent() -> Json:
    body = case_of(*SIX)
    body["context"].update(userId="Practitioner/surgeon-3", encounterId="e-1")
    body["prefetch"].setdefault("patient", patient())
    body["prefetch"].setdefault("coverage", bundle(coverage(identified("aetna"))))
    return {**body, "fhirServer": "https://ehr.example.org/fhir", "fhirAuthorization": dict(ACCESS)}


def changed(path: str, value: Any) -> Json:
    body = copy.deepcopy(sent())
    node = body
    *parents, last = path.split(".")
    for name in parents:
        node = node[name]
    node[last] = value
    return body


def plain(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "uuid", text)


@pytest.mark.parametrize("kind", ["advisor", "crd"])
@pytest.mark.parametrize("path", sorted(DEPENDED | FORGIVEN))
def test_an_odd_member_is_forgiven_or_named(service: Service, kind: str, path: str) -> None:
    whole = service.call(sent(), f"order-sign-{kind}")
    assert whole.status_code == 200
    for odd in ODD:
        answer = service.call(changed(path, odd), f"order-sign-{kind}")
        if path in FORGIVEN:
            assert (answer.status_code, plain(answer.text)) == (200, plain(whole.text)), odd
        elif answer.status_code == 400:
            named = [e for i in answer.json()["issue"] for e in i["expression"]]
            assert all(e == path or e.startswith((f"{path}.", f"{path}[")) for e in named), (odd, named)
        else:
            assert answer.status_code in (200, 412), (odd, answer.text)


@pytest.mark.parametrize("kind", ["advisor", "crd"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fhirAuthorization.expires_in", "300"),
        ("fhirAuthorization.scope", ["patient/Observation.read"]),
        ("fhirServer", ""),
        ("fhirServer", None),
        ("fhirAuthorization", None),
        ("prefetch.other", None),
        ("context.userId", "https://ehr.example.org/fhir/PractitionerRole/r-1"),
        ("context.userId", None),
        ("context.encounterId", None),
        ("hookInstance", "A6C1E1D2-0000-4000-8000-00000000ABCD"),
        ("hookInstance", "call 7 of ward 3"),
        ("context.patientId", f"Patient/{PATIENT} "),
        ("extension", {"com.example.request.trigger": 23}),
    ],
)
def test_what_clients_write_otherwise_changes_no_answer(service: Service, kind: str, path: str, value: Any) -> None:
    whole = service.call(sent(), f"order-sign-{kind}")
    answer = service.call(changed(path, value), f"order-sign-{kind}")
    assert (answer.status_code, plain(answer.text)) == (200, plain(whole.text))


def test_without_a_server_nothing_depends_on_the_token(service: Service) -> None:
    for odd in ODD:
        body = {**sent(), "fhirAuthorization": odd}
        del body["fhirServer"]
        assert service.call(body, "order-sign-advisor").status_code == 200


@pytest.mark.parametrize("kind", ["advisor", "crd"])
def test_draft_orders_without_entries_hold_no_order(service: Service, kind: str) -> None:
    for bundle_ in ({"resourceType": "Bundle", "entry": None}, {"resourceType": "Bundle"}, {"entry": []}):
        body = changed("context.draftOrders", bundle_)
        assert service.call(body, f"order-sign-{kind}").json()["cards"] == []


@pytest.mark.parametrize("kind", ["advisor", "crd"])
def test_draft_orders_are_read_as_what_they_are(service: Service, kind: str) -> None:
    whole = plain(service.call(changed("context.draftOrders", bundle(order("20939"))), f"order-sign-{kind}").text)
    for entry in ({"resource": order("20939")}, order("20939"), [order("20939")]):
        body = changed("context.draftOrders", {"entry": entry})
        answer = service.call(body, f"order-sign-{kind}")
        assert (answer.status_code, plain(answer.text)) == (200, whole)


def test_an_order_comes_back_with_its_numbers_whatever_the_entry_looks_like(service: Service) -> None:
    text = '{"quantityQuantity":{"value":1.00}'
    made = order("20939", quantityQuantity={"value": 4711.25})
    body = changed("context.draftOrders", {"entry": made})
    import json

    raw = json.dumps(body).replace("4711.25", "1.00").encode()
    answer = service.request(
        "POST", "/cds-services/order-sign-crd", data=raw, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200
    assert text[1:-1] in answer.text


def test_a_payer_known_by_a_padded_identifier_is_that_payer(service: Service) -> None:
    padded = {"identifier": {"system": f"{PAYER_ID} ", "value": " aetna"}}
    body = changed("prefetch.coverage", bundle(coverage(padded)))
    assert plain(service.call(body, "order-sign-advisor").text) == plain(
        service.call(sent(), "order-sign-advisor").text
    )
