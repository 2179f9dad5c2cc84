"""The hook request: from bytes to an envelope, or a refusal that names the field and no value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.errors import RequestError, TooLarge
from cds_service.facts.builder import MAX_ORDERS
from cds_service.hooks import contract
from cds_service.hooks.request import MAX_DEPTH, HookRequest, parse, validate
from cds_service.hooks.services import ADVISORS, Service

Json = dict[str, Any]
SERVICES = {s.id: s for s in ADVISORS}
SIGN, SELECT = SERVICES["order-sign-advisor"], SERVICES["order-select-advisor"]


def body(**parts: Any) -> Json:
    context = {"patientId": "p", "draftOrders": {"resourceType": "Bundle", "entry": []}}
    return {"hook": "order-sign", "hookInstance": "h", "context": context, **parts}


def refusal(value: Json, service: Service = SIGN) -> dict[str, str]:
    with pytest.raises(RequestError) as caught:
        validate(value, service)
    return {i.path: i.text for i in caught.value.issues}


# --- bytes ------------------------------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize("levels", [1, MAX_DEPTH - 1, MAX_DEPTH])
def test_nesting_up_to_the_limit_is_read(levels: int) -> None:
    assert parse(nested(levels)) == json.loads(nested(levels))


@pytest.mark.parametrize(
    "data",
    [
        nested(MAX_DEPTH + 1),
        b"[" * 100_000,
        nested(2 * MAX_DEPTH),
        nested(5000),
        b'{"a":' + b"[{}," * 80 + b"1" + b"]" * 80 + b"}",
        b'{"a":' + b'[{"b":' * 32 + b"1" + b"}]" * 32 + b"}",
        b'{"a":' + b'["]",' * 64 + b"1" + b',"["]' * 64 + b"}",
        b'{"a":' + b'["\\"]",' * 64 + b"1" + b',"[\\\\"]' * 64 + b"}",
        b'{"a":"]]]]","b":' + b"[" * 70 + b"]" * 70 + b"}",
    ],
)
def test_deeper_nesting_is_too_large(data: bytes) -> None:
    with pytest.raises(TooLarge):
        parse(data)


def test_nesting_at_the_limit_with_brackets_in_text() -> None:
    limit = MAX_DEPTH - 1
    data = b'{"a":' + b'["]\\"",' * limit + b"1" + b',"["]' * limit + b"}"
    assert parse(data) == json.loads(data)
    with pytest.raises(TooLarge):
        parse(data.replace(b"1", b"[1]"))


@pytest.mark.parametrize("text", ["[" * 200, "]" * 200, '{"' * 200, '\\"[' * 200, "\\" * 201, "[}" * 99])
def test_brackets_in_text_do_not_count(text: str) -> None:
    assert parse(json.dumps({"a": text, "b": [text]}).encode())["a"] == text


def test_many_flat_brackets_are_no_depth() -> None:
    value = {"a": [[1], [2], {"b": []}] * 5000}
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize("data", [b"", b"{", b"nul", b'{"a":NaN}', b"\xff", b"{} {}", b'{"secret-name": tru}'])
def test_what_is_not_json_is_said_to_be_so_with_its_place_and_nothing_of_it(data: bytes) -> None:
    with pytest.raises(RequestError, match=r"is not JSON \(line \d+, column \d+\)") as caught:
        parse(data)
    assert "secret-name" not in str(caught.value)


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b'"x"', b"true"])
def test_json_that_is_no_object(data: bytes) -> None:
    with pytest.raises(RequestError, match="must be an object"):
        parse(data)


# --- envelope ---------------------------------------------------------------------------------------------


def test_a_sound_request() -> None:
    read = validate(body(fhirServer="https://e.example/fhir", fhirAuthorization={"access_token": "t"}), SIGN)
    assert isinstance(read, HookRequest)
    assert (read.patient_id, read.selections, read.prefetch) == ("p", None, {})
    assert read.fhir is not None
    assert (read.fhir.base, read.fhir.token) == ("https://e.example/fhir", "t")


def test_the_token_is_not_shown() -> None:
    read = validate(body(fhirServer="https://e.example/fhir", fhirAuthorization={"access_token": "s3cret"}), SIGN)
    assert "s3cret" not in repr(read.fhir)


@pytest.mark.parametrize("absent", [{}, {"prefetch": None, "extension": None, "fhirAuthorization": None}])
def test_what_is_null_is_as_if_left_out(absent: Json) -> None:
    read = validate(body(**absent), SIGN)
    assert (read.prefetch, read.extension, read.fhir) == ({}, {}, None)


def test_the_patients_id_may_come_as_a_reference() -> None:
    changed = body()
    changed["context"]["patientId"] = "Patient/p"
    assert validate(changed, SIGN).patient_id == "p"


def test_every_faulty_field_is_named() -> None:
    assert refusal({"hook": 7}) == {
        "hook": "must be a string",
        "hookInstance": "is missing",
        "context": "is missing",
    }


def test_the_hook_must_be_the_services() -> None:
    assert refusal(body(), SELECT) == {"hook": "must be 'order-select' for the service 'order-select-advisor'"}


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({}, "context.patientId"),
        ({"patientId": "p"}, "context.draftOrders"),
        ({"patientId": "", "draftOrders": {"resourceType": "Bundle"}}, "context.patientId"),
        ({"patientId": "p", "draftOrders": []}, "context.draftOrders"),
        ({"patientId": "p", "draftOrders": {"resourceType": "List"}}, "context.draftOrders.resourceType"),
        ({"patientId": "p", "draftOrders": {"resourceType": "Bundle", "entry": "none"}}, "context.draftOrders.entry"),
        ({"patientId": "p", "draftOrders": {}}, "context.draftOrders"),
    ],
)
def test_the_context_is_checked_for_the_hook(context: Json, field: str) -> None:
    assert field in refusal(body(context=context))


def test_the_number_of_orders_is_bounded() -> None:
    entries = [{"resource": {}}] * MAX_ORDERS
    allowed, beyond = ({"resourceType": "Bundle", "entry": [*entries, *more]} for more in ([], [{}]))
    assert validate(body(context={"patientId": "p", "draftOrders": allowed}), SIGN)
    with pytest.raises(TooLarge) as caught:
        validate(body(context={"patientId": "p", "draftOrders": beyond}), SIGN)
    assert caught.value.issues[0].path == "context.draftOrders.entry"


def test_faults_never_repeat_a_value() -> None:
    secret = "Wolkenbruch"
    spoilt: list[Json] = [
        {"hook": [secret], "hookInstance": {"x": secret}, "context": secret},
        body(context={"patientId": [secret], "draftOrders": secret}),
        body(context={"patientId": "p", "draftOrders": {"resourceType": secret, "entry": secret}}),
        body(prefetch=secret, fhirServer=[secret], fhirAuthorization=secret, extension=secret),
        body(hook=secret),
    ]
    for value in spoilt:
        found = refusal(value)
        assert found
        assert secret not in json.dumps(found)


# --- words ------------------------------------------------------------------------------------------------


CARD = {"summary": "x", "indicator": "info", "source": {"label": "x"}}


@pytest.mark.parametrize(
    ("schema", "value", "path", "text"),
    [
        ("Card", {"summary": "", "indicator": "info", "source": {"label": "x"}}, "at.summary", "must not be empty"),
        (
            "Card",
            {"summary": "x" * 140, "indicator": "info", "source": {"label": "x"}},
            "at.summary",
            "longer than 139",
        ),
        (
            "Card",
            {"summary": "x", "indicator": "red", "source": {"label": "x"}},
            "at.indicator",
            "must be one of info,",
        ),
        ("Card", {"summary": "x", "indicator": "info", "source": {}}, "at.source.label", "is missing"),
        ("Bundle", {"resourceType": "x"}, "at.resourceType", "must be 'Bundle'"),
        ("HookRequest", {"hook": "h", "hookInstance": "i", "context": {}, "prefetch": 1}, "at.prefetch", "or null"),
    ],
)
def test_faults_are_worded_for_people(schema: str, value: Json, path: str, text: str) -> None:
    [issue] = contract.faults(schema, value, "at")
    assert issue.path == path
    assert text in issue.text


def test_what_is_sound_has_no_faults() -> None:
    assert contract.faults("Bundle", {"resourceType": "Bundle"}) == ()


def test_what_only_the_quick_check_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read the same contract, but patterns differ in rare cases, such as a line break at the end."""

    class Explains:
        def iter_errors(self, _value: Any) -> list[Any]:
            return []

    monkeypatch.setattr(contract, "_judge", lambda _name: Explains())
    (found,) = contract.faults("HookRequest", {"hook": 1})
    assert (found.path, found.text) == ("$", "does not fit the contract")
