"""What an approval is bound to: the content of a version as it was when somebody approved it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from cds_service.policy.model import OPERATORS, Policy, ValueSet, Version

_LENGTH = 16  # of the hash, in hexadecimal digits


def content_hash(version: Version, value_sets: Mapping[str, ValueSet]) -> str:
    """Hash of all that decides: the version without its review, and every value set that it names, by content.

    Titles and sources of value sets do not count, nor does the day of the last confirmation.
    """
    told = version.model_dump(mode="json", by_alias=True, exclude={"review", "last_confirmed_on"})
    sets = {name: _members(value_sets[name]) for name in sorted(_used(version, value_sets))}
    text = json.dumps([told, sets], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _members(value_set: ValueSet) -> object:
    return value_set.model_dump(mode="json", exclude={"title", "source", "format"})


def _used(version: Version, value_sets: Mapping[str, ValueSet]) -> set[str]:
    found: set[str] = set()
    ahead = list(named_sets(version))
    while ahead:
        name = ahead.pop()
        if name in value_sets and name not in found:
            found.add(name)
            ahead += value_sets[name].includes
            if beside := value_sets[name].with_code:
                ahead.append(beside.value_set)
    return found


def named_sets(version: Version) -> set[str]:
    """Value sets that a version names."""
    found = {f.about for f in version.findings}
    found |= {n for i in version.orders.values() for n in (i.value_set, i.given) if n}
    for criterion in version.criteria.values():
        # One that is faulty may have no operator; its fault is told elsewhere.
        arguments = next((test for name in OPERATORS if (test := getattr(criterion, name)) is not None), None)
        found |= {n for key in ("value_set", "equals", "stopped_because") if (n := getattr(arguments, key, None))}
    return found


def is_changed(version: Version, value_sets: Mapping[str, ValueSet]) -> bool:
    """Was the version changed since it was approved, as far as the approval says what was?"""
    approved = version.review.content
    return approved is not None and approved != content_hash(version, value_sets)


def as_approved(policy: Policy, value_sets: Mapping[str, ValueSet]) -> Policy:
    """The policy with versions that were changed since their approval `submitted` again."""
    if not any(v.review.status == "approved" and is_changed(v, value_sets) for v in policy.versions):
        return policy
    versions = [
        v.model_copy(update={"review": v.review.model_copy(update={"status": "submitted"})})
        if v.review.status == "approved" and is_changed(v, value_sets)
        else v
        for v in policy.versions
    ]
    return policy.model_copy(update={"versions": versions})
