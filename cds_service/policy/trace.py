"""The trace: why a criterion, a rule or a policy came out as it did, with evidence and citations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from cds_service.policy.logic import Outcome

Json = dict[str, Any]
_WORDS = {outcome: outcome.value for outcome in Outcome}


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

    def to_json(self, *, known: dict[int, Json] | None = None) -> Json:
        """Plain data, empty members left out.

        `known` holds what became of nodes before, by identity: nodes that several traces share are made once.
        """
        id_, op, outcome, text, evidence, missing, cites, children = self
        node: Json = {"id": id_, "op": op, "outcome": _WORDS[outcome]}
        if text:
            node["text"] = text
        if evidence:
            node["evidence"] = [_evidence(*e) for e in evidence]
        if missing:
            node["missing"] = [{"text": t, "source": source, "state": state} for t, source, state in missing]
        if cites:
            node["cites"] = list(cites)
        if children:
            node["children"] = below = []
            for child in children:
                made = known.get(id(child)) if known is not None else None
                if made is None:
                    made = child.to_json(known=known)
                    if known is not None:
                        known[id(child)] = made
                below.append(made)
        return node

    @classmethod
    def from_json(cls, node: Json) -> Trace:
        """Read what `to_json` wrote."""
        return cls(
            node["id"],
            node["op"],
            Outcome(node["outcome"]),
            node.get("text", ""),
            tuple([Evidence(**{"ref": "", **told}) for told in node.get("evidence", ())]),
            tuple([Missing(**told) for told in node.get("missing", ())]),
            tuple(node.get("cites", ())),
            tuple([cls.from_json(child) for child in node.get("children", ())]),
        )


def _evidence(ref: str, text: str, code: str) -> Json:
    told = {"ref": ref} if ref else {}
    if text:
        told["text"] = text
    if code:
        told["code"] = code
    return told
