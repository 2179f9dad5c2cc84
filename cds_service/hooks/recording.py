"""What an answer leaves in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from cds_service.determination.decision import OrderDecision
from cds_service.hooks.answer import Answer, entries, findings, not_used
from cds_service.hooks.ids import new_id
from cds_service.hooks.runtime import Caller
from cds_service.ledger.record import CardRecord, Record
from cds_service.policy.trace import Trace
from cds_service.render.parts import RenderedCard


def card_record(rendered: RenderedCard, key: str, shown: bool) -> CardRecord:
    """A card as feedback will refer to it; `key` is the pseudonym of its finding."""
    card = rendered.card
    return CardRecord(
        uuid=card["uuid"],
        finding=key,
        kind=rendered.kind,
        indicator=card["indicator"],
        order=",".join(rendered.orders),
        policy=rendered.policy,
        version=rendered.version,
        rule=rendered.rule,
        suggestions=tuple((s["uuid"], s["label"]) for s in card.get("suggestions", ())),
        override_reasons=tuple(r["code"] for r in card.get("overrideReasons", ())),
        shown=shown,
    )


def policies_behind(rendered: RenderedCard) -> frozenset[str]:
    """Ids of all policies that had a part in a card."""
    found = {rendered.policy} | {f.policy for f in rendered.findings}
    found |= {d.governing.policy for d in rendered.waiting if d.governing}
    return frozenset(policy for policy in found if policy)


def held_back(done: Answer, caller: Caller) -> frozenset[str]:
    """Uuids of the cards that silent mode records but does not show: one silent policy behind a card is enough."""
    return frozenset(
        r.card["uuid"]
        for r in done.rendered
        if caller.silenced or any(caller.silent(policy) for policy in policies_behind(r))
    )


def shown(done: Answer, caller: Caller, silenced: frozenset[str]) -> dict[str, Any]:
    """The response without what silent mode holds back: cards, and system actions on orders of silent policies."""
    response = {**done.response, "cards": [c for c in done.response["cards"] if c["uuid"] not in silenced]}
    actions = response.pop("systemActions", None)
    if actions is not None:
        quiet = {d.order.ref for d in done.decision.orders if caller.silenced or _is_quiet(d, caller)}
        response["systemActions"] = [a for a in actions if not caller.silenced and _target(a) not in quiet]
    return response


def _is_quiet(decided: OrderDecision, caller: Caller) -> bool:
    return any(caller.silent(d.policy) for d in decided.determinations if d.policy)


def _target(action: dict[str, Any]) -> str:
    resource = action.get("resource") or {}
    return str(action.get("resourceId") or f"{resource.get('resourceType')}/{resource.get('id')}")


class _Traces:
    """Traces as the ledger keeps them (ledger/traces.py): a rule's that determinations share is written once."""

    def __init__(self) -> None:
        self.rules: list[Any] = []
        self.roots: list[Any] = []
        self._places: dict[int, int] = {}

    def place(self, trace: Trace | None, said: dict[str, Any]) -> list[Any]:
        """Where the root of a trace is, and what is said beside it."""
        if trace is None:
            return [None, said]
        self.roots.append((trace.id, trace.outcome, [self._rule(child) for child in trace.children]))
        return [len(self.roots) - 1, said]

    def _rule(self, trace: Trace) -> int:
        place = self._places.get(id(trace))
        if place is None:
            place = self._places[id(trace)] = len(self.rules)
            self.rules.append(_bare(trace))
        return place

    def written(self) -> bytes:
        """As JSON."""
        return orjson.dumps({"rules": self.rules, "roots": self.roots}, default=tuple)


def _bare(trace: Trace) -> list[Any]:
    """A trace without the policy's own words, which its version and the content revision say; no empty ends."""
    id_, op, outcome, _, evidence, missing, _, children = trace
    if missing:
        return [id_, op, outcome, [*map(_bare, children)], evidence, missing]
    if evidence:
        return [id_, op, outcome, [*map(_bare, children)], evidence]
    return [id_, op, outcome, [*map(_bare, children)]] if children else [id_, op, outcome]


def record(
    done: Answer, caller: Caller, received: datetime, pseudonym: Callable[..., str], silenced: frozenset[str]
) -> Record:
    """The record of one answer; `silenced` are uuids of cards that were held back."""
    traces = _Traces()
    told = entries(done, traces.place)
    for entry in told:
        entry["rule"] = entry["trace"][1].get("decided_by")
    policies = {f"{d['policy']}@{d['version']}" for d in told if d["policy"]}
    payer = next((d.payer for o in done.decision.orders for d in o.primary if d.payer), None)
    return Record(
        id=done.record_id or new_id(),
        received=received,
        hook=done.request.hook,
        hook_instance=done.request.hook_instance,
        service=done.service.id,
        client=caller.id,
        request=done.request.body,
        response=done.response,
        determinations=tuple(told),
        traces=traces.written(),
        findings=tuple(findings(done)),
        not_used=tuple(not_used(done)),
        cards=tuple(
            card_record(r, pseudonym(caller.id, r.finding), r.card["uuid"] not in silenced) for r in done.rendered
        ),
        explanations=done.explanations,
        revision=done.revision,
        policies=tuple(sorted(policies)),
        fetched=tuple(done.fetched),
        timing={**done.timing.stages, "total": sum(done.timing.stages.values())},
        payer=payer,
        jti=caller.jti,
    )
