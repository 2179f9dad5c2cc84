"""Requests that are large in one way only: answered or refused in proportion to their size, and nothing is silent."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.service import Service
from support.stories import SEED, story

from cds_service.commands.evaluate import answer_file
from cds_service.content_files import load_rulebook
from cds_service.facts.builder import FURTHER_RESOURCES, MAX_RESOURCES, MOST_TEXT
from cds_service.hooks.contract import MOST_FAULTS
from cds_service.policy.case import Code

Json = dict[str, Any]
CODES = ("22612", "22630", "20939", "20930", "22840", "22558")


def many(count: int, **more: Any) -> Json:
    """The seed case with so many draft orders in place of its own, each with `more`."""
    request = story(SEED).request
    request["context"]["draftOrders"]["entry"] = [{"resource": _order(n) | more} for n in range(count)]
    return request


def _order(number: int) -> Json:
    coding = {"system": "http://www.ama-assn.org/go/cpt", "code": CODES[number % len(CODES)]}
    return {
        "resourceType": "ServiceRequest", "id": f"o{number}", "status": "draft", "intent": "order",
        "subject": {"reference": "Patient/p1"}, "authoredOn": "2026-11-20", "code": {"coding": [coding]},
    }  # fmt: skip


def _recorded(service: Service) -> Json:
    """The last record, as it is stored."""
    with sqlite3.connect(service.log_file.parent / "ledger.sqlite3") as ledger:
        (text,) = ledger.execute("SELECT document FROM entry ORDER BY received DESC, number DESC LIMIT 1").fetchone()
    document: Json = orjson.loads(text)
    return document


def test_a_record_grows_with_the_request_not_with_its_square(service: Service) -> None:
    sizes = []
    for count in (40, 160):
        service.answer(many(count, foo=1))
        recorded = _recorded(service)
        sizes.append(len(orjson.dumps(recorded)))
        assert len(recorded["notUsed"]) == count
        assert all(len(d["trace"][1]["not_used"]) == 1 for d in recorded["determinations"])
    assert sizes[1] < 6 * sizes[0]


def test_a_list_of_faults_is_answered_with_the_first_of_them(service: Service) -> None:
    request = story("low-back-imaging").request
    request["context"]["selections"] = [1] * 100_000
    response = service.call(request, "order-select-advisor")
    assert response.status_code == 400
    assert len(response.json()["issue"]) == MOST_FAULTS
    assert response.json()["issue"][0]["expression"] == ["context.selections[0]"]


def test_faults_found_later_are_counted_where_they_are_not_listed(service: Service) -> None:
    request = story("low-back-imaging").request
    request["context"]["selections"] = [f"ServiceRequest/none{n}" for n in range(500)]
    issues = service.call(request, "order-select-advisor").json()["issue"]
    assert [i["severity"] for i in issues] == ["error"] * 100 + ["information"]
    assert issues[-1]["diagnostics"] == "400 more faults are not listed."


@pytest.mark.parametrize(
    ("place", "field"), [("prefetch", "prefetch"), ("selections", "context.selections")], ids=["keys", "selections"]
)
def test_more_than_anybody_sends_is_refused_by_name(service: Service, place: str, field: str) -> None:
    request = story("low-back-imaging").request
    if place == "prefetch":
        request["prefetch"] |= {f"k{n}": None for n in range(201)}
    else:
        request["context"]["selections"] = ["ServiceRequest/mri"] * 1001
    response = service.call(request, "order-select-advisor")
    assert response.status_code == 413
    assert response.json()["issue"][0]["expression"] == [field]


def test_what_is_beyond_the_limit_of_a_source_leaves_it_incomplete(tmp_path: Path) -> None:
    request = story(SEED).request
    condition = {"resourceType": "Condition", "subject": {"reference": "Patient/p1"}, "code": {"text": "x"}}
    entries = [{"resource": condition | {"id": f"c{n}"}} for n in range(MAX_RESOURCES + 1)]
    request["prefetch"]["conditions"] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    path = tmp_path / "request.json"
    path.write_bytes(orjson.dumps(request))
    case = answer_file(path, None, None, None).case
    assert case.source("conditions").unusable == (FURTHER_RESOURCES,)
    assert len(case.conditions) == MAX_RESOURCES


def test_texts_beyond_the_limit_of_a_call_are_not_legible(tmp_path: Path) -> None:
    words = "x" * 9_000
    request = many(30, note=[{"text": words}])
    path = tmp_path / "request.json"
    path.write_bytes(orjson.dumps(request))
    orders = answer_file(path, None, None, None).case.orders
    read = [o for o in orders if o.texts]
    assert len(read) == MOST_TEXT // len(words)
    assert all("note" in o.faulty for o in orders if not o.texts)


def test_the_index_of_codes_finds_what_looking_through_every_set_finds() -> None:
    vocabulary = load_rulebook().vocabulary
    known = {c for members in vocabulary.sets.values() for c in members.codes}
    begun = {Code(p.system, f"{p.prefix}9") for s in vocabulary.sets.values() for ps in s.prefixes.values() for p in ps}
    for code in {*known, *begun, Code("icd-10-cm", "Z"), Code("cpt", ""), Code("urn:local", "22551")}:
        assert vocabulary.sets_of(code) == {n for n, s in vocabulary.sets.items() if s.find(code) is not None}
