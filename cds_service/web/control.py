"""The state that a reload replaces whole: content, trusted clients and switches; a call keeps what it began with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cds_service.auth.clients import Clients, parse_clients
from cds_service.auth.clients_file import read_text
from cds_service.auth.rate import RateLimiter
from cds_service.config import Settings
from cds_service.errors import CdsServiceError, ConfigurationError, place_of
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.policy.content import Faults
from cds_service.web import metrics
from cds_service.web.callers import Admission, DemoGate, Gate, Shared
from cds_service.web.control_file import Control, load_control
from cds_service.web.turns import Turns

log = logging.getLogger(__name__)
_POLL_SECONDS = 0.25


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
        counted: bool = True,
        texts: Texts | None = None,
    ) -> None:
        self.settings = runtime.settings
        self.fault = ""
        self._ledger, self._turns = ledger, turns or Turns(runtime.settings.threads)
        self._shared = Shared(ledger.claim, ledger.was_used, limiter=RateLimiter(workers=self.settings.workers))
        self._lock = threading.Lock()
        self.state = self._made(runtime, texts or Texts.read(self.settings), running=texts is not None)
        self._counted = counted
        self._count(None)

    @property
    def revision(self) -> str:
        """Content hash of the policies in force."""
        return self.state.runtime.book.rulebook.revision

    def reload(self, *, content: bool) -> bool:
        """Read clients and switches again, and with `content` the policies too; True if all were in order."""
        with self._lock:
            before = self.revision
            try:
                runtime, texts = self.state.runtime, Texts.read(self.settings, self.state.texts.named)
                self.state = self._made(runtime.reloaded() if content else runtime, texts, running=True)
            except Exception as error:  # noqa: BLE001 - whatever a file holds, the switches must go on working
                foreseen = isinstance(error, CdsServiceError | Faults)  # others may quote the file
                told = error if foreseen else f"unforeseen {place_of(error)}."
                log.error("reload failed: %s What was in force before still is.", told)
                self.fault = "The last reload failed; what was in force before still is. The log says why."
                metrics.reloaded("failed")
                return False
            self.fault = ""
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
    return tuple(_signature(path) for path in (marker, *map(Path, filter(None, (settings.clients, settings.control)))))


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:  # missing or out of reach: reading it says which
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watcher:
    """Reloads when a watched file has changed and then stood still for a moment: editors write in several steps.

    To be made before the files are first read: what changes while they are being read is then seen as a change. A
    process that begins with what others have in force passes what they had `seen` of the files.
    `marker` is touched to have the policies read again as well (the parent does so on SIGHUP).
    `keep` is called with what is in force, and what was seen of its files, whenever that has changed.
    """

    def __init__(
        self,
        settings: Settings,
        marker: Path,
        seen: Signature | None = None,
        keep: Callable[[State, Signature], None] = lambda _state, _seen: None,
    ) -> None:
        self._look = partial(look, settings, marker)
        self._seen = self._in_force = seen or self._look()
        self._keep = keep
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, live: Live) -> None:
        """Take in what has changed until now; then watch, in a thread of its own."""
        if (now := self._look()) != self._seen:
            self._changed(live, now)
        self._thread = threading.Thread(target=self._run, args=(live,), name="reload", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, live: Live) -> None:
        last = self._seen
        while not self._stop.wait(_POLL_SECONDS):
            now = self._look()
            if now == last and now != self._seen:
                self._changed(live, now)
            last = now

    def _changed(self, live: Live, now: Signature) -> None:
        before, self._seen = self._seen, now
        if now[0] != before[0] and live.reload(content=True):
            self._in_force = now
        elif now[1:] != before[1:] and live.reload(content=False):
            # Faulty policies hold up neither a switch nor a client's removal; they are still to be read.
            self._in_force = (self._in_force[0], *now[1:])
        else:
            return
        self._keep(live.state, self._in_force)
