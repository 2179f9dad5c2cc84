"""Proofs for lint that something is never reached: items and rules behind others, bounds that nothing fits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from cds_service.policy.code_sets import CodeSet
from cds_service.policy.dates import back
from cds_service.policy.model import Criterion, ProcedureTest, Rule, ValueSet, Version
from cds_service.policy.propositions import Table
from cds_service.policy.vocabulary import Vocabulary

_DAYS = tuple(date(2024, 1, 1) + timedelta(days=n) for n in range(4 * 365 + 1))  # every day of a leap-year cycle


def item_before(item_id: str, version: Version, sets: Mapping[str, ValueSet], vocabulary: Vocabulary) -> str:
    """The items before an item that match all that it matches; empty where it may be reached."""
    own = version.orders[item_id].value_set
    before = []
    for name, item in version.orders.items():
        if name == item_id:
            break
        if own in _within(item.value_set, sets):
            return f"'{name}'"
        before.append((name, vocabulary.sets[item.value_set]))
    members = vocabulary.sets[own]
    takers = [name for name, other in before if _takes_some(other, members)]
    if members.reads_text or not _taken([other for _, other in before], members):
        return ""
    return " and ".join(f"'{name}'" for name in takers)


def _within(name: str, sets: Mapping[str, ValueSet]) -> set[str]:
    """A value set and all that it includes whole."""
    found, ahead = set(), [name]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += () if sets[name].without_seventh else sets[name].includes
    return found


def _takes_some(other: CodeSet, members: CodeSet) -> bool:
    return any(other.find(c) for c in members.codes) or any(
        _covers(other, system, p.prefix) for system, ps in members.prefixes.items() for p in ps
    )


def _taken(others: list[CodeSet], members: CodeSet) -> bool:
    """True when every code and every start of codes is a member of one of the others."""
    codes = all(any(o.find(c) for o in others) for c in members.codes)
    starts = [(system, p.prefix) for system, prefixes in members.prefixes.items() for p in prefixes]
    return bool(members.codes or starts) and codes and all(any(_covers(o, *s) for o in others) for s in starts)


def _covers(other: CodeSet, system: str, start: str) -> bool:
    return not other.without_seventh and any(start.startswith(p.prefix) for p in other.prefixes.get(system, ()))


def hidden(rule: Rule, before: list[Rule], proved: Table | None) -> str:
    """Why a rule is never reached; empty when it is, or when that cannot be proved."""
    for other in before:
        if other.when == "always":
            return f"'{other.id}' before it is always met"
        if other.when == rule.when:
            return f"'{other.id}' before it has the same 'when'"
    if proved is None:
        return ""
    left = proved.mask(rule.when)
    for other in before:
        if left & ~proved.mask(other.when) == 0:
            return f"'{other.id}' before it is met whenever it is"
    for other in before:
        left &= ~proved.mask(other.when)
    return "" if left else "the rules before it leave no case to it"


def impossible(criterion: Criterion) -> str:
    """Why no value or day lies within a criterion's bounds; empty when one does."""
    arguments = criterion.operator[1]
    low, high = getattr(arguments, "at_least", None), getattr(arguments, "at_most", None)
    above, below = getattr(arguments, "above", None), getattr(arguments, "below", None)
    under = getattr(arguments, "under", None)
    pairs: list[tuple[str, Any, str, Any, bool]] = [
        ("at least", low, "at most", high, False),
        ("at least", low, "under", under, True),
        ("at least", low, "below", below, True),
        ("above", above, "at most", high, True),
        ("above", above, "below", below, True),
    ]
    for floor, least, ceiling, most, strict in pairs:
        if least is not None and most is not None and (least > most or (strict and least == most)):
            return f"nothing is {floor} {least:g} and {ceiling} {most:g}"
    return _no_day(arguments) if isinstance(arguments, ProcedureTest) else ""


def _no_day(test: ProcedureTest) -> str:
    """Why no day lies within the windows of a history; empty when one does."""
    for name in ("within", "after"):
        start, end = getattr(test, name), test.before
        if start is None or end is None:
            continue
        # `within` takes its last day too, `after` does not
        if all(back(d, end) < back(d, start) or (name == "after" and back(d, end) == back(d, start)) for d in _DAYS):
            return f"no day is both in '{name}' and in 'before'"
    return ""
