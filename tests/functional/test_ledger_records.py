"""The ledger keeps what it is given, and none of what it must not keep."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cds_service.errors import ConfigurationError, LedgerError, Unauthorized
from cds_service.ledger.keys import ledger_key
from cds_service.ledger.record import Record, Replayed
from cds_service.ledger.store import Ledger
from tests.functional import postgres
from tests.functional.ledger_samples import KEY, POLICY, TOKEN, book, card, determination, execute, record, token, url

__all__ = ["book", "url"]
TABLES = ("entry", "answer", "card", "feedback", "explanation", "finding", "tally", "chain", "token")


def all_text(url: str) -> str:
    return "\n".join(str(row) for table in TABLES for row in execute(url, f"SELECT * FROM {table}"))


def test_a_record_comes_back_whole(book: Ledger) -> None:
    c = card()
    r = record(c, findings=({"order": "ServiceRequest/x", "kind": "coding", "text": "t"},))
    book.write(r)
    stored = book.record(r.id)
    assert stored is not None
    expires = stored.pop("explanationsExpire")
    page = hashlib.sha256(b'{"title":"Why","order":"ServiceRequest/marrow"}').hexdigest()
    assert stored == {
        "id": r.id,
        "received": int(r.received.timestamp() * 1000),
        "hook": "order-sign",
        "hookInstance": r.hook_instance,
        "service": "order-sign-advisor",
        "client": "hospital",
        "payer": "aetna",
        "status": 200,
        "revision": "rev-1",
        "policies": [f"{POLICY}@2025-12"],
        "timing": {"parse": 0.5, "evaluate": 1.0, "total": 2.0},
        "request": {**r.request, "fhirAuthorization": {**r.request["fhirAuthorization"], "access_token": "[removed]"}},
        "response": r.response,
        "determinations": list(r.determinations),
        "findings": list(r.findings),
        "fetched": list(r.fetched),
        "cards": [
            {
                "uuid": c.uuid,
                "finding": c.finding,
                "kind": "coverage",
                "indicator": "warning",
                "order": "ServiceRequest/marrow",
                "policy": POLICY,
                "version": "2025-12",
                "rule": "marrow-aspirate",
                "suggestions": [list(c.suggestions[0])],
                "overrideReasons": ["patient-preference", "contraindicated"],
                "shown": True,
            }
        ],
        "explanations": {c.uuid: page},
    }
    assert expires == stored["received"] + 30 * 86_400_000
    assert book.record("no such id") is None


def test_records_are_filtered_by_hook_and_time(book: Ledger) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rs = [record(received=start + timedelta(days=n), hook=h) for n, h in enumerate(["order-sign", "order-select"] * 3)]
    for r in rs:
        book.write(r)
    assert {d["id"] for d in book.records()} == {r.id for r in rs}
    assert [d["id"] for d in book.records(hook="order-select")] == [rs[1].id, rs[3].id, rs[5].id]
    middle = book.records(since=start + timedelta(days=1), until=start + timedelta(days=4))
    assert {d["id"] for d in middle} == {rs[1].id, rs[2].id, rs[3].id}


def test_no_token_is_stored_wherever_it_stands(book: Ledger, url: str) -> None:
    r = record(card())
    r.request["extension"] = {"Authorization": "Bearer abc", "copy": f"x {TOKEN} y", "nested": [{"access_token": "zz"}]}
    r = replace(r, fetched=({"query": "Patient", "headers": {"authorization": f"Bearer {TOKEN}"}},))
    before = json.dumps(r.request)
    book.write(r)
    text = all_text(url)
    assert TOKEN not in text
    assert "Bearer abc" not in text
    assert '"zz"' not in text
    stored = book.record(r.id)
    assert stored is not None
    assert stored["request"]["extension"]["copy"] == "x [removed] y"
    assert json.dumps(r.request) == before, "the caller's request was changed"
    assert book.verify().intact


def test_copies_of_a_token_go_from_texts_that_quote_the_chart_and_from_these_alone(book: Ledger, url: str) -> None:
    c = card(order=f"ServiceRequest/{TOKEN}", suggestions=((str(uuid4()), f"Remove {TOKEN}"),))
    said = {"not_used": [{"ref": f"Condition/{TOKEN}", "path": "", "text": TOKEN, "unusable": True}]}
    evidence, missing = [[f"Condition/{TOKEN}", "", f"text: {TOKEN}"]], [["T?", "conditions", TOKEN]]
    found = ["c1", "condition", "unknown", [], evidence, missing]
    given = ["given", "given", "met", [], [[f"ServiceRequest/{TOKEN}", "", ""]]]
    traces = {"rules": [found, given], "roots": [[TOKEN, "met", [0, 1]]]}
    page = {"criteria": {"id": TOKEN, "children": [{"id": TOKEN, "evidence": [{"ref": f"Condition/{TOKEN}"}]}]}}
    entry = determination(order=f"ServiceRequest/{TOKEN}", policy=TOKEN, rule=TOKEN, code=TOKEN, trace=[0, said])
    r = record(c, determinations=(entry,), traces=json.dumps(traces).encode(), explanations={c.uuid: page})
    book.write(r)
    stored = book.record(r.id)
    assert stored is not None
    [told] = stored["determinations"]
    assert (told["policy"], told["rule"], told["trace"].pop("id")) == (TOKEN, TOKEN, TOKEN)
    quoted = json.dumps([told["order"], told["code"], told["trace"], stored["cards"]])
    assert (TOKEN in quoted, quoted.count("[removed]")) == (False, 10)
    assert book.explanation(c.uuid) == {
        "criteria": {"id": TOKEN, "children": [{"id": TOKEN, "evidence": [{"ref": "Condition/[removed]"}]}]}
    }
    assert book.verify().intact


def test_masked_places_are_not_stored_but_named(url: str) -> None:
    mask = ["/request/prefetch/patient/name", "/request/prefetch/*/entry/*/resource/note", "/explanations/title"]
    with Ledger.open(url, key=KEY, mask=mask) as masked:
        c = card()
        r = record(c)
        masked.write(r)
        stored = masked.record(r.id)
        assert stored is not None
        assert sorted(stored["masked"]) == [
            "/request/prefetch/conditions/entry/0/resource/note",
            "/request/prefetch/conditions/entry/1/resource/note",
            "/request/prefetch/patient/name",
        ]
        assert stored["request"]["prefetch"]["patient"] == {"resourceType": "Patient", "id": "pat-1"}
        assert masked.explanation(c.uuid) == {"order": "ServiceRequest/marrow"}
        assert r.request["prefetch"]["patient"]["name"], "the caller's request was changed"
        assert masked.verify().intact
    text = all_text(url)
    assert "Zwillinger" not in text
    assert "secret note" not in text


def a_bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "entry": [{"resource": r} for r in resources]}


def test_elements_of_a_type_are_masked_wherever_such_a_resource_stands(url: str) -> None:
    who = {"resourceType": "Patient", "id": "pat-1", "name": [{"family": "Zwillinger"}], "birthDate": "1961-04-07",
           "_birthDate": {"extension": [{"valueDateTime": "1961-04-07T01:00:00Z"}]},
           "contact": [{"name": {"text": "Zwillinger sen."}, "gender": "male"}, {"gender": "female"}]}  # fmt: skip
    prefetch = {
        "Patient": who,
        "patient": a_bundle(who),
        "own/key": a_bundle({"resourceType": "Bundle", "entry": [{"resource": who}]}),
        "coverage": {"resourceType": "Coverage", "contained": [who], "name": "kept"},
    }
    response = {
        "cards": [],
        "systemActions": [{"type": "update", "resource": {"resourceType": "X", "contained": [who]}}],
    }
    r = record(request={**record().request, "prefetch": prefetch}, response=response)
    with Ledger.open(url, key=KEY, mask=["Patient.name", "Patient.birthDate", "Patient.contact.name"]) as masked:
        masked.write(r)
        stored = masked.record(r.id)
        assert masked.verify().intact
    assert stored is not None
    left = {"resourceType": "Patient", "id": "pat-1", "contact": [{"gender": "male"}, {"gender": "female"}]}
    assert stored["request"]["prefetch"]["Patient"] == left
    assert stored["request"]["prefetch"]["coverage"] == {
        "resourceType": "Coverage",
        "contained": [left],
        "name": "kept",
    }
    assert "/request/prefetch/own~1key/entry/0/resource/entry/0/resource/contact/0/name" in stored["masked"]
    assert len(stored["masked"]) == 4 * 5
    for secret in ("Zwillinger", "1961"):
        assert secret not in all_text(url)
    assert who["name"], "the caller's request was changed"


@pytest.mark.parametrize("pointer", ["parts", "parts/0/patient", "headline", "*", "*/clinician", "criteria", "policy"])
def test_a_mask_that_would_leave_no_explanation_is_refused(tmp_path: Path, pointer: str) -> None:
    with pytest.raises(ConfigurationError, match="explanations could not be shown"):
        Ledger.open(f"sqlite:///{tmp_path}/x.db", key=KEY, mask=[f"/explanations/{pointer}"])


FOUND = [
    ["nicotine", "observation", "unknown", [], [], [["Test?", "observations", "empty"]]],
    ["c2", "condition", "not-met", [], [["Condition/c1", "a condition", ""]]],
    ["always", "always", "met"],
]
RULE = ["first", "rule", "not-met", [["all", "all", "not-met", FOUND]]]
OTHERWISE = ["otherwise", "otherwise", "met"]
GIVEN = ["given", "given", "met", [], [["ServiceRequest/f", "judged given this order", "cpt 22551"]]]
TRACES = {
    "rules": [RULE, OTHERWISE, GIVEN],
    "roots": [["r", "met", [0, 1]], ["q", "unknown", [0, 1, 2]], ["s", "unknown", []]],
}
LEAVES = [
    {"id": "nicotine", "op": "observation", "outcome": "unknown",
     "missing": [{"text": "Test?", "source": "observations", "state": "empty"}]},
    {"id": "c2", "op": "condition", "outcome": "not-met", "evidence": [{"ref": "Condition/c1", "text": "a condition"}]},
    {"id": "always", "op": "always", "outcome": "met"},
]  # fmt: skip
BELOW = [
    {"id": "first", "op": "rule", "outcome": "not-met",
     "children": [{"id": "all", "op": "all", "outcome": "not-met", "children": LEAVES}]},
    {"id": "otherwise", "op": "otherwise", "outcome": "met"},
]  # fmt: skip
TOLD_GIVEN = {"id": "given", "op": "given", "outcome": "met", "evidence": [
    {"ref": "ServiceRequest/f", "text": "judged given this order", "code": "cpt 22551"}]}  # fmt: skip
TOLD: list[dict[str, Any]] = [
    {"id": "r", "op": "rules", "outcome": "met", "children": BELOW},
    {"id": "q", "op": "rules", "outcome": "unknown", "children": [*BELOW, TOLD_GIVEN]},
    {"id": "s", "op": "rules", "outcome": "unknown"},
    {},
]


def record_with_shared_traces() -> Record:
    entries = [determination(trace=[place, {"decided_by": "r"}]) for place in (0, 1, 2, None)]
    return record(determinations=tuple(entries), traces=json.dumps(TRACES).encode())


def test_a_trace_shared_by_determinations_is_stored_once_and_told_in_each(book: Ledger, url: str) -> None:
    r = record_with_shared_traces()
    book.write(r)
    stored = book.record(r.id)
    assert stored is not None
    assert [d["trace"] for d in stored["determinations"]] == [{**told, "decided_by": "r"} for told in TOLD]
    assert next(book.records()) == stored
    ((document,),) = execute(url, "SELECT document FROM entry")
    assert len(re.findall('Condition/c1", ?"a condition', document)) == 1
    assert book.verify().intact


def test_masks_find_their_place_in_shared_traces(url: str) -> None:
    with Ledger.open(
        url, key=KEY, mask=["/determinations/*/trace/children/*/children/*/children/*/evidence"]
    ) as masked:
        r = record_with_shared_traces()
        masked.write(r)
        stored = masked.record(r.id)
        assert stored is not None
        assert sorted(stored["masked"]) == [
            f"/determinations/{n}/trace/children/0/children/0/children/1/evidence" for n in (0, 1)
        ]
        assert "a condition" not in all_text(url)
        assert masked.verify().intact


@pytest.mark.parametrize("pointer", ["name", "/request", "/prefetch/patient/name", "", "Patient", "patient.name"])
def test_a_mask_that_names_no_place_is_refused(tmp_path: Path, pointer: str) -> None:
    with pytest.raises(ConfigurationError, match="does not name a place in a record"):
        Ledger.open(f"sqlite:///{tmp_path}/x.db", key=KEY, mask=[pointer])


def test_projections_hold_no_patient_and_no_order(book: Ledger, url: str) -> None:
    book.write(record(card(), jti=token()))
    shown = [t for t in TABLES if t not in {"entry", "explanation"}]
    text = "\n".join(str(row) for table in shown for row in execute(url, f"SELECT * FROM {table}"))
    for private in ("pat-1", "Zwillinger", "secret note", "ServiceRequest/", "Condition/", "Practitioner"):
        assert private not in text


def test_odd_json_is_kept(book: Ledger) -> None:
    r = record(request={"lone": "\ud800", "big": 10**30, "nul": "a\0b", "text": "ä 漢"})
    book.write(r)
    stored = book.record(r.id)
    assert stored is not None
    assert stored["request"] == r.request
    assert book.verify().intact


def test_what_is_not_json_is_refused_and_nothing_is_written(book: Ledger, url: str) -> None:
    with pytest.raises(LedgerError, match="not JSON"):
        book.write(record(response={"cards": [object()]}))
    assert execute(url, "SELECT count(*) FROM entry") == [(0,)]


def test_the_same_id_twice_is_refused(book: Ledger) -> None:
    r = record()
    book.write(r)
    with pytest.raises(LedgerError, match="could not be written"):
        book.write(r)
    report = book.verify()
    assert (report.records, report.intact) == (1, True)


def test_a_token_counts_once_across_ledgers_and_leaves_no_trace_when_refused(book: Ledger, url: str) -> None:
    jti = token()
    book.write(record(jti=jti))
    with Ledger.open(url, key=KEY) as other:
        refused = record(card(), jti=jti)
        with pytest.raises(Replayed) as caught:
            other.write(refused)
        assert isinstance(caught.value, Unauthorized)
        assert other.claim(*jti) is False
        assert other.claim(*token()) is True
        assert other.record(refused.id) is None
    assert execute(url, "SELECT count(*) FROM card") == [(0,)]
    assert book.claim("https://other.example", *jti[1:]) is True
    assert book.verify().intact


def test_a_used_token_is_seen_without_using_it_up(book: Ledger, url: str) -> None:
    written, claimed, never = token(), token(), token()
    with Ledger.open(url, key=KEY) as other:
        assert not other.was_used(*written[:2])
        book.write(record(jti=written))
        assert book.claim(*claimed)
        for ledger in (book, other):
            assert [ledger.was_used(*t[:2]) for t in (written, claimed, never)] == [True, True, False]
        assert not other.was_used("https://other.example", written[1])
    assert book.claim(*never)


def test_looking_up_tokens_does_not_keep_the_log_of_sqlite_from_being_used_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with Ledger.open(url, key=KEY) as book:
        book.write(record(jti=(jti := token())))
        assert book.was_used(*jti[:2])
        assert execute(url, "PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0


@pytest.mark.postgresql
def test_a_look_up_outlives_the_connection_it_was_made_on() -> None:
    url = postgres.server().new_database()
    with Ledger.open(url, key=KEY) as book:
        assert book.claim(*(jti := token()))
        assert book.was_used(*jti[:2])
        execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        assert book.was_used(*jti[:2])
        assert not book.was_used(*token()[:2])


def test_expired_tokens_are_forgotten(book: Ledger, url: str) -> None:
    assert book.claim("i", "old", 1_000_000)
    assert book.claim("i", "young", token()[2])
    book._forget_tokens()
    assert book.claim("i", "old", 1_000_000)
    assert not book.claim("i", "young", token()[2])


def test_explanations_survive_a_restart_and_expire(url: str) -> None:
    c, old = card(), card()
    with Ledger.open(url, key=KEY) as first:
        first.write(record(c))
        first.write(record(old, received=datetime.now(UTC) - timedelta(days=31)))
    with Ledger.open(url, key=KEY) as second:
        assert second.explanation(c.uuid) == {"title": "Why", "order": "ServiceRequest/marrow"}
        assert second.explanation(f"urn:uuid:{c.uuid.upper()}") == second.explanation(c.uuid)
        assert second.explanation(old.uuid) is None
        assert second.explanation("not-a-uuid") is None
        assert second.prune(datetime(2000, 1, 1, tzinfo=UTC)).explanations == 1
        assert second.verify().intact


def test_an_explanation_without_its_card_is_refused(book: Ledger) -> None:
    with pytest.raises(LedgerError, match="belongs to no card"):
        book.write(record(explanations={card().uuid: {}}))


def write_many(book: Ledger, times: int) -> None:
    for _ in range(times):
        book.write(record(card(finding="shared")))


def test_many_threads_and_processes_write_at_once(url: str) -> None:
    code = (
        "import sys\nfrom cds_service.ledger.store import Ledger\n"
        "from tests.functional.ledger_samples import KEY, card, record\n"
        "with Ledger.open(sys.argv[1], key=KEY) as book:\n"
        "    for _ in range(40): book.write(record(card(finding='shared')))\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, url]) for _ in range(2)]
    with Ledger.open(url, key=KEY) as book:
        threads = [threading.Thread(target=write_many, args=(book, 20)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [child.wait() for child in children] == [0, 0]
        report = book.verify()
        assert (report.records, report.problems) == (160, ())
        metrics = book.metrics()
        assert metrics["answers"]["total"] == 160
        assert (metrics["rules"][0]["cards"], metrics["rules"][0]["shown"]) == (160, 1)


def test_processes_of_one_writers_name_share_its_chains(url: str) -> None:
    with Ledger.open(url, key=KEY, writer="same") as a, Ledger.open(url, key=KEY, writer="same") as b:
        for _ in range(5):
            a.write(record())
            b.write(record())
        report = a.verify()
    assert (report.records, report.chains, report.problems) == (10, 1, ())


def test_a_named_writer_goes_on_after_a_restart(url: str) -> None:
    for _ in range(3):
        with Ledger.open(url, key=KEY, writer="w") as book:
            book.write(record())
            report = book.verify()
    assert (report.records, report.chains, report.problems) == (3, 1, ())


def test_export_can_be_checked_by_anyone(book: Ledger) -> None:
    for n in range(6):
        book.write(record(card(), hook="order-sign" if n % 2 else "order-select"))
    out = io.BytesIO()
    assert book.export(out) == 6
    previous: dict[str, str] = {}
    for line in out.getvalue().splitlines():
        fields = json.loads(line)
        document = line[line.index(b'"document":') + len(b'"document":') : -1]
        start = f"{fields['chain']}\n{fields['sequence']}\n{fields['previous']}\n".encode()
        assert fields["hash"] == hashlib.sha256(start + document).hexdigest()
        assert fields["previous"] == previous.get(fields["chain"], "0" * 64)
        previous[fields["chain"]] = fields["hash"]
    assert sorted(previous) == ["test.0/order-select", "test.0/order-sign"]


def test_metrics_count_answers_cards_and_what_is_missing(book: Ledger) -> None:
    missing = {"text": "Nicotine test", "source": "observations", "state": "empty"}
    day = datetime(2026, 2, 3, 12, tzinfo=UTC)
    for n in range(8):
        needs = determination(outcome="needs-information", missing=[missing, missing])
        book.write(
            record(
                card(shown=n < 6),
                received=day + timedelta(days=n % 2),
                timing={"a": 4.0, "b": 4.0},
                determinations=(determination(), needs),
            )
        )
    book.write(record(hook="patient-view", service="patient-view-advisor", payer=None, determinations=(), received=day))
    m = book.metrics(payer="aetna")
    assert m["answers"] == {
        "total": 8,
        "by_hook": {"order-sign": 8},
        "by_status": {"200": 8},
        "by_day": [{"day": "2026-02-03", "count": 4}, {"day": "2026-02-04", "count": 4}],
    }
    assert m["latency_ms"]["mean"] == 8.0
    assert 6.7 < m["latency_ms"]["p50"] <= 8.0
    assert m["cards"] == {"shown": 6, "by_indicator": {"warning": 6}, "silent": 2}
    rule = {"policy": POLICY, "version": "2025-12", "rule": "marrow-aspirate", "role": "primary"}
    assert m["determinations"] == [
        {**rule, "outcome": "needs-information", "count": 8},
        {**rule, "outcome": "not-supported", "count": 8},
    ]
    assert m["missing"] == [{"source": "observations", "text": "Nicotine test", "count": 8}]
    assert book.metrics()["answers"]["by_hook"] == {"order-sign": 8, "patient-view": 1}
    assert book.metrics(until=day.date(), hook="order-sign")["answers"]["total"] == 4
    assert book.metrics(policy="other")["rules"] == []
    assert book.metrics(client="nobody")["answers"]["total"] == 0


def test_metrics_of_any_period_are_those_of_its_days(book: Ledger) -> None:
    days = [datetime(2026, 1, 30, 12, tzinfo=UTC) + timedelta(days=n) for n in range(64)]  # to the 3rd of April
    for n, day in enumerate(days):
        book.write(record(card(rule=f"rule-{n % 2}"), received=day))
    for first, last in ((0, 63), (1, 62), (2, 29), (2, 60), (0, 0), (2, 2), (29, 30), (30, 60), (5, 20), (61, 63)):
        m = book.metrics(since=days[first].date(), until=days[last].date())
        wanted = last - first + 1
        assert m["answers"]["total"] == wanted, (days[first], days[last])
        assert sum(r["shown"] for r in m["rules"]) == wanted, (days[first], days[last])
        assert sum(d["count"] for d in m["determinations"]) == wanted
        assert [d["day"] for d in m["determinations_by_day"]] == [str(d.date()) for d in days[first : last + 1]]
    one = book.metrics(since=days[1].date(), rule="rule-1")
    assert [(r["rule"], r["shown"]) for r in one["rules"]] == [("rule-1", 32)]
    everything = book.metrics(since=datetime.min.date(), until=datetime.max.date())
    assert everything == book.metrics()
    assert everything["answers"]["total"] == 64
    assert book.metrics(since=days[5].date(), until=days[4].date())["answers"]["total"] == 0


def test_years_are_counted_as_well(book: Ledger) -> None:
    days = [datetime(2023, 12, 30, 12, tzinfo=UTC) + timedelta(days=30 * n) for n in range(30)]  # to May 2026
    for day in days:
        book.write(record(card(), received=day))
    for first, last in ((0, 29), (1, 28), (1, 12), (0, 13), (12, 12), (2, 27)):
        m = book.metrics(since=days[first].date(), until=days[last].date())
        wanted = last - first + 1
        assert m["answers"]["total"] == wanted
        assert sum(d["count"] for d in m["determinations"]) == sum(d["count"] for d in m["determinations_by_day"])
        assert sum(r["cards"] for r in m["rules"]) == wanted


def test_ready_fails_when_the_database_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with Ledger.open(f"sqlite:///{path}", key=KEY) as book:
        book.ready()
        execute(f"sqlite:///{path}", "DROP TABLE token")
        with pytest.raises(LedgerError, match=r"no such table: \S*token"):
            book.ready()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    key = ledger_key(url, {})
    assert ledger_key(url, {}) == key
    assert len(key) == 64
    with Ledger.open(url, key=key) as book:
        book.write(record())
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {f"ledger.db{end}": 0o600 for end in ("", "-wal", "-shm", ".key")}


def test_keys_come_from_the_environment_and_must_be_long() -> None:
    secret = "0123456789abcdef0123456789abcdef"
    assert ledger_key("postgresql://u@h/d", {"CDS_LEDGER_KEY": secret}) == secret.encode()
    with pytest.raises(ConfigurationError, match="Set CDS_LEDGER_KEY"):
        ledger_key("postgresql://u@h/d", {})
    with pytest.raises(ConfigurationError, match="shorter than 32"):
        ledger_key("postgresql://u@h/d", {"CDS_LEDGER_KEY": "short"})


def test_another_key_is_refused(book: Ledger, url: str) -> None:
    with pytest.raises(ConfigurationError, match="key does not fit this ledger"):
        Ledger.open(url, key=b"x" * 40)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("mysql://h/d", "not on mysql"),
        ("sqlite://", "needs a SQLite file"),
        ("sqlite:///:memory:", "needs a SQLite file"),
        ("secret-password@@", "cannot be read"),
        ("sqlite:////nowhere/at/all.db", "does not exist"),
    ],
)
def test_a_wrong_url_is_named_without_its_password(bad: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Ledger.open(bad, key=KEY)
    assert "password" not in str(caught.value)


def test_a_fork_must_open_its_own(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(LedgerError, match="Open it after the fork"):
        book.write(record())
