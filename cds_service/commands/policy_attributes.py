"""Source attributes of every policy, as 45 CFR 170.315(b)(11)(iv)(A) asks of evidence-based decision support.

What a policy uses is read off its criteria, not declared: the list cannot fall behind the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cds_service.policy.code_sets import CodeSet
from cds_service.policy.content import Content
from cds_service.policy.criteria_used import used_criteria
from cds_service.policy.model import ContentSource, Criterion, Policy, Version
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary

DEVELOPER = "Whoever wrote the policy file, {read}; an unofficial encoding, not the publisher's own."
_READ = {
    "seen": "from the publisher's text or other sources that were read",
    "seen-2nd": "from summaries by others, as no source itself was read",
    "recalled": "from memory, as no source was read",
}  # best first
_CONFIDENCE = {"seen": "read at its source", "seen-2nd": "read in a summary by others", "recalled": "not read"}
FUNDING = "Not declared in the policy file."

# Data that no operator of the policy language reads: the answer is no for every policy.
NEVER = ("race", "ethnicity", "language", "sexual orientation", "gender identity", "sex")

# USCDI v3 Health Status Assessments that are results: smoking and pregnancy status, function, mental function.
_STATUS_RESULTS = frozenset({"72166-2", "39240-7", "82810-3", "11332-4", "95614-4", "44261-6", "93038-0"})
# ICD-10-CM chapters: Z55 to Z65 social determinants; F17, Z72.0, Z87.891 smoking; Z33, Z34, O pregnancy.
_SOCIAL = tuple(f"Z{n}" for n in range(55, 66))
_STATUS_DIAGNOSES = ("F17", "Z72.0", "Z87.891", "Z33", "Z34", "Z3A")


def attributes(content: Content) -> list[dict[str, Any]]:
    """One entry per policy version. Its release is its first day in force; its revision, the last date of a source."""
    vocabulary = compile_vocabulary(content.value_sets, content.procedures)
    return [
        _entry(folder.policy, version, vocabulary)
        for _, folder in sorted(content.policies.items())
        for version in folder.policy.versions
    ]


def _entry(policy: Policy, version: Version, vocabulary: Vocabulary) -> dict[str, Any]:
    sources, released = version.sources.values(), version.effective.from_
    revised = max((s.date for s in sources if s.date), default=None)
    best = next((c for c in _READ if any(s.confidence == c for s in sources)), "recalled")
    return {
        "policy": policy.id,
        "version": version.version,
        "title": policy.title,
        "bibliographic citation": [f"{citation(s)} ({_CONFIDENCE[s.confidence]})" for s in sources],
        "developer": DEVELOPER.format(read=_READ[best]),
        "publisher of the policy": policy.publisher,
        "funding source": FUNDING,
        "release date": released.isoformat() if released else None,
        "revision date": revised.isoformat() if revised else None,
        "last confirmed on": version.last_confirmed_on.isoformat(),
        "review": version.review.status,
        "uses": uses(version, vocabulary),
    }


def citation(source: ContentSource) -> str:
    """Title, section, date or year, and address of a source."""
    parts = (source.title, source.section, source.date or source.year, source.url)
    return ", ".join(str(p) for p in parts if p)


def uses(version: Version, vocabulary: Vocabulary) -> dict[str, list[str]]:
    """Each attribute the rule asks about -> the criteria that use it; an empty list means it is not used."""
    found: dict[str, list[str]] = {name: [] for name in NEVER}
    found |= {"date of birth": [], "social determinants of health": [], "health status assessments": []}
    for name in sorted(used_criteria(version)):
        for attribute in _of_criterion(version.criteria[name], vocabulary):
            found[attribute].append(name)
    return found


def _of_criterion(criterion: Criterion, vocabulary: Vocabulary) -> Iterator[str]:
    operator, arguments = criterion.operator
    if operator == "age":
        yield "date of birth"
    if operator in ("condition", "indication", "observation"):
        members = vocabulary.sets[arguments.value_set]
        if _starts(members, _SOCIAL):
            yield "social determinants of health"
        if _starts(members, _STATUS_DIAGNOSES) or any(c.code in _STATUS_RESULTS for c in members.codes):
            yield "health status assessments"


def _starts(members: CodeSet, starts: tuple[str, ...]) -> bool:
    codes = [c.code for c in members.codes if c.system == "icd-10-cm"]
    codes += [p.prefix for p in members.prefixes.get("icd-10-cm", ())]
    return any(code.startswith(starts) for code in codes)


_STATED = (
    "publisher of the policy", "developer", "funding source", "release date", "revision date", "last confirmed on",
    "review",
)  # fmt: skip


def markdown(entries: list[dict[str, Any]]) -> str:
    """The same as a Markdown document."""
    lines = ["# Source attributes of the policies", "", "As 45 CFR 170.315(b)(11)(iv)(A) lists them."]
    for entry in entries:
        lines += ["", f"## {entry['policy']}, version {entry['version']}", "", entry["title"], ""]
        for name in _STATED:
            lines.append(f"- {name.capitalize()}: {entry[name] or 'not known'}")
        lines += [f"- Citation: {text}" for text in entry["bibliographic citation"]]
        for name, criteria in entry["uses"].items():
            lines.append(f"- Use of {name}: {'yes, ' + ', '.join(criteria) if criteria else 'no'}")
    return "\n".join(lines) + "\n"
