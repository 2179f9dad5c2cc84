"""Feedback (CDS Hooks, Feedback): each item kept, repeated or refused by itself, and counted once per finding."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cds_service.ledger.record import CardRecord, FeedbackResult
from cds_service.ledger.store import Ledger
from tests.functional.ledger_samples import KEY, POLICY, book, card, execute, feedback, record, url

__all__ = ["book", "url"]
REASON = {"reason": {"code": "contraindicated", "system": "urn:reasons", "display": "Contraindicated"}}


@pytest.fixture
def shown(book: Ledger) -> CardRecord:
    """A card that the hospital's client was shown."""
    c = card()
    book.write(record(c))
    return c


def send(book: Ledger, *items: Any, service: str = "order-sign-advisor", client: str | None = "hospital") -> list[Any]:
    return book.feedback(service, client, items)


def rule(book: Ledger, **filters: Any) -> dict[str, Any]:
    (only,) = book.metrics(**filters)["rules"]
    return dict(only)


def test_each_item_of_a_batch_has_its_own_fate(book: Ledger, shown: CardRecord) -> None:
    good = feedback(shown)
    unknown = feedback(card())
    results = send(book, good, unknown, good, feedback(shown, "overridden", "2026-03-01T10:00:00Z"))
    assert results == [
        FeedbackResult(0, "accepted"),
        FeedbackResult(1, "rejected", "is not a card that this service showed you", "feedback[1].card"),
        FeedbackResult(2, "duplicate"),
        FeedbackResult(3, "accepted"),
    ]
    report = book.verify()
    assert (report.feedback, report.problems) == (2, ())


def test_what_is_kept_is_joined_to_card_suggestion_rule_and_version(book: Ledger, shown: CardRecord, url: str) -> None:
    send(book, feedback(shown, overrideReason=None))
    (stored,) = book.records(hook="feedback")
    assert stored["card"] == {
        "uuid": shown.uuid,
        "finding": shown.finding,
        "policy": POLICY,
        "version": "2025-12",
        "rule": "marrow-aspirate",
        "hook": "order-sign",
        "payer": "aetna",
    }
    assert stored["suggestions"] == [list(shown.suggestions[0])]
    row = execute(url, "SELECT card, outcome, suggestions, policy, version, rule, service, client, payer FROM feedback")
    suggestion = json.dumps([list(shown.suggestions[0])], separators=(",", ":"))
    assert row == [
        (shown.uuid, "accepted", suggestion, POLICY, "2025-12", "marrow-aspirate", "order-sign-advisor", "hospital",
         "aetna")
    ]  # fmt: skip


def test_repeats_are_idempotent_also_from_another_process(book: Ledger, shown: CardRecord, url: str) -> None:
    item = feedback(shown, "overridden", overrideReason={**REASON, "userComment": "allergy"})
    assert [r.status for r in send(book, item)] == ["accepted"]
    same = json.loads(json.dumps({**item, "card": f"urn:uuid:{shown.uuid.upper()}"}))
    same["outcomeTimestamp"] = "2026-03-01T10:00:00.000+01:00"
    with Ledger.open(url, key=KEY) as other:
        assert [r.status for r in send(other, same)] == ["duplicate"]
    different = {**item, "overrideReason": {**REASON, "userComment": "other"}}
    assert [r.status for r in send(book, different)] == ["accepted"]
    assert rule(book)["overridden"] == 1
    assert book.verify().feedback == 2


def test_the_latest_outcome_wins_whatever_the_order_of_arrival(book: Ledger, shown: CardRecord) -> None:
    send(book, feedback(shown, "overridden", "2026-03-01T10:00:00Z", overrideReason=REASON))
    assert (rule(book)["accepted"], rule(book)["overridden"]) == (0, 1)
    send(book, feedback(shown, "accepted", "2026-03-01T09:00:00Z"))
    assert (rule(book)["accepted"], rule(book)["overridden"]) == (0, 1)
    send(book, feedback(shown, "accepted", "2026-03-01T11:00:00Z"))
    found = rule(book)
    assert (found["accepted"], found["overridden"], found["ignored"], found["reasons"]) == (1, 0, 0, [])
    assert book.verify().feedback == 3


def test_a_client_whose_clock_is_ahead_does_not_win_for_ever(book: Ledger, shown: CardRecord) -> None:
    send(book, feedback(shown, "overridden", "2999-01-01T00:00:00Z"))
    later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    send(book, feedback(shown, "accepted", later))
    assert (rule(book)["accepted"], rule(book)["overridden"]) == (1, 0)


