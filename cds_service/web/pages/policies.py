"""Policies for people: the list, and one policy read like a bulletin."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

from flask import render_template, request

from cds_service.errors import NotFound
from cds_service.policy.content import PolicyFolder
from cds_service.policy.lint_questions import gap_places
from cds_service.policy.model import Policy, ValueSet, Version
from cds_service.policy.review import named_sets
from cds_service.web.hooks_api import runtime
from cds_service.web.pages import history, sentences
from cds_service.web.pages.blueprint import pages
from cds_service.web.pages.cases import Results, all_results

OUTCOMES = {"supported": "good", "not-supported": "bad", "needs-information": "open", "not-addressed": "still"}
REVIEWS = {"approved": "good", "under-review": "open", "submitted": "open"}
KINDS = ("coverage", "guideline", "coding", "safety")


class Row(NamedTuple):
    """One policy in the list; `version` is the one in force, else the newest."""

    policy: Policy
    version: Version
    in_force: bool
    results: Results


@pages.context_processor
def _words() -> dict[str, Any]:
    return {"confidence_words": sentences.CONFIDENCE, "outcome_class": OUTCOMES, "review_class": REVIEWS}


@pages.get("/policies")
def policies() -> str:
    """All policies; `kind` and `q` narrow the list."""
    kind, query = request.args.get("kind", ""), request.args.get("q", "").strip()
    rulebook = runtime().book.rulebook
    results = all_results(rulebook)
    today = runtime().now().date()
    rows = [_row(folder, today, results[name]) for name, folder in rulebook.folders.items()]
    rows.sort(key=lambda r: (KINDS.index(r.policy.kind), r.policy.publisher.casefold(), r.policy.short_title))
    shown = [r for r in rows if (not kind or r.policy.kind == kind) and _speaks_of(r.policy, query)]
    cases, passed = sum(len(r.results.cases) for r in rows), sum(r.results.passed for r in rows)
    totals = {"policies": len(rows), "cases": cases, "passed": "All" if passed == cases else f"{passed} of"}
    return render_template("policies.html", rows=shown, totals=totals, kinds=KINDS, kind=kind, query=query)


def _speaks_of(policy: Policy, query: str) -> bool:
    text = " ".join((policy.id, policy.title, policy.short_title, policy.publisher, *policy.keywords)).casefold()
    return all(word in text for word in query.casefold().split())


def _row(folder: PolicyFolder, today: date, results: Results) -> Row:
    version, in_force = _in_force(folder.policy, today)
    return Row(folder.policy, version, in_force, results)


def _in_force(policy: Policy, today: date) -> tuple[Version, bool]:
    for version in policy.versions:
        start, end = version.effective.from_, version.effective.to
        if (start is None or start <= today) and (end is None or today <= end):
            return version, True
    return policy.versions[-1], False


@pages.get("/policies/<publisher>/<name>")
def policy(publisher: str, name: str) -> str:
    """One policy; `version` shows one that is not in force."""
    rulebook = runtime().book.rulebook
    folder = rulebook.folders.get(f"{publisher}/{name}")
    if folder is None:
        raise NotFound("There is no such policy.")
    version, in_force = _chosen(folder.policy, request.args.get("version"))
    payers = [rulebook.content.payers[p].label for p in folder.policy.payers]
    return render_template(
        "policy.html",
        policy=folder.policy,
        version=version,
        in_force=in_force,
        payers=payers,
        how=sentences.how,
        absence=sentences.absence,
        clause=lambda expression: sentences.clause(expression, version),
        sets=_value_sets(version, rulebook.content.value_sets),
        titles={name: s.title for name, s in rulebook.content.value_sets.items()},
        number={name: n for n, name in enumerate(version.sources, 1)},
        holds=_holds,
        gaps=sum(1 for _ in gap_places(version)),
        steps=history.steps(folder.policy),
        results=all_results(rulebook)[folder.policy.id],
    )


def _chosen(policy: Policy, wanted: str | None) -> tuple[Version, bool]:
    current, in_force = _in_force(policy, runtime().now().date())
    if wanted is None or wanted == current.version:
        return current, in_force
    found = next((v for v in policy.versions if v.version == wanted), None)
    if found is None:
        raise NotFound("There is no such version.")
    return found, False


def _holds(found: ValueSet) -> str:
    """How much is in a value set, in words; what there is none of is left out."""
    counts = (
        (len(found.codes) + len(found.prefixes), "code"),
        (len(found.terms) + len(found.patterns), "term"),
        (len(found.includes), "other set"),
    )
    return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts if n)


def _value_sets(version: Version, known: Any) -> list[ValueSet]:
    """Value sets that a version names, with those they include or whose codes their words need, each once."""
    names = list(named_sets(version))
    found: dict[str, ValueSet] = {}
    while names:
        name = names.pop(0)
        if name not in found:
            found[name] = known[name]
            names += known[name].includes
            if beside := known[name].with_code:
                names.append(beside.value_set)
    return sorted(found.values(), key=lambda s: s.title.casefold())
