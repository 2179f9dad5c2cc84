"""Tamper evidence: linked hashes per chain, an HMAC over each head, each sealed segment, and the register.

A chain belongs to one writer and one kind of entry (a hook's name, or `feedback`), so that retention by
hook removes whole segments. Whoever lacks the key can change rows, but cannot make the HMACs fit.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from cds_service.ledger.hashes import Keyed, digest

GENESIS = "0" * 64
DAY = 86_400_000


def link(name: str, sequence: int, previous: str, document: str) -> str:
    """SHA-256 (hex) over the chain's name, the place in it, the previous hash, and the stored text."""
    return digest(f"{name}\n{sequence}\n{previous}\n{document}")


def next_register(previous: str, number: int, name: str, kind: str) -> str:
    """Hash over all chains up to `number`, so that a chain removed as a whole is missed."""
    return hashlib.sha256(orjson.dumps([previous, number, name, kind])).hexdigest()


class Head(NamedTuple):
    """Where a chain stands: its last entry, and where its open (unsealed) segment begins."""

    id: int
    name: str
    kind: str
    sequence: int = 0
    hash: str = GENESIS
    open_first: int = 1
    open_previous: str = GENESIS
    open_since: int = 0

    @property
    def open_rows(self) -> int:
        """Entries not yet sealed."""
        return self.sequence - self.open_first + 1


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed run of entries; `pruned` is when (ms) they were removed."""

    chain: int
    first: int
    last: int
    previous: str
    hash: str
    received_first: int
    received_last: int
    pruned: int | None = None

    @property
    def count(self) -> int:
        """Entries in the segment."""
        return self.last - self.first + 1


class Sealer:
    """HMAC-SHA256 over heads, segments and the register, each under its own label."""

    def __init__(self, key: bytes) -> None:
        self._keyed = Keyed(key)

    def _mac(self, *parts: Any) -> str:
        return self._keyed.digest(orjson.dumps(parts))

    def head(self, h: Head) -> str:
        """HMAC of a chain's head."""
        return self._mac("head", *h)

    def segment(self, s: Segment) -> str:
        """HMAC of a sealed segment, including whether it was pruned."""
        return self._mac(
            "segment", s.chain, s.first, s.last, s.previous, s.hash, s.received_first, s.received_last, s.pruned
        )

    def register(self, chains: int, hash_: str) -> str:
        """HMAC of the register: how many chains there are, and the hash over their names."""
        return self._mac("register", chains, hash_)

    def fits(self, expected: str, found: object) -> bool:
        """Constant-time comparison; what is no text never fits."""
        return hmac.compare_digest(expected.encode(), str(found).encode())

    def pseudonym(self, *parts: str | None) -> str:
        """A keyed hash (32 hex digits) of identifying parts; without the key nobody can try out patients."""
        return self._mac("finding", *parts)[:32]


def sealed(head: Head, received_last: int) -> tuple[Segment, Head]:
    """The head's open segment as a sealed one, and the head after it."""
    segment = Segment(
        head.id, head.open_first, head.sequence, head.open_previous, head.hash, head.open_since, received_last
    )
    after = Head(head.id, head.name, head.kind, head.sequence, head.hash, head.sequence + 1, head.hash, 0)
    return segment, after
