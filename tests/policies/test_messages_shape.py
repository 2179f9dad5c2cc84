"""What the reader says of a part of the wrong kind: whole messages, each from one edit of a clean folder."""

# ruff: noqa: E501 - whole messages, one a line
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.cards import CARD, CASES, ORDERS, PAYERS, POLICY, Edit, edited, faults

from cds_service.policy.content import SCHEMAS, kind_of, validate
from cds_service.policy.source import Document

REASON = "because: A red flag needs imaging without delay."
SOURCE = "        title: Imaging\n"
ACME = edited()[PAYERS].split("payers:\n")[1]
VERSIONS = edited()[POLICY].partition("versions:")[2]
CATALOGUE = "format: 1\nsource: {title: S, confidence: seen}\nprocedures:\n  - {system: cpt, code: '1', label: It, "


def when(expression: str) -> list[Edit]:
    return [(POLICY, "when: red-flag", f"when: {expression}")]


def reason(value: str) -> list[Edit]:
    return [(POLICY, REASON, f"because: {value}")]


def criterion(operator: str) -> list[Edit]:
    asked = "        asked: {}\n        ask: {question: Were six weeks of conservative care tried?}\n"
    return [(POLICY, asked, f"        {operator}\n")]


MESSAGES: dict[str, tuple[list[Edit], list[str]]] = {
    "an expression that is empty": (
        when(""),
        [
            "acme/imaging/policy.yaml:39:13: 'when' is empty. Use a criterion's name, 'always', or one of all, any, not, at_least with of."
        ],
    ),
    "a number as an expression": (
        when("5"),
        [
            "acme/imaging/policy.yaml:39:13: '5' is not an expression. Use a criterion's name, 'always', or one of all, any, not, at_least with of."
        ],
    ),
    "at least none": (
        when("{at_least: 0, of: [red-flag]}"),
        ["acme/imaging/policy.yaml:39:20: 'at_least' must be a whole number from 1. Write at_least: 2."],
    ),
    "at least two, in words": (
        when("{at_least: two, of: [red-flag]}"),
        ["acme/imaging/policy.yaml:39:20: 'at_least' must be a whole number from 1. Write at_least: 2."],
    ),
    "one of none": (
        when("{at_least: 1, of: []}"),
        ["acme/imaging/policy.yaml:39:33: 'of' needs a list of one or more parts. Write of: [first, second]."],
    ),
    "all of one, without a list": (
        when("{all: red-flag}"),
        ["acme/imaging/policy.yaml:39:20: 'all' needs a list of one or more parts. Write all: [first, second]."],
    ),
    "any of none": (
        when("{any: []}"),
        ["acme/imaging/policy.yaml:39:20: 'any' needs a list of one or more parts. Write any: [first, second]."],
    ),
    "at_least without of": (
        when("{at_least: 2}"),
        [
            "acme/imaging/policy.yaml:39:13: 'at_least' and 'of' belong together. Write at_least: 2 and of: [first, second]."
        ],
    ),
    "of without at_least": (
        when("{of: [red-flag]}"),
        [
            "acme/imaging/policy.yaml:39:13: 'at_least' and 'of' belong together. Write at_least: 2 and of: [first, second]."
        ],
    ),
    "all, any and not": (
        when("{all: [red-flag], not: red-flag}"),
        ["acme/imaging/policy.yaml:39:13: 'all' and 'not' cannot stand side by side. Put one inside the other."],
    ),
    "a key by its name in the program": (
        [(POLICY, "from: null", "from_: null")],
        ["acme/imaging/policy.yaml:13:17: 'from_' is not a key here. Did you mean 'from'?"],
    ),
    "a combinator by its name in the program": (
        when("{not_: red-flag}"),
        [
            "acme/imaging/policy.yaml:39:20: 'not_' does not combine criteria. Use a criterion's name, 'always', or one of all, any, not, at_least with of."
        ],
    ),
    "a number among parts": (
        when("{all: [red-flag, {any: [red-flag, 5]}]}"),
        [
            "acme/imaging/policy.yaml:39:53: '5' is not an expression. Use a criterion's name, 'always', or one of all, any, not, at_least with of."
        ],
    ),
    "a list under not": (
        when("{not: [red-flag]}"),
        ["acme/imaging/policy.yaml:39:20: a list does not say how its parts combine. Write all: [...] or any: [...]."],
    ),
    "true as a text": (
        reason("true"),
        [
            "acme/imaging/policy.yaml:41:13: 'because' must be a text. Write one text, in quotes if it holds ': ' or '#'."
        ],
    ),
    "a type of coverage that is no code": (
        [(CASES, "    title: Cauda equina syndrome\n", '    title: C\n    coverage: {type: "PPO"}\n')],
        [
            "acme/imaging/cases.yaml:6:16: 'type' must be a code of the Source of Payment Typology. Write its digits: \"112\"."
        ],
    ),
    "a line of business that there is not": (
        [(PAYERS, "", "lines: [{means: [advantage], names: []}]\n")],
        [
            "payers.yaml:8:18: 'means[0]' is 'advantage', which is not one of its words. Did you mean 'medicare-advantage'?"
        ],
    ),
    "a number as a text": (
        reason("1.5"),
        ["acme/imaging/policy.yaml:41:13: 'because' is the number 1.5. Quote it: \"1.5\"."],
    ),
    "a mapping as a text": (
        reason("{it: is}"),
        [
            "acme/imaging/policy.yaml:41:13: 'because' must be a text. Write one text, in quotes if it holds ': ' or '#'."
        ],
    ),
    "a list as a text": (
        reason("[x]"),
        [
            "acme/imaging/policy.yaml:41:13: 'because' must be a text. Write one text, in quotes if it holds ': ' or '#'."
        ],
    ),
    "a text of no letters": (
        reason('""'),
        ["acme/imaging/policy.yaml:41:13: 'because' is empty. Fill it in."],
    ),
    "a text that is null": (
        reason("null"),
        ["acme/imaging/policy.yaml:41:13: 'because' is empty. Fill it in."],
    ),
    "a year in words": (
        [(POLICY, SOURCE, f"{SOURCE}        year: last\n")],
        ["acme/imaging/policy.yaml:19:9: 'year' must be a number. Write digits without quotes."],
    ),
    "a year long ago": (
        [(POLICY, SOURCE, f"{SOURCE}        year: 1899\n")],
        ["acme/imaging/policy.yaml:19:9: 'year': input should be greater than or equal to 1900. Correct the value."],
    ),
    "a year far ahead": (
        [(POLICY, SOURCE, f"{SOURCE}        year: 2101\n")],
        ["acme/imaging/policy.yaml:19:9: 'year': input should be less than or equal to 2100. Correct the value."],
    ),
    "neither true nor false": (
        [("procedures.yaml", "", CATALOGUE + "role: graft, add_on: perhaps}\n")],
        ["procedures.yaml:4:54: 'add_on' must be true or false. Write true or false without quotes."],
    ),
    "one segment only": (
        [("procedures.yaml", "", CATALOGUE + "role: fusion, segments: [2]}\n")],
        ["procedures.yaml:4:55: 'segments' is empty. Fill it in."],
    ),
    "three segments": (
        [("procedures.yaml", "", CATALOGUE + "role: fusion, segments: [2, 3, 4]}\n")],
        [
            "procedures.yaml:4:55: 'segments': list should have at most 2 items after validation, not 3. Correct the value."
        ],
    ),
    "a text instead of a list": (
        [(POLICY, "payers: [acme]", "payers: acme")],
        ["acme/imaging/policy.yaml:8:1: 'payers' must be a list. Write payers: [...] or one '- ' line per part."],
    ),
    "a mapping instead of a list": (
        [(POLICY, "payers: [acme]", "payers: {acme: true}")],
        ["acme/imaging/policy.yaml:8:1: 'payers' must be a list. Write payers: [...] or one '- ' line per part."],
    ),
    "a text instead of a mapping": (
        [(POLICY, "review: {status: submitted}", "review: submitted")],
        ["acme/imaging/policy.yaml:15:5: 'review' must be a mapping. Write 'key: value' lines below it."],
    ),
    "a list instead of a mapping": (
        [
            (
                CARD,
                'orders:\n  low-back-imaging:\n    summary:\n      - "{{ name }} comes after six weeks of conservative care"\n',
                "orders: [low-back-imaging]\n",
            )
        ],
        ["acme/imaging/card.yaml:3:1: 'orders' must be a mapping. Write 'key: value' lines below it."],
    ),
    "a word that is nearly right": (
        [(POLICY, "outcome: not-supported", "outcome: not-suported")],
        [
            "acme/imaging/policy.yaml:49:11: 'outcome' is 'not-suported', which is not one of its words. Did you mean 'not-supported'?"
        ],
    ),
    "a number instead of a payer": (
        [(PAYERS, ACME, "  - 5\n")],
        ["payers.yaml:4:5: 'payers[0]' must be a mapping. Write 'key: value' lines below it."],
    ),
    "a misspelt key in a mapping that may be a text": (
        [(CASES, 'orders: ["72148"]\n    conditions', 'orders: [{cod: "72148"}]\n    conditions')],
        ["acme/imaging/cases.yaml:6:15: 'cod' is not a key here. Did you mean 'code'?"],
    ),
    "a key missing beside one that is misspelt": (
        [(POLICY, "title: Imaging\nshort_title: Imaging ", "shorttitle: Imaging ")],
        [
            "acme/imaging/policy.yaml:2:1: 'title' is missing. Add it.",
            "acme/imaging/policy.yaml:5:1: 'shorttitle' is not a key here. Did you mean 'short_title'?",
        ],
    ),
    "a policy outside a folder of two parts": (
        [(POLICY, "id: acme/imaging", "id: acme")],
        ["acme/imaging/policy.yaml:3:1: 'id' must be a folder of two parts. Write publisher/policy in lower case."],
    ),
    "a day in words": (
        [(POLICY, "last_confirmed_on: 2026-11-01", "last_confirmed_on: lately")],
        ["acme/imaging/policy.yaml:14:5: 'last_confirmed_on' is not a date. Write it as YYYY-MM-DD."],
    ),
    "a file that is a list": (
        [(PAYERS, "# yaml-language-server: $schema=_schema/payers.schema.json\nformat: 1\npayers:\n", "")],
        ["payers.yaml:1:3: 'the file' must be a mapping. Write 'key: value' lines below it."],
    ),
    "no versions": (
        [(POLICY, f"versions:{VERSIONS}", "versions: []\n")],
        ["acme/imaging/policy.yaml:11:1: 'versions' is empty. Fill it in."],
    ),
    "every part of a case that may be written in two ways": (
        [(CASES, 'expect: {"72148": not-supported}', 'expect: {"72148": {outcome: denied}}')],
        [
            "acme/imaging/cases.yaml:18:24: 'outcome' is 'denied', which is not one of its words. Use one of: supported, not-supported, needs-information, not-addressed."
        ],
    ),
    "a count of no companions": (
        criterion("companion: {value_set: imaging-orders, at_least: 0}"),
        ["acme/imaging/policy.yaml:29:48: 'at_least': input should be greater than or equal to 1. Correct the value."],
    ),
    "a history of none": (
        criterion("procedure: {value_set: imaging-orders, at_least: 0}"),
        ["acme/imaging/policy.yaml:29:48: 'at_least': input should be greater than or equal to 1. Correct the value."],
    ),
    "a criterion's name that is no name": (
        [(POLICY, "      red-flag:\n", "      red_flag:\n")],
        [
            "acme/imaging/policy.yaml:22:7: 'red_flag' must be lower-case words joined by hyphens. Use a to z, 0 to 9, hyphen and dot."
        ],
    ),
    "an item's name that is no name": (
        [(POLICY, "low-back-imaging:", "Low-back-imaging:")],
        [
            "acme/imaging/policy.yaml:34:7: 'Low-back-imaging' must be lower-case words joined by hyphens. Use a to z, 0 to 9, hyphen and dot."
        ],
    ),
    "a source's name that is no name": (
        [(POLICY, "      policy:\n", "      the policy:\n")],
        [
            "acme/imaging/policy.yaml:17:7: 'the policy' must be lower-case words joined by hyphens. Use a to z, 0 to 9, hyphen and dot."
        ],
    ),
    "a name that is null": (
        [(POLICY, "      red-flag:\n", "      ~:\n")],
        [
            "acme/imaging/policy.yaml:22:7: '~' must be lower-case words joined by hyphens. Use a to z, 0 to 9, hyphen and dot."
        ],
    ),
    "an item's name in the wording that is no name": (
        [(CARD, "low-back-imaging:", "low_back_imaging:")],
        [
            "acme/imaging/card.yaml:4:3: 'low_back_imaging' must be lower-case words joined by hyphens. Use a to z, 0 to 9, hyphen and dot."
        ],
    ),
    "an answer's name that is no name": (
        [(CASES, "{tried-six-weeks: true}", "{tried_six_weeks: true}")],
        [
            "acme/imaging/cases.yaml:12:15: 'tried_six_weeks' must be lower-case words joined by hyphens. Use a to z, 0 to 9, hyphen and dot."
        ],
    ),
    "a list as a key": (
        [(POLICY, "      red-flag:\n", "      [red, flag]:\n")],
        ["acme/imaging/policy.yaml:22:7: a list or mapping where a key goes. Write a word."],
    ),
    "a value of many kinds that is none of them": (
        [(CASES, 'orders: ["72148"]\n', 'orders: ["72148"]\n    observations: [{code: "1", value: {a: 1}}]\n')],
        ["acme/imaging/cases.yaml:7:32: 'value' must be a number. Write digits without quotes."],
    ),
    "an outcome that is empty": (
        [(CASES, 'expect: {"72148": not-supported}', 'expect: {"72148": }')],
        [
            "acme/imaging/cases.yaml:18:14: '72148' is empty. Use one of: supported, not-supported, needs-information, not-addressed."
        ],
    ),
    "a key of another operator": (
        criterion("age: {at_most: 65}"),
        ["acme/imaging/policy.yaml:29:15: 'at_most' is not a key here. Use one of: at_least, under, in."],
    ),
    "a day written as 0": (
        [(POLICY, "from: null", "from: 0")],
        ["acme/imaging/policy.yaml:13:17: 'from' is not a date. Write it as YYYY-MM-DD."],
    ),
    "a day written as 1767225600": (
        [(POLICY, "from: null", "from: 1767225600")],
        ["acme/imaging/policy.yaml:13:17: 'from' is not a date. Write it as YYYY-MM-DD."],
    ),
    "a day written as 20260101": (
        [(POLICY, "from: null", "from: 20260101")],
        ["acme/imaging/policy.yaml:13:17: 'from' is not a date. Write it as YYYY-MM-DD."],
    ),
    "a day written as 2026-01-01T00:00:00": (
        [(POLICY, "from: null", "from: 2026-01-01T00:00:00")],
        ["acme/imaging/policy.yaml:13:17: 'from' is not a date. Write it as YYYY-MM-DD."],
    ),
    "a day written as true": (
        [(POLICY, "from: null", "from: true")],
        ["acme/imaging/policy.yaml:13:17: 'from' is not a date. Write it as YYYY-MM-DD."],
    ),
    "a day written as 1767225600 in quotes": (
        [(POLICY, "from: null", 'from: "1767225600"')],
        ["acme/imaging/policy.yaml:13:17: 'from' is not a date. Write it as YYYY-MM-DD."],
    ),
    "a window of more than a hundred years in days": (
        criterion("procedure: {value_set: imaging-orders, within: {days: 36526}}"),
        ["acme/imaging/policy.yaml:29:57: 'days': input should be less than or equal to 36525. Correct the value."],
    ),
    "a window of more than a hundred years in weeks": (
        criterion("procedure: {value_set: imaging-orders, within: {weeks: 5219}}"),
        ["acme/imaging/policy.yaml:29:57: 'weeks': input should be less than or equal to 5218. Correct the value."],
    ),
    "a window of more than a hundred years in months": (
        criterion("procedure: {value_set: imaging-orders, within: {months: 1201}}"),
        ["acme/imaging/policy.yaml:29:57: 'months': input should be less than or equal to 1200. Correct the value."],
    ),
    "an age of -5": (
        [(CASES, "    title: Cauda", "    age: -5\n    title: Cauda")],
        ["acme/imaging/cases.yaml:5:5: 'age': input should be greater than or equal to 0. Correct the value."],
    ),
    "an age of 3000": (
        [(CASES, "    title: Cauda", "    age: 3000\n    title: Cauda")],
        ["acme/imaging/cases.yaml:5:5: 'age': input should be less than or equal to 130. Correct the value."],
    ),
    "a window of no days": (
        criterion("procedure: {value_set: imaging-orders, within: {days: 0}}"),
        ["acme/imaging/policy.yaml:29:57: 'days': input should be greater than 0. Correct the value."],
    ),
    "a window of no weeks": (
        criterion("procedure: {value_set: imaging-orders, within: {weeks: 0}}"),
        ["acme/imaging/policy.yaml:29:57: 'weeks': input should be greater than 0. Correct the value."],
    ),
    "a window of no months": (
        criterion("procedure: {value_set: imaging-orders, within: {months: 0}}"),
        ["acme/imaging/policy.yaml:29:57: 'months': input should be greater than 0. Correct the value."],
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name: str) -> None:
    edits, expected = MESSAGES[name]
    assert faults(*edits) == expected


ODD = (None, {}, [], "", "X_y", 5, 2.5, True, {"a": 1}, [[1]], {"[key]": 1}, [None], {"all": 1}, {"X_y": {}})


def places(data: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a document."""
    yield at
    for step, inner in data.items() if isinstance(data, dict) else enumerate(data if isinstance(data, list) else ()):
        yield from places(inner, (*at, step))


def put(data: Any, at: tuple[str | int, ...], value: Any) -> Any:
    """The document with a value at a place."""
    if not at:
        return value
    if isinstance(data, dict):
        return {k: put(v, at[1:], value) if k == at[0] else v for k, v in data.items()}
    return [put(v, at[1:], value) if n == at[0] else v for n, v in enumerate(data)]


def renamed(data: Any, at: tuple[str | int, ...]) -> Any:
    """The document with the key at a place in capitals and with an underscore."""
    if len(at) > 1:
        return put(data, at[:1], renamed(data[at[0]], at[1:]))
    return {k if k != at[0] else f"X_{k}": v for k, v in data.items()} if isinstance(data, dict) else data


@pytest.mark.parametrize("file", [POLICY, CARD, CASES, PAYERS, ORDERS])
def test_a_file_that_does_not_fit_is_never_left_out_in_silence(file: str) -> None:
    shape = SCHEMAS[str(kind_of(file))]
    data = Document(file, edited()[file]).data
    found = [renamed(data, at) for at in places(data) if at]
    found += [put(data, at, value) for at in places(data) for value in ODD]
    for each in found:
        parsed, errors = validate(Document(file, json.dumps(each)), shape)
        assert (parsed is None) == bool(errors), each


@pytest.mark.parametrize("value", ["!!timestamp foo", "!!bool foo", "!!int ''", "!!float x", "!!int " + "9" * 5000])
def test_a_value_that_does_not_fit_its_tag(value: str) -> None:
    [fault] = faults((POLICY, "version: ", f"version: {value} #"))
    assert fault.endswith("a value that does not fit its YAML tag. Remove the tag (!!name), or put the text in quotes.")
