"""Which row of the coverage-information table an order falls under, at the edges of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from support.small import DAY, Json, book, case, cover, decided, item, order, policy, rule

from cds_service.determination.crd_outcome import (
    BY_RULE,
    OPEN_AUTHORIZATION,
    TABLE,
    UNKNOWN_AUTHORIZATION,
    Authority,
    authorization_hangs_on,
    in_version,
    prior_authorization,
    situation,
    standing,
    unread,
)
from cds_service.determination.decision import JudgedOrder
from cds_service.hooks.crd_assert import Speaker
from cds_service.policy.case import Authorization, Case, Period, Source, SourceState
from cds_service.render.crd import Reason
from cds_service.render.policies import Policies

CRITERIA = {
    "ill": {"text": "Ill.", "condition": {"value_set": "illness"}},
    "old": {"text": "Old.", "age": {"at_least": 65}},
    "asked": {"text": "Asked.", "asked": {}, "ask": {"question": "Is it?"}},
    "sick": {"text": "Sick.", "condition": {"value_set": "illness"}, "ask": {"question": "Is the patient?"}},
    "beside": {"text": "Beside.", "companion": {"value_set": "fusion"}},
}
EVERYBODY = Authority(True, lambda _verdict: True)


def bone(own: str, *rules: Json, otherwise: str = "supported", payer: str = "acme") -> Json:
    return policy(own, payers=(payer,), criteria=CRITERIA, orders={"bone": item("bone", *rules, otherwise=otherwise)})


def row(*policies: Json, authority: Authority = EVERYBODY, authorizations: Any = (), **facts: Any) -> str:
    facts_ = case(order("20930", authorizations=authorizations), **facts)
    return situation(decided(book(*policies), facts_)["20930"], authority)


def approved(*ids: str) -> Authority:
    return Authority(True, lambda said: said.policy in ids)


@pytest.mark.parametrize("outcome", ["supported", "not-supported", "needs-information", "not-addressed"])
def test_a_plain_outcome_is_its_own_row(outcome: str) -> None:
    assert row(bone("a/one", otherwise=outcome)) == outcome


def test_no_policy() -> None:
    assert row(bone("b/one", payer="beta")) == "not-addressed"


@pytest.mark.parametrize(
    ("binding", "expected"),
    [(("a/one",), "not-supported"), (("a/two",), "not-approved"), (("a/one", "a/two"), "not-supported")],
)
def test_only_the_policies_behind_the_outcome_must_be_approved(binding: tuple[str, ...], expected: str) -> None:
    two = (bone("a/one", otherwise="not-supported"), bone("a/two", otherwise="supported"))
    assert row(*two, authority=approved(*binding)) == expected


def test_all_policies_behind_the_outcome_must_be_approved() -> None:
    two = (bone("a/one", otherwise="supported"), bone("a/two", otherwise="supported"))
    assert row(*two, authority=approved("a/one")) == "not-approved"
    assert row(*two, authority=approved("a/one", "a/two")) == "supported"


@pytest.mark.parametrize("outcome", ["supported", "not-supported", "needs-information"])
def test_a_payer_that_is_not_declared(outcome: str) -> None:
    undeclared = Authority(False, lambda _: True)
    assert row(bone("a/one", otherwise=outcome), authority=undeclared) == "not-declared"
    assert row(bone("b/one", payer="beta"), authority=undeclared) == "not-addressed"


@pytest.mark.parametrize("outcome", ["supported", "not-supported", "needs-information"])
def test_a_policy_under_review_asserts_nothing(outcome: str) -> None:
    assert row(bone("a/one", otherwise=outcome), authority=approved()) == "not-approved"


def test_the_first_situation_of_the_table_decides() -> None:
    """Every pair of situations that can hold at once, in the order of the table."""
    places = list(TABLE)
    ill = bone("a/one", rule("r", "ill", "not-supported"))
    number = Authorization("PA-1", "ServiceRequest/20930")
    nobody, unapproved = Authority(False, lambda _: False), approved()
    both = [
        ("not-declared", "authorised", row(ill, authority=nobody, authorizations=(number,))),
        ("not-declared", "technical", row(ill, authority=nobody, unread=["conditions"])),
        ("not-declared", "not-approved", row(ill, authority=nobody)),
        ("authorised", "technical", row(ill, authorizations=(number,), unread=["conditions"])),
        ("authorised", "not-approved", row(ill, authority=unapproved, authorizations=(number,))),
        ("technical", "not-approved", row(ill, authority=unapproved, unread=["conditions"])),
        ("technical", "needs-information", row(ill, unread=["conditions"])),
    ]
    for first, second, decided_by in both:
        assert places.index(first) < places.index(second)
        assert decided_by == first


@pytest.mark.parametrize(
    ("number", "declared", "expected"),
    [("PA-1", True, "authorised"), ("PA-1", False, "not-declared"), (None, True, "not-supported")],
)
def test_an_authorisation_counts_with_its_number(number: str | None, declared: bool, expected: str) -> None:
    given = Authorization(number, "ServiceRequest/20930")
    authority = Authority(declared, lambda _: True)
    assert row(bone("a/one", otherwise="not-supported"), authority=authority, authorizations=(given,)) == expected


@pytest.mark.parametrize(
    ("when", "unread", "expected"),
    [
        ("ill", ["conditions"], "technical"),
        ("ill", [], "needs-information"),
        ({"all": ["ill", "old"]}, ["conditions", "patient"], "technical"),
        ({"all": ["ill", "old"]}, ["conditions"], "needs-information"),
        ({"all": ["ill", "old"]}, ["patient"], "needs-information"),
        ({"all": ["ill", "asked"]}, ["conditions", "answers"], "needs-information"),
        ("asked", ["answers"], "needs-information"),
    ],
)
def test_technical_is_only_what_unavailable_sources_alone_leave_open(
    when: Any, unread: list[str], expected: str
) -> None:
    rules = rule("r", when, "not-supported")
    assert row(bone("a/one", rules), unread=unread, patient=None) == expected


DOWN = Source(SourceState.UNAVAILABLE, "the FHIR server answered HTTP 500")
ASKED = "Why?"


@pytest.mark.parametrize(
    ("rules", "down", "left_open_by"),
    [
        ([rule("r", "ill", "not-supported")], ["conditions"], ("conditions",)),
        ([rule("r", {"all": ["ill", "old"]}, "not-supported")], ["conditions"], ("conditions",)),
        ([rule("r", {"any": ["ill", "asked"]}, "not-supported")], ["conditions"], ("conditions",)),
        ([rule("r", {"all": ["asked", "ill"]}, "not-supported")], ["conditions", "answers"], ("answers", "conditions")),
        ([rule("r", "asked", "not-supported")], ["answers"], ("answers",)),
        ([rule("r", "sick", "not-supported")], ["answers"], ("answers",)),
        ([rule("r", "ill", "not-supported")], ["answers"], ()),
        ([rule("r", "asked", "not-supported")], ["conditions"], ()),
        ([rule("r", "beside", "not-supported")], ["active-orders"], ("active-orders",)),
        ([rule("r", "ill", "needs-information"), rule("s", "always", "needs-information", asks=ASKED)],
         ["conditions"], ()),
    ],
    ids=["alone", "beside what the chart lacks", "beside a question", "beside answers", "an answer may be there",
         "an answer may be there for a diagnosis", "no question, so no answer", "does not matter", "other orders",
         "would not matter"],
)  # fmt: skip
def test_what_a_failed_source_may_hold_is_not_asked_for(
    rules: list[Json], down: list[str], left_open_by: tuple[str, ...]
) -> None:
    facts = _with(case(order("20930"), patient=None), dict.fromkeys(down, DOWN))
    result = decided(book(bone("a/one", *rules)), facts)["20930"]
    assert result.outcome == "needs-information"
    assert unread(result) == left_open_by
    assert situation(result, EVERYBODY) == ("technical" if left_open_by else "needs-information")


def _with(facts: Case, sources: dict[str, Source]) -> Case:
    return replace(facts, sources={**facts.sources, **sources})


def test_what_is_settled_is_said_whatever_cannot_be_read() -> None:
    facts = _with(case(order("20930")), {"conditions": DOWN})
    for outcome in ("supported", "not-supported"):
        result = decided(book(bone("a/one", rule("r", "ill", outcome), otherwise=outcome)), facts)["20930"]
        assert situation(result, EVERYBODY) == outcome


@pytest.mark.parametrize(
    ("when", "first", "last", "hangs_on"),
    [
        ("ill", "required", "not-required", {"conditions"}),
        ("asked", "required", "not-required", {"answers"}),
        ("ill", "unknown", "unknown", None),
        ("ill", "required", "required", None),
        ("ill", "unknown", "required", {"conditions"}),
    ],
)
def test_what_prior_authorization_hangs_on(when: str, first: str, last: str, hangs_on: set[str] | None) -> None:
    facts = _with(case(order("20930")), {"conditions": DOWN})
    policy_ = bone(
        "a/one",
        rule("r", when, "supported", prior_authorization=first),
        rule("s", "always", "supported", prior_authorization=last),
    )
    (found,) = decided(book(policy_), facts)["20930"].primary
    assert found.outcome == "supported"
    waits = authorization_hangs_on(found)
    assert (None if waits is None else {w.source for w in waits}) == hangs_on


@pytest.mark.parametrize(
    ("when", "first", "text", "code"),
    [
        ("ill", "required", "Prior authorization: data that the policy needs could not be read: conditions (the FHIR "
         "server answered HTTP 500).", "technical"),
        ("asked", "required", OPEN_AUTHORIZATION, None),
        ("ill", "unknown", UNKNOWN_AUTHORIZATION, None),
    ],
)  # fmt: skip
def test_why_it_is_open_whether_prior_authorization_is_needed(
    when: str, first: str, text: str, code: str | None
) -> None:
    facts = _with(case(order("20930")), {"conditions": DOWN})
    last = "unknown" if first == "unknown" else "not-required"
    rules = [rule("r", when, "supported", prior_authorization=first),
             rule("s", "always", "supported", prior_authorization=last)]  # fmt: skip
    found = decided(book(bone("a/one", *rules)), facts)
    policies = Policies(found.rulebook.folders, found.rulebook.vocabulary)
    speaker = Speaker(
        found.decision, policies, cover("acme"), EVERYBODY, "found", "2.2", "https://b", "record", DAY, True
    )
    (said,) = speaker.assertions(
        found["20930"].order, {"resourceType": "ServiceRequest", "id": "20930"}, found["20930"]
    )
    assert (said.covered, said.pa_needed) == ("covered", "indeterminate")
    assert said.reasons == (Reason(text, code),)


def test_a_rule_that_asks_nothing_is_not_technical() -> None:
    assert row(bone("a/one", rule("vague", "always", "needs-information"))) == "needs-information"


BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)


@pytest.mark.parametrize(
    ("parts", "ordered_for", "expected"),
    [
        ({}, DAY, None),
        ({"period": Period(None, DAY)}, DAY, None),
        ({"period": Period(None, DAY)}, AFTER, "contract-window"),
        ({"period": Period(DAY, DAY)}, AFTER, "contract-window"),
        ({"period": Period(None, BEFORE)}, AFTER, "no-active-coverage"),
        ({"period": Period(AFTER, None)}, DAY, "no-active-coverage"),
        ({"period": Period(None, DAY), "status": "cancelled"}, AFTER, "no-active-coverage"),
        ({"status": "cancelled"}, DAY, "no-active-coverage"),
    ],
)
def test_a_coverage_and_the_day_of_the_order(parts: Any, ordered_for: date, expected: str | None) -> None:
    placed = JudgedOrder("ServiceRequest/20930", (), ordered_for)
    assert standing(cover("acme", **parts), placed, DAY, "found") == expected


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("not-found", "member-not-found"),
        ("several", "coverage-not-found"),
        ("not-active", "no-active-coverage"),
        ("unavailable", "member-unavailable"),
        ("", None),
    ],
)
def test_what_the_directory_of_members_says_comes_first(member: str, expected: str | None) -> None:
    placed = JudgedOrder("ServiceRequest/20930", (), DAY)
    assert standing(cover("acme"), placed, DAY, member) == expected


@pytest.mark.parametrize(
    ("own", "says", "needed"),
    [
        ("supported", "required", "auth-needed"),
        ("supported", "not-required", "no-auth"),
        ("supported", "unknown", "indeterminate"),
        ("needs-information", "unknown", "conditional"),
        ("needs-information", "required", "auth-needed"),
        ("not-supported", "required", None),
        ("authorised", "required", "satisfied"),
    ],
)
def test_prior_authorization(own: str, says: str, needed: str | None) -> None:
    assert prior_authorization(TABLE[own], says).pa_needed == needed


def test_codes_of_older_guides() -> None:
    technical = TABLE["technical"]
    assert in_version(technical, "2.2") is technical
    for version in ("2.0", "2.1"):
        told = in_version(technical, version)  # type: ignore[arg-type]
        assert (told.covered, told.pa_needed, told.info_needed) == ("conditional", "conditional", ("OTH",))
    open_ = prior_authorization(TABLE["supported"], "unknown")
    told = in_version(open_, "2.1")
    assert (told.covered, told.pa_needed, told.info_needed) == ("covered", "conditional", ("OTH",))
    refused = TABLE["not-supported"]
    assert in_version(refused, "2.0") is refused
    assert in_version(TABLE["contract-window"], "2.0").info_needed == ("contract-window",)


def test_documents_are_asked_for_only_where_information_is_needed() -> None:
    assert [r.id for r in TABLE.values() if r.documentation] == ["needs-information"]
    assert [r.id for r in TABLE.values() if r.pa_needed == BY_RULE] == ["supported", "needs-information"]
