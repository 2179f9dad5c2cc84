"""Watches the operator's files: clients and switches in one thread, policies in another, which they never wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cds_service.config import Settings
from cds_service.hooks.runtime import book_of, cards_of
from cds_service.web.control import Live, Signature, State, look, signature_of
from cds_service.web.trial import Abandoned, Trials

_POLL_SECONDS = 0.25


class Watcher:
    """Reloads when a watched file has changed and then stood still for a moment: editors write in several steps.

    To be made before the files are first read: what changes while they are being read is then seen as a change. A
    process that begins with what others have in force passes what they had `seen` of the files.
    `marker` is touched to have the policies read again (the parent does so on SIGHUP).
    `keep` is called with what is in force, and what was seen of its files, whenever that has changed.
    """

    def __init__(
        self,
        settings: Settings,
        marker: Path,
        seen: Signature | None = None,
        keep: Callable[[State, Signature], None] = lambda _state, _seen: None,
    ) -> None:
        self._settings, self._marker, self._keep = settings, marker, keep
        self._trials = Trials(marker.parent / "tried", cards_of(settings), settings.content_deadline)
        self._in_force = seen or look(settings, marker)
        self._mark, *rest = self._in_force
        self._seen = tuple(rest)
        self._lock = threading.Lock()  # what is kept belongs together
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, live: Live) -> None:
        """Take in what has changed until now; then watch, in threads of its own."""
        if (now := self._look()) != self._seen:
            self._reload(live, now)
        mark = signature_of(self._marker)
        if mark != self._mark and self._trials.known(mark):
            self._read(live, mark)
        for name, run in (("switches", self._switches), ("policies", self._policies)):
            thread = threading.Thread(target=run, args=(live,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _look(self) -> Signature:
        return look(self._settings, self._marker)[1:]

    def _switches(self, live: Live) -> None:
        last = self._seen
        while not self._stop.wait(_POLL_SECONDS):
            now = self._look()
            if now == last and now != self._seen:
                self._reload(live, now)
            last = now

    def _reload(self, live: Live, now: Signature) -> None:
        self._seen = now
        with self._lock:
            if live.reload():
                self._in_force = (self._in_force[0], *now)
                self._keep(live.state, self._in_force)

    def _policies(self, live: Live) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            mark = signature_of(self._marker)
            if mark != self._mark:
                self._read(live, mark)

    def _read(self, live: Live, mark: tuple[int, int, int] | None) -> None:
        self._mark, live.reading_since = mark, datetime.now(UTC)
        try:
            source = self._trials.source(mark, lambda: self._stop.is_set() or signature_of(self._marker) != mark)
            book = book_of(self._settings, source)
        except Abandoned:
            return  # the next look sees why
        except Exception as error:  # noqa: BLE001 - whatever a folder holds, watching goes on
            live.refused(error)
        else:
            with self._lock:
                seen = self._look()
                if live.take(book):
                    self._in_force = (mark, *(self._in_force[1:] if live.texts_faulty else seen))
                    self._keep(live.state, self._in_force)
        live.reading_since = None
