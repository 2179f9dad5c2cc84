"""Orders that ask for each other's outcome: the answer does not depend on which is asked first."""

from __future__ import annotations

from datetime import date
from itertools import pairwise, permutations

import pytest

from cds_service.policy.case import Case, Code, Order, Source, SourceState
from cds_service.policy.content import read
from cds_service.policy.evaluate import Evaluator
from cds_service.policy.rulebook import compile_content
from cds_service.policy.view import Facts

HEAD = """
format: 1
id: acme/circle
kind: guideline
title: Circle
short_title: Circle
publisher: Acme
notice: unofficial encoding
versions:
  - version: "1"
    effective: {from: null, to: null}
    last_confirmed_on: 2026-01-01
    review: {status: submitted}
    sources: {s: {title: S, confidence: recalled}}
"""
DAY = date(2026, 6, 1)


def item(name: str, rules: str, otherwise: str) -> str:
    return (
        f"      {name}:\n        label: {name}\n        value_set: {name}\n        rules: {rules}\n"
        f"        otherwise: {{outcome: {otherwise}, because: b}}\n"
    )


def evaluator(body: str, codes: str) -> tuple[Evaluator, tuple[Order, ...]]:
    files = {"acme/circle/policy.yaml": HEAD + body}
    for code in codes:
        files[f"value_sets/{code}.yaml"] = (
            f"format: 1\nid: {code}\ntitle: {code}\nsource: {{title: S, confidence: recalled}}\n"
            f'codes: [{{system: cpt, code: "0000{code.upper()}", label: {code}}}]\n'
        )
    orders = tuple(Order(f"ServiceRequest/{c}", (Code("cpt", f"0000{c.upper()}"),)) for c in codes)
    sources = {s: Source(SourceState.READ) for s in ("orders", "active-orders")}
    case = Case(orders=orders, sources=sources, received=DAY)
    book = compile_content(read(files))
    found = Evaluator(Facts(case, book.vocabulary))
    found.version = book.versions[0]  # type: ignore[attr-defined]
    return found, orders


def asks(target: str) -> str:
    return (
        f"      {target}-supported: {{text: t, companion: "
        f"{{value_set: {target}, outcome: supported, scope: basket}}}}\n"
    )


def rule(when: str, outcome: str) -> str:
    return f"[{{id: r, when: {when}, outcome: {outcome}, because: b, cite: [s]}}]"


CIRCLE = (
    "    criteria:\n"
    + asks("a")
    + asks("b")
    + "    orders:\n"
    + item("a", rule("b-supported", "supported"), "not-supported")
    + item("b", rule("a-supported", "supported"), "supported")
)
CLOSED = (
    "    criteria:\n"
    + asks("a")
    + asks("b")
    + "    orders:\n"
    + item("a", rule("b-supported", "supported"), "not-supported")
    + item("b", rule("a-supported", "supported"), "not-supported")
)


@pytest.mark.parametrize("asked", list(permutations("ab")))
def test_a_circle_settles_what_can_be_settled_in_any_order(asked: tuple[str, ...]) -> None:
    found, orders = evaluator(CIRCLE, "ab")
    by_name = {o.ref[-1]: o for o in orders}
    outcomes = {n: found.verdict(found.version, by_name[n]).outcome for n in asked}  # type: ignore[union-attr,attr-defined]
    assert outcomes == {"a": "supported", "b": "supported"}


@pytest.mark.parametrize("asked", list(permutations("ab")))
def test_a_circle_that_nothing_settles_stays_open(asked: tuple[str, ...]) -> None:
    found, orders = evaluator(CLOSED, "ab")
    by_name = {o.ref[-1]: o for o in orders}
    outcomes = {n: found.verdict(found.version, by_name[n]).outcome for n in asked}  # type: ignore[union-attr,attr-defined]
    assert outcomes == {"a": "needs-information", "b": "needs-information"}


@pytest.mark.parametrize("first", ["a", "t"])
def test_a_long_chain_is_followed_to_its_end(first: str) -> None:
    names = "abcdefghijklmnopqrst"
    body = "    criteria:\n" + "".join(asks(n) for n in names[1:]) + "    orders:\n"
    for name, following in pairwise(names):
        body += item(name, rule(f"{following}-supported", "supported"), "not-supported")
    body += item("t", "[]", "supported")
    found, orders = evaluator(body, names)
    by_name = {o.ref[-1]: o for o in orders}
    assert found.verdict(found.version, by_name[first]).outcome == "supported"  # type: ignore[union-attr,attr-defined]
    assert found.verdict(found.version, by_name["a"]).outcome == "supported"  # type: ignore[union-attr,attr-defined]


def test_twins_that_ask_for_each_other_end_in_time() -> None:
    body = (
        "    criteria:\n" + asks("a") + "    orders:\n" + item("a", rule("a-supported", "supported"), "not-supported")
    )
    found, orders = evaluator(body, "a")
    twins = tuple(Order(f"ServiceRequest/{n}", orders[0].codes) for n in range(60))
    case = found.facts.case.with_orders(twins)
    again = Evaluator(Facts(case, found.facts.vocabulary))
    outcomes = {again.verdict(found.version, o).outcome for o in twins}  # type: ignore[union-attr,attr-defined]
    assert outcomes == {"needs-information"}
