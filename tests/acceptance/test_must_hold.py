"""What must hold on requests of a stranger's making: absent data, silence, statuses, selections, fixed point."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.charts import (
    PATIENT,
    SIX,
    authorised,
    bundle,
    case_of,
    condition,
    coverage,
    identified,
    order,
    patient,
    request,
)
from support.listener import Listener, listening
from support.service import Service
from support.stories import applied, outline, warned_codes, without_ids

Json = dict[str, Any]


# --- 4: absent data ----------------------------------------------------------------------------------


def _wrong(code: str, own: str) -> Json:
    made = condition(code, own)
    made["verificationStatus"]["coding"][0]["code"] = "entered-in-error"
    del made["clinicalStatus"]
    return made


IGNORED = bundle(_wrong("M50.321", "never-1"), _wrong("M43.16", "never-2"))
KEPT = bundle(condition("M50.321", "dx-real"))


@pytest.mark.parametrize("conditions", [KEPT, bundle(), IGNORED, None], ids=["some", "none", "in error", "null"])
def test_aetnas_marrow_outcome_does_not_depend_on_diagnosis(service: Service, conditions: Json | None) -> None:
    [card] = [c for c in service.cards(case_of(*SIX, prefetch={"conditions": conditions})) if "(20939)" in c["summary"]]
    assert card["indicator"] == "warning"
    assert "20939" in card["summary"]
    assert "never-" not in json.dumps(card)
    page = service.get(f"/explanations/{card['uuid']}", headers={"Accept": "application/json"})
    assert "never-" not in page.text


def test_conditions_that_failed_to_load_change_nothing_either(service: Service) -> None:
    broken = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    cards = service.cards(case_of(*SIX, prefetch={"conditions": broken}))
    assert [c["indicator"] for c in cards if "(20939)" in c["summary"]] == ["warning"]


# --- 5: silence ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", [(), ("80053", "85025"), ("27447",), ("99999",)])
def test_nothing_governed_is_answered_with_no_cards_and_no_outbound_call(
    service: Service, listener: Listener, codes: tuple[str, ...]
) -> None:
    listener.reset(patient())
    body = case_of(*codes, fhirServer=listener.base, fhirAuthorization={"access_token": "t0ken-zzz"})
    del body["prefetch"]
    assert service.answer(body) == {"cards": []}
    assert listener.connections == 0


def test_what_policies_need_is_fetched_when_prefetch_is_left_out(service: Service, listener: Listener) -> None:
    listener.reset(patient(), coverage(identified("aetna")), condition("M50.321"))
    body = case_of(*SIX, fhirServer=listener.base, fhirAuthorization={"access_token": "t0ken-zzz"})
    body["prefetch"]["conditions"] = bundle(condition("M50.321"))
    expected = [outline(c) for c in service.cards(body)]
    assert listener.connections == 0, "prefetch was complete"
    del body["prefetch"]
    assert [outline(c) for c in service.cards(body)] == expected
    assert listener.connections > 0
    assert any(p.startswith("/fhir/Coverage?") for p in listener.paths)


def test_a_server_that_is_not_allowed_is_never_called(service: Service) -> None:
    with listening() as stranger:
        body = case_of("22551", "20930", fhirServer=stranger.base)
        del body["prefetch"]
        response = service.call(body)
        assert response.status_code == 412
        assert response.json()["issue"][0]["expression"] == ["prefetch.coverage"]
        assert not any(c["indicator"] == "warning" for c in service.cards(case_of(*SIX) | {"prefetch": None}))
        assert stranger.connections == 0


SETTLED = ("revoked", "cancelled", "completed", "entered-in-error")


@pytest.mark.parametrize("status", SETTLED)
def test_orders_that_are_settled_get_no_card(service: Service, status: str) -> None:
    gone = order("20939") | {"status": status}
    rest = [order(c) for c in SIX if c != "20939"]
    alone = {outline(c)["summary"] for c in service.cards(request(*rest))}
    assert {outline(c)["summary"] for c in service.cards(request(gone, *rest))} == alone
    assert service.answer(request(*(order(c) | {"status": status} for c in SIX))) == {"cards": []}


def test_an_order_not_to_be_done_gets_no_card(service: Service) -> None:
    assert service.answer(request(order("20939", doNotPerform=True))) == {"cards": []}


def test_order_select_looks_only_at_what_was_selected(service: Service) -> None:
    body = request(*(order(c) for c in SIX), hook="order-select")
    body["context"]["selections"] = ["ServiceRequest/sr-20939"]
    cards = service.cards(body, "order-select-advisor")
    assert [c["indicator"] for c in cards] == ["warning"]
    body["context"]["selections"] = ["ServiceRequest/sr-22845"]
    assert not any("(20939)" in c["summary"] for c in service.cards(body, "order-select-advisor"))
    body["context"]["selections"] = []
    assert service.answer(body, "order-select-advisor") == {"cards": []}


def test_twins_are_one_finding_that_removes_both(service: Service) -> None:
    rest = [order(c) for c in SIX if c != "20939"]
    body = request(*rest, order("20939", "bma-a"), order("20939", "bma-b"))
    [card] = [c for c in service.cards(body) if "(20939)" in c["summary"] and c["indicator"] == "warning"]
    removed = [a["resourceId"] for a in card["suggestions"][0]["actions"]]
    assert removed == ["ServiceRequest/bma-a", "ServiceRequest/bma-b"]


# --- 3: fixed point, beyond the stories ------------------------------------------------------------------

PRIMARIES = ("22551", "22554", "22600", "22612", "22630", "22633", "22558", "63030")
ADDED = (
    "22552", "22614", "22845", "22840", "22842", "22853", "22854",
    "20930", "20931", "20936", "20937", "20938", "20939",
)  # fmt: skip
NOTES = ("rhBMP-2", "hydroxyapatite granules", "demineralized bone matrix", "stem cell allograft", "do not use BMP")
PAYERS = ("aetna", "cigna", "unitedhealthcare", "humana", "anthem", "medicare", "bcbs-alabama", "nobody-here")


@st.composite
def cases(draw: st.DrawFn) -> Json:
    codes = [draw(st.sampled_from(PRIMARIES)), *draw(st.lists(st.sampled_from(ADDED), min_size=1, max_size=6))]
    orders = []
    for number, code in enumerate(codes):
        made = order(code, f"o{number}")
        if draw(st.integers(0, 5)) == 0:
            made["note"] = [{"text": draw(st.sampled_from(NOTES))}]
        orders.append(authorised(made) if draw(st.integers(0, 3)) == 0 else made)
    covers = bundle(coverage(identified(draw(st.sampled_from(PAYERS)))))
    return request(*orders, prefetch={"coverage": covers if draw(st.booleans()) else bundle()})


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=cases())
def test_no_suggestion_leads_to_a_new_warning(service: Service, body: Json) -> None:
    cards = service.cards(body)
    before = warned_codes(cards)
    for suggestion in [s for c in cards for s in c.get("suggestions", ())]:
        after = applied(body, suggestion)
        assert warned_codes(service.cards(after)) <= before, suggestion["label"]


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=cases(), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_entries_changes_nothing(service: Service, body: Json, shuffle: Any) -> None:
    def cards(of: Json) -> Any:
        found = without_ids(service.answer(of))["cards"]
        for action in (a for c in found for s in c.get("suggestions", ()) for a in s["actions"]):
            if action["type"] == "create":
                action["resource"] = action["resource"]["code"]
        return found

    expected = cards(body)
    shuffle.shuffle(body["context"]["draftOrders"]["entry"])
    assert cards(body) == expected


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=cases())
def test_authorised_orders_are_never_flagged_nor_suggested_again(service: Service, body: Json) -> None:
    drafts = [e["resource"] for e in body["context"]["draftOrders"]["entry"]]
    settled = {f"ServiceRequest/{r['id']}" for r in drafts if "extension" in r}
    codes = {r["code"]["coding"][0]["code"] for r in drafts}
    for action in (a for c in service.cards(body) for s in c.get("suggestions", ()) for a in s["actions"]):
        if action["type"] == "delete":
            assert action["resourceId"] not in settled
        else:
            assert action["resource"]["code"]["coding"][0]["code"] not in codes
            assert action["resource"]["subject"] == {"reference": f"Patient/{PATIENT}"}
