"""The trace: why a criterion, a rule or a policy came out as it did, with evidence and citations.

Tuples, because a call makes some hundred of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from cds_service.policy.logic import Outcome


class Evidence(NamedTuple):
    """A fact that was used: the FHIR reference, what was read there in our own words, its code."""

    ref: str
    text: str = ""
    code: str = ""


MOST_EVIDENCE = 20  # facts a node names; a thousand orders that each name a thousand others would drown any reader


def few(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """The first facts of many; the last of them says how many more there are."""
    if len(evidence) <= MOST_EVIDENCE:
        return evidence
    last = evidence[MOST_EVIDENCE - 1]
    more = len(evidence) - MOST_EVIDENCE
    return (*evidence[: MOST_EVIDENCE - 1], last._replace(text=f"{last.text}, and {more} more".removeprefix(", ")))


class Missing(NamedTuple):
    """Information that would settle an unknown: which, where it was looked for, what was found there."""

    text: str
    source: str
    state: str


class Trace(NamedTuple):
    """One node: a criterion (`op` is its operator), a combinator (`all`, `any`, `not`, `at_least`) or a rule."""

    id: str
    op: str
    outcome: Outcome
    text: str = ""
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[Missing, ...] = ()
    cites: tuple[str, ...] = ()
    children: tuple[Trace, ...] = ()

    def walk(self) -> Iterator[Trace]:
        """This node and all below it, depth first."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def open_questions(self) -> tuple[Missing, ...]:
        """What is missing, from the unknown branches only, each once."""
        if self.outcome is not Outcome.UNKNOWN:
            return ()
        found = dict.fromkeys(self.missing)
        for child in self.children:
            found.update(dict.fromkeys(child.open_questions()))
        return tuple(found)

    def to_json(self, *, brief: bool = False) -> dict[str, Any]:
        """Plain data, empty members left out.

        `brief` leaves out the policy's own words and citations: its version and content revision say them.
        """
        node: dict[str, Any] = {"id": self.id, "op": self.op, "outcome": self.outcome.value}
        if self.text and not brief:
            node["text"] = self.text
        if self.evidence:
            node["evidence"] = [
                {k: v for k, v in (("ref", e.ref), ("text", e.text), ("code", e.code)) if v} for e in self.evidence
            ]
        if self.missing:
            node["missing"] = [{"text": m.text, "source": m.source, "state": m.state} for m in self.missing]
        if self.cites and not brief:
            node["cites"] = list(self.cites)
        if self.children:
            node["children"] = [child.to_json(brief=brief) for child in self.children]
        return node
