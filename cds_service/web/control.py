"""The state that a reload replaces whole: content, trusted clients and switches; a call keeps what it began with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cds_service.auth.clients import Clients, parse_clients
from cds_service.auth.clients_file import read_text
from cds_service.auth.rate import RateLimiter
from cds_service.config import Settings
from cds_service.errors import CdsServiceError, ConfigurationError, place_of
from cds_service.hooks.runtime import Book, Runtime
from cds_service.ledger.store import Ledger
from cds_service.policy.content import Faults
from cds_service.web import metrics
from cds_service.web.callers import Admission, DemoGate, Gate, Shared
from cds_service.web.control_file import Control, load_control
from cds_service.web.turns import Turns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Texts:
    """The operator's files as they were read, and all clients that were declared at any time since the start.

    A client that is taken out may still have a switch: that must not keep it in.
    """

    clients: str = ""
    control: str = ""
    named: frozenset[str] = frozenset()

    @classmethod
    def read(cls, settings: Settings, named: frozenset[str] = frozenset()) -> Texts:
        """The files that the settings name. Raises ConfigurationError where one cannot be read."""
        clients = read_text(Path(settings.clients)) if settings.clients and not settings.demo else ""
        return cls(clients, read_text(Path(settings.control)) if settings.control else "", named)


@dataclass(frozen=True)
class State:
    """What one call sees from start to end, and the texts that it was made from."""

    runtime: Runtime
    gate: Admission
    ledger: Ledger
    turns: Turns
    texts: Texts


class Live:
    """Holds the state of a process, and replaces it. Faulty files leave the former state in force.

    `counted`: whether the metrics count this process among those that answer calls. `texts` are those that other
    processes of the service have in force; without them the files are read, as at the start of the service.
    """

    def __init__(
        self,
        runtime: Runtime,
        ledger: Ledger,
        turns: Turns | None = None,
        *,
        limiter: RateLimiter | None = None,
        counted: bool = True,
        texts: Texts | None = None,
    ) -> None:
        self.settings = runtime.settings
        self.reading_since: datetime | None = None
        self._faulty_content = self.texts_faulty = False
        self._ledger, self._turns = ledger, turns or Turns(runtime.settings.threads)
        self._shared = Shared(ledger.claim, ledger.was_used, limiter=limiter or RateLimiter())
        self._lock = threading.Lock()
        self.state = self._made(runtime, texts or Texts.read(self.settings), running=texts is not None)
        self._counted = counted
        self._count(None)

    @property
    def revision(self) -> str:
        """Content hash of the policies in force."""
        return self.state.runtime.book.rulebook.revision

    @property
    def reload_state(self) -> str:
        """Of policies, clients and switches: whether the last reload failed, or since when one runs."""
        began = self.reading_since
        running = f"The policies are being read since {began:%Y-%m-%dT%H:%M:%SZ}." if began else ""
        return " ".join(filter(None, (running, self.fault))) or "ok"

    @property
    def fault(self) -> str:
        """That the last reload of the policies, or of clients and switches, failed; empty if both are in order."""
        failed = self._faulty_content or self.texts_faulty
        return "The last reload failed; what was in force before still is. The log says why." if failed else ""

    def reload(self) -> bool:
        """Read clients and switches again; True if they were in order. Never waits for policies that are being read."""
        with self._lock:
            try:
                texts = Texts.read(self.settings, self.state.texts.named)
                self.state = self._made(self.state.runtime, texts, running=True)
            except Exception as error:  # noqa: BLE001 - whatever a file holds, the switches must go on working
                self.texts_faulty = True
                return _failed(error)
            self.texts_faulty = False
            return self._done(self.revision)

    def refused(self, error: Exception) -> None:
        """New policies could not be read, or are faulty."""
        self._faulty_content = True
        _failed(error)

    def take(self, book: Book) -> bool:
        """Put policies in force, with clients and switches as they are now; True if they go together.

        Files that are faulty are passed over for what is in force: they hold up no policies, nor the other way round.
        """
        with self._lock:
            before, runtime = self.revision, replace(self.state.runtime, book=book)
            try:
                self.state = self._with_texts(runtime)
            except Exception as error:  # noqa: BLE001 - as above
                self.refused(error)
                return False
            self._faulty_content = False
            return self._done(before)

    def _with_texts(self, runtime: Runtime) -> State:
        try:
            state = self._made(runtime, Texts.read(self.settings, self.state.texts.named), running=True)
            self.texts_faulty = False
        except Exception:  # noqa: BLE001 - `reload` reads the same files, and tells of it
            state = self._made(runtime, self.state.texts, running=True)
            self.texts_faulty = True
        return state

    def _done(self, before: str) -> bool:
        log.info("reloaded", extra={"revision": self.revision})
        metrics.reloaded("done")
        self._count(before)
        return True

    def _count(self, before: str | None) -> None:
        if self._counted:
            metrics.holds_revision(before, self.revision)

    def _made(self, runtime: Runtime, texts: Texts, *, running: bool) -> State:
        settings = self.settings
        clients = declared_clients(settings, texts.clients, running=running)
        policies = set(runtime.book.rulebook.folders)  # names only: a compiled file builds no policy for them
        check_silent(settings.clients, clients, policies)
        names = {"demo"} if settings.demo else {client.id for client in clients}
        texts = replace(texts, named=texts.named | names)
        control = load_control(settings.control, texts.control, policies, texts.named)
        runtime = replace(runtime, stopped=control.stopped_policies)
        return State(runtime, self._gate(clients, control), self._ledger, self._turns, texts)

    def _gate(self, clients: Clients, control: Control) -> Admission:
        if self.settings.demo:
            return DemoGate(self.settings, control)
        return Gate(self.settings, clients, control, self._shared)


def _failed(error: Exception) -> bool:
    foreseen = isinstance(error, CdsServiceError | Faults)  # others may quote the file
    log.error(
        "reload failed: %s What was in force before still is.", error if foreseen else f"unforeseen {place_of(error)}."
    )
    metrics.reloaded("failed")
    return False


def declared_clients(settings: Settings, text: str, *, running: bool = False) -> Clients:
    """The trusted clients of the clients file's text; none in demo mode. ConfigurationError where they are missing.

    While `running`, the last one may be taken out, by `clients: []`: all calls are then refused. A file that is empty
    is one that somebody is writing.
    """
    if settings.demo:
        return Clients()
    if not settings.clients:
        raise ConfigurationError("clients are missing: declare them in a file (CDS_CLIENTS), or use --demo.")
    clients = parse_clients(Path(settings.clients), text)
    if not len(clients) and not (running and text.strip()):
        raise ConfigurationError(f"{settings.clients} declares no clients. Add one with `cds-service client add`.")
    return clients


def check_silent(path: str, clients: Clients, policies: Collection[str]) -> None:
    """Raises ConfigurationError for a client silenced on a policy that is not known: it would silence nothing."""
    for client in clients:
        for policy in client.silent if isinstance(client.silent, list) else ():
            if policy not in policies:
                raise ConfigurationError(f"{path}: client '{client.id}': silent: '{policy}' is not a policy here.")


Signature = tuple[tuple[int, int, int] | None, ...]


def look(settings: Settings, marker: Path) -> Signature:
    """What there is to see of the watched files from outside: the marker, then the clients and the control file."""
    return tuple(
        signature_of(path) for path in (marker, *map(Path, filter(None, (settings.clients, settings.control))))
    )


def signature_of(path: Path) -> tuple[int, int, int] | None:
    """What there is to see of a file from outside; None if it is missing."""
    try:
        found = path.stat()
    except OSError:  # missing or out of reach: reading it says which
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
