"""Small policies in memory, read and compiled as files are, and orders decided by them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from cds_service.determination.decide import decide
from cds_service.determination.decider import Decider
from cds_service.determination.decision import Decision, OrderDecision
from cds_service.determination.routing import PayerDirectory
from cds_service.determination.terms import Terms
from cds_service.policy.case import Case, Code, Coverage, Order, Source, SourceState
from cds_service.policy.content import read
from cds_service.policy.logic import Outcome
from cds_service.policy.operators.reads import SOURCES
from cds_service.policy.rulebook import Rulebook, compile_content
from cds_service.policy.trace import Missing, Trace

Json = dict[str, Any]
DAY = date(2026, 6, 1)
SYSTEM = "http://example.org/payer-id"
SOURCE = {"title": "S", "confidence": "recalled"}

ANTERIOR = {
    "role": "fusion",
    "region": ["cervical"],
    "approach": ["anterior"],
    "per": "interspace",
    "family": "anterior",
}
POSTERIOR = {"role": "fusion", "region": ["lumbar"], "approach": ["posterior"], "per": "interspace"}
GRAFT = {"role": "graft", "add_on": True, "requires": ["22551", "22612"]}
CATALOGUE: dict[str, Json] = {
    "22551": ANTERIOR,
    "22552": {**ANTERIOR, "add_on": True, "requires": ["22551"]},
    "22612": POSTERIOR,
    "22614": {**POSTERIOR, "add_on": True, "requires": ["22612"]},
    "63047": {"role": "decompression", "region": ["lumbar"]},
    "20930": GRAFT,
    "20936": GRAFT,
    "20939": GRAFT,
    "20974": {"role": "stimulator"},
}
# Each set by its codes; a word that is no code is a term. The catalogue does not have 99999.
SETS = {
    "fusion": "22551 22612",
    "neck": "22551",
    "back": "22612",
    "more": "22552 22614",
    "bone": "20930",
    "local": "20936",
    "marrow": "20939 aspirate",
    "grafts": "20930 20936 20939",
    "stimulator": "20974",
    "decompression": "63047",
    "illness": "M48.02",
    "uncharted": "99999",
}


def rule(own: str, when: Any, outcome: str, **more: Any) -> Json:
    return {"id": own, "when": when, "outcome": outcome, "because": f"because {own}", "cite": ["s"], **more}


def item(value_set: str, *rules: Json, otherwise: str = "not-addressed", **more: Any) -> Json:
    """An item; what begins with `otherwise_` goes there."""
    other = {k.removeprefix("otherwise_"): v for k, v in more.items() if k.startswith("otherwise_")}
    rest = {k: v for k, v in more.items() if not k.startswith("otherwise_")}
    last = {"outcome": otherwise, "because": "because otherwise", **other}
    return {"label": value_set.capitalize(), "value_set": value_set, "rules": list(rules), "otherwise": last, **rest}


def policy(own: str, kind: str = "coverage", payers: Iterable[str] = ("acme",), **version: Any) -> Json:
    """A policy of one version, open at both ends unless it says otherwise."""
    dated = {
        "version": "1",
        "effective": {"from": None, "to": None},
        "last_confirmed_on": "2026-01-01",
        "review": {"status": "submitted"},
        "sources": {"s": SOURCE},
        **version,
    }
    names = {"title": own, "short_title": own, "publisher": own, "notice": "unofficial encoding"}
    whose = {"payers": list(payers)} if kind == "coverage" else {}
    return {"format": 1, "id": own, "kind": kind, **names, **whose, "versions": [dated]}


def _set(own: str, members: str) -> Json:
    words = members.split()
    codes = [w for w in words if w[-1].isdigit()]
    system = {w: "icd-10-cm" if w[0].isalpha() else "cpt" for w in codes}
    listed = [{"system": system[w], "code": w, "label": w} for w in codes]
    terms = [w for w in words if w not in codes]
    return {"format": 1, "id": own, "title": own, "source": SOURCE, "codes": listed, "terms": terms}


def files(*policies: Json) -> dict[str, str]:
    """The files of a cards folder with these policies, the sets they name, the catalogue and three payers."""
    found: dict[str, Json] = {f"{p['id']}/policy.yaml": p for p in policies}
    text = json.dumps(policies)
    used = {name: members for name, members in SETS.items() if f'"{name}"' in text}
    found |= {f"value_sets/{name}.yaml": _set(name, members) for name, members in used.items()}
    rows = [{"system": "cpt", "code": c, "label": f"Procedure {c}", **entry} for c, entry in CATALOGUE.items()]
    found["procedures.yaml"] = {"format": 1, "source": SOURCE, "procedures": rows}
    payers = [
        {"id": p, "label": p.capitalize(), "identifiers": [{"system": SYSTEM, "value": p}]}
        for p in ("acme", "beta", "state")
    ]
    found["payers.yaml"] = {"format": 1, "payers": payers}
    return {name: json.dumps(data) for name, data in found.items()}


def book(*policies: Json) -> Rulebook:
    """The policies compiled; the same again is the same object."""
    return _book(json.dumps(policies))


@cache
def _book(policies: str) -> Rulebook:
    return compile_content(read(files(*json.loads(policies))))


def order(code: str, own: str | None = None, **parts: Any) -> Order:
    return Order(f"ServiceRequest/{own or code}", (Code("cpt", code),), **parts)


def cover(payer: str, own: str | None = None, **parts: Any) -> Coverage:
    return Coverage(f"Coverage/{own or payer}", ((SYSTEM, payer),), **parts)


def case(*orders: Order | str, unread: Iterable[str] = (), payers: Iterable[str] = ("acme",), **parts: Any) -> Case:
    """A case whose sources were all read, but for some; orders may be given by code."""
    away = Source(SourceState.UNAVAILABLE, "not supplied")
    sources = {s: away if s in unread else Source(SourceState.READ) for s in SOURCES}
    made = tuple(order(o) if isinstance(o, str) else o for o in orders)
    covers = parts.pop("coverages", tuple(cover(p) for p in payers))
    return Case(orders=made, coverages=covers, sources=sources, received=DAY, **parts)


@dataclass(frozen=True)
class Decided:
    """What was decided, by the last part of each order's reference."""

    facts: Case
    rulebook: Rulebook
    decision: Decision

    def __getitem__(self, own: str) -> OrderDecision:
        return next(d for d in self.decision.orders if d.order.ref.split("/")[1] == own)

    @property
    def decider(self) -> Decider:
        """The engine, for what only it can tell."""
        return Decider(self.facts, self.rulebook, terms_of(self.rulebook))


def terms_of(rulebook: Rulebook, **more: Any) -> Terms:
    """What a deployment adds to a rulebook, where it adds nothing else."""
    return Terms(PayerDirectory(rulebook.content.payers), **more)


def decided(rulebook: Rulebook, facts: Case, **terms: Any) -> Decided:
    """Decide every draft of a case."""
    return Decided(facts, rulebook, decide(facts, rulebook, terms_of(rulebook, **terms)))


def open_questions(trace: Trace) -> dict[Missing, None]:
    """What is missing in a trace, from its unknown branches only, each once: the long way round."""
    if trace.outcome is not Outcome.UNKNOWN:
        return {}
    below = [missing for child in trace.children for missing in open_questions(child)]
    return dict.fromkeys([*trace.missing, *below])
