"""What a running service holds: settings, content, directory of payers, clock, and the ports it may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from cds_service.config import Settings
from cds_service.content_files import load_content
from cds_service.determination.decide import Terms
from cds_service.determination.routing import PayerDirectory
from cds_service.facts.client import Allowed, FhirClient
from cds_service.hooks.services import ADVISORS, Service
from cds_service.policy.case import Code
from cds_service.policy.compile import CompiledVersion, Rulebook, compile_content


@dataclass(frozen=True)
class Book:
    """The content in force: swapped whole on reload, so that a call sees one revision from start to end."""

    rulebook: Rulebook
    directory: PayerDirectory


def load_book(settings: Settings) -> Book:
    """Load, check and compile the content that the settings name. Raises Faults or ConfigurationError."""
    rulebook = compile_content(load_content(Path(settings.cards) if settings.cards else None))
    return Book(rulebook, PayerDirectory(rulebook.content.payers))


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid4())


@dataclass
class Runtime:
    """Settings, content and ports. One per process; only `book` changes while it runs."""

    settings: Settings
    book: Book
    fhir: FhirClient | None = None
    now: Callable[[], datetime] = _now
    new_id: Callable[[], str] = _new_id
    services: Mapping[str, Service] = field(default_factory=dict)

    @classmethod
    def build(cls, settings: Settings, *, fhir: FhirClient | None = None) -> Runtime:
        """Load the content and offer the services that the settings name."""
        offered = [s for s in ADVISORS if s.group in settings.offered]
        return cls(settings, load_book(settings), fhir, services={s.id: s for s in offered})

    def fires(self, version: CompiledVersion) -> bool:
        """Outside demo mode only approved policies fire, unless the deployment shows unreviewed ones."""
        shown = self.settings.demo or self.settings.unreviewed_policies == "show"
        return shown or version.version.review.status == "approved"

    def terms(self) -> Terms:
        """What the deployment adds to the content."""
        return Terms(self.fires, self.settings.default_payer or None)


def review_note(version: CompiledVersion) -> str:
    """What a card says of a policy that is not approved."""
    return "" if version.version.review.status == "approved" else "pending review"


@dataclass(frozen=True)
class Caller:
    """Who calls: which FHIR servers may be asked on their behalf, and how their local codes map."""

    id: str | None = None
    allowed: Allowed | None = None
    local_codes: Mapping[Code, Code] = field(default_factory=dict)
    silent: Callable[[str], bool] = lambda _policy: False
    jti: tuple[str, str, int] | None = None
