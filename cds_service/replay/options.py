"""What a run is asked for, and the policies and the service that it judges by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cds_service.config import from_environment
from cds_service.content_files import bundled, load_content
from cds_service.errors import NotFound
from cds_service.hooks.crd_services import CRD_SERVICES
from cds_service.hooks.services import ADVISORS
from cds_service.policy.compiled import dump, load
from cds_service.replay.journal import Journal
from cds_service.replay.judge import Terms
from cds_service.replay.unheard import differing


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    paths: tuple[str, ...]
    service: str | None = None
    cards: str | None = None
    baseline: str | None = None
    out: Path | None = None
    report: Path | None = None
    resume: bool = False
    processes: int = 1

    @property
    def journal(self) -> Journal | None:
        """The journal beside the output; None where the output is no file."""
        return None if self.out is None or str(self.out) == "-" else Journal(self.out)


def terms_of(service: str | None, cards: str | None, baseline: str | None) -> Terms:
    """The policies and the service to judge by. Policies that are not approved fire, as in `evaluate`."""
    known = {s.id for s in (*ADVISORS, *CRD_SERVICES)}
    if service is not None and service not in known:
        raise NotFound(f"There is no service '{service}'. Offered: {', '.join(sorted(known))}.")
    settings = from_environment(demo=True, cards=cards)
    compiled = _compiled(settings.cards)
    if baseline is None:
        return Terms(compiled, datetime.now(UTC), settings, service=service)
    before = _compiled(baseline)
    changed = differing(load(before), load(compiled))
    return Terms(compiled, datetime.now(UTC), settings, before, changed, service)


def _compiled(cards: str) -> bytes:
    path = Path(cards) if cards else bundled("cards")
    if path.is_file():
        compiled = path.read_bytes()
        load(compiled, str(path))  # raises ContentError with this path, before the run begins
        return compiled
    return dump(load_content(path))
