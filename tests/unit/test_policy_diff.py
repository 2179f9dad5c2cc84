"""What a change of a policy changes for one order, and the reasons given, one of each kind."""

from __future__ import annotations

from typing import Any

import pytest
from support.small import Json, book, case, decided, item, policy, rule

from cds_service.determination.difference import Change, Said, change
from cds_service.determination.worked import determination_of

CRITERIA = {
    "ill": {"text": "Ill.", "condition": {"value_set": "illness"}, "when_absent": "not-met"},
    "old": {"text": "Old.", "age": {"at_least": 65}},
    "neck": {"text": "Neck.", "companion": {"value_set": "neck"}},
}


def bone(*rules: Json, otherwise: str = "supported", **version: Any) -> Json:
    made = {"criteria": CRITERIA, "orders": {"bone": item("bone", *rules, otherwise=otherwise)}, **version}
    return policy("a/one", **made)


def judged(body: Json | None, *beside: str) -> Said | None:
    if body is None:
        return None
    rulebook = book(body)
    said = determination_of("a/one", decided(rulebook, case("20930", *beside))["20930"])
    return Said(said, rulebook.folders["a/one"].version(said.version)) if said else None


def between(before: Json | None, after: Json | None, *beside: str) -> Change | None:
    return change("c", "ServiceRequest/20930", "20930", judged(before, *beside), judged(after, *beside))


ILL = rule("ill", "ill", "not-supported")
NECK = rule("neck", "neck", "not-supported")
OLD = rule("old", "old", "not-supported")
ELSE = policy("a/one", criteria=CRITERIA, orders={"marrow": item("marrow")})
ABSENT = {**CRITERIA, "ill": {**CRITERIA["ill"], "when_absent": "unknown"}}
FEWER = {k: v for k, v in CRITERIA.items() if k != "ill"}
RENAMED = policy("a/one", criteria=CRITERIA, orders={"chips": item("bone", otherwise="not-supported")})


@pytest.mark.parametrize(
    ("before", "after", "outcomes", "reasons"),
    [
        (
            bone(),
            bone(otherwise="not-supported"),
            ("supported", "not-supported"),
            ("rule 'otherwise' gave supported, now not-supported",),
        ),
        (
            bone(),
            bone(otherwise="not-supported", version="2"),
            ("supported", "not-supported"),
            ("version 1 was in force, now 2", "rule 'otherwise' gave supported, now not-supported"),
        ),
        (
            bone(ILL),
            bone(ILL, criteria=ABSENT),
            ("supported", "needs-information"),
            ("criterion 'ill' was not-met, now unknown",),
        ),
        (
            bone(),
            bone(NECK),
            ("supported", "not-supported"),
            ("rule 'neck' is new: not-supported",),
        ),
        (
            bone(NECK),
            bone(),
            ("not-supported", "supported"),
            ("rule 'neck' is gone: it gave not-supported",),
        ),
        (
            bone({**NECK, "when": {"not": "neck"}}),
            bone(NECK),
            ("supported", "not-supported"),
            ("rule 'neck' has another 'when'",),
        ),
        (
            bone(ILL, NECK, {**ILL, "id": "last", "when": "neck", "outcome": "supported"}),
            bone(ILL, {**ILL, "id": "last", "when": "neck", "outcome": "supported"}, NECK),
            ("not-supported", "supported"),
            ("the rules stand in another order",),
        ),
        (
            bone(NECK, criteria=FEWER),
            bone(rule("neck", {"any": ["neck", "ill"]}, "supported")),
            ("not-supported", "supported"),
            (
                "criterion 'ill' is new: not-met",
                "rule 'neck' gave not-supported, now supported",
                "rule 'neck' has another 'when'",
            ),
        ),
        (
            bone(rule("neck", {"any": ["neck", "ill"]}, "supported")),
            bone(NECK, criteria=FEWER),
            ("supported", "not-supported"),
            (
                "criterion 'ill' is gone: it was not-met",
                "rule 'neck' gave supported, now not-supported",
                "rule 'neck' has another 'when'",
            ),
        ),
        (
            bone(),
            RENAMED,
            ("supported", "not-supported"),
            ("judged as 'bone', now as 'chips'", "rule 'otherwise' gave supported, now not-supported"),
        ),
        (
            bone(ILL),
            bone({**ILL, "outcome": "needs-information", "when": {"all": ["ill", "neck"]}}, otherwise="not-supported"),
            ("supported", "not-supported"),
            ("rule 'otherwise' gave supported, now not-supported",),
        ),
        (bone(), ELSE, ("supported", None), ("'bone' (a/one@1) no longer speaks to the order",)),
        (ELSE, bone(), (None, "supported"), ("'bone' (a/one@1) now speaks to the order",)),
        (
            bone(OLD),
            bone({**OLD, "outcome": "supported"}, otherwise="not-supported"),
            ("needs-information", "needs-information"),
            None,
        ),
        (
            bone(OLD),
            bone({**OLD, "outcome": "supported"}),
            ("needs-information", "supported"),
            ("rule 'old' gave not-supported, now supported",),
        ),
    ],
)
def test_a_change_and_its_reasons(
    before: Json, after: Json, outcomes: tuple[str | None, str | None], reasons: tuple[str, ...] | None
) -> None:
    found = between(before, after, "22551")
    if reasons is None:
        assert found is None
        return
    assert found == Change("c", "ServiceRequest/20930", "20930", "a/one", *outcomes, reasons)


@pytest.mark.parametrize(
    ("before", "after"),
    [(bone(), bone(version="2")), (bone(NECK), bone(NECK, otherwise="not-supported")), (None, None), (ELSE, ELSE)],
)
def test_no_change(before: Json | None, after: Json | None) -> None:
    assert between(before, after, "22551") is None


def test_the_same_outcome_by_another_rule_is_a_change() -> None:
    found = between(bone(NECK), bone(otherwise="not-supported"), "22551")
    assert found is not None
    assert (found.before, found.after) == ("not-supported", "not-supported")
    assert found.reasons == (
        "rule 'neck' is gone: it gave not-supported",
        "rule 'otherwise' gave supported, now not-supported",
    )


def test_a_change_of_prior_authorization_alone_is_a_change() -> None:
    needed = {**NECK, "prior_authorization": "required"}
    found = between(bone(NECK), bone(needed), "22551")
    assert found is not None
    assert (found.before, found.after) == ("not-supported", "not-supported")
    assert found.reasons == ("prior authorization was unknown, now required",)


def test_a_change_of_a_recommendation_alone_is_a_change() -> None:
    def guided(recommendation: str) -> Json:
        orders = {"bone": item("bone", {**NECK, "outcome": "supported", "recommendation": recommendation})}
        return policy("a/one", "guideline", criteria=CRITERIA, orders=orders)

    found = between(guided("option"), guided("for"), "22551")
    assert found is not None
    assert found.reasons == ("recommendation was option, now for",)
