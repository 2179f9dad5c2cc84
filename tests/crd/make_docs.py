"""Makes docs/crd-conformance.md (statements, verdicts, tests, what breaks them) and docs/crd-outcomes.md.

python tests/crd/make_docs.py   rewrites both; a test fails while they are out of date.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cds_service.determination import crd_outcome

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs" / "crd-conformance.yaml"
CONFORMANCE = ROOT / "docs" / "crd-conformance.md"
MUTATIONS = Path(__file__).parent / "mutations.yaml"
TRIED = ROOT / "benchmarks" / "results" / "crd-mutations.json"
OUTCOMES = ROOT / "docs" / "crd-outcomes.md"
VERDICTS = {
    "met": "met",
    "deviates": "met with a deviation",
    "deployer": "the deployer's duty",
    "na": "not applicable",
    "not-met": "not met",
}
MET = ("met", "deviates")
STRICT = {"SHALL", "SHALL NOT"}
ADVISED = {"SHOULD", "SHOULD NOT"}
Json = dict[str, Any]


def statements() -> list[Json]:
    """The statements with their verdicts."""
    loaded: list[Json] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return loaded


def tests_by_statement() -> dict[str, list[str]]:
    """Names of the tests that say they prove each statement, read off the source of all tests."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for statement in _marked(node):
                    found[statement].append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return dict(found)


def _marked(node: ast.FunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.crd":
            yield from (ast.literal_eval(a) for a in decorator.args)


def unproven() -> list[str]:
    """Statements said to be met, if with a deviation, that no test proves."""
    proofs = tests_by_statement()
    return [s["id"] for s in statements() if s["verdict"] in MET and s["id"] not in proofs]


def mutations() -> dict[str, Json]:
    """By statement: how its behaviour is broken, and the test that must fail then."""
    loaded: list[Json] = yaml.safe_load(MUTATIONS.read_text(encoding="utf-8"))
    return {m["statement"]: m for m in loaded}


def noticed(mutation: Json) -> bool | None:
    """Whether the test failed when this very change was tried (benchmarks/crd_mutations.py); None if it was not."""
    tried: Json = json.loads(TRIED.read_text(encoding="utf-8")) if TRIED.exists() else {}
    result = tried.get(mutation["statement"], {})
    mark = hashlib.sha256(json.dumps(mutation, sort_keys=True).encode()).hexdigest()[:16]
    return result["noticed"] if result.get("mark") == mark else None


def advised_met() -> float:
    """Share of the applicable SHOULDs that are met. What deviates does so from a SHALL; the SHOULD beside it is met."""
    binding = [s for s in statements() if ADVISED & set(s["level"]) and s["verdict"] in (*MET, "not-met")]
    return sum(s["verdict"] in MET for s in binding) / len(binding)


def conformance() -> str:
    """The conformance page."""
    proofs, every, broken = tests_by_statement(), statements(), mutations()
    counts = Counter(s["verdict"] for s in every)
    lines = [
        "# Conformance with Da Vinci CRD 2.2.1",
        "",
        "Made by `python tests/crd/make_docs.py` from `docs/crd-conformance.yaml` and the tests' markers; do not edit.",
        f"The {len(every)} statements of the guide that bind a server or its organization, by the guide's own ids. "
        f"{', '.join(f'{counts[v]} {text}' for v, text in VERDICTS.items())}. "
        f"Of the SHOULDs that apply, {advised_met():.0%} are met.",
        "",
        "A test proves a statement if it fails when the statement is broken. For every SHALL that is met,",
        "`tests/crd/mutations.yaml` says how it is broken; `make verify` breaks each and runs",
        f"the test named for it: {sum(noticed(m) is True for m in broken.values())} of {len(broken)} were noticed.",
        "",
        "| statement | level | about | verdict | proven by | broken: its test fails |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    weighed = [f"- **{s['id']}**: {s['weighed']}" for s in every if "weighed" in s]
    after = ["", "## Where the guide's text was weighed", "", *weighed]
    rows = (_row(s, proofs.get(s["id"], []), broken.get(s["id"])) for s in every)
    return "\n".join([*lines, *rows, *after]) + "\n"


def _row(statement: Json, tests: list[str], mutation: Json | None) -> str:
    why = statement.get("reason") or statement.get("note") or ""
    verdict = f"{VERDICTS[statement['verdict']]}{': ' if statement.get('reason') else '. ' if why else ''}{why}"
    shown = ", ".join(f"`{t.split('::')[0].split('/')[-1]}::{t.split('::')[1]}`" for t in tests)
    tried = ""
    if mutation:
        state = {True: "yes", False: "NO", None: "not tried"}[noticed(mutation)]
        tried = f"{mutation['breaks']}: {state} (`{mutation['test'].split('::')[1]}`)"
    cells = [statement["id"], ", ".join(statement["level"]), statement["about"], verdict, shown, tried]
    return f"| {' | '.join(cells)} |"


def outcomes() -> str:
    """The page of outcomes."""
    lines = [
        "# What coverage-information says",
        "",
        "Made by `python tests/crd/make_docs.py` from `cds_service/determination/crd_outcome.py`; do not edit.",
        "The first situation that holds decides. `by the rule`: `auth-needed` where the rule says `required`,",
        "`no-auth` where it says `not-required`, else `indeterminate` (`conditional` beside covered `conditional`).",
        "",
        "| situation | when | covered | pa-needed | info-needed | documentation | reason | covered before 2.2 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = [_outcome(row) for row in crd_outcome.TABLE.values()]
    after = [
        "",
        "Documentation is asked for on order-sign, order-dispatch and appointment-book only: `doc-needed` `clinical`",
        "with `doc-purpose` and the questionnaires that ask for what is open, or `conditional` where the policy has no",
        "question for it. Where a version has no `indeterminate`, `conditional` with info-needed `OTH` says the same.",
        "A supported order whose prior authorization is open says why: the policy does not say, it depends on what the",
        "chart does not tell, or (`technical`) on data that could not be read.",
    ]
    return "\n".join([*lines, *rows, *after]) + "\n"


def _outcome(row: crd_outcome.Row) -> str:
    older = crd_outcome.in_version(row, "2.1")
    before = f"{older.covered}{', ' + ' '.join(older.info_needed) if older.info_needed else ''}"
    reason = " ".join(
        p for p in (f"`{row.reason_code}`" if row.reason_code else "", (row.reason or "").format(thing="order")) if p
    )
    said = reason or {
        "not-supported": "the rule's reason",
        "needs-information": "what is missing",
        "payer-unread": "why",
    }.get(row.id, "")
    cells = [
        row.id,
        row.when,
        row.covered,
        row.pa_needed or "",
        " ".join(row.info_needed),
        "asked for" if row.documentation else "",
        said,
        before,
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    CONFORMANCE.write_text(conformance(), encoding="utf-8")
    OUTCOMES.write_text(outcomes(), encoding="utf-8")
