"""What a change of policies changes: outcomes of one order before and after, and what made the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cds_service.policy.evaluate import Verdict
from cds_service.policy.model import Otherwise, Rule, Version
from cds_service.policy.trace import Trace

STRUCTURE = frozenset({"rules", "rule", "otherwise", "given", "all", "any", "not", "at_least", "always"})


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


def days_of(version: Version) -> str:
    """The days on which a version is in force."""
    start, end = version.effective.from_, version.effective.to
    return " ".join((f"from {start}" if start else "from the first", f"to {end}" if end else "on"))


def change(case: str, code: str, before: Verdict | None, after: Verdict | None) -> Change | None:
    """The change of one order, or None when all that cards tell of a ruling is the same: see `_ruling`."""
    either = after or before
    if either is None:
        return None
    if before and after and _ruling(before) == _ruling(after):
        return None
    return Change(
        case,
        either.order.ref,
        code,
        either.version.policy.id,
        before.outcome if before else None,
        after.outcome if after else None,
        tuple(_reasons(before, after)),
    )


def _ruling(verdict: Verdict) -> tuple[str | None, ...]:
    return verdict.outcome, verdict.rule, verdict.prior_authorization, verdict.recommendation, verdict.gap


def _reasons(before: Verdict | None, after: Verdict | None) -> Iterator[str]:
    if before is None or after is None:
        spoken = before or after
        assert spoken is not None
        yield f"'{spoken.item.id}' ({spoken.version.key}) {'no longer speaks' if before else 'now speaks'} to the order"
        return
    old, new = before.version.version.version, after.version.version.version
    if old != new:
        yield f"version {old} was in force, now {new}"
    if before.item.id != after.item.id:
        yield f"judged as '{before.item.id}', now as '{after.item.id}'"
    yield from _said(before, after)
    yield from _criteria(before, after)
    yield from _rules(before, after)


def _said(before: Verdict, after: Verdict) -> Iterator[str]:
    """What is said beside the outcome."""
    if before.prior_authorization != after.prior_authorization:
        yield f"prior authorization was {before.prior_authorization}, now {after.prior_authorization}"
    if before.recommendation != after.recommendation:
        yield f"recommendation was {before.recommendation or 'not given'}, now {after.recommendation or 'not given'}"


def criteria_outcomes(trace: Trace) -> dict[str, str]:
    """Outcome of each criterion that was evaluated."""
    return {t.id: t.outcome.value for t in trace.walk() if t.op not in STRUCTURE}


def _criteria(before: Verdict, after: Verdict) -> Iterator[str]:
    was, now = criteria_outcomes(before.trace), criteria_outcomes(after.trace)
    for name in was:
        if name in now and was[name] != now[name]:
            yield f"criterion '{name}' was {was[name]}, now {now[name]}"
    for name in now:
        if name not in before.version.version.criteria:
            yield f"criterion '{name}' is new: {now[name]}"
    for name in was:
        if name not in after.version.version.criteria:
            yield f"criterion '{name}' is gone: it was {was[name]}"


def _rules(before: Verdict, after: Verdict) -> Iterator[str]:
    was, now = _by_id(before), _by_id(after)
    for name in dict.fromkeys((*_deciders(before), *_deciders(after))):
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


def _by_id(verdict: Verdict) -> dict[str, Rule | Otherwise]:
    item = verdict.item.item
    return {**{r.id: r for r in item.rules}, "otherwise": item.otherwise}


def _deciders(verdict: Verdict) -> tuple[str, ...]:
    """The rules that an outcome rests on: those that wait for information, and the one that was reached."""
    rules = [t.id for t in verdict.trace.children if t.op == "rule" and t.outcome in ("unknown", "met")]
    reached = [t.id for t in verdict.trace.children if t.op == "otherwise"]
    return (*rules, *reached)
