"""What goes into the ledger and what comes back: records, cards, feedback results."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from cds_service.errors import Unauthorized

Json = dict[str, Any]


class Replayed(Unauthorized):
    """The token's `jti` was used before: nothing was written, and the answer must not leave (401)."""


@dataclass(frozen=True, slots=True)
class CardRecord:
    """One card of an answer.

    `finding` stays the same when the card fires again for the same patient, order and rule
    (`Ledger.finding_key` makes one); `shown` is False for a card that silent mode held back.
    `suggestions` are pairs of uuid and label; `override_reasons` the codes that the card offered.
    """

    uuid: str
    finding: str
    kind: str
    indicator: str
    order: str
    policy: str | None = None
    version: str | None = None
    rule: str | None = None
    suggestions: tuple[tuple[str, str], ...] = ()
    override_reasons: tuple[str, ...] = ()
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One answered hook request.

    `id` is a UUID; `received` is aware; `determinations`, `findings` and `not_used` are as `evaluate --json` prints
    them, but a trace may be given as a place in `traces` (see traces.py); `explanations` maps a card's uuid to its
    explanation document; `revision` is the content hash of cards/; `policies` lists `publisher/policy@version`;
    `fetched` has one entry per FHIR query with its status and time; `timing` is milliseconds per stage, `total` the
    whole; `jti` is (issuer, jti, exp).
    """

    id: str
    received: datetime
    hook: str
    hook_instance: str
    service: str
    client: str | None
    request: Json
    response: Json
    status: int = 200
    determinations: tuple[Json, ...] = ()
    traces: bytes = b""
    findings: tuple[Json, ...] = ()
    not_used: tuple[Json, ...] = ()
    cards: tuple[CardRecord, ...] = ()
    explanations: dict[str, Json] = field(default_factory=dict)
    revision: str = ""
    policies: tuple[str, ...] = ()
    fetched: tuple[Json, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)
    payer: str | None = None
    jti: tuple[str, str, int] | None = None


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What became of one feedback item; `path` is the FHIRPath of the field that was wrong, `reason` follows it."""

    index: int
    status: Literal["accepted", "duplicate", "rejected"]
    reason: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that `verify` found: in which chain, at which place, and what is wrong."""

    chain: str
    sequence: int | None
    text: str

    def __str__(self) -> str:
        place = self.chain if self.sequence is None else f"{self.chain} #{self.sequence}"
        return f"{place}: {self.text}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Result of `verify`: what was counted, and every problem found."""

    chains: int
    records: int
    feedback: int
    pruned: int
    problems: tuple[Problem, ...]

    @property
    def intact(self) -> bool:
        """True when nothing was changed, removed or inserted."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class PruneReport:
    """Rows removed by `prune`: whole segments, the rows in them, and expired explanations."""

    segments: int
    rows: int
    explanations: int
