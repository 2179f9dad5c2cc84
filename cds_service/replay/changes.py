"""What one event gets from two policy sets: for whom the outcome changes, and by which criterion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cds_service.determination.decision import Finding, JudgedOrder
from cds_service.determination.difference import Said, change
from cds_service.hooks.answer import Answer

Key = tuple[str, str, str]  # order, policy, role


@dataclass(frozen=True)
class Changed:
    """One order that a policy judges differently. `before`/`after` are None where it does not speak.

    `first` marks the first change of an order, so that changed orders can be counted.
    """

    order: str
    code: str
    policy: str
    role: str
    before: str | None
    after: str | None
    reasons: tuple[str, ...]
    first: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {k: v for k, v in asdict(self).items() if k != "first"}


def changes(before: Answer | None, after: Answer | None, event: str) -> Iterator[Changed]:
    """Changes of one event, in the order of its orders. An answer is None where the event was refused."""
    if before is None or after is None:
        if before is not after:
            was, now = ("refused", "answered") if before is None else ("answered", "refused")
            yield Changed("", "", "", "", was, now, (f"the event was {was}, now {now}",), True)
        return
    seen: set[str] = set()
    for found in (*_verdicts(before, after, event), *_remarks(before, after)):
        yield Changed(**{**asdict(found), "first": found.order not in seen})
        seen.add(found.order)


def _verdicts(before: Answer, after: Answer, event: str) -> Iterator[Changed]:
    was, now = _by_key(before), _by_key(after)
    orders = {d.order.ref: d.order for d in (*before.decision.orders, *after.decision.orders)}
    for key in dict.fromkeys((*now, *was)):
        order, policy, role = key
        found = change(event, order, _code(orders[order]), was.get(key), now.get(key))
        if found is not None:
            yield Changed(order, found.code, policy, role, found.before, found.after, found.reasons)


def _by_key(done: Answer) -> dict[Key, Said]:
    return {
        (o.order.ref, d.policy, d.role): Said(d, done.policies.spoken(d).version)
        for o in done.decision.orders
        for d in o.spoken
        if d.policy is not None
    }


def _code(order: JudgedOrder) -> str:
    preferred = [c for c in order.codes if c.system in ("cpt", "hcpcs")]
    return next((c.code for c in (*preferred, *order.codes)), "")


def _remarks(before: Answer, after: Answer) -> Iterator[Changed]:
    was, now = _findings(before), _findings(after)
    for key in dict.fromkeys((*now, *was)):
        if (key in was) != (key in now):
            finding = (now if key in now else was)[key]
            order = (after if key in now else before).decision.of(finding.order).order
            gone = key not in now
            reason = f"remark '{finding.rule}' is {'no longer ' if gone else ''}made"
            before_, after_ = ("remark", None) if gone else (None, "remark")
            yield Changed(finding.order, _code(order), key[1], finding.kind, before_, after_, (reason,))


def _findings(done: Answer) -> dict[Key, Finding]:
    return {(f.order, f.policy, f.rule): f for o in done.decision.orders for f in o.findings}
