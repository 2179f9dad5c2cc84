"""Whatever is masked is nowhere, and what a caller writes in its feedback is in no de-identified row."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from support.service import free_port

from cds_service.errors import ConfigurationError
from cds_service.ledger.store import Ledger
from tests.functional.deployment import FEEDBACK, deployed, hook_request, marrow_cards
from tests.functional.ledger_samples import KEY, book, card, execute, feedback, new_url, record, request, url

__all__ = ["book", "url"]
TABLES = (
    *("register", "chain", "segment", "entry", "token", "explanation", "answer", "card", "feedback"),
    *("finding", "tally", "counted"),
)
DE_IDENTIFIED = ("answer", "card", "feedback", "finding", "tally")


def dump(url: str, tables: tuple[str, ...] = TABLES) -> str:
    return "\n".join(str(row) for table in tables for row in execute(url, f"SELECT * FROM {table}"))


def everywhere(book: Ledger, url: str) -> str:
    """All that the ledger holds, and all that it prints."""
    out = io.BytesIO()
    book.export(out)
    metrics = json.dumps(book.metrics())
    return "\n".join([dump(url), out.getvalue().decode(), metrics, *(json.dumps(d) for d in book.records())])


def marked(node: Any, at: str, marks: dict[str, str], keep: tuple[str, ...] = ()) -> Any:
    """A copy with a mark of its own in every text; `marks` tells which place has which."""
    if isinstance(node, dict):
        return {k: v if k in keep else marked(v, f"{at}/{k}", marks, keep) for k, v in node.items()}
    if isinstance(node, list):
        return [marked(v, f"{at}/{i}", marks, keep) for i, v in enumerate(node)]
    if not isinstance(node, str):
        return node
    marks[at] = f"Mark{uuid4().hex}"
    return marks[at]


FREE = {
    "reason": {
        "system": "Jane Doe",
        "code": "Jane Doe MRN 4711",
        "display": "Jane Doe",
        "coding": [{"system": "x", "code": "y z", "display": "w"}, {"code": "v"}],
        "text": "call 555-0100",
    },
    "userComment": "Jane Doe refuses",
    "extension": {"vendor": ["comment"]},
}


@pytest.mark.parametrize("coded", [False, True])
def test_no_text_of_feedback_is_in_a_de_identified_row_or_a_count(url: str, coded: bool) -> None:
    with Ledger.open(url, key=KEY, segment_rows=1) as book:
        book.write(record(c := card()))
        marks: dict[str, str] = {}
        reason = marked(FREE, "", marks)
        if not coded:
            del reason["reason"]["coding"]
        # A code with a blank in it has no code's shape.
        reason["reason"]["code"] = f"{reason['reason']['code']} MRN"
        if coded:
            reason["reason"]["coding"][0]["code"] += " x"
        (result,) = book.feedback("order-sign-advisor", "hospital", [feedback(c, "overridden", overrideReason=reason)])
        assert result.status == "accepted"
        held = dump(url, DE_IDENTIFIED) + json.dumps(book.metrics())
        assert [place for place, mark in marks.items() if mark in held] == []
        assert '"other"' in json.dumps(book.metrics())
        assert book.verify().problems == ()
        book.prune(datetime.now(UTC) + timedelta(days=1))
        left = everywhere(book, url)
        assert [place for place, mark in marks.items() if mark in left] == []


@pytest.mark.parametrize(
    "path",
    ["/feedback/overrideReason", "/feedback/overrideReason/reason", "/feedback/overrideReason/*",
     "/feedback/overrideReason/userComment", "/feedback/acceptedSuggestions",
     "/feedback/acceptedSuggestions/*/id"],
)  # fmt: skip
def test_what_is_masked_of_feedback_is_nowhere(url: str, path: str) -> None:
    with Ledger.open(url, key=KEY, mask=[path]) as book:
        book.write(record(c := card()))
        marks: dict[str, str] = {}
        items = [
            feedback(c, "overridden", overrideReason=marked(FREE, "/feedback/overrideReason", marks)),
            feedback(c, "overridden", "2026-03-01T10:00:00Z", overrideReason={"reason": {"code": "contraindicated"}}),
            feedback(c, acceptedSuggestions=[{"id": c.suggestions[0][0], "note": "Mark of a note"}]),
        ]
        results = book.feedback("order-sign-advisor", "hospital", items)
        assert {r.status for r in results} == {"accepted"}
        held = everywhere(book, url)
        prefix = path.removesuffix("/*")
        inside = {place: mark for place, mark in marks.items() if place.startswith(prefix)}
        assert [place for place, mark in inside.items() if mark in held] == []
        if path.startswith("/feedback/acceptedSuggestions"):
            assert ("Mark of a note" in held) == path.endswith("/id")
            assert {row[0] for row in execute(url, "SELECT suggestions FROM feedback")} == {"[]"}
        assert book.verify().problems == ()


RESPONSE_MASKS = ["/request/hookInstance", "/response/cards/*/suggestions/*/label", "/response/cards/*/overrideReasons"]


@pytest.mark.parametrize(
    "path", [*RESPONSE_MASKS, "/response/cards", "/request/prefetch", "/request/context", "/request/*"]
)
def test_what_is_masked_of_a_record_is_nowhere(url: str, path: str) -> None:
    marks: dict[str, str] = {}
    body = marked(request(), "/request", marks, ("resourceType", "fhirAuthorization", "hook"))
    suggestion, code = (str(uuid4()), f"Mark{uuid4().hex}"), f"Mark{uuid4().hex}"
    c = card(suggestions=(suggestion,), override_reasons=(code,))
    shown = {"uuid": c.uuid, "suggestions": [{"uuid": suggestion[0], "label": suggestion[1]}],
             "overrideReasons": [{"code": code, "display": (words := f"Mark{uuid4().hex}")}]}  # fmt: skip
    marks |= {"/response/cards/0/suggestions/0/label": suggestion[1], "/response/cards/0/overrideReasons/0/code": code}
    marks["/response/cards/0/overrideReasons/0/display"] = words
    with Ledger.open(url, key=KEY, mask=[path]) as book:
        book.write(record(c, request=body, hook_instance=body["hookInstance"], response={"cards": [shown]}))
        said = feedback(c, "overridden", overrideReason={"reason": {"code": "x y", "display": words}})
        book.feedback("order-sign-advisor", "hospital", [said])
        held = everywhere(book, url)
        head = path.split("/*", maxsplit=1)[0]
        erased = [d for r in book.records() for d in r.get("masked", ())]
        assert erased
        inside = {p: m for p, m in marks.items() if any(p == e or p.startswith(f"{e}/") for e in erased)}
        assert inside, head
        feedback_words = {words}  # the feedback's own place is not masked: there it stands as it came
        assert [p for p, m in inside.items() if m in held and m not in feedback_words] == []
        assert words not in dump(url, DE_IDENTIFIED)
        assert book.verify().problems == ()


@pytest.mark.parametrize("path", ["/feedback/card", "/feedback/outcome", "/feedback/outcomeTimestamp", "/feedback/*"])
def test_a_mask_that_would_leave_no_feedback_is_refused(url: str, path: str) -> None:
    with pytest.raises(ConfigurationError, match="could not be joined to its card"):
        Ledger.open(url, key=KEY, mask=[path])


def test_codes_that_a_card_did_not_offer_are_one_label(url: str) -> None:
    with Ledger.open(url, key=KEY) as book:
        book.write(record(c := card()))
        items = [
            feedback(
                c,
                "overridden",
                f"2026-03-01T09:{n // 60:02}:{n % 60:02}Z",
                overrideReason={"reason": {"code": f"own-{n}"}},
            )
            for n in range(100)
        ]
        assert {r.status for r in book.feedback("order-sign-advisor", "hospital", items)} == {"accepted"}
        assert book.metrics()["rules"][0]["reasons"] == [{"system": None, "code": "other", "display": None, "count": 1}]
        assert execute(url, "SELECT count(DISTINCT label) FROM tally WHERE measure = 'reason'") == [(1,)]


@pytest.mark.parametrize(
    "path",
    ["/response/cards", "/response/cards/*", "/response/cards/*/suggestions", "/response/cards/*/suggestions/*",
     "/response/cards/*/suggestions/*/label", "/response/*"],
)  # fmt: skip
def test_what_is_masked_of_a_card_is_not_in_its_summary_either_shown_or_held_back(url: str, path: str) -> None:
    """The sibling of feedback: silent mode keeps a card out of the response, and a summary of it in the record."""
    cards = [card(shown=shown, suggestions=((str(uuid4()), f"Mark of {shown}"),)) for shown in (True, False)]
    with Ledger.open(url, key=KEY, mask=[path]) as book:
        book.write(record(*cards))
        said = feedback(cards[0])
        assert book.feedback("order-sign-advisor", "hospital", [said])[0].status == "accepted"
        assert "Mark of" not in everywhere(book, url)
        assert book.verify().problems == ()


def test_a_place_of_one_card_masks_no_other(url: str) -> None:
    cards = [card(suggestions=((str(uuid4()), f"Label {n}"),)) for n in range(3)]
    with Ledger.open(url, key=KEY, mask=["/response/cards/1/suggestions/0/label"]) as book:
        book.write(record(*cards))
        assert [c["suggestions"][0][1] for r in book.records() for c in r["cards"]] == ["Label 0", "", "Label 2"]


def test_a_code_of_the_callers_goes_with_its_record(url: str) -> None:
    with Ledger.open(url, key=KEY, segment_rows=1) as book:
        book.write(record(c := card()))
        for n, code in enumerate(("MRN-4711", "contraindicated")):
            said = feedback(
                c, "overridden", f"2026-03-01T09:0{n}:00Z", overrideReason={"reason": {"code": code, "system": "urn:x"}}
            )
            book.feedback("order-sign-advisor", "hospital", [said])
        assert "MRN-4711" in dump(url)
        before = book.metrics()["rules"]
        book.prune(datetime.now(UTC) + timedelta(days=1))
        assert "MRN-4711" not in everywhere(book, url)
        assert {code for (code,) in execute(url, "SELECT reason_code FROM feedback")} == {"other", "contraindicated"}
        assert book.metrics()["rules"] == before
        assert book.verify().problems == ()


def test_who_has_the_database_cannot_try_out_what_a_comment_said(tmp_path: Path) -> None:
    """A hash of few possible texts is a copy of them: it is keyed."""
    c, digests = card(), set()
    for key in (KEY, b"x" * 40):
        with Ledger.open(new_url("sqlite", tmp_path), key=key) as book:
            book.write(record(c))
            book.feedback("order-sign-advisor", "hospital", [feedback(c, "overridden", overrideReason="no, never")])
            digests |= {d["digest"] for d in book.records(hook="feedback")}
    assert len(digests) == 2


def test_many_items_are_written_in_parts_each_under_its_own_number(book: Ledger) -> None:
    book.write(record(c := card()))
    items = [
        7 if n % 40 == 39 else feedback(c, "overridden", f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(130)
    ]
    results = book.feedback("order-sign-advisor", "hospital", items)
    assert [r.index for r in results] == list(range(130))
    assert [r.index for r in results if r.status != "accepted"] == [39, 79, 119]
    assert {r.status for r in book.feedback("order-sign-advisor", "hospital", items)} == {"duplicate", "rejected"}


def test_no_words_of_feedback_reach_pages_metrics_or_the_log(tmp_path: Path) -> None:
    port = free_port()
    options = {"CDS_ADMIN_PORT": str(port), "CDS_LEDGER_MASK": "/feedback/overrideReason", "CDS_LOG_LEVEL": "debug"}
    with deployed(tmp_path, "north", **options) as site:
        site.wait_until(lambda: answers(f"http://127.0.0.1:{port}/health/live"))
        [shown] = marrow_cards(site.cards("north", hook_request()))
        marks: dict[str, str] = {}
        item = {"card": shown["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-11-20T12:00:00Z",
                "overrideReason": marked(FREE, "", marks)}  # fmt: skip
        assert site.call("north", {"feedback": [item]}, FEEDBACK).status_code == 200
        pages = ("/insights", "/insights/reasons.csv", "/insights/rules.csv", "/metrics")
        told = [requests.get(f"http://127.0.0.1:{port}{page}", timeout=20) for page in pages]
        assert {answer.status_code for answer in told} == {200}
        with site.ledger() as book:
            held = "\n".join([everywhere(book, site.database), site.log(), *(answer.text for answer in told)])
        assert [place for place, mark in marks.items() if mark in held] == []


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
