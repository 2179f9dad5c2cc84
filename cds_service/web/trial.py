"""Policies are read and judged in a process apart before a running service takes them in.

Whatever a folder holds, a file that never ends, a billion values, an expression without an end: it costs that process
its time and memory, and no worker a moment. It is ended at the deadline, and when a newer reload is asked for.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cds_service.content_files import Source, packed, read_source, rulebook_of, unpacked
from cds_service.errors import CdsServiceError, ConfigurationError, place_of
from cds_service.policy.content import Faults

MEMORY = 2 * 1024**3
_PAUSE = 0.05
_OK, _FAULT = b"ok\n", b"fault\n"
_PR_SET_PDEATHSIG = 1


class Abandoned(Exception):
    """A newer reload was asked for, or the process ends."""


class Trials:
    """Trials of one service: all its processes share the outcome, by what the mark to reload was like."""

    def __init__(self, folder: Path, cards: Path, deadline_s: float) -> None:
        self._folder, self._cards, self._deadline_s = folder, cards, deadline_s

    def known(self, mark: object) -> bool:
        """Whether the outcome is there, so that `source` takes no time."""
        return self._outcome(mark).exists()

    def source(self, mark: object, abandoned: Callable[[], bool]) -> Source:
        """The policies, once they have passed. Raises ConfigurationError with what is wrong, or Abandoned."""
        self._folder.mkdir(exist_ok=True)
        with self._locked(abandoned):
            outcome = self._outcome(mark)
            if not outcome.exists():
                self._run(outcome, abandoned)
            found = outcome.read_bytes()
        if found.startswith(_FAULT):
            raise ConfigurationError(found.removeprefix(_FAULT).decode())
        return unpacked(found.removeprefix(_OK))

    def _outcome(self, mark: object) -> Path:
        return self._folder / ("-".join(map(str, mark)) if isinstance(mark, tuple) else "none")

    @contextmanager
    def _locked(self, abandoned: Callable[[], bool]) -> Iterator[None]:
        """One process tries, the others wait for what comes of it."""
        with (self._folder / "lock").open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if abandoned():
                        raise Abandoned from None
                    time.sleep(_PAUSE)
            yield

    def _run(self, outcome: Path, abandoned: Callable[[], bool]) -> None:
        for former in set(self._folder.iterdir()) - {self._folder / "lock"}:
            former.unlink()
        command = [sys.executable, "-P", "-m", "cds_service.web.trial", str(self._cards), str(outcome)]
        until = time.monotonic() + self._deadline_s
        # -P: what lies in the working directory is not imported.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            while process.poll() is None and time.monotonic() < until:
                if abandoned():
                    raise Abandoned
                time.sleep(_PAUSE)
            if not outcome.exists():
                _write(outcome, _FAULT + self._why(process.poll()).encode())
        finally:
            process.kill()
            process.wait()

    def _why(self, code: int | None) -> str:
        if code is None:
            return f"the policies took longer than {self._deadline_s:g} s (CDS_CONTENT_DEADLINE). Run `policy lint`."
        return f"the process that read the policies ended with {code}. Run `policy lint`."


def _write(outcome: Path, data: bytes) -> None:
    """At once or not at all."""
    part = outcome.with_name(f"part-{os.getpid()}")
    part.write_bytes(data)
    part.replace(outcome)


def _judged(cards: Path) -> bytes:
    try:
        source = read_source(cards)
        rulebook_of(source, cards.name)
        return _OK + packed(source)
    except (CdsServiceError, Faults) as error:
        return _FAULT + str(error).encode("utf-8", "replace")
    except MemoryError:
        return _FAULT + f"the policies need more than {MEMORY // 1024**2} MB.".encode()
    except Exception as error:  # noqa: BLE001 - whatever a folder holds, the former policies stay; it may quote a file
        return _FAULT + f"unforeseen {place_of(error)}.".encode()


def main(cards: str, outcome: str) -> None:
    """Try the policies, and write down what comes of it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    logging.disable()
    with suppress(ValueError):  # the service's own limit is lower
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    _write(Path(outcome), _judged(Path(cards)))


if __name__ == "__main__":
    main(*sys.argv[1:])
