"""Holds every HTTP answer against `openapi.yaml`, and hook responses against the rules of CDS Hooks as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from support.paths import ROOT

Json = dict[str, Any]


@cache
def document() -> Json:
    loaded: Json = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    registry = Registry().with_resource("", DRAFT202012.create_resource(schema))
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())


@cache
def _paths() -> list[tuple[re.Pattern[str], Json]]:
    # Fixed paths before those with parameters, as a router does.
    templates = sorted(document()["paths"], key=lambda t: t.count("{"))
    return [(re.compile(re.sub(r"\\{[^}]+\}", "[^/]+", re.escape(t))), document()["paths"][t]) for t in templates]


def operation(method: str, path: str) -> Json | None:
    """The described operation of a method and path; None where the path is not described."""
    for pattern, item in _paths():
        if pattern.fullmatch(path):
            found: Json | None = item.get(method.lower())
            return found or {"responses": item.get("get", item.get("post", {})).get("responses", {})}
    return None


def check(response: requests.Response) -> requests.Response:
    """The response itself, if the contract describes it: status, media type, body, and CDS Hooks' own rules."""
    assert response.request.method is not None
    path = urlsplit(response.request.url or "").path
    described = operation(response.request.method, str(path))
    if described is None:
        assert response.status_code >= 400 or str(path).startswith("/fhir/"), f"{path} is not in openapi.yaml"
        if str(path).startswith("/fhir/"):
            return response
        described = {"responses": {str(response.status_code): {"$ref": "#/components/responses/Problem"}}}
    status = described["responses"].get(str(response.status_code))
    assert status is not None, f"{response.request.method} {path} answers {response.status_code}, not in openapi.yaml"
    if "$ref" in status:
        status = document()["components"]["responses"][status["$ref"].rsplit("/", 1)[1]]
    _check_body(response, status.get("content", {}))
    return response


def _check_body(response: requests.Response, content: Json) -> None:
    media = response.headers.get("Content-Type", "").split(";")[0].strip()
    assert media in content, f"{response.request.url} answers {media}, described are {sorted(content)}"
    schema = content[media].get("schema", {})
    if "$ref" not in schema:
        return
    name = schema["$ref"].rsplit("/", 1)[1]
    value = response.json()
    faults = [f"{list(e.absolute_path)}: {e.message}" for e in validator(name).iter_errors(value)]
    assert faults == []
    if name == "HookResponse":
        assert list(broken_rules(value)) == []
    if name == "OperationOutcome":
        assert_no_internals(response.text)


def assert_no_internals(text: str) -> None:
    """An error body holds no stack trace and no file name of ours."""
    assert "Traceback" not in text
    assert ".py" not in text


def broken_rules(response: Json) -> Iterator[str]:
    """Invariants cds-resp-1 to 7 of the CDS Hooks specification, and what its text asks for beside them."""
    cards = response["cards"]
    for card in cards:
        yield from _card_faults(card)
    for action in response.get("systemActions", ()):
        yield from _action_faults(action)
    given = [c["uuid"] for c in cards if "uuid" in c]
    given += [s["uuid"] for c in cards for s in c.get("suggestions", ()) if "uuid" in s]
    if len(set(given)) != len(given):
        yield "two uuids are equal"


def _card_faults(card: Json) -> Iterator[str]:
    suggestions = card.get("suggestions", [])
    if "uuid" not in card:
        yield "a card has no uuid, so that no feedback can name it"
    if not len(card["summary"]) < 140:
        yield "summary is not under 140 characters"
    if card.get("selectionBehavior") == "at-most-one" and sum(bool(s.get("isRecommended")) for s in suggestions) > 1:
        yield "cds-resp-1: several recommended suggestions where at most one may be chosen"
    if "suggestions" in card and "selectionBehavior" not in card:
        yield "cds-resp-6: suggestions without selectionBehavior"
    if "suggestions" in card and not suggestions:
        yield "suggestions are an empty list"
    for suggestion in suggestions:
        if "uuid" not in suggestion:
            yield "a suggestion has no uuid, so that no feedback can name it"
        if suggestion.get("actionSelectionBehavior", "all") not in ("all", "any", "at-most-one"):
            yield "cds-resp-7: actionSelectionBehavior"
        for action in suggestion.get("actions", ()):
            yield from _action_faults(action)
    for link in card.get("links", ()):
        if link["type"] != "smart" and "appContext" in link:
            yield "cds-resp-3: appContext on a link that is not SMART"
    if any(not reason.get("display") for reason in card.get("overrideReasons", ())):
        yield "cds-resp-4: an override reason without display"


def _action_faults(action: Json) -> Iterator[str]:
    if not action.get("description"):
        yield "cds-resp-5: an action without description"
    if action["type"] == "delete" and ("resourceId" not in action or "resource" in action):
        yield "cds-resp-2: delete names a resourceId and holds no resource"
