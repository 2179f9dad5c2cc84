"""What an answer leaves in the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from cds_service.hooks.answer import Answer, determinations, findings
from cds_service.hooks.runtime import Caller
from cds_service.ledger.record import CardRecord, Record
from cds_service.render.cards import RenderedCard


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


def record(done: Answer, caller: Caller, received: datetime, pseudonym: Any, silenced: frozenset[str]) -> Record:
    """The record of one answer; `silenced` are uuids of cards that were held back."""
    entries = determinations(done)
    policies = {f"{d['policy']}@{d['version']}" for d in entries if d["policy"]}
    payer = next((d.payer for r in done.results for d in r.primary if d.payer), None)
    return Record(
        id=str(uuid4()),
        received=received,
        hook=done.request.hook,
        hook_instance=done.request.hook_instance,
        service=done.service.id,
        client=caller.id,
        request=done.request.body,
        response=done.response,
        determinations=tuple(entries),
        findings=tuple(findings(done)),
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
