"""Billing codes of an order: its own, and never a list's in their place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.small import book, case, item, order, policy

from cds_service.determination.decide import Terms, decide
from cds_service.determination.routing import PayerDirectory
from cds_service.hooks.crd_billing import billing_codes
from cds_service.policy.case import Code


@pytest.mark.parametrize(
    ("value_set", "billed"),
    [
        ("marrow", (Code("cpt", "20939"),)),  # one code: whatever names the order, that is how it is billed
        ("grafts", ()),  # three codes: nobody can tell which, so none is said
    ],
)
def test_a_list_is_no_translation_of_what_was_ordered(value_set: str, billed: tuple[Code, ...]) -> None:
    rulebook = book(policy("a/one", orders={"it": item(value_set)}))
    local = replace(order("20939"), codes=(Code("rxnorm", "313160"),))
    directory = PayerDirectory.of(rulebook.content)
    decider, _ = decide(case("20939"), rulebook, directory, Terms())
    verdict = decider.evaluator.verdict(rulebook.versions[0], order("20939"))
    assert verdict is not None
    assert billing_codes(local, verdict, rulebook.vocabulary) == billed
    assert billing_codes(order("20939"), verdict, rulebook.vocabulary) == (Code("cpt", "20939"),)
