"""Find a changed, removed or inserted row: chains, seals, heads, records, feedback, explanations, projections; and
triggers, views and values that the service has not made.

Not covered: `finding` and `tally` (counts that can be made anew), `token`, and the projections of
records that were pruned.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from cds_service.ledger import schema
from cds_service.ledger.chain import GENESIS, Head, Sealer, Segment, link, next_register
from cds_service.ledger.database import Database
from cds_service.ledger.document import loads
from cds_service.ledger.hashes import digest
from cds_service.ledger.projection import Row, project_feedback, row_of, uuids
from cds_service.ledger.reading import Follower, place, snapshot, stream
from cds_service.ledger.record import Json, Problem, VerifyReport
from cds_service.ledger.tables import misfits, strangers

MOST_PROBLEMS = 1000


def verify(database: Database, sealer: Sealer) -> VerifyReport:
    """Check the whole ledger in one snapshot, in one pass over the entries; memory stays flat."""
    with snapshot(database.engine) as connection:
        return _Verifier(connection, sealer).run()


@dataclass(frozen=True, slots=True)
class _Run:
    """A sealed or open run of entries that must be there: its ends and the hashes around it."""

    first: int
    last: int
    previous: str
    hash: str


class _Chain:
    """One chain's state while its entries stream by."""

    def __init__(self, head: Head, runs: list[_Run], pruned: list[range]) -> None:
        self.head, self.pruned = head, pruned
        self._runs = [r for r in runs if r.first <= r.last]
        self._expected = self._runs[0].first if self._runs else 0
        self._previous: str | None = self._runs[0].previous if self._runs else None

    def take(self, entry: Row) -> list[str]:
        """What is wrong with the next entry's place and hashes."""
        sequence = entry["sequence"]
        texts: list[str] = []
        while self._runs and sequence > self._runs[0].last:
            texts += self._end_run()
        if not self._runs or sequence < self._runs[0].first:
            return [*texts, "this entry was inserted"]
        if sequence > self._expected:
            texts.append(_gap(self._expected, sequence - 1))
        elif self._previous != entry["previous"]:
            texts.append("the entry does not follow the one before it: one of them was changed")
        if link(self.head.name, sequence, entry["previous"], entry["document"]) != entry["hash"]:
            texts.append("this entry was changed")
        self._expected, self._previous = sequence + 1, entry["hash"]
        return texts

    def end(self) -> list[str]:
        """What is wrong after the last entry."""
        texts: list[str] = []
        while self._runs:
            texts += self._end_run()
        return texts

    def _end_run(self) -> list[str]:
        run = self._runs.pop(0)
        texts = []
        if self._expected <= run.last:
            texts.append(_gap(self._expected, run.last))
        elif self._previous != run.hash:
            texts.append(f"entry {run.last} is not the one that was sealed: it was changed")
        if self._runs:
            self._expected, self._previous = self._runs[0].first, self._runs[0].previous
        return texts

    def was_pruned(self, sequence: int) -> bool:
        return any(sequence in r for r in self.pruned)


def _gap(first: int, last: int) -> str:
    return f"entry {first} was removed" if first == last else f"entries {first} to {last} were removed"


