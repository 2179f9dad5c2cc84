"""An approval is of what was approved: whatever is changed afterwards is submitted again."""

from __future__ import annotations

from datetime import date

import pytest
from support.cards import FLAGS, ORDERS, POLICY, Edit, content, edited

from cds_service.policy.compiled import dump, load
from cds_service.policy.lint import lint
from cds_service.policy.review import content_hash

TODAY = date(2026, 6, 1)


def approved() -> list[Edit]:
    """The edits that approve the base policy as it is."""
    text = edited()[POLICY]
    line = next(row for row in text.splitlines() if "review:" in row)
    base = content()
    (policy,) = (f.policy for f in base.policies.values())
    code = content_hash(policy.versions[-1], base.value_sets)
    made = f'    review: {{status: approved, by: A. Author, on: 2026-01-02, content: "{code}"}}'
    seen = [(POLICY, "confidence: recalled", "confidence: seen")] * text.count("confidence: recalled")
    if seen:  # an approved version has sources that were read: they count into what is approved
        base = content(*seen)
        (policy,) = (f.policy for f in base.policies.values())
        code = content_hash(policy.versions[-1], base.value_sets)
        made = f'    review: {{status: approved, by: A. Author, on: 2026-01-02, content: "{code}"}}'
    return [*seen, (POLICY, line, made)]


def status(*edits: Edit) -> tuple[str, list[str]]:
    found = content(*edits)
    (policy,) = (f.policy for f in found.policies.values())
    kinds = [n.kind for n in lint(found, TODAY) if n.kind == "changed"]
    review = policy.versions[-1].review.status
    assert [v.version.review.status for v in load(dump(found)).versions] == [review]
    return review, kinds


def test_what_was_approved_stays_approved() -> None:
    assert status(*approved()) == ("approved", [])


@pytest.mark.parametrize(
    "change",
    [
        (ORDERS, 'code: "72148"', 'code: "72149"'),
        (FLAGS, 'prefix: "G83.4"', 'prefix: "G83.41"'),
        (POLICY, "outcome: supported", "outcome: needs-information"),
        (POLICY, "from: null", "from: 2026-01-01"),
    ],
    ids=["a code of a value set", "a prefix", "an outcome", "a day"],
)
def test_what_was_changed_since_is_submitted_again(change: Edit) -> None:
    assert status(*approved(), change) == ("submitted", ["changed"])


def test_words_that_decide_nothing_do_not_count() -> None:
    assert status(*approved(), (ORDERS, "title: Imaging of the low back", "title: Low back imaging"))[0] == "approved"
