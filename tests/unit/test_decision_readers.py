"""Everything that is said of a decision is made of its JSON and of the policies' wording: no engine is asked again.

decisions/graft.json is what `decide` makes of `CASE`; rewrite it with `python tests/unit/test_decision_readers.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from support.small import DAY, Json, book, case, cover, decided, item, policy, rule

from cds_service.determination.crd_outcome import Authority
from cds_service.determination.decision import Decision
from cds_service.hooks.answer import Answer, determinations, findings
from cds_service.hooks.crd_assert import Speaker
from cds_service.hooks.recording import record
from cds_service.hooks.request import HookRequest
from cds_service.hooks.runtime import Caller
from cds_service.hooks.services import ADVISORS
from cds_service.policy.case import Case, Code, Condition
from cds_service.render import crd
from cds_service.render.cards import render
from cds_service.render.explanation import explain
from cds_service.render.parts import Context, RenderedCard
from cds_service.render.policies import Policies
from cds_service.render.questionnaire import open_forms, questionnaire
from cds_service.replay.changes import changes

FILE = Path(__file__).parent / "decisions" / "graft.json"
BASE = "http://127.0.0.1:8140"
CRITERIA: Json = {
    "ill": {"text": "An illness is recorded.", "condition": {"value_set": "illness"}, "when_absent": "not-met"},
    "asked": {"text": "It was tried.", "asked": {}, "ask": {"question": "Was it tried?"}},
    "beside": {"text": "Drawn as well.", "companion": {"value_set": "marrow"}},
}
POLICIES = (
    policy(
        "a/one",
        criteria=CRITERIA,
        orders={
            "bone": item("bone", rule("no", "ill", "not-supported")),
            "local": item("local", rule("tried", "asked", "supported", prior_authorization="required")),
        },
    ),
    policy(
        "r/one",
        "safety",
        criteria=CRITERIA,
        findings=[{"id": "twice", "about": "bone", "when": "beside", "text": "Two grafts.", "cite": ["s"]}],
    ),
)
CASE = case(
    "22551", "20930", "20936", "20939",
    conditions=(Condition("Condition/c", (Code("icd-10-cm", "M48.02"),), text="narrow canal"),),
    coverages=(cover("acme", order=1), cover("nobody", order=2)),
)  # fmt: skip
BONE, LOCAL = "ServiceRequest/20930", "ServiceRequest/20936"


def made() -> Decision:
    """What the engine makes of the case."""
    return decided(book(*POLICIES), CASE, payer_wanted=True).decision


@pytest.fixture
def decision() -> Decision:
    """As the file has it."""
    return Decision.from_json(FILE.read_bytes())


@pytest.fixture
def policies() -> Policies:
    found = book(*POLICIES)
    return Policies(found.folders, found.vocabulary)


@pytest.fixture
def context(policies: Policies) -> Context:
    numbers = count(1)
    return Context(
        policies=policies,
        patient_ref="Patient/p",
        drafts={},
        uri_of=lambda code: code.system,
        new_id=lambda: f"card-{next(numbers)}",
        link=lambda uuid: f"{BASE}/explanations/{uuid}",
    )


def answered(decision: Decision, policies: Policies, rendered: tuple[RenderedCard, ...] = ()) -> Answer:
    service = ADVISORS[0]
    request = HookRequest(service.hook, "i", {"patientId": "p"}, {}, None, {}, {})
    cards = [r.card for r in rendered]
    return Answer({"cards": cards}, request, service, Case(), policies, decision, rendered=list(rendered))


def test_the_file_is_what_is_decided(decision: Decision) -> None:
    assert decision == made(), f"run: python tests/unit/{Path(__file__).name}"


def test_a_decision_is_the_same_after_it_was_written(decision: Decision) -> None:
    assert Decision.from_json(decision.to_json()) == decision
    assert json.loads(decision.to_json()) == json.loads(FILE.read_bytes())


def test_cards(decision: Decision, context: Context) -> None:
    told = {r.kind: (r.orders, r.card["summary"], r.card["indicator"]) for r in render(decision, context)}
    assert told == {
        "safety": ((BONE,), "Two grafts.", "critical"),
        "not-supported": ((BONE,), told["not-supported"][1], "warning"),
        "missing": ((LOCAL,), "More information is needed for local (20936)", "info"),
    }
    assert "Bone (20930)" in told["not-supported"][1]
    detail = next(r.card["detail"] for r in render(decision, context) if r.kind == "not-supported")
    assert "because no" in detail
    assert "narrow canal (Condition" in detail


def test_coverage_information(decision: Decision, policies: Policies) -> None:
    everybody = Authority(True, lambda _said: True)
    speaker = Speaker(
        decision, policies, cover("acme"), everybody, "found", "2.2", BASE, "rec", DAY, asks_for_documents=True
    )
    said = {}
    for each in decision.orders:
        (told,) = speaker.assertions(each.order, {"resourceType": "ServiceRequest"}, each)
        extension = crd.extension(told, "2.2")
        said[each.order.ref] = [crd.part(extension, part) for part in ("covered", "pa-needed", "questionnaire")]
    assert said[BONE] == ["not-covered", None, None]
    assert said[LOCAL][:2] == ["conditional", "conditional"]
    assert str(said[LOCAL][2]).startswith(f"{BASE}/Questionnaire/")
    assert said["ServiceRequest/22551"] == ["indeterminate", "indeterminate", None]


def test_explanations(decision: Decision, context: Context) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    pages = {r.kind: explain(r, context, now) for r in render(decision, context) if r.about is not None}
    assert set(pages) == {"not-supported", "missing"}
    assert pages["not-supported"]["parts"][1]["clinician"] == ["because no"]
    assert [m["text"] for m in pages["missing"]["missing"]] == ["Was it tried?"]
    assert "narrow canal" not in json.dumps(pages)  # the chart's own words are for the card alone


def test_a_ledger_record(decision: Decision, policies: Policies, context: Context) -> None:
    done = answered(decision, policies, tuple(render(decision, context)))
    kept = record(done, Caller("c"), datetime(2026, 6, 1, tzinfo=UTC), lambda *parts: "|".join(parts), frozenset())
    outcomes = {d["order"]: (d["outcome"], d["rule"]) for d in kept.determinations if d["role"] == "primary"}
    assert outcomes[BONE] == ("not-supported", "no")
    assert outcomes[LOCAL] == ("needs-information", None)
    assert [c.kind for c in kept.cards] == ["safety", "not-supported", "missing"]
    assert (kept.payer, kept.policies) == ("acme", ("a/one@1",))
    assert json.loads(kept.traces)["rules"]


def test_replay_rows(decision: Decision, policies: Policies) -> None:
    after = answered(decision, policies)
    rows = {d["order"]: d for d in determinations(after) if d["role"] == "primary"}
    assert rows[BONE]["trace"]["children"][0]["id"] == "no"
    assert [f["text"] for f in findings(after)] == ["Two grafts."]
    assert list(changes(after, after, "e")) == []
    orders = tuple(d for d in decision.orders if d.order.ref != BONE)
    fewer = answered(replace(decision, orders=orders), policies)
    assert (BONE, "not-supported", None) in [(c.order, c.before, c.after) for c in changes(after, fewer, "e")]


def test_questionnaires(decision: Decision, policies: Policies) -> None:
    forms = {d.order.ref: [f for s in d.primary for f in open_forms(s, policies.folders)] for d in decision.orders}
    assert forms[BONE] == []
    (form,) = forms[LOCAL]
    asked = [i["text"] for i in questionnaire(form, BASE)["item"] if i["type"] == "boolean"]
    assert asked == ["Was it tried?"]


def test_what_was_not_looked_at_is_told(decision: Decision) -> None:
    assert [(n.ref, str(n.kind)) for n in decision.not_looked_at] == [("Coverage/nobody", "not-first")]


if __name__ == "__main__":
    FILE.write_text(json.dumps(json.loads(made().to_json()), indent=1) + "\n", encoding="utf-8")
