"""Overrides in the record: one form beside the item as it came, and masks that hold in every spelling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cds_service.ledger.store import Ledger
from tests.functional.ledger_samples import KEY, card, feedback, new_url, record
from tests.functional.test_ledger_masks import everywhere

Json = dict[str, Any]
CODING = {"code": "contraindicated", "system": "urn:reasons", "display": "Contraindicated"}
OWN = {"code": "own", "system": "urn:own", "display": "Own words"}
VENDOR = "com.epic.cdshooks.feedback.overrideReason"
SECRET = "Mrs Zwillinger is allergic"


def extended(**members: Any) -> Json:
    return {f"{VENDOR}.{name}": value for name, value in members.items()}


def form(code: str | None, system: str | None, display: str | None, comment: str | None, *, offered: bool) -> Json:
    return {"code": code, "system": system, "display": display, "comment": comment, "offered": offered}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"overrideReason": {"reason": CODING, "userComment": "Saw"}}, form(*CODING.values(), "Saw", offered=True)),
        ({"overrideReasons": [{"reason": OWN}, CODING]}, form(*CODING.values(), None, offered=True)),
        ({"overrideReason": {"reason": {"display": "Contraindicated"}}},
         form(None, None, "Contraindicated", None, offered=True)),
        ({"overrideReason": OWN}, form(*OWN.values(), None, offered=False)),
        ({"overrideReasons": {"extension": extended(reasonCategory="45", reasonTitle="Not met"), "userComment": "Saw"}},
         form("45", VENDOR, "Not met", "Saw", offered=False)),
        ({"overrideReasons": {}}, form(None, None, None, None, offered=False)),
        ({}, form(None, None, None, None, offered=False)),
    ],
)  # fmt: skip
def test_the_record_has_one_form_beside_the_item_as_it_came(sent: Json, told: Json, tmp_path: Path) -> None:
    with Ledger.open(new_url("sqlite", tmp_path), key=KEY) as book:
        book.write(record(c := card()))
        item = feedback(c, "overridden", **sent)
        assert [r.status for r in book.feedback("order-sign-advisor", "hospital", [item])] == ["accepted"]
        (stored,) = book.records(hook="feedback")
        assert (stored["override"], stored["feedback"]) == (told, item)
        (rule,) = book.metrics()["rules"]
        counted = [r["code"] for r in rule["reasons"]]
        named = any(told[part] for part in ("code", "display"))
        assert counted == (["contraindicated"] if told["offered"] else ["other"] if named else [])
        assert book.verify().problems == ()


def test_a_word_of_the_callers_is_in_no_count_and_no_row(tmp_path: Path) -> None:
    with Ledger.open(url := new_url("sqlite", tmp_path), key=KEY) as book:
        book.write(record(c := card()))
        for at, said in enumerate(("Zwillinger", {"reason": "Zwillinger"}, {"reason": {"code": "Zwillinger"}})):
            item = feedback(c, "overridden", f"2026-03-01T09:00:0{at}Z", overrideReason=said)
            assert book.feedback("order-sign-advisor", "hospital", [item])[0].status == "accepted"
        assert "Zwillinger" not in json.dumps(book.metrics())
        assert "Zwillinger" in everywhere(book, url)  # in the records, as it came


# --- the mask -----------------------------------------------------------------------------------------

COMMENTED = [
    {"overrideReason": {"userComment": SECRET}},
    {"overrideReason": SECRET},
    {"overrideReason": {"reason": SECRET}},
    {"overrideReasons": {"reason": CODING, "userComment": SECRET}},
    {"overrideReasons": ["Own", {"comment": SECRET}]},
    {"overrideReasons": {"extension": extended(id="7", userComment=SECRET)}},
    {"overrideReasons": {"extension": [{"url": f"{VENDOR}.userComment", "valueString": SECRET}]}},
    {"extension": extended(comment=SECRET)},
]
WORDED = [
    {"overrideReason": {"reason": {"code": "own", "display": SECRET}, "userComment": "kept"}},
    {"overrideReason": SECRET},
    {"overrideReasons": [SECRET, {"reason": SECRET, "userComment": "kept"}]},
    {"overrideReasons": [{"code": "own", "display": SECRET, "userComment": "kept"}, {"reason": {"text": SECRET}}]},
    {"overrideReason": {"reason": {"coding": [{"display": SECRET}]}}},
    {"overrideReasons": {"extension": extended(reasonTitle=SECRET, reasonDisplay=SECRET, userComment="kept")}},
]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        *(("/feedback/overrideReason/userComment", sent) for sent in COMMENTED),
        *(("/feedback/overrideReason/reason", sent) for sent in WORDED),
        *(("/feedback/overrideReason/reason/display", sent) for sent in WORDED),
        *(("/feedback/overrideReason", sent) for sent in (*COMMENTED, *WORDED)),
        *(("/feedback/overrideReason/*", sent) for sent in (*COMMENTED, *WORDED)),
    ],
)
def test_what_is_masked_is_masked_in_every_spelling(path: str, sent: Json, tmp_path: Path) -> None:
    url = new_url("sqlite", tmp_path)
    with Ledger.open(url, key=KEY, mask=[path]) as book:
        book.write(record(c := card()))
        (result,) = book.feedback("order-sign-advisor", "hospital", [feedback(c, "overridden", **sent)])
        assert result.status == "accepted"
        assert SECRET not in everywhere(book, url)
        (stored,) = book.records(hook="feedback")
        assert stored["masked"]
        kept = path.endswith(("reason", "display")) and "kept" in json.dumps(sent)
        assert ("kept" in json.dumps(stored["override"])) == kept
        assert book.verify().problems == ()


def test_two_masks_of_one_list_both_hold(tmp_path: Path) -> None:
    url = new_url("sqlite", tmp_path)
    masks = ["/feedback/overrideReason/reason", "/feedback/overrideReason/userComment"]
    with Ledger.open(url, key=KEY, mask=masks) as book:
        book.write(record(c := card()))
        sent = ["first words", {"userComment": SECRET, "other": 1}, "last words"]
        book.feedback("order-sign-advisor", "hospital", [feedback(c, "overridden", overrideReasons=sent)])
        held = everywhere(book, url)
        assert not any(words in held for words in ("first words", SECRET, "last words"))
        (stored,) = book.records(hook="feedback")
        assert stored["feedback"]["overrideReasons"] == [{"other": 1}]
