"""No value of a request comes back in an error, nor does text of the chart on a page without login."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from cds_service.config import Settings
from cds_service.facts.validity import READABLE
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.policy.safe_names import TYPES, safe_name
from cds_service.web.app import create_app
from tests.functional.deployment import CONTENT, hook_request, order

MARK = "Jane Doe MRN 4711"
Path = tuple[str | int, ...]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("values")
    with Ledger.open(f"sqlite:///{folder / 'ledger.sqlite3'}", key=b"k" * 32) as ledger:
        yield create_app(Runtime.build(Settings(demo=True, cards=str(CONTENT))), ledger).test_client()


def base() -> dict[str, Any]:
    drafts = [order(c) | {"requester": {"reference": "Practitioner/d1"}} for c in ("22551", "20930", "20939")]
    return hook_request(*drafts)


def strings(value: Any, at: Path = ()) -> Iterator[Path]:
    """Where the strings of a document are, and (with an empty last step) its names."""
    for step, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from strings(part, (*at, step))
        if isinstance(part, str):
            yield (*at, step)


def marked(body: dict[str, Any], at: Path, mark: str, *, name: bool) -> dict[str, Any]:
    """The body with a mark for the string at a place, or for its name."""
    body = copy.deepcopy(body)
    around: Any = body
    for step in at[:-1]:
        around = around[step]
    if not name:
        around[at[-1]] = mark
    elif isinstance(around, dict):
        around[mark] = around.pop(at[-1])
    return body


PLACES = sorted(set(strings(base())), key=str)


@pytest.mark.parametrize("service", ["order-sign-advisor", "order-sign-crd"])
@pytest.mark.parametrize("name", [False, True])
def test_every_string_marked_one_by_one_comes_back_nowhere(client: FlaskClient, service: str, name: bool) -> None:
    seen = set()
    for at in PLACES:
        for mark in (MARK, f"{MARK}/x", "jane doe"):
            answer = client.post(f"/cds-services/{service}", json=marked(base(), at, mark, name=name))
            seen.add(answer.status_code)
            if answer.status_code != 200:
                assert not told(answer.text), (at, answer.text)
            for page in pages(answer.json or {}):
                for accept in ("application/json", "text/html"):
                    shown = client.get(page, headers={"Accept": accept})
                    assert shown.status_code == 200
                    assert not told(shown.text), (at, accept, shown.text)
    assert seen >= {200, 400}


def told(text: str) -> bool:
    return any(part in text for part in ("Jane", "jane", "Doe", "4711"))


def pages(answer: dict[str, Any]) -> list[str]:
    links = [link["url"] for card in answer.get("cards", ()) for link in card.get("links", ())]
    return [urlsplit(url).path for url in links if "/explanations/" in url]


def test_the_two_of_the_finding(client: FlaskClient) -> None:
    body = base()
    body["context"]["draftOrders"]["entry"][0]["resource"]["id"] = MARK
    answer = client.post("/cds-services/order-sign-crd", json=body)
    assert answer.status_code == 400
    assert answer.json["issue"][0]["expression"] == ["ServiceRequest.id"]
    assert "ServiceRequest (id withheld): ServiceRequest.id is not a valid FHIR id." in json.dumps(answer.json)


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("Condition/a-1.b", "Condition/a-1.b"),
        ("Condition/a b", "Condition (id withheld)"),
        ("Condition/a\n", "Condition (id withheld)"),
        ("Condition[3]", "Condition[3]"),
        ("Jane[3]", "a resource[3]"),
        ("Jane/Doe", "a resource"),
        ("Jane", "a resource"),
        ("Condition[3] Jane", "Condition (id withheld)"),
        ("context.draftOrders.entry[0].resource.id", "context.draftOrders.entry[0].resource.id"),
        ("context.draftOrders.entry[0].Jane Doe", "a resource"),
        ("", "a resource"),
    ],
)
def test_names(ref: str, name: str) -> None:
    assert safe_name(ref) == name


def test_every_type_that_is_read_has_a_name() -> None:
    assert READABLE < TYPES
