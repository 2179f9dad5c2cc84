"""What the reader says of names that nothing has, and of parts that contradict each other; and what it lets pass."""

# ruff: noqa: E501 - whole messages, one a line
from __future__ import annotations

import pytest
from support.cards import CARD, CASES, FLAGS, ORDERS, PAYERS, POLICY, Edit, edited, faults

REASON = "because: A red flag needs imaging without delay."
VERSION = edited()[POLICY].partition("versions:\n")[2]
OTHER = "format: 1\nid: {0}\ntitle: Other\nsource: {{title: S, confidence: seen}}\n{1}\n"


def when(expression: str) -> list[Edit]:
    return [(POLICY, "when: red-flag", f"when: {expression}")]


def criterion(operator: str) -> list[Edit]:
    asked = "        asked: {}\n        ask: {question: Were six weeks of conservative care tried?}\n"
    return [(POLICY, asked, f"        {operator}\n")]


def other(body: str) -> list[Edit]:
    return [("value_sets/other.yaml", "", OTHER.format("other", body))]


def flags(body: str) -> list[Edit]:
    return [(FLAGS, "", f"{body}\n")]


def review(text: str) -> list[Edit]:
    return [
        (POLICY, "review: {status: submitted}", f"review: {text}"),
        (POLICY, "confidence: recalled", "confidence: seen"),
    ]


