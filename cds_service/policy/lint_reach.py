"""Proofs for lint that something is never reached: items behind others, and windows that hold no day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from cds_service.policy.dates import back
from cds_service.policy.model import ProcedureTest, ValueSet, Version
from cds_service.policy.vocabulary import CodeSet, Vocabulary

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
    """A value set and all that it includes."""
    found, ahead = set(), [name]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += sets[name].includes
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
    return any(start.startswith(p.prefix) for p in other.prefixes.get(system, ()))


def no_day(test: ProcedureTest) -> str:
    """Why no day lies within the windows of a history; empty when one does."""
    for name in ("within", "after"):
        start, end = getattr(test, name), test.before
        if start is None or end is None:
            continue
        # `within` takes its last day too, `after` does not
        if all(back(d, end) < back(d, start) or (name == "after" and back(d, end) == back(d, start)) for d in _DAYS):
            return f"no day is both in '{name}' and in 'before'"
    return ""
