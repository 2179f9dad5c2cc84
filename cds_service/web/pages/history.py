"""What changed from one version of a policy to the next, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from cds_service.policy.model import Item, Policy, Version
from cds_service.web.pages.sentences import CONFIDENCE, how


class Difference(NamedTuple):
    """One change: `added`, `removed` or `changed`, of what, and how it reads now and before."""

    kind: str
    what: str
    now: str = ""
    before: str = ""


class Step(NamedTuple):
    """A version with what it changed against the one before; `first` has nothing before it."""

    version: Version
    differences: tuple[Difference, ...]
    first: bool


def steps(policy: Policy) -> list[Step]:
    """Versions, newest first. Versions are written oldest first, or dated: the effective date decides."""
    ordered = sorted(policy.versions, key=lambda v: v.effective.from_.isoformat() if v.effective.from_ else "")
    found = [Step(ordered[0], (), True)]
    found += [Step(new, tuple(differences(old, new)), False) for old, new in pairwise(ordered)]
    return found[::-1]


def differences(old: Version, new: Version) -> Iterator[Difference]:
    """Criteria, items, rules, remarks and sources that differ."""
    yield from _compared("criterion", _criteria(old), _criteria(new))
    yield from _compared("item", _items(old), _items(new))
    for name, item in new.orders.items():
        if name in old.orders:
            yield from _compared("rule", _rules(name, old.orders[name]), _rules(name, item))
    yield from _compared(
        "remark", {f.id: (f.text, f.when) for f in old.findings}, {f.id: (f.text, f.when) for f in new.findings}
    )
    yield from _compared("source", _sources(old), _sources(new))


def _compared(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for name, value in new.items():
        if name not in old:
            yield Difference("added", f"{kind} {name}", value[0])
        elif old[name] != value:
            yield Difference("changed", f"{kind} {name}", value[0], old[name][0])
    for name, value in old.items():
        if name not in new:
            yield Difference("removed", f"{kind} {name}", before=value[0])


def _criteria(version: Version) -> dict[str, Any]:
    found = {}
    for name, c in version.criteria.items():
        sentence = "".join(p.text or p.value_set for p in how(c))
        found[name] = (f"{c.text} {sentence} (absent: {c.when_absent})", c)
    return found


def _items(version: Version) -> dict[str, Any]:
    return {name: (f"{i.label}: orders in {i.value_set}", i.value_set, i.given) for name, i in version.orders.items()}


def _rules(name: str, item: Item) -> dict[str, Any]:
    rules: dict[str, Any] = {
        f"{name}/{r.id}": (f"{r.outcome}, prior authorization {r.prior_authorization}: {r.because}", r)
        for r in item.rules
    }
    other = item.otherwise
    rules[f"{name}/otherwise"] = (f"{other.outcome}: {other.because}", other)
    return rules


def _sources(version: Version) -> dict[str, Any]:
    return {name: (f"{s.title} ({CONFIDENCE[s.confidence]})", s) for name, s in version.sources.items()}
