"""CRD cards: their types, labels, topics and links, what switches them off, and what the test kit of ONC asserts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from crd_support import (
    CPT,
    INVARIANTS,
    ON,
    REQUESTER,
    SUBJECT,
    bundle,
    condition,
    coverage,
    holds,
    order,
    sign,
    updated,
)
from support.service import Service

from cds_service.facts import validity
from cds_service.hooks.answer import Answer
from cds_service.hooks.runtime import Runtime

Json = dict[str, Any]
Ask = Callable[..., Answer]
NECK = (order("22551"), order("22845"), order("20930"), order("20939"))
NO_GRAFT = (order("22551"), order("20939"))
BMP_TEXT = order("20930", note=[{"text": "Use rhBMP-2"}])
TOPICS = {
    "therapy-alternatives-opt": "Optional Therapy Alternatives", "guideline": "Guideline",
    "off-guideline": "Off Guideline", "contraindication": "Contraindication", "claim": "Claim",
}  # fmt: skip


def cards(ask: Ask, *orders: Json, **parts: Any) -> dict[str, Json]:
    """Cards of an answer by topic."""
    found = ask(sign(*orders, **parts)).response["cards"]
    return {c["source"]["topic"]["code"]: c for c in reversed(found)}


@pytest.mark.crd("resp-11")
def test_alternatives_are_a_delete_and_a_create(ask: Ask) -> None:
    card = cards(ask, *NO_GRAFT)["therapy-alternatives-opt"]
    assert card["summary"].startswith("Covered instead of bone marrow aspirate (20939): ")
    assert card["indicator"] == "info"
    assert "links" not in card
    assert card["selectionBehavior"] == "at-most-one"
    for suggestion in card["suggestions"]:
        assert UUID(suggestion["uuid"])
        delete, create = suggestion["actions"]
        assert delete["type"] == "delete"
        assert delete["resourceId"] == "ServiceRequest/o-20939"
        assert "resource" not in delete
        assert create["type"] == "create"
        for element in ("code", "authoredOn", "requester", "subject", "status", "intent"):
            assert element in create["resource"]
    assert "By hand: remove bone marrow aspirate (20939) and order one of these." in card["detail"]


def test_what_is_ordered_already_is_not_suggested_again(ask: Ask) -> None:
    card = cards(ask, *NECK)["therapy-alternatives-opt"]
    assert card["summary"] == "Bone marrow aspirate (20939): donor bone (20930) is ordered already and serves instead"
    assert "20930" not in [
        s["actions"][1]["resource"]["code"]["coding"][0]["code"] for s in card.get("suggestions", ())
    ]


def test_twins_are_told_of_but_not_replaced_in_part(ask: Ask) -> None:
    card = cards(ask, order("22551"), order("20939", "first"), order("20939", "second"))["therapy-alternatives-opt"]
    assert "suggestions" not in card
    assert [r["reference"] for r in card["extension"]["davinci-crd.associated-resource"]] == [
        "ServiceRequest/first",
        "ServiceRequest/second",
    ]


@pytest.mark.crd("found-13", "resp-12")
def test_no_card_repeats_what_the_order_says(ask: Ask) -> None:
    lumbar = (order("22612"), order("20937"), order("20939"))
    asked = ask(sign(*lumbar, cover=coverage("cigna")))
    assert "coverage-info" not in {c["source"]["topic"]["code"] for c in asked.response["cards"]}
    assert not any("information is needed" in c["summary"] for c in asked.response["cards"])
    assert ask(sign(order("71046"))).response["cards"] == []


def test_a_guideline_is_an_external_reference(ask: Ask) -> None:
    found = cards(ask, *NO_GRAFT, cover=coverage("medicare"))
    card = found.get("guideline") or found["off-guideline"]
    assert "suggestions" not in card
    assert card["links"]
    for link in card["links"]:
        assert link["type"] == "absolute"
        assert link["url"].startswith("https://")
        assert "appContext" not in link
    assert any("/explanations/" in link["url"] for link in card["links"])
    assert card["detail"].startswith("**Why:**")


@pytest.mark.parametrize(("topic", "onset"), [("off-guideline", {"onsetDateTime": "2026-10-25"}), ("guideline", {})])
def test_a_guideline_without_an_address_leads_to_why_it_speaks(ask: Ask, topic: str, onset: Json) -> None:
    """Choosing Wisely has no page of its own any more, and a home page is no way to a guideline."""
    pain = condition("M54.50") | onset
    card = cards(ask, order("72148"), prefetch={"conditions": bundle(pain)})[topic]
    assert [link["label"] for link in card["links"]] == ["Why, criterion by criterion"]


@pytest.mark.parametrize("payer", ["aetna", "cigna", "humana", "medicare"])
def test_the_insurers_name_never_leads_to_a_page_of_others(ask: Ask, payer: str) -> None:
    pain = {"conditions": bundle(condition("M54.50"))}
    for orders in (*REQUESTS, (order("72148"),)):
        for card in ask(sign(*orders, cover=coverage(payer), prefetch=pain)).response["cards"]:
            assert set(card["source"]) == {"label", "topic"}


CPB = "https://www.aetna.com/cpb/medical/data/400_499/0411.html"


@pytest.mark.crd("resp-10")
def test_alternatives_lead_to_the_policy_by_links_or_in_their_detail_beside_suggestions(ask: Ask) -> None:
    suggesting = cards(ask, *NO_GRAFT)["therapy-alternatives-opt"]
    assert "links" not in suggesting
    assert f"]({CPB})" in suggesting["detail"]
    twins = (order("22551"), order("20939", "first"), order("20939", "second"))
    telling = cards(ask, *twins)["therapy-alternatives-opt"]
    assert [link["url"] for link in telling["links"]] == [CPB]
    assert CPB not in telling["detail"]


@pytest.mark.crd("resp-1")
def test_a_safety_warning_is_critical_with_links_to_its_sources(ask: Ask) -> None:
    found = cards(ask, order("22551"), BMP_TEXT)
    card = found["contraindication"]
    assert card["indicator"] == "critical"
    assert [link["url"].rpartition("/")[2] for link in card["links"]] == ["070108-rhbmp.html"]
    assert "suggestions" not in card
    everything = ask(sign(order("22551"), BMP_TEXT)).response["cards"]
    assert everything[0] == {**card, "uuid": everything[0]["uuid"]}


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
@pytest.mark.parametrize("orders", [NECK, NO_GRAFT, (order("22551"), BMP_TEXT)], ids=["neck", "no-graft", "bmp"])
def test_every_card_carries_insurer_topic_and_orders(ask: Ask, orders: tuple[Json, ...], version: str) -> None:
    found = ask(sign(*orders, version=version)).response["cards"]
    assert found
    system = (
        "http://terminology.hl7.org/CodeSystem/cdshooks-card-type"
        if version == "2.2"
        else "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
    )
    for card in found:
        assert UUID(card["uuid"])
        assert card["source"]["label"] == "Aetna"
        topic = card["source"]["topic"]
        assert topic == {"system": system, "code": topic["code"], "display": TOPICS[topic["code"]]}
        references = card["extension"]["davinci-crd.associated-resource"]
        assert {r["reference"] for r in references} <= {f"ServiceRequest/{o['id']}" for o in orders}
        assert references
        assert card["detail"].startswith("**")
    assert [c["indicator"] for c in found].count("info") >= len(found) - 1


# --- what may be called covered -----------------------------------------------------------------------

GUIDELINE = "By the guideline, instead of bone marrow aspirate (20939): "
POLICY = "By the policy, instead of bone marrow aspirate (20939): "
NO_ASSERTION = "For guidance only: this card asserts no coverage."


@pytest.mark.parametrize(
    ("cover", "lead", "heading"),
    [
        (coverage(), "Covered instead of bone marrow aspirate (20939): ", "**Covered options**"),
        (coverage(status="cancelled"), GUIDELINE, "**Options the guideline supports**"),
        (coverage(period={"end": "2020-01-01"}), GUIDELINE, "**Options the guideline supports**"),
        (coverage("medicare"), GUIDELINE, "**Options the guideline supports**"),
        (coverage(subscriberId="DEMO-NOT-FOUND"), POLICY, "**Options the policy supports**"),
        (coverage(subscriberId="DEMO-NOT-ACTIVE"), POLICY, "**Options the policy supports**"),
    ],
    ids=["in-force", "cancelled", "ended", "guideline", "no-member", "inactive-member"],
)
def test_options_are_covered_only_by_a_policy_under_a_coverage_in_force(
    ask: Ask, cover: Json, lead: str, heading: str
) -> None:
    found = cards(ask, *NO_GRAFT, cover=cover)
    card = found["therapy-alternatives-opt"]
    assert card["summary"].startswith(lead)
    assert heading in card["detail"]
    assert (NO_ASSERTION in card["detail"]) == (lead != "Covered instead of bone marrow aspirate (20939): ")
    if not lead.startswith("Covered"):
        assert "covered" not in json.dumps(found).lower()


@pytest.mark.parametrize("payers", ["cigna", "aetna"])
def test_options_are_covered_only_where_coverage_may_be_asserted(
    ask: Ask, deployment: Callable[..., Runtime], payers: str
) -> None:
    """Undeclared payer; then a declared one whose policies are under review."""
    here = deployment(payers=payers, unreviewed_policies="show")
    for orders in (NO_GRAFT, NECK):
        answer = ask(sign(*orders), here).response
        (card,) = [c for c in answer["cards"] if c["source"]["topic"]["code"] == "therapy-alternatives-opt"]
        assert "covered" not in (card["summary"] + card["detail"]).lower()
        assert NO_ASSERTION in card["detail"]
        assert "pending review" in card["detail"]


def test_long_lists_of_options_are_not_called_covered_either(ask: Ask, deployment: Callable[..., Runtime]) -> None:
    undeclared = deployment(payers="", unreviewed_policies="show")
    summaries = [
        c["summary"]
        for orders in REQUESTS
        for payer in ("aetna", "cigna", "humana", "medicare")
        for c in ask(sign(*orders, cover=coverage(payer)), undeclared).response["cards"]
    ]
    assert summaries
    assert not any("covered" in s.lower() for s in summaries)


@pytest.mark.parametrize("orders", [NECK, NO_GRAFT, (order("22551"), BMP_TEXT)], ids=["neck", "no-graft", "bmp"])
def test_what_comes_from_an_unreviewed_policy_is_marked(ask: Ask, orders: tuple[Json, ...]) -> None:
    for card in ask(sign(*orders)).response["cards"]:
        if "Policy: " in card["detail"]:
            assert "(unofficial encoding; pending review)." in card["detail"]


# --- what may stand in the place of an order -----------------------------------------------------------

MARROW = {"coding": [{"system": CPT, "code": "20939"}]}
PERFORMER = {"reference": "Organization/bank"}
REQUEST = {
    "id": "m",
    "status": "draft",
    "intent": "order",
    "subject": SUBJECT,
    "authoredOn": ON,
    "requester": REQUESTER,
}
IN_OTHER_TYPES: dict[str, Json] = {
    "DeviceRequest": {**REQUEST, "codeCodeableConcept": MARROW, "performer": PERFORMER},
    "MedicationRequest": {**REQUEST, "medicationCodeableConcept": MARROW, "performer": PERFORMER},
    "Appointment": {
        "id": "m", "status": "proposed", "serviceType": [MARROW], "priority": 5,
        "participant": [{"actor": SUBJECT, "status": "accepted"}],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", IN_OTHER_TYPES)
def test_what_a_suggestion_creates_is_a_valid_service_request(ask: Ask, kind: str) -> None:
    given = {"resourceType": kind, **IN_OTHER_TYPES[kind]}
    found = cards(ask, order("22551"), given)
    card = found["therapy-alternatives-opt"]
    created = [s["actions"][1]["resource"] for s in card.get("suggestions", ())]
    assert bool(created) == (kind != "Appointment")
    assert ("By hand: " in card["detail"]) == (kind != "Appointment")
    for resource in created:
        assert validity.problems(resource) == []
        assert resource["performer"] == [PERFORMER]


# --- configuration ----------------------------------------------------------------------------------


@pytest.mark.parametrize("off", ["therapy-alternatives-opt", "contraindication", "claim"])
def test_each_type_of_card_can_be_switched_off(ask: Ask, off: str) -> None:
    orders = (order("22551"), order("20939"), BMP_TEXT)
    if off == "claim":
        orders = (order("22551"), order("22551", "again"))
    every = cards(ask, *orders)
    assert off in every
    kept = cards(ask, *orders, configuration={off: False})
    assert set(kept) == set(every) - {off}


def test_guidelines_can_be_switched_off(ask: Ask) -> None:
    every = cards(ask, *NO_GRAFT, cover=coverage("medicare"))
    kept = cards(ask, *NO_GRAFT, cover=coverage("medicare"), configuration={"guideline": False, "off-guideline": False})
    assert set(every) - set(kept) == {"guideline"}


@pytest.mark.crd("dev-14")
def test_coverage_information_can_be_switched_off(ask: Ask) -> None:
    answer = ask(sign(*NECK, configuration={"coverage-info": False})).response
    assert answer["systemActions"] == []
    assert answer["cards"]


@pytest.mark.crd("dev-14")
def test_max_cards_keeps_the_most_important(ask: Ask) -> None:
    orders = (order("22551"), order("20939"), BMP_TEXT)
    assert len(cards(ask, *orders)) > 1
    assert list(cards(ask, *orders, configuration={"max-cards": 1})) == ["contraindication"]
    none = ask(sign(*orders, configuration={"max-cards": 0})).response
    assert none["cards"] == []
    assert len(none["systemActions"]) == 3


# A draft that repeats the id of another is not checked; the others are.
REPEATED = (order("22551"), order("20939"), order("20930", "o-22551"))
OWN_TOPICS = "https://payer.example.org/CodeSystem/card-types"
NOT_CHECKED = {"system": OWN_TOPICS, "code": "not-checked", "display": "Not Checked"}


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_what_was_not_checked_has_a_topic_of_its_own(ask: Ask, version: str) -> None:
    card = cards(ask, *REPEATED, version=version)["not-checked"]
    assert card["source"] == {"label": "Aetna", "topic": NOT_CHECKED}


def test_what_was_not_checked_is_hidden_by_its_own_option_alone(ask: Ask) -> None:
    others = {"coverage-info", "therapy-alternatives-opt", "guideline", "off-guideline", "contraindication", "claim"}
    assert set(cards(ask, *REPEATED, configuration=dict.fromkeys(others, False))) == {"not-checked"}
    every = cards(ask, *REPEATED)
    assert set(cards(ask, *REPEATED, configuration={"not-checked": False})) == set(every) - {"not-checked"}


def test_a_limit_on_cards_spares_what_is_critical_and_what_was_not_checked(ask: Ask) -> None:
    assert len(cards(ask, *REPEATED)) > 1
    assert set(cards(ask, *REPEATED, configuration={"max-cards": 1})) == {"not-checked"}
    two = ask(sign(*REPEATED, BMP_TEXT, configuration={"max-cards": 2})).response["cards"]
    assert [c["source"]["topic"]["code"] for c in two] == ["contraindication", "not-checked"]


@pytest.mark.crd("dev-6")
@pytest.mark.parametrize(
    "nonsense",
    [
        {"max-cards": -1}, {"max-cards": True}, {"max-cards": "3"}, {"coverage-info": "no"}, {"coverage-info": 0},
        {"claim": None}, ["coverage-info"], "all", {"": False}, {"unsolicited-determ": False},
    ],
    ids=str,
)  # fmt: skip
def test_nonsensical_configuration_is_ignored(ask: Ask, nonsense: Any) -> None:
    answer = ask(sign(*NECK, configuration=nonsense)).response
    plain = ask(sign(*NECK)).response
    assert len(answer["cards"]) == len(plain["cards"])
    assert list(updated(answer)) == list(updated(plain))


# --- the assertions of the Inferno test kit for CRD servers, in our own words -----------------------


def card_type(card: Json) -> str:
    """The response type that a client would take a card for."""
    suggestions, links = card.get("suggestions"), card.get("links")
    if suggestions:
        kinds = [[a["type"] for a in s["actions"]] for s in suggestions]
        if all(set(k) == {"create"} for k in kinds):
            return "additional-orders"
        return "alternate-request" if any("delete" in k and "create" in k for k in kinds) else "unknown"
    if links:
        return "external-reference" if all(link["type"] == "absolute" for link in links) else "launch-smart"
    return "instructions"


REQUESTS = [
    NECK,
    NO_GRAFT,
    (order("22551"), BMP_TEXT),
    (order("22612"), order("20937"), order("20939")),
    (order("71046"),),
    (order("22551"), order("22551", "again")),
]


@pytest.mark.parametrize("payer", ["aetna", "cigna", "humana", "medicare"])
@pytest.mark.parametrize("orders", REQUESTS, ids=range(len(REQUESTS)))
def test_required_and_optional_fields_of_every_answer(service: Service, orders: tuple[Json, ...], payer: str) -> None:
    answer = service.answer(sign(*orders, cover=coverage(payer)), "order-sign-crd")
    assert isinstance(answer["cards"], list)
    assert answer["cards"] or answer["systemActions"]
    drafts = {f"ServiceRequest/{o['id']}" for o in orders}
    for card in answer["cards"]:
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert card["source"]["label"]
        assert card["source"]["topic"]["code"]
        assert card["source"]["topic"]["system"].startswith("http")
        assert card_type(card) in ("alternate-request", "external-reference", "instructions")
        if "suggestions" in card:
            assert card["selectionBehavior"] in ("at-most-one", "any")
        for reason in card.get("overrideReasons", ()):
            assert {"code", "system", "display"} <= set(reason)
        for action in (a for s in card.get("suggestions", ()) for a in s["actions"]):
            assert action["description"]
            if action["type"] == "delete":
                assert action["resourceId"] in drafts
            else:
                assert action["resource"]["resourceType"] == "ServiceRequest"
    for action in answer["systemActions"]:
        assert (action["type"], bool(action["description"])) == ("update", True)
        assert f"{action['resource']['resourceType']}/{action['resource']['id']}" in drafts


def test_each_card_type_is_reached_at_least_once(service: Service) -> None:
    bodies = [sign(*orders, cover=coverage(p)) for orders in REQUESTS for p in ("aetna", "medicare")]
    found = {card_type(c) for body in bodies for c in service.answer(body, "order-sign-crd")["cards"]}
    assert found == {"alternate-request", "external-reference", "instructions"}


def test_suggestions_accepted_leave_nothing_to_suggest(ask: Ask, demo: Runtime) -> None:
    answer = ask(sign(*NO_GRAFT)).response
    card = next(c for c in answer["cards"] if "suggestions" in c)
    for suggestion in card["suggestions"]:
        delete, create = suggestion["actions"]
        kept = [o for o in NO_GRAFT if f"ServiceRequest/{o['id']}" != delete["resourceId"]]
        again = ask(sign(*kept, create["resource"])).response
        assert [c for c in again["cards"] if "suggestions" in c] == []
        assert f"ServiceRequest/{create['resource']['id']}" in updated(again)


def test_cards_are_the_same_whatever_the_order_of_entries(ask: Ask) -> None:
    first = ask(sign(*NECK)).response["cards"]
    second = ask(sign(*reversed(NECK))).response["cards"]
    assert [c["summary"] for c in first] == [c["summary"] for c in second]
    assert bundle(*NECK)["entry"] != bundle(*reversed(NECK))["entry"]


MAXIMA = {
    "alternate-request": ("links",),
    "external-reference": ("suggestions",),
    "instructions": ("links", "suggestions"),
}


@pytest.mark.parametrize("payer", ["aetna", "medicare"])
@pytest.mark.parametrize("orders", REQUESTS, ids=range(len(REQUESTS)))
def test_answers_follow_the_logical_models(ask: Ask, orders: tuple[Json, ...], payer: str) -> None:
    answer = ask(sign(*orders, cover=coverage(payer))).response
    for action in answer["systemActions"]:
        assert action["type"] == "update"
        assert "resourceId" not in action
        assert holds(INVARIANTS["response"]["crd-respci1"], action["resource"])
    for card in answer["cards"]:
        assert card["uuid"]
        assert card["source"]["topic"]
        assert not set(MAXIMA[card_type(card)]) & set(card)
        for suggestion in card.get("suggestions", ()):
            assert holds(INVARIANTS["response"]["crd-respar-1"], suggestion)
            assert all(a["description"] for a in suggestion["actions"])
    assert not holds(INVARIANTS["response"]["crd-respar-1"], {"actions": [{"type": "delete", "resourceId": "X/1"}]})
