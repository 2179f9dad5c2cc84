"""No feedback is lost: whatever an item looks like, it is recorded whole, or refused with the field that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.ledger.record import CardRecord
from cds_service.ledger.store import Ledger
from tests.functional.ledger_samples import KEY, card, feedback, record

NAME = "vendor.cdshooks.feedback.overrideReason"
SCALAR = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8) | st.sampled_from(["contraindicated", "own"])
)
CODING = st.fixed_dictionaries({}, optional={"code": SCALAR, "system": SCALAR, "display": SCALAR})
CONCEPT = st.fixed_dictionaries({}, optional={"coding": st.lists(CODING | SCALAR, max_size=2) | CODING, "text": SCALAR})
EXTENSION = st.dictionaries(
    st.sampled_from([f"{NAME}.{part}" for part in ("id", "reasonCategory", "reasonTitle", "userComment", "x")] + ["x"]),
    SCALAR | CODING,
    max_size=3,
) | st.lists(
    st.fixed_dictionaries({"url": st.just(f"{NAME}.id") | SCALAR}, optional={"valueString": SCALAR}), max_size=2
)
REASON = SCALAR | CODING | st.fixed_dictionaries(
    {},
    optional={
        "reason": SCALAR | CODING | CONCEPT | st.lists(CODING, max_size=2),
        "userComment": SCALAR | CODING,
        "extension": EXTENSION | SCALAR,
    },
)  # fmt: skip
REASONS = st.fixed_dictionaries(
    {},
    optional={
        "overrideReason": REASON | st.lists(REASON, max_size=2),
        "overrideReasons": REASON | st.lists(REASON, max_size=2),
        "extension": EXTENSION | SCALAR,
        "acceptedSuggestions": SCALAR | st.lists(CODING, max_size=1) | st.just({}),
    },
)
# What makes an item unusable, and the field that must be named for it.
FAULT = st.sampled_from(
    [
        ({}, None), ({}, None), ({}, None), ({"card": 7}, ".card"), ({"card": None}, ".card"),
        ({"outcome": "ignored"}, ".outcome"), ({"outcomeTimestamp": "today"}, ".outcomeTimestamp"),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, CardRecord]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('items') / 'ledger.sqlite3'}"
    with Ledger.open(url, key=KEY) as ledger:
        shown = card()
        ledger.write(record(shown))
        yield ledger, shown


SECOND = count()


def at(second: int) -> str:
    return (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=second)).isoformat()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(REASONS, FAULT), min_size=1, max_size=4))
def test_an_override_is_recorded_whole_or_named_as_failing(
    book: tuple[Ledger, CardRecord], drawn: list[tuple[dict[str, Any], tuple[dict[str, Any], str | None]]]
) -> None:
    ledger, shown = book
    # A time of its own for each, so that none is the repeat of another.
    before = sum(1 for _ in ledger.records(hook="feedback"))
    items = [
        {**feedback(shown, "overridden", at(next(SECOND))), **said, **fault}
        for n, (said, (fault, _)) in enumerate(drawn)
    ]
    results = ledger.feedback("order-sign-advisor", "hospital", items)
    failing = [(n, path) for n, (_, (_, path)) in enumerate(drawn) if path]
    assert [(r.index, r.path) for r in results if r.status == "rejected"] == [
        (n, f"feedback[{n}]{path}") for n, path in failing
    ]
    assert not [r for r in results if r.status == "duplicate"]
    kept = list(ledger.records(hook="feedback"))[before:]
    assert [k["feedback"] for k in kept] == [i for n, i in enumerate(items) if n not in dict(failing)]
    assert all(k["card"]["rule"] == "marrow-aspirate" for k in kept)
