"""`openapi.yaml` and the service say the same: every route described, every description served, and sound in itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from support.charts import SIX, case_of
from support.contract import broken_rules, document, validator
from support.service import Service

from cds_service.config import from_environment
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.web.app import create_app

Json = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
# For people, or of demo mode only: not part of the contract with programs.
OUTSIDE = re.compile(r"/(fhir|static|policies|insights|workbench|assets)(/.*)?|/")


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.build(from_environment({}, demo=True))


@pytest.fixture(scope="module")
def app(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder: Path = tmp_path_factory.mktemp("contract")
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.sqlite3'}", key=b"k" * 32)
    yield create_app(runtime, ledger)
    ledger.close()


def served(app: Flask) -> set[tuple[str, str]]:
    found = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        if not OUTSIDE.fullmatch(path):
            found |= {(m.lower(), path) for m in rule.methods or () if m not in ("HEAD", "OPTIONS")}
    return found


def described() -> set[tuple[str, str]]:
    return {(m, path) for path, item in document()["paths"].items() for m in item if m in METHODS}


def test_every_route_is_described(app: Flask) -> None:
    assert served(app) - described() == set()


def test_every_description_is_served(app: Flask) -> None:
    assert described() - served(app) == set()


def test_the_contract_is_served_as_it_is(service: Service) -> None:
    import yaml

    assert yaml.safe_load(service.get("/openapi.yaml").text) == document()


def _walk(node: Any) -> Iterator[Json]:
    if isinstance(node, dict):
        yield node
        for part in node.values():
            yield from _walk(part)
    elif isinstance(node, list):
        for part in node:
            yield from _walk(part)


def test_every_reference_in_it_leads_somewhere_and_every_schema_is_used() -> None:
    used = {str(n["$ref"]) for n in _walk(document()) if isinstance(n.get("$ref"), str)}
    for ref in used:
        node: Any = document()
        for step in ref.removeprefix("#/").split("/"):
            node = node[step]
    # Contexts are looked up by hook, not by a reference.
    named = {f"#/components/schemas/{n}" for n in document()["components"]["schemas"] if not n.endswith("Context")}
    assert named - used == set()


def test_schemas_are_valid_json_schema() -> None:
    for name, schema in document()["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("type") == "object" or "type" in schema or "$ref" in schema or "enum" in schema, name


def test_operations_have_an_id_a_summary_and_problems_as_operation_outcomes() -> None:
    seen = set()
    for path, item in document()["paths"].items():
        for method in (m for m in item if m in METHODS):
            described = item[method]
            assert described["summary"], path
            assert described["operationId"] not in seen
            seen.add(described["operationId"])
            for status, answer in described["responses"].items():
                if status[0] == "4" and answer != {"$ref": "#/components/responses/Problem"}:
                    # A page for people says the same in HTML to who asks for HTML.
                    problem = {"schema": {"$ref": "#/components/schemas/OperationOutcome"}}
                    assert answer["content"]["application/fhir+json"] == problem, f"{method} {path} {status}"


def test_every_hook_on_offer_has_a_context_schema(runtime: Runtime) -> None:
    schemas = document()["components"]["schemas"]
    assert runtime.services
    for offered in runtime.services.values():
        assert offered.context_schema in schemas


def test_discovery_is_sound(service: Service) -> None:
    services = service.get("/cds-services").json()["services"]
    ids = [s["id"] for s in services]
    assert {"order-sign-advisor", "order-select-advisor"} <= set(ids)
    assert len(set(ids)) == len(ids)
    for offered in services:
        assert offered["title"]
        assert offered["usageRequirements"]
        for key, template in offered["prefetch"].items():
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", key)
            assert re.fullmatch(r"[A-Z][A-Za-z]+(/\{\{context\.\w+\}\}|\?.+)", template)


# --- the checks themselves ------------------------------------------------------------------------------


@pytest.fixture
def sound(service: Service) -> Json:
    return service.answer(case_of(*SIX))


def _broken(response: Json, change: Any) -> list[str]:
    change(response["cards"][0])
    return list(broken_rules(response))


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("cds-resp-1", lambda c: [s.update(isRecommended=True) for s in c["suggestions"]]),
        ("cds-resp-2", lambda c: c["suggestions"][0]["actions"][0].pop("resourceId")),
        ("cds-resp-2", lambda c: c["suggestions"][0]["actions"][0].update(resource={})),
        ("cds-resp-3", lambda c: c["links"][0].update(appContext="x")),
        ("cds-resp-4", lambda c: c["overrideReasons"][0].pop("display")),
        ("cds-resp-5", lambda c: c["suggestions"][0]["actions"][0].pop("description")),
        ("cds-resp-6", lambda c: c.pop("selectionBehavior")),
        ("cds-resp-7", lambda c: c["suggestions"][0].update(actionSelectionBehavior="some")),
        ("no uuid", lambda c: c["suggestions"][0].pop("uuid")),
        ("equal", lambda c: c["suggestions"][0].update(uuid=c["uuid"])),
        ("140", lambda c: c.update(summary="x" * 140)),
    ],
)
def test_a_response_that_breaks_a_rule_is_noticed(sound: Json, rule: str, change: Any) -> None:
    assert list(broken_rules(sound)) == []
    assert any(rule in fault for fault in _broken(sound, change))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("summary"),
        lambda c: c.pop("source"),
        lambda c: c.update(indicator="error"),
        lambda c: c.update(summary="x" * 140),
        lambda c: c.update(uuid="not-a-uuid"),
        lambda c: c["suggestions"][0]["actions"][0].update(type="replace"),
        lambda c: c["suggestions"][0]["actions"][0].pop("resourceId"),
        lambda c: c["links"][0].pop("url"),
        lambda c: c.pop("selectionBehavior"),
    ],
)
def test_a_response_that_breaks_its_schema_is_noticed(sound: Json, change: Any) -> None:
    assert list(validator("HookResponse").iter_errors(sound)) == []
    change(sound["cards"][0])
    assert list(validator("HookResponse").iter_errors(sound)) != []
