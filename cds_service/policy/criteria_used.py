"""Which of a version's criteria its rules, alternatives and findings read."""

from __future__ import annotations

from cds_service.policy.model import Item, Version, criterion_ids


def item_criteria(item: Item) -> set[str]:
    """Ids of the criteria that an item's rules and alternatives read."""
    expressions = [r.when for r in item.rules] + [a.when for a in item.alternatives if a.when]
    return {c for e in expressions for c in criterion_ids(e)}


def used_criteria(version: Version) -> set[str]:
    """Ids of the criteria that some rule, alternative or finding reads."""
    found = {c for f in version.findings for c in criterion_ids(f.when)}
    return found.union(*(item_criteria(i) for i in version.orders.values()))
