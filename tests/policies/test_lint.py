"""Each warning of `policy lint`, whole, from one change to a clean folder; and that the clean folder has none."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.commands.policy import policy_group
from cds_service.commands.policy_lint import lint_folder

BASE = Path(__file__).parent / "broken" / "_base"
TODAY = date(2026, 11, 20)
POLICY = "acme/imaging/policy.yaml"
CARD = "acme/imaging/card.yaml"

RULE = """          - id: {id}
            when: {when}
            outcome: {outcome}
            because: Another reason.
            cite: [policy]
        otherwise:"""
LAST = "        otherwise:"
CRITERIA = "      tried-six-weeks:"


SHADOW = """    orders:
      any-imaging:
        label: Any imaging
        value_set: imaging-orders
        otherwise: {outcome: supported, because: Because.}
"""


def rule(name: str, when: str, outcome: str = "not-supported") -> tuple[str, str]:
    return LAST, RULE.format(id=name, when=when, outcome=outcome)


def criterion(name: str, operator: str) -> tuple[str, str]:
    return CRITERIA, f"      {name}:\n        text: Some fact.\n        {operator}\n{CRITERIA}"


def second_version(first: str, second: str) -> list[tuple[str, str]]:
    text = (BASE / POLICY).read_text()
    version = text[text.index("  - version:") :].replace('"2026-11"', '"2027"').replace("from: null, to: null", second)
    return [("from: null, to: null", first), (text[text.index("versions:") :][-40:], text[-40:] + version)]


def alternative(code: str, order: str = "low-back-imaging", when: str = "") -> tuple[str, str]:
    body = f'{{order: {order}, code: "{code}", label: other imaging{when}}}'
    return "unless there is a red flag.\n          cite: [policy]\n", (
        f"unless there is a red flag.\n          cite: [policy]\n        alternatives:\n          - {body}\n"
    )


WARNINGS = {
    "after-always": (
        [rule("all-others", "always"), rule("too-late", "{all: [red-flag, tried-six-weeks]}", "needs-information")],
        f"{POLICY}:53:13: the rule 'too-late' is never reached: 'all-others' before it is always met. "
        "Move it up, narrow the rules before it, or remove it.",
    ),
    "same-when": (
        [rule("again", "tried-six-weeks")],
        f"{POLICY}:48:13: the rule 'again' is never reached: 'after-conservative-care' before it has the same 'when'. "
        "Move it up, narrow the rules before it, or remove it.",
    ),
    "covered-by-one": (
        [rule("both", "{all: [tried-six-weeks, {not: {not: red-flag}}]}")],
        f"{POLICY}:48:13: the rule 'both' is never reached: 'red-flag' before it is met whenever it is. "
        "Move it up, narrow the rules before it, or remove it.",
    ),
    "covered-by-several": (
        [rule("either", "{any: [tried-six-weeks, red-flag]}")],
        f"{POLICY}:48:13: the rule 'either' is never reached: the rules before it leave no case to it. "
        "Move it up, narrow the rules before it, or remove it.",
    ),
    "contradiction": (
        [rule("never", "{all: [tried-six-weeks, {not: tried-six-weeks}]}")],
        f"{POLICY}:49:13: the rule 'never' can never be met: its 'when' contradicts itself. Correct the expression.",
    ),
    "same-test-under-two-names": (
        [
            criterion("grown-up", "age: {at_least: 18}"),
            criterion("adult", "age: {at_least: 18}"),
            rule("never", "{all: [adult, {not: grown-up}]}"),
        ],
        f"{POLICY}:55:13: the rule 'never' can never be met: its 'when' contradicts itself. Correct the expression.",
    ),
    "impossible-bounds": (
        [criterion("no-age", "age: {at_least: 65, under: 18}"), rule("by-age", "no-age")],
        f"{POLICY}:27:7: the criterion 'no-age' can never be met: nothing is at least 65 and under 18. "
        "Correct the bounds.",
    ),
    "windows-without-a-day": (
        [
            criterion("again", "procedure: {value_set: imaging-orders, within: {months: 6}, before: {months: 12}}"),
            rule("by-history", "again"),
        ],
        f"{POLICY}:27:7: the criterion 'again' can never be met: no day is both in 'within' and in 'before'. "
        "Correct the bounds.",
    ),
    "a-window-that-ends-where-it-starts": (
        [
            criterion("again", "procedure: {value_set: imaging-orders, after: {months: 6}, before: {months: 6}}"),
            rule("by-history", "again"),
        ],
        f"{POLICY}:27:7: the criterion 'again' can never be met: no day is both in 'after' and in 'before'. "
        "Correct the bounds.",
    ),
    "confirmed-on-a-day-to-come": (
        [("last_confirmed_on: 2026-11-01", "last_confirmed_on: 2062-11-01")],
        f"{POLICY}:14:5: version '2026-11': 2062-11-01 is still to come. Write the day on which it was done.",
    ),
    "reviewed-on-a-day-to-come": (
        [("{status: submitted}", "{status: submitted, by: A. Author, on: 2026-12-01}")],
        f"{POLICY}:15:48: version '2026-11': 2026-12-01 is still to come. Write the day on which it was done.",
    ),
    "an-item-behind-its-own-set": (
        [("    orders:\n", SHADOW)],
        f"{POLICY}:38:7: the item 'low-back-imaging' is never reached: 'any-imaging' before it takes all that it "
        "matches. Put the narrower item first.",
    ),
    "unused-criterion": (
        [criterion("adult", "age: {at_least: 18}")],
        f"{POLICY}:27:7: no rule uses the criterion 'adult'. Use it or remove it.",
    ),
    "number-in-any-unit": (
        [criterion("high", "observation: {value_set: imaging-orders, at_least: 7}"), rule("by-result", "high")],
        f"{POLICY}:27:7: the criterion 'high' compares a number in any unit. Add 'unit' (UCUM).",
    ),
    "uncited-source": (
        [("    criteria:\n", "      other: {title: Another paper, confidence: seen}\n\n    criteria:\n")],
        f"{POLICY}:21:7: nothing cites the source 'other'. Cite it or remove it.",
    ),
    "not-confirmed-for-a-year": (
        [("last_confirmed_on: 2026-11-01", "last_confirmed_on: 2025-11-19")],
        f"{POLICY}:14:5: version '2026-11' was last confirmed on 2025-11-19. "
        "Read its sources again and update last_confirmed_on.",
    ),
    "alternative-nobody-supports": (
        [("outcome: supported", "outcome: not-supported"), ("outcome: supported", "outcome: not-supported"),
         alternative("72148")],
        f"{POLICY}:53:13: '72148' is never offered: no rule of 'low-back-imaging' supports it. "
        "Remove it, or name the item that supports it.",
    ),
    "alternative-outside-its-set": (
        [alternative("72100")],
        f"{POLICY}:53:13: '72100' is never offered: the value set 'imaging-orders' does not have it. "
        "Correct the code or the item.",
    ),
    "alternative-never": (
        [alternative("72148", when=", when: {all: [red-flag, {not: red-flag}]}")],
        f"{POLICY}:53:76: the alternative '72148' can never be met: its 'when' contradicts itself. "
        "Correct the expression.",
    ),
    "gap": (
        second_version("from: null, to: 2026-11-30", "from: 2026-12-15, to: null"),
        f"{POLICY}:53:5: no version is in force from 2026-12-01 to 2026-12-14. "
        "Close it, or say in 'changes' that this gap is meant.",
    ),
    "home-page": (
        [("notice: unofficial encoding\n", "notice: unofficial encoding\nurl: https://www.example.org/\n")],
        f"{POLICY}:10:1: 'https://www.example.org/' leads to no document: it is a home page or a search. "
        "Name the page itself, or leave 'url' out.",
    ),
    "search-page-of-a-source": (
        [("    criteria:\n", "      other: {title: A, confidence: seen, url: 'https://example.org/db/search.aspx'}\n\n"
          "    criteria:\n"), ("          cite: [policy]\n", "          cite: [policy, other]\n")],
        f"{POLICY}:21:43: 'https://example.org/db/search.aspx' leads to no document: it is a home page or a search. "
        "Name the page itself, or leave 'url' out.",
    ),
    "long-label": (
        [("label: Imaging of the low back", "label: " + "Imaging of the low back and of all that is near it " * 3)],
        f"{POLICY}:35:9: the card of 'low-back-imaging' may not fit: its longest summary has 192 characters "
        "(limit 139). Shorten the label, or add a shorter line in card.yaml.",
    ),
}  # fmt: skip


def folder(tmp_path: Path, file: str, changes: list[tuple[str, str]]) -> Path:
    target = tmp_path / "cards"
    shutil.copytree(BASE, target)
    text = (target / file).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (target / file).write_text(text)
    return target


def test_the_base_is_clean() -> None:
    assert lint_folder(BASE, TODAY) == []


@pytest.mark.parametrize("name", WARNINGS)
def test_warning(name: str, tmp_path: Path) -> None:
    changes, expected = WARNINGS[name]
    remarks = lint_folder(folder(tmp_path, POLICY, changes), TODAY)
    assert [f"{r.file}:{r.line}:{r.column}: {r.text} {r.cure}" for r in remarks] == [expected]
    assert [r.severity for r in remarks] == ["warning"]


def test_all_of_all_is_a_count_that_can_be_met(tmp_path: Path) -> None:
    both = rule("both", "{at_least: 2, of: [{not: tried-six-weeks}, {not: red-flag}]}")
    assert lint_folder(folder(tmp_path, POLICY, [both]), TODAY) == []


@pytest.mark.parametrize(
    "windows",
    [
        "within: {months: 6}, before: {months: 6}",  # its last day is in both
        "after: {days: 31}, before: {months: 1}",  # a day in months of 30 days
        "after: {months: 7}, before: {months: 6}",
        "within: {months: 6}, after: {months: 7}",
    ],
)
def test_windows_that_hold_a_day(windows: str, tmp_path: Path) -> None:
    change = criterion("again", f"procedure: {{value_set: imaging-orders, {windows}}}")
    assert lint_folder(folder(tmp_path, POLICY, [change, rule("by-history", "again")]), TODAY) == []


@pytest.mark.parametrize(
    ("body", "reached"),
    [
        ('codes: [{system: cpt, code: "72100", label: L}, {system: cpt, code: "72148", label: L}]', False),
        ('prefixes: [{system: cpt, prefix: "721", label: L}]', False),
        ("includes: [imaging-orders]", False),
        ('codes: [{system: cpt, code: "72100", label: L}]', True),
        ("terms: [imaging]", True),
    ],
)
def test_an_item_is_reached_unless_those_before_it_take_all(body: str, reached: bool, tmp_path: Path) -> None:
    wider = SHADOW.replace("imaging-orders", "other").replace("imaging-orders", "other")
    target = folder(tmp_path, POLICY, [("    orders:\n", wider)])
    text = f"format: 1\nid: other\ntitle: Other\nsource: {{title: S, confidence: recalled}}\n{body}\n"
    (target / "value_sets/other.yaml").write_text(text)
    found = [r.text for r in lint_folder(target, TODAY)]
    assert found == (
        [] if reached else [
            "the item 'low-back-imaging' is never reached: 'any-imaging' before it takes all that it matches."
        ]
    )  # fmt: skip


def test_a_gap_that_is_meant(tmp_path: Path) -> None:
    changes = second_version("from: null, to: 2026-11-30", "from: 2026-12-15, to: null")
    target = folder(tmp_path, POLICY, changes)
    text = (target / POLICY).read_text()
    at = text.rindex("    last_confirmed_on")
    (target / POLICY).write_text(f"{text[:at]}    changes: The gap is meant.\n{text[at:]}")
    assert lint_folder(target, TODAY) == []


def test_a_template_that_says_nothing(tmp_path: Path) -> None:
    target = folder(
        tmp_path, CARD, [("{{ name }} comes after six weeks of conservative care", "{% if false %}x{% endif %}")]
    )
    assert [(r.severity, r.line, r.text, r.cure) for r in lint_folder(target, TODAY)] == [
        ("warning", 6, "the template says nothing.", "Remove it.")
    ]


def test_a_template_that_speaks_only_of_what_is_ordered_is_valid(tmp_path: Path) -> None:
    text = "{% if ordered %}{{ ordered }} is ordered{% endif %}"
    target = folder(tmp_path, CARD, [("{{ name }} comes after six weeks of conservative care", text)])
    assert lint_folder(target, TODAY) == []


def test_a_value_set_that_nobody_uses(tmp_path: Path) -> None:
    target = folder(tmp_path, POLICY, [])
    text = (target / "value_sets/imaging-orders.yaml").read_text().replace("id: imaging-orders", "id: other")
    (target / "value_sets/other.yaml").write_text(text)
    assert [(r.file, r.line, r.text) for r in lint_folder(target, TODAY)] == [
        ("value_sets/other.yaml", 3, "no policy uses the value set 'other'.")
    ]


def test_included_sets_are_used(tmp_path: Path) -> None:
    target = folder(tmp_path, "value_sets/imaging-orders.yaml", [("codes:", "includes: [other]\ncodes:")])
    text = (BASE / "value_sets/imaging-orders.yaml").read_text().replace("id: imaging-orders", "id: other")
    (target / "value_sets/other.yaml").write_text(text)
    assert lint_folder(target, TODAY) == []


def test_a_template_that_cannot_be_filled_in_is_an_error(tmp_path: Path) -> None:
    target = folder(tmp_path, CARD, [("{{ name }}", "{{ nmae }}")])
    assert [(r.severity, r.file, r.line, r.text) for r in lint_folder(target, TODAY)] == [
        ("error", CARD, 6, "the template cannot be filled in: 'nmae' is undefined.")
    ]


@pytest.mark.parametrize(
    "template",
    ["{{ name.encode('klingon') }}", "{{ name.nothing() }}", "{{ ordered[0] }}", "{{ name.join(5) }}", "{{ {}['a'] }}"],
)
def test_whatever_a_template_raises_is_its_fault(tmp_path: Path, template: str) -> None:
    target = folder(tmp_path, CARD, [("{{ name }}", template)])
    [told] = lint_folder(target, TODAY)
    assert (told.severity, told.file, told.line) == ("error", CARD, 6)
    assert told.text.startswith("the template cannot be filled in: ")


def test_an_old_version_need_not_be_confirmed(tmp_path: Path) -> None:
    target = folder(tmp_path, POLICY, [("to: null", "to: 2026-11-19"), ("on: 2026-11-01", "on: 2024-01-01")])
    assert lint_folder(target, TODAY) == []


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
def test_warnings_fail_only_when_strict(options: list[str], code: int, tmp_path: Path) -> None:
    target = folder(tmp_path, POLICY, [criterion("adult", "age: {at_least: 18}")])
    done = CliRunner().invoke(policy_group, ["lint", str(target), "--today", "2026-11-20", *options])
    assert done.exit_code == code
    assert done.output.splitlines()[-1] == "0 errors, 1 warning."


def test_json(tmp_path: Path) -> None:
    target = folder(tmp_path, POLICY, [criterion("adult", "age: {at_least: 18}")])
    done = CliRunner().invoke(policy_group, ["lint", str(target), "--today", "2026-11-20", "--json"])
    assert json.loads(done.output) == {
        "errors": 0,
        "warnings": 1,
        "remarks": [
            {
                "severity": "warning",
                "file": POLICY,
                "line": 27,
                "column": 7,
                "text": "no rule uses the criterion 'adult'.",
                "cure": "Use it or remove it.",
                "kind": "unused-criterion",
            }
        ],
    }
