"""What a running service holds: settings, content, directory of payers, clock, and the ports it may use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cds_service.config import Settings
from cds_service.content_files import Source, bundled, read_source, rulebook_of
from cds_service.determination.routing import IdentifierDirectory, PayerDirectory
from cds_service.determination.terms import Billing, Terms
from cds_service.errors import ConfigurationError
from cds_service.facts.client import Allowed, Fetched, Query
from cds_service.hooks.crd_members import Members, plugged_in
from cds_service.hooks.crd_services import CRD_SERVICES
from cds_service.hooks.dialects import STANDARD, Dialect
from cds_service.hooks.ids import new_id
from cds_service.hooks.services import ADVISORS, Service
from cds_service.policy.case import Code
from cds_service.policy.rulebook import Rulebook
from cds_service.render.policies import Policies


@dataclass(frozen=True)
class Book:
    """The content in force: swapped whole on reload, so that a call sees one revision from start to end.

    `source` is what it was read from, where it was read for serving.
    """

    rulebook: Rulebook
    source: Source = field(default=b"", repr=False, compare=False)

    @cached_property
    def policies(self) -> Policies:
        """The policies' own words."""
        return Policies(self.rulebook.folders, self.rulebook.vocabulary)

    @cached_property
    def directory(self) -> PayerDirectory:
        """The payers, as advisors search them."""
        return PayerDirectory.of(self.rulebook.content)

    @cached_property
    def identifiers(self) -> PayerDirectory:
        """The payers, as CRD services search them."""
        return IdentifierDirectory.of(self.rulebook.content)


def load_book(settings: Settings) -> Book:
    """Load, check and compile the content that the settings name. Raises Faults or ConfigurationError."""
    return book_of(settings, read_source(cards_of(settings)))


def book_of(settings: Settings, source: Source) -> Book:
    """As `load_book`, but from content that was read before."""
    rulebook = rulebook_of(source, cards_of(settings).name)
    _check_payers(settings, rulebook.content.payers)
    return Book(rulebook, source)


def cards_of(settings: Settings) -> Path:
    """Where the policies are: a folder, or a compiled file."""
    return Path(settings.cards) if settings.cards else bundled("cards")


def _check_payers(settings: Settings, known: Collection[str]) -> None:
    for name in ("payers", "default_payer"):
        for payer in settings.listed(name):
            if payer not in known:
                raise ConfigurationError(
                    f"CDS_{name.upper()}: '{payer}' is not in payers.yaml. Known: {', '.join(sorted(known))}."
                )


class Fetching(Protocol):
    """What answers need of a FHIR client: see `facts.client.FhirClient`."""

    def fetch(
        self, base: str, token: str | None, queries: Sequence[Query], *, allowed: Allowed, deadline: float | None = None
    ) -> dict[str, Fetched]:
        """What came of each query, by name."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Runtime:
    """Settings, content and ports. A reload makes another one: a call keeps the one that it began with.

    `stopped` are policies that an operator has switched off.
    """

    settings: Settings
    book: Book
    fhir: Fetching | None = None
    now: Callable[[], datetime] = _now
    new_id: Callable[[], str] = new_id
    services: Mapping[str, Service] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()
    members: Members | None = None

    @classmethod
    def build(cls, settings: Settings, *, fhir: Fetching | None = None, book: Book | None = None) -> Runtime:
        """Load the content, unless given as `book`, and offer the services that the settings name.

        The CRD services first: clients and conformance tools take the first that discovery lists for a hook.
        """
        offered = [s for s in (*CRD_SERVICES, *ADVISORS) if s.group in settings.offered]
        services = {s.id: s for s in offered}
        return cls(settings, book or load_book(settings), fhir, services=services, members=plugged_in(settings.demo))

    def fires(self, policy: str, status: str) -> bool:
        """Not if switched off; outside demo mode only if approved, unless the deployment shows unreviewed ones."""
        return policy not in self.stopped and self.shows(status)

    def shows(self, status: str) -> bool:
        """May a policy of this review status fire here?"""
        return status == "approved" or self.settings.demo or self.settings.unreviewed_policies == "show"

    @property
    def shows_nothing(self) -> bool:
        """True where no policy may fire, because none is approved."""
        return not any(self.shows(o.status) for told in self.book.rulebook.outlines.values() for o in told)

    def terms(self, selections: tuple[str, ...] | None = None, *, payer_wanted: bool = False) -> Terms:
        """By what an advisor decides, beside the content."""
        default = self.settings.default_payer or None
        return Terms(self.book.directory, self._fires, default, selections, payer_wanted=payer_wanted)

    def terms_of_payer(self, selections: tuple[str, ...] | None = None, billing: Billing | None = None) -> Terms:
        """By what a payer's own services decide: whose Coverage it is, is told by identifiers alone."""
        return Terms(self.book.identifiers, self._fires, None, selections, billing or {})

    @property
    def _fires(self) -> Callable[[str, str], bool] | None:
        everything = not self.stopped and self.shows("submitted")
        return None if everything else self.fires


def _shown(_policy: str) -> bool:
    return False


@dataclass(frozen=True)
class Caller:
    """Who calls: which FHIR servers may be asked on their behalf, how their local codes map, what they see.

    `silent` tells of a policy whether its results are recorded but not shown; `silenced` holds for all of them.
    A `stopped` client gets no advice. `jti` is the token's (issuer, jti, exp), to be used up with the record.
    """

    id: str | None = None
    allowed: Allowed | None = None
    local_codes: Mapping[Code, Code] = field(default_factory=dict)
    silent: Callable[[str], bool] = _shown
    silenced: bool = False
    stopped: bool = False
    crd_version: str = "2.0"
    jti: tuple[str, str, int] | None = None
    dialect: Dialect = STANDARD
