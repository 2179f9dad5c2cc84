"""Whatever is masked is nowhere, and what a caller writes in its feedback is in no de-identified row."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cds_service.errors import ConfigurationError
from cds_service.ledger.store import Ledger
from tests.functional.ledger_samples import KEY, card, execute, feedback, record, request, url

__all__ = ["url"]
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
     "/feedback/overrideReason/userComment", "/feedback/acceptedSuggestions"],
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
        if path == "/feedback/acceptedSuggestions":
            assert "Mark of a note" not in held
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
