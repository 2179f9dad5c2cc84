"""Two kinds of not knowing, kept apart: what a chart does not say may be asked, what a policy says may not.

A clinician can look into the chart, and not into the mind of a payer. What an encoding does not know of its policy is a
`gap`: it is listed here, shown on the pages of the policy, and asked of nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cds_service.policy.content import Content
from cds_service.policy.model import Item, Otherwise, Policy, Rule, Version
from cds_service.policy.source import Path

# Words by which a question turns to the policy: to the document, to who wrote it, or to what it calls its criteria.
_POLICY = re.compile(
    r"\b(?:polic(?:y|ies)|payers?|insurers?|guidelines?|bulletins?|criteria|determinations?|fee schedule|wording|"
    r"version of|covered|carelon|lcds?|ncds?)\b"
    r"|\b(?:the|this|that|own|health) plan\b|\bplan's\b|\bplans? (?:say|support|cover|accept|ask)s?\b",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(r"\b[A-Z]{2,}[- .]?\d{3,}\b")  # CPB 0743, CMM-604, TRANS.00035
_ABOUT_CARE = re.compile(r"\b(?:care|treatment|surgical|operative|preoperative|discharge) plan\b", re.IGNORECASE)


def asks_of_policy(text: str, names: Iterable[str] = ()) -> str | None:
    """The words by which a question asks what a policy says, None where it asks for a fact. `names`: of payers."""
    plain = _ABOUT_CARE.sub("", text)
    found = _POLICY.search(plain) or _DOCUMENT.search(plain)
    if found:
        return found[0]
    return next((n for n in names if re.search(rf"\b{re.escape(n)}\b", plain, re.IGNORECASE)), None)


def payer_names(content: Content, policy: Policy) -> frozenset[str]:
    """Names by which a question may turn to a payer: of all in the registry, and of who published the policy."""
    every = {name for p in content.payers.values() for name in (p.label, *p.names)}
    own = (policy.publisher, policy.short_title.split()[0]) if policy.kind == "coverage" else ()
    return frozenset({*every, *own})


def questions(version: Version) -> Iterator[tuple[Path, str]]:
    """Every question of a version, with its place."""
    for name, criterion in version.criteria.items():
        if criterion.ask is not None:
            yield ("criteria", name, "ask", "question"), criterion.ask.question
    for item_id, item in version.orders.items():
        for _, at, rule in _rules(item):
            if rule.asks:
                yield ("orders", item_id, *at, "asks"), rule.asks
    for index, finding in enumerate(version.findings):
        if finding.asks:
            yield ("findings", index, "asks"), finding.asks


def unanswerable(version: Version) -> Iterator[tuple[Path, str]]:
    """Rules that want information and name none that would settle them: neither a question nor a gap."""
    for item_id, item in version.orders.items():
        for name, at, rule in _rules(item):
            if rule.outcome == "needs-information" and not rule.asks and not rule.gap:
                yield ("orders", item_id, *at), name


def gap_places(version: Version) -> Iterator[tuple[Path, str]]:
    """Every gap of a version, with its place."""
    for item_id, item in version.orders.items():
        for _, at, rule in _rules(item):
            if rule.gap:
                yield ("orders", item_id, *at, "gap"), rule.gap


def faults(version: Version) -> Iterator[tuple[Path, str, str]]:
    """Gaps beside what contradicts them: place, text, cure."""
    for item_id, item in version.orders.items():
        for name, at, rule in _rules(item):
            if not rule.gap:
                continue
            path: Path = ("orders", item_id, *at)
            if rule.asks:
                text = f"'{name}' has a gap and asks: nobody can be asked what a policy says."
                yield (*path, "asks"), text, "Keep one."
            elif rule.outcome != "needs-information":
                text = f"'{name}' has a gap, and its outcome is '{rule.outcome}'."
                yield (*path, "outcome"), text, "Write 'needs-information', or remove 'gap'."


def _rules(item: Item) -> Iterator[tuple[str, Path, Rule | Otherwise]]:
    for index, rule in enumerate(item.rules):
        yield rule.id, ("rules", index), rule
    yield "otherwise", ("otherwise",), item.otherwise