def test_a_finding_counts_once_however_often_it_fires(book: Ledger) -> None:
    finding = book.finding_key("hospital", "pat-1", "ServiceRequest/1", "marrow-aspirate")
    fired = [card(finding=finding) for _ in range(5)]
    for c in fired:
        book.write(record(c))
    ignored, silent = card(), card(shown=False)
    book.write(record(ignored, silent))
    send(book, feedback(fired[0], "overridden", "2026-03-01T09:00:00Z", overrideReason=REASON))
    send(book, feedback(fired[4], "accepted", "2026-03-01T09:30:00Z"))
    assert rule(book) == {
        "policy": POLICY,
        "version": "2025-12",
        "rule": "marrow-aspirate",
        "cards": 6,
        "shown": 2,
        "accepted": 1,
        "overridden": 0,
        "ignored": 1,
        "acceptance_rate": 0.5,
        "override_rate": 0.0,
        "reasons": [],
    }


def test_rates_and_reasons_are_per_rule_and_version_and_filtered(book: Ledger) -> None:
    for version, outcomes in (("2025-12", "aoo-"), ("2026-06", "a---")):
        for outcome in outcomes:
            c = card(version=version)
            book.write(record(c, client=version))
            if outcome != "-":
                name = {"a": "accepted", "o": "overridden"}[outcome]
                more: dict[str, Any] = {"overrideReason": REASON} if outcome == "o" else {}
                assert send(book, feedback(c, name, **more), client=version)[0].status == "accepted"
    old, new = book.metrics()["rules"]
    assert (old["version"], old["shown"], old["accepted"], old["overridden"], old["ignored"]) == ("2025-12", 4, 1, 2, 1)
    assert (old["acceptance_rate"], old["override_rate"]) == (0.25, 0.5)
    assert old["reasons"] == [
        {"system": "urn:reasons", "code": "contraindicated", "display": "Contraindicated", "count": 2}
    ]
    assert (new["version"], new["shown"], new["accepted"], new["ignored"]) == ("2026-06", 4, 1, 3)
    assert rule(book, client="2026-06") == new
    assert book.metrics(since=datetime.now(UTC).date() + timedelta(days=1))["rules"] == []


def test_feedback_of_another_client_or_service_or_on_a_silent_card_is_refused(book: Ledger, shown: CardRecord) -> None:
    silent = card(shown=False)
    book.write(record(silent))
    refused = [
        *send(book, feedback(shown), client="other"),
        *send(book, feedback(shown), client=None),
        *send(book, feedback(shown), service="order-select-advisor"),
        *send(book, feedback(silent)),
        *send(book, feedback(card())),
    ]
    assert (
        refused == [FeedbackResult(0, "rejected", "is not a card that this service showed you", "feedback[0].card")] * 5
    )
    assert book.verify().feedback == 0


def test_without_clients_declared_feedback_works_too(book: Ledger) -> None:
    c = card()
    book.write(record(c, client=None))
    assert send(book, feedback(c), client=None) == [FeedbackResult(0, "accepted")]
    assert rule(book)["accepted"] == 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"card": None}, ".card"),
        ({"card": 7}, ".card"),
        ({"card": "nul\0"}, ".card"),
        ({"outcome": "ignored"}, ".outcome"),
        ({"outcome": ["accepted"]}, ".outcome"),
        ({"outcomeTimestamp": None}, ".outcomeTimestamp"),
        ({"outcomeTimestamp": "2026-03-01"}, ".outcomeTimestamp"),
        ({"outcomeTimestamp": "2026-03-01T09:00:00"}, ".outcomeTimestamp"),
        ({"outcomeTimestamp": "2026-02-30T09:00:00Z"}, ".outcomeTimestamp"),
        ({"outcomeTimestamp": "0001-01-01T00:00:00+23:59"}, ".outcomeTimestamp"),
        ({"acceptedSuggestions": None}, ".acceptedSuggestions"),
        ({"acceptedSuggestions": []}, ".acceptedSuggestions"),
        ({"acceptedSuggestions": {}}, ".acceptedSuggestions"),
        ({"acceptedSuggestions": [{"id": str(uuid4())}]}, ".acceptedSuggestions[0].id"),
        ({"acceptedSuggestions": ["x"]}, ".acceptedSuggestions[0].id"),
    ],
)
def test_a_malformed_item_is_refused_with_its_path(
    book: Ledger, shown: CardRecord, change: dict[str, Any], path: str
) -> None:
    (result,) = send(book, {**feedback(shown), **change})
    assert (result.status, result.path) == ("rejected", f"feedback[0]{path}")
    assert result.reason
    assert book.verify().feedback == 0


