"""What is in force, kept in the run folder: a process that replaces another begins with it, whatever the files hold."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cds_service.config import Settings
from cds_service.content_files import packed, unpacked
from cds_service.hooks.runtime import Book, book_of
from cds_service.web.control import Signature, State, Texts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begin:
    """What a new process begins with, and what was seen of the files that it came from; nothing: with the files."""

    book: Book | None = None
    texts: Texts | None = None
    seen: Signature | None = None


class InForce:
    """The last clients, switches and policies that were in order, for the processes of one service to share."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._state = folder, folder / "state.json"

    def keep(self, state: State, seen: Signature) -> None:
        """Remember what is in force. Where that fails, nothing is: a client taken out must not come back by it."""
        book, texts = state.runtime.book, state.texts
        kept = asdict(texts) | {"named": sorted(texts.named), "seen": seen, "revision": book.rulebook.revision}
        policies = self._policies(book.rulebook.revision)
        try:
            with self._locked():
                if not policies.exists():
                    self._write(policies, packed(book.source))
                self._write(self._state, json.dumps(kept).encode())
                for former in set(self._folder.glob("*.cards")) - {policies}:
                    former.unlink()
        except OSError as error:
            log.error("what is in force cannot be kept for workers to come: %s", error.strerror)
            with suppress(OSError):
                self._state.unlink(missing_ok=True)

    def begin(self, settings: Settings, read: Book | None = None) -> Begin:
        """What was kept; `read` stands for its policies if it is of the same revision."""
        try:
            with self._locked():
                kept = json.loads(self._state.read_bytes())
                policies = self._policies(kept["revision"]).read_bytes()
        except OSError:  # keeping it failed, or somebody has cleared the folder of temporary files
            return Begin()
        if read is None or read.rulebook.revision != kept["revision"]:
            read = book_of(settings, unpacked(policies))
        seen = tuple(part and tuple(part) for part in kept["seen"])
        return Begin(read, Texts(kept["clients"], kept["control"], frozenset(kept["named"])), seen)

    def _policies(self, revision: str) -> Path:
        return self._folder / f"{revision}.cards"

    def _write(self, file: Path, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._folder)  # readable by nobody else
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
            Path(name).replace(file)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time: the two files belong together."""
        with (self._folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