class _Verifier:
    def __init__(self, connection: Connection, sealer: Sealer) -> None:
        self.connection, self.sealer = connection, sealer
        self.problems: list[Problem] = []
        self.chains: dict[int, _Chain] = {}
        self.counts = {"records": 0, "feedback": 0, "pruned": 0}
        self.now = int(time.time() * 1000)

    def run(self) -> VerifyReport:
        for text in strangers(self.connection):
            self._report("tables", None, text)
        found = list(misfits(self.connection))
        for table, text in found:
            self._report(table, None, text)
        try:
            self._rows()
        except (TypeError, ValueError, AttributeError):
            if not found:
                raise
            self._report("tables", None, "what else there is could not be checked, for these values")
        return VerifyReport(len(self.chains), **self.counts, problems=tuple(self.problems))

    def _report(self, chain: str, sequence: int | None, text: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(chain, sequence, text))

    def _rows(self) -> None:
        self._register_and_chains()
        self._entries()
        for chain in self.chains.values():
            for text in chain.end():
                self._report(chain.head.name, None, text)

    # -- chains, heads, seals

    def _register_and_chains(self) -> None:
        segments: dict[int, list[Row]] = {}
        for row in stream(self.connection, select(schema.segment).order_by(schema.segment.c.first)):
            segments.setdefault(row["chain"], []).append(row)
        number, digest_ = 0, GENESIS
        for row in stream(self.connection, select(schema.chain).order_by(schema.chain.c.id)):
            number += 1
            digest_ = next_register(digest_, row["id"], row["name"], row["kind"])
            self._chain(row, segments.pop(row["id"], []))
        for orphan in segments:
            self._report(f"chain {orphan}", None, "seals without a chain: the chain was removed")
        register = self.connection.execute(select(schema.register)).mappings().one_or_none()
        if register is None or not self.sealer.fits(self.sealer.register(number, digest_), register["mac"]):
            self._report("register", None, "a chain was removed, inserted or renamed")

    def _chain(self, row: Row, segments: list[Row]) -> None:
        mac = row.pop("mac")
        head = Head(**row)
        if not self.sealer.fits(self.sealer.head(head), mac):
            self._report(head.name, None, "the head was changed, or set back to an earlier entry")
        runs: list[_Run] = []
        pruned: list[range] = []
        first, previous = 1, GENESIS
        for row_ in segments:
            segment = self._segment(head, row_)
            if (segment.first, segment.previous) != (first, previous):
                self._report(head.name, first, "the seal of the segment that begins here was removed or changed")
            first, previous = segment.last + 1, segment.hash
            if segment.pruned is None:
                runs.append(_Run(segment.first, segment.last, segment.previous, segment.hash))
            else:
                pruned.append(range(segment.first, segment.last + 1))
                self.counts["pruned"] += segment.count
        if (head.open_first, head.open_previous) != (first, previous):
            self._report(head.name, first, "the seal of the segment that begins here was removed or changed")
        runs.append(_Run(head.open_first, head.sequence, head.open_previous, head.hash))
        self.chains[head.id] = _Chain(head, runs, pruned)

    def _segment(self, head: Head, row: Row) -> Segment:
        mac, count = row.pop("mac"), row.pop("count")
        segment = Segment(**row)
        if count != segment.count or not self.sealer.fits(self.sealer.segment(segment), mac):
            self._report(head.name, segment.first, "the seal of the segment that begins here was changed")
        return segment

    # -- entries and what follows from them

    def _entries(self) -> None:
        tables = ("answer", "card", "feedback", "explanation")
        followers = {name: Follower(self.connection, schema.metadata.tables[name]) for name in tables}
        for entry in stream(self.connection, select(schema.entry).order_by(schema.entry.c.number)):
            number = entry["number"]
            self._orphans(followers, number)
            rows = {name: follower.at(number) for name, follower in followers.items()}
            self._entry(entry, rows)
        self._orphans(followers, 1 << 63)

    def _orphans(self, followers: dict[str, Follower], number: int) -> None:
        for name, follower in followers.items():
            for orphan in follower.until(number):
                chain, sequence = place(orphan)
                known = self.chains.get(chain)
                if known is None or name == "explanation" or not known.was_pruned(sequence):
                    text = f"a row of {name} belongs to no entry: it was inserted, or its entry was removed"
                    self._report(known.head.name if known else f"chain {chain}", sequence, text)

    def _entry(self, entry: Row, rows: dict[str, list[Row]]) -> None:
        number, sequence = place(entry["number"])
        chain = self.chains.get(number)
        if chain is None or (entry["chain"], entry["sequence"]) != (number, sequence):
            self._report(f"chain {number}", sequence, "this entry belongs to no chain: it was inserted")
            return
        texts = chain.take(entry)
        self.counts["feedback" if entry["kind"] == "feedback" else "records"] += 1
        if not texts:
            texts = self._contents(chain.head, entry, rows)
        for text in texts:
            self._report(chain.head.name, sequence, text)

    def _contents(self, head: Head, entry: Row, rows: dict[str, list[Row]]) -> list[str]:
        document = loads(entry["document"])
        columns = (entry["kind"], entry["id"], entry["received"])
        texts = []
        if columns != (head.kind, document["id"], document["received"]):
            texts.append("kind, id or time of this entry was changed")
        expected = _expected(head.kind, document, entry["number"])
        texts += [
            f"{name} differs from what the record says: a row was changed, removed or inserted"
            for name, wanted in expected.items()
            if rows[name] != wanted
        ]
        return texts + self._explanations(document, rows["explanation"])

    def _explanations(self, document: Json, rows: list[Row]) -> list[str]:
        wanted = document.get("explanations", {})
        expires = document.get("explanationsExpire", 0)
        cards = [card["uuid"] for card in document.get("cards", ())]
        pages = rows[0]["document"].split("\n") if rows else []
        found = {uuid: digest(page) for uuid, page in zip(cards, pages, strict=False) if page}
        texts = []
        changed = any(wanted.get(uuid) != hashed for uuid, hashed in found.items())
        if changed or len(pages) > len(cards) or (rows and rows[0]["expires"] != expires):
            texts.append("an explanation was changed or inserted")
        if expires > self.now and set(wanted) - set(found):
            texts.append("an explanation was removed")
        return texts


def _expected(kind: str, document: Json, number: int) -> dict[str, list[Any]]:
    if kind == "feedback":
        return {"answer": [], "card": [], "feedback": [project_feedback(document, number)]}
    cards = [{"number": number, "position": i, "uuid": uuid} for i, uuid in enumerate(uuids(document))]
    return {"answer": [row_of(document, number)], "card": cards, "feedback": []}