@pytest.mark.parametrize(
    ("said", "code", "offered", "commented"),
    [
        ({}, None, None, False),
        ({"overrideReason": {}}, None, None, False),
        ({"overrideReason": []}, None, None, False),
        ({"overrideReason": 7}, None, None, False),
        ({"overrideReason": "other-code"}, "other-code", False, False),
        ({"overrideReason": "not for this patient"}, None, None, True),
        ({"overrideReason": {"reason": None}}, None, None, False),
        ({"overrideReason": {"reason": "contraindicated"}}, "contraindicated", True, False),
        ({"overrideReason": {"reason": {"system": "x"}}}, None, None, False),
        ({"overrideReason": {"userComment": 1}}, None, None, False),
        ({"overrideReason": {"code": "contraindicated", "system": "s"}}, "contraindicated", True, False),
        ({"overrideReason": [{"reason": {"code": "a"}}, REASON]}, "contraindicated", True, False),
        ({"overrideReasons": {**REASON, "userComment": "no"}}, "contraindicated", True, True),
        ({"overrideReasons": [REASON, {"userComment": "no"}]}, "contraindicated", True, True),
        (
            {"overrideReasons": {"extension": {"com.epic.cdshooks.feedback.overrideReason.id": "45"}}},
            "45",
            False,
            False,
        ),
        (
            {
                "overrideReasons": {
                    "extension": {
                        "com.epic.cdshooks.feedback.overrideReason.reasonCategory": 45,
                        "com.epic.cdshooks.feedback.overrideReason.reasonTitle": "Not met",
                        "com.epic.cdshooks.feedback.overrideReason.userComment": "no",
                    }
                }
            },
            "45",
            False,
            True,
        ),
        ({"acceptedSuggestions": {}}, None, None, False),
        ({"acceptedSuggestions": [{"id": "another"}]}, None, None, False),
    ],
)
def test_an_override_is_kept_whatever_its_reason_looks_like(
    book: Ledger,
    shown: CardRecord,
    url: str,
    said: dict[str, Any],
    code: str | None,
    offered: bool | None,
    commented: bool,
) -> None:
    item = {**feedback(shown, "overridden"), **said}
    assert [r.status for r in send(book, item)] == ["accepted"]
    ((stored, known, words, rule_),) = execute(url, "SELECT reason_code, reason_offered, commented, rule FROM feedback")
    assert (stored, None if known is None else bool(known), bool(words)) == (code, offered, commented)
    assert rule_ == "marrow-aspirate"
    (kept,) = book.records(hook="feedback")
    assert kept["feedback"] == item
    assert book.verify().intact


def test_items_that_differ_in_anything_are_no_repeats(book: Ledger, shown: CardRecord) -> None:
    one = feedback(shown, "overridden", overrideReasons={"extension": {"vendor.overrideReason.id": "1", "x": 1}})
    other = feedback(shown, "overridden", overrideReasons={"extension": {"vendor.overrideReason.id": "1", "x": 2}})
    assert [r.status for r in send(book, one, other, one)] == ["accepted", "accepted", "duplicate"]


def test_an_item_that_is_no_object_is_refused(book: Ledger) -> None:
    assert [(r.status, r.path) for r in send(book, "x", None)] == [
        ("rejected", "feedback[0]"),
        ("rejected", "feedback[1]"),
    ]


@pytest.mark.parametrize(
    ("reason", "code", "offered"),
    [
        ({"code": "contraindicated", "system": "s"}, "contraindicated", True),
        ({"code": "own-code", "system": "s"}, "own-code", False),
        ({"coding": [{"code": "own-code", "system": "s"}], "text": "Own"}, "own-code", False),
        ({"code": "nul\0 \ud800", "system": "s"}, "other", False),
        ({"display": "words only"}, "other", False),
        ({"display": "Contraindicated"}, "contraindicated", True),
    ],
)
def test_reasons_outside_the_cards_list_are_kept(
    book: Ledger, shown: CardRecord, url: str, reason: dict[str, Any], code: str | None, offered: bool | None
) -> None:
    (result,) = send(book, feedback(shown, "overridden", overrideReason={"reason": reason}))
    assert result.status == "accepted"
    ((stored, known),) = execute(url, "SELECT reason_code, reason_offered FROM feedback")
    assert (stored, None if known is None else bool(known)) == (code, offered)
    words = {"system": "urn:reasons", "code": code, "display": "Contraindicated"}
    counted = words if offered else {"system": None, "code": "other", "display": None}
    assert rule(book)["reasons"] == [{**counted, "count": 1}]
    assert book.verify().intact


def test_a_comment_is_kept_but_never_logged_or_counted(
    book: Ledger, shown: CardRecord, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    comment = "Mrs Zwillinger is allergic"
    send(book, feedback(shown, "overridden", overrideReason={"userComment": comment}))
    assert [d["feedback"]["overrideReason"] for d in book.records(hook="feedback")] == [{"userComment": comment}]
    assert comment not in caplog.text
    assert comment not in json.dumps(book.metrics())
    assert comment not in str(execute(url, "SELECT * FROM feedback"))
    assert execute(url, "SELECT count(*) FROM feedback WHERE commented") == [(1,)]


def test_a_comment_can_be_masked(url: str) -> None:
    with Ledger.open(url, key=KEY, mask=["/feedback/overrideReason/userComment"]) as book:
        c = card()
        book.write(record(c))
        send(book, feedback(c, "overridden", overrideReason={**REASON, "userComment": "secret"}))
        (stored,) = book.records(hook="feedback")
        assert stored["feedback"]["overrideReason"] == REASON
        assert stored["masked"] == ["/feedback/overrideReason/userComment"]
        assert book.verify().intact