MESSAGES: dict[str, tuple[list[Edit], list[str]]] = {
    "an unknown set of results": (
        criterion("observation: {value_set: imaging-orders, equals: results}"),
        ["acme/imaging/policy.yaml:29:50: there is no value set 'results'. Add it or name an existing value set."],
    ),
    "an unknown primary": (
        [(POLICY, "value_set: imaging-orders\n", "value_set: imaging-orders\n        given: fusions\n")],
        ["acme/imaging/policy.yaml:37:9: there is no value set 'fusions'. Add it or name an existing value set."],
    ),
    "an unknown set beside words": (
        flags("with_code: {value_set: grafts, terms: [M]}"),
        [
            "value_sets/imaging-red-flags.yaml:8:13: there is no value set 'grafts'. Add it or name an existing value set."
        ],
    ),
    "a pattern beside a code that is none": (
        flags("with_code: {value_set: imaging-orders, patterns: ['(', 'a', '[']}"),
        [
            "value_sets/imaging-red-flags.yaml:8:51: not a regular expression: missing ), unterminated subpattern at position 0. Correct it.",
            "value_sets/imaging-red-flags.yaml:8:61: not a regular expression: unterminated character set at position 0. Correct it.",
        ],
    ),
    "patterns that cannot be joined": (
        flags(r"patterns: [a, '(?i)mrt', '(?P<x>b)', '(c)\1', '(?:d)\\1', 'e{99999999999}']"),
        [
            "value_sets/imaging-red-flags.yaml:8:15: patterns are joined, so flags must not hold for all. Write them on a group: (?-i:...).",
            "value_sets/imaging-red-flags.yaml:8:26: patterns are joined, so none may name its groups or refer to them. Use (?:...), and no \\1.",
            "value_sets/imaging-red-flags.yaml:8:38: patterns are joined, so none may name its groups or refer to them. Use (?:...), and no \\1.",
            "value_sets/imaging-red-flags.yaml:8:59: not a regular expression: the repetition number is too large. Correct it.",
        ],
    ),
    "a circle of two sets": (
        other("includes: [imaging-red-flags]") + flags("includes: [other]"),
        [
            "value_sets/imaging-red-flags.yaml:8:1: the value set 'imaging-red-flags' includes itself. Break the circle.",
            "value_sets/other.yaml:5:1: the value set 'other' includes itself. Break the circle.",
        ],
    ),
    "one code twice": (
        [(ORDERS, "", '  - {system: cpt, code: "72148", label: Again}\n')],
        ["value_sets/imaging-orders.yaml:8:5: the code 72148 is here twice. Keep one of them."],
    ),
    "a code in lower case": (
        [(ORDERS, "", '  - {system: hcpcs, code: "e0748", label: Device}\n')],
        ["value_sets/imaging-orders.yaml:8:21: 'e0748' is in lower case. Write \"E0748\"."],
    ),
    "a prefix in lower case": (
        [(FLAGS, "G83.4", "g83.4")],
        ["value_sets/imaging-red-flags.yaml:7:25: 'g83.4' is in lower case. Write \"G83.4\"."],
    ),
    "a diagnosis of four letters without its dot": (
        [(FLAGS, "G83.4", "G834")],
        ["value_sets/imaging-red-flags.yaml:7:25: 'G834' lacks its dot. Write \"G83.4\"."],
    ),
    "a remark in a coverage policy": (
        [
            (
                POLICY,
                "",
                "    findings:\n      - {id: f, about: imaging-order, when: {not: red-flags}, text: t, cite: [paper]}\n",
            )
        ],
        [
            "acme/imaging/policy.yaml:52:5: a coverage policy gives outcomes, not findings. Use 'orders'.",
            "acme/imaging/policy.yaml:53:17: there is no value set 'imaging-order'. Did you mean 'imaging-orders'?",
            "acme/imaging/policy.yaml:53:46: there is no criterion 'red-flags'. Did you mean 'red-flag'?",
            "acme/imaging/policy.yaml:53:79: there is no source 'paper'. Add it or name an existing source.",
        ],
    ),
    "outcomes in a coding policy": (
        [(POLICY, "kind: coverage", "kind: coding"), (POLICY, "payers: [acme] ", "")],
        ["acme/imaging/policy.yaml:33:5: a coding policy makes findings, not outcomes. Use 'findings'."],
    ),
    "a version that says nothing": (
        [
            (POLICY, edited()[POLICY][edited()[POLICY].index("    orders:") :], ""),
            (CARD, edited()[CARD], "format: 1\n"),
            (CASES, edited()[CASES], "format: 1\ncases: []\n"),
        ],
        ["acme/imaging/policy.yaml:12:5: version '2026-11' says nothing. Add 'orders' (or 'findings')."],
    ),
    "approved by somebody, some day": (
        review("{status: approved, by: A. Author}"),
        ["acme/imaging/policy.yaml:15:5: approved, but not by whom and when. Add 'by' and 'on'."],
    ),
    "approved one day, by nobody": (
        review("{status: approved, on: 2026-01-01}"),
        ["acme/imaging/policy.yaml:15:5: approved, but not by whom and when. Add 'by' and 'on'."],
    ),
    "approved with two sources that were not read": (
        [
            (POLICY, "review: {status: submitted}", "review: {status: approved, by: A. Author, on: 2026-01-01}"),
            (POLICY, "    sources:\n", "    sources:\n      other: {title: O, confidence: seen-2nd}\n"),
        ],
        [
            "acme/imaging/policy.yaml:15:14: approved, but the source 'other' was not read at its source. Read it, or set the status to submitted."
        ],
    ),
    "an onset window without length": (
        criterion("condition: {value_set: imaging-red-flags, onset_within: {}}"),
        ["acme/imaging/policy.yaml:29:51: 'onset_within' has no length. Add days, weeks or months."],
    ),
    "a window before without length": (
        criterion("procedure: {value_set: imaging-orders, before: {}}"),
        ["acme/imaging/policy.yaml:29:48: 'before' has no length. Add days, weeks or months."],
    ),
    "a window after without length": (
        criterion("procedure: {value_set: imaging-orders, after: {}}"),
        ["acme/imaging/policy.yaml:29:48: 'after' has no length. Add days, weeks or months."],
    ),
    "an operation that is not described": (
        criterion("operation: {}"),
        ["acme/imaging/policy.yaml:29:9: 'operation' compares with nothing. Add region, approach or role."],
    ),
    "a result that is not compared": (
        criterion("observation: {value_set: imaging-orders, unit: '%'}"),
        ["acme/imaging/policy.yaml:29:9: 'observation' compares with nothing. Add a bound, 'equals' or 'present'."],
    ),
    "levels that are not compared": (
        criterion("interspaces: {of: history}"),
        ["acme/imaging/policy.yaml:29:9: 'interspaces' compares with nothing. Add one of: at_least, at_most."],
    ),
    "unknown criteria at any depth": (
        when("{at_least: 1, of: [{not: a-flag}, {any: [{all: [b-flag]}]}]}"),
        [
            "acme/imaging/policy.yaml:39:39: there is no criterion 'a-flag'. Did you mean 'red-flag'?",
            "acme/imaging/policy.yaml:39:67: there is no criterion 'b-flag'. Did you mean 'red-flag'?",
        ],
    ),
    "an unknown criterion of an option": (
        [
            (
                POLICY,
                "        otherwise:\n",
                '        alternatives: [{order: low-back-imaging, code: "72148", label: it, when: no-flag}]\n        otherwise:\n',
            )
        ],
        ["acme/imaging/policy.yaml:48:76: there is no criterion 'no-flag'. Add it or name an existing criterion."],
    ),
    "an unknown source of otherwise": (
        [
            (
                POLICY,
                "unless there is a red flag.\n          cite: [policy]",
                "unless there is a red flag.\n          cite: [policy, paper]",
            )
        ],
        ["acme/imaging/policy.yaml:51:26: there is no source 'paper'. Add it or name an existing source."],
    ),
    "one version twice": (
        [
            (POLICY, "from: null, to: null", "from: null, to: 2026-01-01"),
            (POLICY, "", VERSION.replace("from: null", "from: 2026-01-02")),
        ],
        ["acme/imaging/policy.yaml:52:5: the version '2026-11' is here twice. Rename one."],
    ),
    "versions that share a day": (
        [
            (POLICY, "from: null, to: null", "from: null, to: 2026-01-01"),
            (POLICY, "", VERSION.replace("from: null", "from: 2026-01-01").replace('"2026-11"', '"2027"')),
        ],
        [
            "acme/imaging/policy.yaml:53:5: versions '2026-11' and '2027' are both in force on 2026-01-01. End one before the other starts."
        ],
    ),
    "a payer that follows nobody known": (
        [(PAYERS, "    label: Acme\n", "    label: Acme\n    follows: [acme, state]\n")],
        ["payers.yaml:6:21: there is no payer 'state'. Add it or name an existing payer."],
    ),
    "context of an unknown criterion": (
        [(CARD, "", "    context: [{criterion: red-flags, label: Flag}, {criterion: red-flag, label: Flag}]\n")],
        ["acme/imaging/card.yaml:7:16: there is no criterion 'red-flags'. Did you mean 'red-flag'?"],
    ),
    "a passage without its source": (
        [(CARD, "", "    pitfall: [{text: {clinician: a}}, {text: {clinician: t}, cite: [policy, paper]}]\n")],
        ["acme/imaging/card.yaml:7:77: there is no source 'paper'. Add it or name an existing source."],
    ),
    "a case of an unknown payer": (
        [(CASES, "    title: Cauda", "    payer: acne\n    title: Cauda")],
        ["acme/imaging/cases.yaml:5:5: there is no payer 'acne'. Did you mean 'acme'?"],
    ),
    "a case that misses an unknown criterion": (
        [(CASES, "missing: [tried-six-weeks]", "missing: [tried-six-weeks, tried-a-week]")],
        ["acme/imaging/cases.yaml:22:79: there is no criterion 'tried-a-week'. Did you mean 'tried-six-weeks'?"],
    ),
    "a case with an unknown finding": (
        [(CASES, '    expect: {"72148": not-supported}', '    findings: {"72148": [f]}')],
        ["acme/imaging/cases.yaml:18:26: there is no finding 'f'. Add it or name an existing finding."],
    ),
    "an order that is no draft": (
        [
            (
                CASES,
                'orders: ["72148"]\n    conditions',
                'orders: [{code: "72148", active: true}, {code: "72149", id: mine}]\n    conditions',
            )
        ],
        ["acme/imaging/cases.yaml:8:14: the case has no draft order '72148'. One of: 72149, mine."],
    ),
    "names of orders without a code": (
        [
            (
                CASES,
                'orders: ["72148"]\n    conditions',
                "orders: [{text: imaging}, {text: more, id: mine}]\n    conditions",
            ),
            (
                CASES,
                '{"72148": {outcome: supported, rule: red-flag}}',
                "{o1: not-addressed, mine: not-addressed, o2: not-addressed}",
            ),
        ],
        ["acme/imaging/cases.yaml:8:54: the case has no draft order 'o2'. One of: mine, o1."],
    ),
    "a code: 62323  of cpt": (
        [(ORDERS, "", '  - {system: cpt, code: "62323 ", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:19: '62323 ' has a space at its end or start. Write \"62323\".",
        ],
    ),
    "a code: 62320-62327 of cpt": (
        [(ORDERS, "", '  - {system: cpt, code: "62320-62327", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:19: '62320-62327' is more than one code. Write each code on its own, or a prefix.",
        ],
    ),
    "a code: 62322, 62323 of cpt": (
        [(ORDERS, "", '  - {system: cpt, code: "62322, 62323", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:19: '62322, 62323' is more than one code. Write each code on its own, or a prefix.",
        ],
    ),
    "a code: CPT 62323 of cpt": (
        [(ORDERS, "", '  - {system: cpt, code: "CPT 62323", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:19: 'CPT 62323' does not look like a code of CPT. Write it as in \"62323\".",
        ],
    ),
    "a code: 62323-59 of cpt": (
        [(ORDERS, "", '  - {system: cpt, code: "62323-59", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:19: '62323-59' holds a modifier. Write \"62323\".",
        ],
    ),
    "a code: 6232 of cpt": (
        [(ORDERS, "", '  - {system: cpt, code: "6232", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:19: '6232' does not look like a code of CPT. Write it as in \"62323\".",
        ],
    ),
    "a code: E0748 of cpt": (
        [(ORDERS, "", '  - {system: cpt, code: "E0748", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:19: 'E0748' is a code of HCPCS. Write system: hcpcs.",
        ],
    ),
    "a code: 62323 of hcpcs": (
        [(ORDERS, "", '  - {system: hcpcs, code: "62323", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:21: '62323' is a code of CPT. Write system: cpt.",
        ],
    ),
    "a code: 48.06 of icd-10-cm": (
        [(ORDERS, "", '  - {system: icd-10-cm, code: "48.06", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:25: '48.06' does not look like a code of ICD-10-CM. Write it as in \"M48.06\".",
        ],
    ),
    "a code: 777–3 of loinc": (
        [(ORDERS, "", '  - {system: loinc, code: "777–3", label: L}\n')],
        [
            "value_sets/imaging-orders.yaml:8:21: '777–3' does not look like a code of LOINC. Write it as in \"777-3\".",
        ],
    ),
    "a prefix: M48..06": (
        [(FLAGS, "G83.4", "M48..06")],
        [
            "value_sets/imaging-red-flags.yaml:7:25: 'M48..06' does not look like a code of ICD-10-CM. Write it as in \"M48.06\".",
        ],
    ),
    "a prefix: M48 06": (
        [(FLAGS, "G83.4", "M48 06")],
        [
            "value_sets/imaging-red-flags.yaml:7:25: 'M48 06' does not look like a code of ICD-10-CM. Write it as in \"M48.06\".",
        ],
    ),
    "a prefix: M48-06": (
        [(FLAGS, "G83.4", "M48-06")],
        [
            "value_sets/imaging-red-flags.yaml:7:25: 'M48-06' does not look like a code of ICD-10-CM. Write it as in \"M48.06\".",
        ],
    ),
    "codes of a case that no chart gives": (
        [
            (CASES, 'conditions: ["G83.4"]', 'conditions: ["G834", {code: "G83.4", system: icd10}]'),
            (CASES, "answers: {tried-six-weeks: true}", 'procedures: [{code: "72148-26"}]'),
        ],
        [
            "acme/imaging/cases.yaml:7:18: 'G834' lacks its dot. Write \"G83.4\".",
            "acme/imaging/cases.yaml:7:42: there is no code system 'icd10'. Did you mean 'icd-10-cm'?",
            "acme/imaging/cases.yaml:12:19: '72148-26' holds a modifier. Write \"72148\".",
        ],
    ),
    "a procedure twice": (
        [
            (
                "procedures.yaml",
                "",
                'format: 1\nsource: {title: S, confidence: seen}\nprocedures:\n  - {system: cpt, code: "22600", label: A, role: fusion}\n  - {system: cpt, code: "22600", label: B, role: other}\n',
            )
        ],
        [
            "procedures.yaml:5:19: the code 22600 is here twice. Keep one of them.",
        ],
    ),
    "a procedure of no system": (
        [
            (
                "procedures.yaml",
                "",
                'format: 1\nsource: {title: S, confidence: seen}\nprocedures:\n  - {system: cptt, code: "22600", label: A, role: fusion}\n',
            )
        ],
        [
            "procedures.yaml:4:6: there is no code system 'cptt'. Did you mean 'cpt'?",
        ],
    ),
    "a procedure with a space": (
        [
            (
                "procedures.yaml",
                "",
                'format: 1\nsource: {title: S, confidence: seen}\nprocedures:\n  - {system: cpt, code: "22600 ", label: A, role: fusion}\n',
            )
        ],
        [
            "procedures.yaml:4:19: '22600 ' has a space at its end or start. Write \"22600\".",
        ],
    ),
    "a procedure added to nothing": (
        [
            (
                "procedures.yaml",
                "",
                'format: 1\nsource: {title: S, confidence: seen}\nprocedures:\n  - {system: cpt, code: "64483", label: A, role: other}\n  - {system: cpt, code: "64484", label: A, role: other, add_on: true, requires: ["6448"]}\n',
            )
        ],
        [
            "procedures.yaml:5:82: there is no procedure '6448'. Did you mean '64484'?",
        ],
    ),
    "fewest above most": (
        [
            (
                "procedures.yaml",
                "",
                'format: 1\nsource: {title: S, confidence: seen}\nprocedures:\n  - {system: cpt, code: "22800", label: A, role: fusion, segments: [7, 2]}\n',
            )
        ],
        [
            "procedures.yaml:4:58: 7 is more than 2. Write the fewest first.",
        ],
    ),
    "two payers of one name and identifier": (
        [
            (
                PAYERS,
                "",
                '  - id: other\n    label: Other\n    names: ["ACME."]\n    identifiers:\n      - {system: "http://example.org/payer-id", value: acme}\n',
            )
        ],
        [
            "payers.yaml:10:13: the name 'ACME.' is that of the payer 'acme' too. Leave it with one of them.",
            "payers.yaml:12:9: the identifier 'acme' is that of the payer 'acme' too. Leave it with one of them.",
        ],
    ),
    "a parent that nobody knows, or of a line that is no other": (
        [
            (
                PAYERS,
                "",
                "  - {id: one, label: One, parent: acmee, line_of_business: medicaid}\n"
                "  - {id: two, label: Two, parent: acme}\n"
                "  - {id: three, label: Three, one_of_several: true}\n",
            )
        ],
        [
            "payers.yaml:8:27: there is no payer 'acmee'. Did you mean 'acme'?",
            "payers.yaml:9:27: it is of the same line of business as its parent 'acme'. Correct 'line_of_business', or remove 'parent'.",
            "payers.yaml:10:31: 'one_of_several' needs a 'parent'. Name the parent, or remove it.",
        ],
    ),
    "a parent that has a parent, and one that is the payer itself": (
        [
            (
                PAYERS,
                "",
                "  - {id: one, label: One, parent: acme, line_of_business: medicaid}\n"
                "  - {id: two, label: Two, parent: one, line_of_business: medicare}\n"
                "  - {id: three, label: Three, parent: three}\n",
            )
        ],
        [
            "payers.yaml:9:27: the parent 'one' has a parent itself. Name 'acme'.",
            "payers.yaml:10:31: the parent 'three' has a parent itself. Break the circle.",
        ],
    ),
    "two payers of one parent and line": (
        [
            (
                PAYERS,
                "",
                "  - {id: one, label: One, parent: acme, line_of_business: medicaid}\n"
                "  - {id: two, label: Two, parent: acme, line_of_business: medicaid}\n"
                "  - {id: three, label: Three, parent: acme, line_of_business: medicaid, one_of_several: true}\n",
            )
        ],
        [
            "payers.yaml:9:27: 'one' is of the same parent and line of business. Write one_of_several: true at both.",
        ],
    ),
    "words of two lines": (
        [
            (
                PAYERS,
                "",
                "lines:\n  - {means: [medicare], names: [Medicare, Traditional]}\n"
                "  - {means: [medicare-advantage], names: [Acme, MEDICARE]}\n",
            )
        ],
        ["payers.yaml:10:49: the name 'MEDICARE' is here twice. Keep one; 'means' takes several lines."],
    ),
    "a case with a coverage of nobody": (
        [
            (POLICY, "kind: coverage", "kind: guideline"),
            (POLICY, "payers: [acme] ", ""),
            (CASES, "    title: Cauda equina syndrome\n", '    title: C\n    coverage: {type: "112"}\n'),
        ],
        ["acme/imaging/cases.yaml:6:5: the case has no payer, so no coverage. Add 'payer'."],
    ),
    "approved by a space": (
        review('{status: approved, by: " ", on: 2026-01-01}'),
        ["acme/imaging/policy.yaml:15:5: approved, but not by whom and when. Add 'by' and 'on'."],
    ),
    "a recommendation under otherwise of a coverage policy": (
        [(POLICY, "unless there is a red flag.\n", "unless there is a red flag.\n          recommendation: against\n")],
        ["acme/imaging/policy.yaml:51:11: only a guideline makes recommendations. Remove 'recommendation'."],
    ),
    "a remark that nothing fills in": (
        [
            (POLICY, "kind: coverage", "kind: coding"),
            (POLICY, "payers: [acme] ", ""),
            (
                POLICY,
                edited()[POLICY][edited()[POLICY].index("    orders:") :],
                '    findings:\n      - {id: f, about: imaging-orders, when: red-flag, text: "{lable}?", asks: "{x}", cite: [policy]}\n',
            ),
            (CARD, edited()[CARD], "format: 1\n"),
            (CASES, edited()[CASES], "format: 1\ncases: []\n"),
        ],
        [
            "acme/imaging/policy.yaml:34:56: nothing fills in '{lable}'. Use {label} or {code}.",
            "acme/imaging/policy.yaml:34:74: nothing fills in '{x}'. Use {label} or {code}.",
        ],
    ),
    "a payers file that cannot be read": (
        [(PAYERS, "label: Acme", "label: [Acme")],
        ["payers.yaml:6:16: a bracket is not closed. Close it, and separate the parts by commas."],
    ),
}

VALID: dict[str, list[Edit]] = {
    "a file that is no YAML": [("notes.txt", "", "x"), ("acme/notes.md", "", "x")],
    "a file of the service's own": [("_default/card.yaml", "", "x: [")],
    "codes that have letters of their own": [
        (
            ORDERS,
            "",
            '  - {system: loinc, code: "LA11834-1", label: R}\n  - {system: snomed, code: "410681005", label: R}\n',
        )
    ],
    "a diagnosis of three letters": [(FLAGS, "G83.4", "G83")],
    "four digits of another system": [
        (ORDERS, "", 'prefixes: [{system: icd-10-pcs, prefix: "0RG1", label: Fusion}]\n')
    ],
    "a set of words only": other("terms: [chips]"),
    "a set of patterns only": other("patterns: [chips]"),
    "a set of words beside a code only": other("with_code: {value_set: imaging-orders, terms: [M]}"),
    "a set that includes only": other("includes: [imaging-orders]"),
    "approved in full": review("{status: approved, by: A. Author, on: 2026-01-01}"),
    "a recommendation in a guideline": [
        (POLICY, "kind: coverage", "kind: guideline"),
        (POLICY, "payers: [acme] ", ""),
        (POLICY, REASON, REASON + "\n            recommendation: for"),
    ],
    "windows of days, weeks and months": criterion(
        "procedure: {value_set: imaging-orders, within: {days: 1}, before: {weeks: 1}, after: {months: 1}}"
    ),
    "an operation by its role": criterion("operation: {role: [fusion]}"),
    "a result below": criterion("observation: {value_set: imaging-orders, below: 7}"),
    "a companion without bounds": criterion("companion: {value_set: imaging-orders}"),
    "as many as there are": when("{at_least: 1, of: [red-flag]}"),
    "in force for one day": [(POLICY, "from: null, to: null", "from: 2026-01-01, to: 2026-01-01")],
    "a case that expects no finding": [(CASES, '    expect: {"72148": not-supported}', "    findings: {}")],
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name: str) -> None:
    edits, expected = MESSAGES[name]
    assert faults(*edits) == expected


@pytest.mark.parametrize("name", VALID)
def test_no_message(name: str) -> None:
    assert faults(*VALID[name]) == []
