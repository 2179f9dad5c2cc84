"""What a change of policies changes: outcomes of one order before and after, and what made the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cds_service.determination.decision import Determination
from cds_service.policy.diff import STRUCTURE
from cds_service.policy.model import Otherwise, Rule, Version


@dataclass(frozen=True)
class Change:
    """One order of one case that a policy judges differently. Outcomes are None where the policy does not speak.

    Where they are the same, `reasons` say what else differs: rule, prior authorization or recommendation.
    """

    case: str
    order: str
    code: str
    policy: str
    before: str | None
    after: str | None
    reasons: tuple[str, ...]


class Said(NamedTuple):
    """What one policy said of an order, and the version that said it."""

    said: Determination
    version: Version

    @property
    def policy(self) -> str:
        """The policy."""
        return self.said.policy or ""


def change(case: str, order: str, code: str, before: Said | None, after: Said | None) -> Change | None:
    """The change of one order, or None when all that cards tell of a ruling is the same: see `_ruling`."""
    either = after or before
    if either is None:
        return None
    if before and after and _ruling(before) == _ruling(after):
        return None
    return Change(
        case,
        order,
        code,
        either.policy,
        before.said.outcome if before else None,
        after.said.outcome if after else None,
        tuple(_reasons(before, after)),
    )


def _ruling(one: Said) -> tuple[str | None, ...]:
    said = one.said
    return said.outcome, said.rule, said.prior_authorization, said.recommendation


def _reasons(before: Said | None, after: Said | None) -> Iterator[str]:
    if before is None or after is None:
        spoken = before or after
        assert spoken is not None
        yield f"'{spoken.said.item}' ({spoken.said.key}) {'no longer speaks' if before else 'now speaks'} to the order"
        return
    old, new = before.said.version, after.said.version
    if old != new:
        yield f"version {old} was in force, now {new}"
    if before.said.item != after.said.item:
        yield f"judged as '{before.said.item}', now as '{after.said.item}'"
    yield from _beside(before.said, after.said)
    yield from _criteria(before, after)
    yield from _rules(before, after)


def _beside(before: Determination, after: Determination) -> Iterator[str]:
    """What is said beside the outcome."""
    if before.prior_authorization != after.prior_authorization:
        yield f"prior authorization was {before.prior_authorization}, now {after.prior_authorization}"
    if before.recommendation != after.recommendation:
        yield f"recommendation was {before.recommendation or 'not given'}, now {after.recommendation or 'not given'}"


def _outcomes(said: Determination) -> dict[str, str]:
    """Outcome of each criterion that was evaluated."""
    return {t.id: t.outcome.value for rule in said.rules for t in rule.walk() if t.op not in STRUCTURE}


def _criteria(before: Said, after: Said) -> Iterator[str]:
    was, now = _outcomes(before.said), _outcomes(after.said)
    for name in was:
        if name in now and was[name] != now[name]:
            yield f"criterion '{name}' was {was[name]}, now {now[name]}"
    for name in now:
        if name not in before.version.criteria:
            yield f"criterion '{name}' is new: {now[name]}"
    for name in was:
        if name not in after.version.criteria:
            yield f"criterion '{name}' is gone: it was {was[name]}"


def _rules(before: Said, after: Said) -> Iterator[str]:
    was, now = _by_id(before), _by_id(after)
    for name in dict.fromkeys((*_deciders(before.said), *_deciders(after.said))):
        old, new = was.get(name), now.get(name)
        if old is None and new is not None:
            yield f"rule '{name}' is new: {new.outcome}"
        elif new is None and old is not None:
            yield f"rule '{name}' is gone: it gave {old.outcome}"
        elif old is not None and new is not None:
            if old.outcome != new.outcome:
                yield f"rule '{name}' gave {old.outcome}, now {new.outcome}"
            if isinstance(old, Rule) and isinstance(new, Rule) and old.when != new.when:
                yield f"rule '{name}' has another 'when'"
    if list(was) != list(now) and set(was) == set(now):
        yield "the rules stand in another order"


def _by_id(one: Said) -> dict[str, Rule | Otherwise]:
    item = one.version.orders[one.said.item or ""]
    return {**{r.id: r for r in item.rules}, "otherwise": item.otherwise}


def _deciders(said: Determination) -> tuple[str, ...]:
    """The rules that an outcome rests on: those that wait for information, and the one that was reached."""
    rules = [t.id for t in said.rules if t.op == "rule" and t.outcome in ("unknown", "met")]
    reached = [t.id for t in said.rules if t.op == "otherwise"]
    return (*rules, *reached)
