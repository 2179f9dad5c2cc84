"""What is asked of a FHIR server, within which limits, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cds_service.policy.case import SourceState


@dataclass(frozen=True, slots=True)
class Query:
    """One read or search: `name` is the prefetch key. Where it `continues` that key's Bundle, the pages before are
    known elsewhere, so that those read here need not add up to its total.

    `path` is relative to the FHIR base, such as `Patient/p1` or `Condition?patient=p1`. The `next` link of a
    Bundle in the request's prefetch may stand there too, absolute or relative. It may hold identifiers of
    patients, so repr leaves it out.
    """

    name: str
    path: str = field(repr=False)
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one query.

    `resources` is empty unless `state` is READ: a search of which a part is missing counts as unavailable.
    `detail` is for people and logs; it holds nothing that the server sent. `status` is the last HTTP status,
    None if there was no answer. `milliseconds` counts from the call of `fetch`.
    """

    name: str
    state: SourceState
    resources: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    status: int | None = None
    detail: str = ""
    milliseconds: float = 0.0
    pages: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one fetch: `deadline_s` for all queries together, the others for each query."""

    deadline_s: float = 3.0
    max_pages: int = 10
    max_bytes: int = 5 * 1024 * 1024
    max_depth: int = 64
    retries: int = 2


class FetchError(Exception):
    """A query cannot be answered; the text says why, with nothing of a token, a chart or a server in it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class RetryableError(FetchError):
    """As FetchError, but asking again after `delay` seconds may help (None: the server did not say when)."""

    def __init__(self, detail: str, delay: float | None = None) -> None:
        super().__init__(detail)
        self.delay = delay


LATE = "the FHIR server did not answer within the deadline"
