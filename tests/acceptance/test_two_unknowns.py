"""Two kinds of not knowing: what the chart does not say is asked, shortly; what an encoding does not know is not."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
from support.charts import bundle, condition, coverage, identified, order, request

from cds_service.config import from_environment
from cds_service.hooks.answer import Answer, answer, determinations
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.services import service_for
from cds_service.policy.lint_questions import asks_of_policy

Json = dict[str, Any]
GAPS = {
    "unitedhealthcare": "What UnitedHealthcare says of marrow aspirate by itself was not read; ask the plan.",
    "humana": "What Humana covers of marrow aspirate, which it counts as neither autograft nor allograft, was not "
    "read; ask the plan.",
    "anthem": "Whether Anthem's policy on marrow by injection reaches marrow placed in a fusion was not read; "
    "ask the plan.",
    "bcbs-alabama": "What Blue Cross of Alabama says of marrow aspirate by itself was not read; ask the plan.",
}


@cache
def runtime(ask: str = "on") -> Runtime:
    return Runtime.build(from_environment(demo=True, cards=None, ask=ask))


def answered(body: Json, ask: str = "on", service: str | None = None) -> Answer:
    raw = json.dumps(body).encode()
    read, at = parse(raw), runtime(ask)
    found = service_for(at.services, service, read)
    return answer(validate(read, found, raw), found, at, Caller("evaluate"))


def of(payer: str, *codes: str, problems: tuple[str, ...] = (), hook: str = "order-sign") -> Json:
    chart = {"conditions": bundle(*(condition(c, f"dx{n}") for n, c in enumerate(problems)))}
    chart |= {name: bundle() for name in ("procedures", "observations")}
    return request(*map(order, codes), hook=hook, prefetch={**chart, "coverage": bundle(coverage(identified(payer)))})


def words(card: Json) -> int:
    return len(re.sub(r"[*]|^- ", "", f"{card['summary']} {card['detail']}", flags=re.MULTILINE).split())


@pytest.mark.parametrize("payer", GAPS)
def test_what_an_encoding_does_not_know_leaves_the_guidelines_card(payer: str) -> None:
    done = answered(of(payer, "22551", "20939"))
    [card] = [c for c in done.response["cards"] if "(20939)" in c["summary"]]
    assert "the guideline makes no recommendation" in card["summary"]
    assert GAPS[payer] in card["detail"].splitlines()
    assert card["suggestions"]
    assert [s for s in card["suggestions"] if s.get("isRecommended")] == []
    asked = [q for c in done.response["cards"] for q in re.findall(r"[^.\n]*\?", c["detail"])]
    assert [q for q in asked if asks_of_policy(q, (payer,))] == []


@pytest.mark.parametrize("payer", GAPS)
def test_the_gap_is_counted_as_the_policys_and_the_outcome_stays_open(payer: str) -> None:
    told = [d for d in determinations(answered(of(payer, "22551", "20939"))) if d["role"] == "primary"]
    [marrow] = [d for d in told if d["order"].endswith("20939")]
    assert marrow["outcome"] == "needs-information"
    assert [m["source"] for m in marrow["missing"]] == ["policy"]


def test_a_gap_stands_before_what_another_policy_of_the_payer_supports() -> None:
    done = answered(of("unitedhealthcare-community-plan-nc", "22612", "20930"))
    [graft] = [r for r in done.results if r.order.ref.endswith("20930")]
    assert {d.outcome for d in graft.primary} == {"supported", "needs-information"}
    assert graft.gap is not None
    assert not graft.covered_by_policy


def asking(cards: list[Json]) -> list[Json]:
    return [c for c in cards if c["summary"].startswith("More information")]


def test_what_the_chart_does_not_say_is_asked_once_and_shortly() -> None:
    [card] = asking(answered(of("aetna", "22551", "22552", "22845", "20930", problems=("M48.02",))).response["cards"])
    assert words(card) <= 120
    assert "22845" not in card["summary"]  # open for no other reason than that the fusion is
    assert [link["label"] for link in card["links"]] == ["What to document, criterion by criterion"]
    points = [line for line in card["detail"].splitlines() if line.startswith("- ")]
    assert len(points) == len(set(points))


def test_alternatives_are_one_line() -> None:
    [card] = asking(answered(of("cigna", "22612", "E0748", problems=("M43.16",))).response["cards"])
    assert sum("Any of: " in line for line in card["detail"].splitlines()) >= 1
    assert words(card) <= 120


def test_a_deployment_can_switch_it_off() -> None:
    body = of("aetna", "22551", problems=("M48.02",))
    assert asking(answered(body).response["cards"])
    assert asking(answered(body, ask="off").response["cards"]) == []


def test_nothing_is_asked_on_opening_a_chart() -> None:
    body = of("aetna", "22551", "20939", problems=("M48.02",), hook="patient-view")
    body["prefetch"] |= {"plannedOrders": body["context"].pop("draftOrders"), "activeOrders": bundle()}
    cards = answered(body, service="patient-view-advisor").response["cards"]
    assert any("(20939)" in c["summary"] for c in cards)
    assert asking(cards) == []
