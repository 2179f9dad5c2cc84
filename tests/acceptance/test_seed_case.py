"""The case the service was asked for, and the same case in every spelling a client may choose."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.charts import CPT, CPT_OID
from support.service import Service, running
from support.stories import EHR, SEED, story, without_ids

Json = dict[str, Any]


def comparable(response: Json) -> list[Json]:
    """Cards without uuids; of a created draft only its code (it keeps the spelling of the order it replaces)."""
    cards: list[Json] = without_ids(response)["cards"]
    for card in cards:
        for action in (a for s in card.get("suggestions", ()) for a in s["actions"]):
            if action["type"] == "create":
                action["resource"] = action["resource"]["code"]["coding"][0]["code"]
    return cards


def test_the_case_gets_exactly_one_warning_on_the_marrow_aspirate(service: Service) -> None:
    [card] = service.cards(story(SEED).request)

    assert card["indicator"] == "warning"
    assert card["summary"] == (
        "Bone marrow aspirate (20939) is not supported in this cervical fusion; donor bone (20930) is already ordered"
    )
    remove = card["suggestions"][0]
    assert remove["isRecommended"] is True
    assert [(a["type"], a["resourceId"]) for a in remove["actions"]] == [("delete", "ServiceRequest/marrow")]
    created = [a["resource"] for s in card["suggestions"] for a in s["actions"] if a["type"] == "create"]
    assert "20930" not in {r["code"]["coding"][0]["code"] for r in created}
    assert "bone morphogenetic" not in json.dumps(created).lower()
    assert card["source"]["url"].startswith("https://")
    assert card["source"]["topic"] == {
        "system": "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp",
        "code": "therapy-alternatives-opt",
        "display": "Optional Therapy Alternatives",
    }


def test_detail_gives_the_reason_first_then_options_then_evidence(service: Service) -> None:
    [card] = service.cards(story(SEED).request)
    detail = card["detail"]
    places = [
        detail.index(part) for part in ("**Why:**", "**Already authorized**", "**Covered options**", "**Evidence**")
    ]
    assert places[0] == 0
    assert places == sorted(places)
    assert "(20930) (PA-1001)\n" in detail
    # The bulletin on cages differs from the authorisation: said, and not overruled.
    assert "(22853) (PA-1001), though Aetna CPB 0016 as encoded here does not support it;" in detail
    assert "Decision support, not a coverage decision." in detail


def test_a_replacement_is_a_complete_draft_that_keeps_what_belongs_to_the_operation(service: Service) -> None:
    request = story(SEED).request
    marrow = next(e["resource"] for e in request["context"]["draftOrders"]["entry"] if e["resource"]["id"] == "marrow")
    marrow["insurance"] = [{"reference": "Coverage/cov1"}, {"reference": "ClaimResponse/pa-9"}]
    marrow["note"] = [{"text": "Draw from the vertebral body."}]
    [card] = service.cards(request)
    replacements = [s for s in card["suggestions"] if any(a["type"] == "create" for a in s["actions"])]
    assert replacements
    for suggestion in replacements:
        assert [a["type"] for a in suggestion["actions"]] == ["delete", "create"]
        draft = suggestion["actions"][1]["resource"]
        assert (draft["resourceType"], draft["status"], draft["intent"]) == ("ServiceRequest", "draft", "order")
        for name in ("subject", "encounter", "requester", "bodySite", "reasonReference", "authoredOn"):
            assert draft[name] == marrow[name]
        assert draft["insurance"] == [{"reference": "Coverage/cov1"}]
        assert "note" not in draft
        assert draft["id"] != "marrow"
        assert suggestion.get("isRecommended") in (None, False)


def test_override_reasons_are_hl7s_non_adherence_reasons(service: Service) -> None:
    [card] = service.cards(story(SEED).request)
    reasons = card["overrideReasons"]
    assert len(reasons) >= 3
    assert {r["system"] for r in reasons} == {"http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"}
    assert len({r["code"] for r in reasons}) == len(reasons)


@pytest.mark.parametrize("audience", ["clinician", "patient"])
def test_the_explanation_has_nine_parts_and_nobodys_name(service: Service, audience: str) -> None:
    [card] = service.cards(story(SEED).request)
    [link] = card["links"]
    assert link["type"] == "absolute"
    path = link["url"].removeprefix(service.base)
    assert path == f"/explanations/{card['uuid']}"

    answer = service.get(f"{path}?audience={audience}", headers={"Accept": "application/json"})
    page = service.get(f"{path}?audience={audience}", headers={"Accept": "text/html"})

    assert answer.status_code == page.status_code == 200
    parts = answer.json()["parts"]
    assert [p["number"] for p in parts] == list(range(1, 10))
    assert all(line.strip() for p in parts for line in p["text"])
    for text in (answer.text, page.text):
        for identity in ("Quillfeather", "Rosalind", "MRN-40017", "S-cov1", "1975-03-02", "Patient/p1"):
            assert identity not in text
    for response in (answer, page):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
    assert all(p["title"] in page.text.replace("&#39;", "'") for p in parts)


def test_the_explanation_names_finding_options_and_risk_factors(service: Service) -> None:
    [card] = service.cards(story(SEED).request)
    document = service.get(f"/explanations/{card['uuid']}", headers={"Accept": "application/json"}).json()
    text = {p["number"]: " ".join(p["text"]) for p in document["parts"]}
    assert "20939" in text[1]
    assert "cervical" in text[1]
    assert "20930" in text[4]
    assert "20936" in text[4]
    assert re.search(r"Age: \d\d years", text[7])
    assert "medical necessity" in text[8]
    assert document["policy"]["review"] == "submitted"
    assert document["references"]


def test_an_explanation_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        [card] = first.cards(story(SEED).request)
        path = f"/explanations/{card['uuid']}"
        told = first.get(path, headers={"Accept": "application/json"}).json()
    with running(tmp_path) as second:
        assert second.get(path, headers={"Accept": "application/json"}).json() == told


# --- the same case, spelt otherwise ---------------------------------------------------------------------


def _walk(value: Any, visit: Callable[[Json], None]) -> None:
    if isinstance(value, dict):
        visit(value)
        for part in value.values():
            _walk(part, visit)
    elif isinstance(value, list):
        for part in value:
            _walk(part, visit)


def shuffled(request: Json) -> Json:
    generator = random.Random(7)
    for holder in (request["context"]["draftOrders"], *request["prefetch"].values()):
        generator.shuffle(holder.get("entry", []))
    return request


def reversed_entries(request: Json) -> Json:
    for holder in (request["context"]["draftOrders"], *request["prefetch"].values()):
        holder["entry"] = holder.get("entry", [])[::-1]
    return request


def _references(request: Json, change: Callable[[str], str]) -> Json:
    def visit(node: Json) -> None:
        if isinstance(node.get("reference"), str):
            node["reference"] = change(node["reference"])

    _walk(request["context"], visit)
    _walk(request["prefetch"], visit)
    return request


def absolute(request: Json) -> Json:
    return _references(request, lambda ref: f"{EHR}/{ref}")


def versioned(request: Json) -> Json:
    return _references(request, lambda ref: f"{ref}/_history/4")


def absolute_and_versioned(request: Json) -> Json:
    return _references(request, lambda ref: f"{EHR}/{ref}/_history/4")


def by_urn(request: Json) -> Json:
    """Bundle entries known by urn:uuid, as in a message or document; the patient is a plain read."""
    urns: dict[str, str] = {}
    for holder in (request["context"]["draftOrders"], *request["prefetch"].values()):
        for number, entry in enumerate(holder.get("entry", ())):
            resource = entry["resource"]
            urn = f"urn:uuid:00000000-0000-4000-8000-{len(urns):06d}{number:06d}"
            urns[f"{resource['resourceType']}/{resource['id']}"] = entry["fullUrl"] = urn
    return _references(request, lambda ref: urns.get(ref, ref))


def with_unknown_extensions(request: Json) -> Json:
    def visit(node: Json) -> None:
        if "resourceType" in node or "coding" in node or "reference" in node:
            extension = {"url": "https://vendor.example/internal", "valueString": "x"}
            node["extension"] = [*node.get("extension", ()), extension]
            node.setdefault("id", "e1")
        if node.get("resourceType") == "Patient":
            node["_birthDate"] = {"extension": [{"url": "https://vendor.example/time", "valueTime": "04:00:00"}]}

    for resource in _resources(request):
        _walk(resource, visit)
    request["extension"] = {"vendor.example.flag": True}
    request["context"]["extension"] = {"vendor.example.flag": [1]}
    return request


def _resources(request: Json) -> list[Json]:
    holders = (request["context"]["draftOrders"], *request["prefetch"].values())
    return [r for h in holders for r in ([e["resource"] for e in h.get("entry", ())] or [h])]


def _cpt(request: Json, uri: str) -> Json:
    def visit(node: Json) -> None:
        if node.get("system") == CPT:
            node["system"] = uri

    _walk(request, visit)
    return request


VARIANTS: dict[str, Callable[[Json], Json]] = {
    "shuffled": shuffled,
    "reversed": reversed_entries,
    "absolute": absolute,
    "versioned": versioned,
    "absolute and versioned": absolute_and_versioned,
    "urn:uuid": by_urn,
    "unknown extensions": with_unknown_extensions,
    "CPT by OID": lambda r: _cpt(r, CPT_OID),
    "CPT by https": lambda r: _cpt(r, "https://www.ama-assn.org/go/cpt"),
    "CPT with version": lambda r: _cpt(r, f"{CPT}|2026"),
    "all at once": lambda r: with_unknown_extensions(_cpt(by_urn(shuffled(r)), CPT_OID)),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("told", [SEED, "cervical-fusion", "lumbar-fusion-aetna", "no-coverage"])
def test_the_spelling_of_a_request_does_not_change_its_cards(service: Service, told: str, name: str) -> None:
    plain = story(told).request
    changed = VARIANTS[name](copy.deepcopy(plain))
    assert changed != plain
    expected = comparable(service.answer(plain))
    assert expected
    assert comparable(service.answer(changed)) == expected


def test_cpt_codes_with_modifiers_are_the_same_procedures(service: Service) -> None:
    request = story(SEED).request
    for entry in request["context"]["draftOrders"]["entry"]:
        entry["resource"]["code"]["coding"][0]["code"] += "-59"
    [card] = service.cards(request)
    assert re.search(r"\(20939\) is not supported", card["summary"])
