"""Exactly once in the output, also after kill -9: how much is done, and how long the output was then.

The output may be ahead of the journal, never behind it: going on cuts it back to what the journal vouches for. The
journal stays when the run is finished: a run that is killed at the very end is finished, not unknown.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, cast

import orjson

from cds_service.errors import ConfigurationError, InputFileError

EVERY = 1.0  # seconds between two entries
_FORMAT = 1


@dataclass
class State:
    """Where a run stands: pieces of work done, bytes of each output file, and what was counted."""

    identity: Mapping[str, Any]
    done: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    counted: dict[str, Any] = field(default_factory=dict)
    finished: bool = False


class Journal:
    """The journal of one run, beside its output; a file that is replaced whole, so it is never half written."""

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.name + ".journal")
        self.fresh = output.with_name(output.name + ".journal.new")
        self._written = 0.0

    def read(self) -> State | None:
        """The last state, or None. Raises InputFileError for what is not a journal."""
        try:
            told = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as error:
            raise InputFileError(f"{self.path} cannot be read. Start again without --resume.") from error
        if not isinstance(told, dict) or told.pop("format", None) != _FORMAT:
            raise InputFileError(f"{self.path} was written by another version. Start again without --resume.")
        try:
            return _checked(State(**told))
        except (TypeError, KeyError, ValueError) as error:
            raise self.foreign() from error

    def foreign(self) -> InputFileError:
        """What is raised for content that no run has written."""
        return InputFileError(f"{self.path} is not a replay's journal. Start again without --resume.")

    def clear(self) -> None:
        """Forget a former run. Raises ConfigurationError where no journal can be written."""
        try:
            private(self.fresh, "wb").close()
            self.fresh.unlink()
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be written: {error.strerror}.") from error

    @property
    def due(self) -> bool:
        """True when the last entry is old enough for another."""
        return monotonic() - self._written >= EVERY

    def write(self, state: State, files: Mapping[str, BinaryIO]) -> None:
        """Vouch for the output as it is now."""
        for name, file in files.items():
            file.flush()
            os.fsync(file.fileno())
            state.lengths[name] = file.tell()
        told = {"format": _FORMAT, "identity": dict(state.identity), "done": state.done}
        told |= {"lengths": state.lengths, "counted": state.counted, "finished": state.finished}
        with private(self.fresh, "wb") as file:
            file.write(orjson.dumps(told))
            file.flush()
            os.fsync(file.fileno())
        self.fresh.replace(self.path)
        self._written = monotonic()


def _checked(state: State) -> State:
    """Raises TypeError, KeyError or ValueError for what no run has written."""
    kinds = ((state.identity, dict), (state.done, int), (state.lengths, dict), (state.counted, dict))
    if not all(isinstance(value, kind) for value, kind in kinds) or not state.counted:
        raise TypeError
    datetime.fromisoformat(state.identity["received"])
    return state


def private(path: Path, mode: str) -> BinaryIO:
    """Open a file that, where it is made, is for its owner only: it names orders and patients."""
    return cast(BinaryIO, open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600)))


def create(path: Path) -> BinaryIO:
    """An output file, made if need be and locked, as it is: not emptied yet. Raises ConfigurationError."""
    try:
        file = private(path, "ab")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
    return _locked(file, path)


def reopen(path: Path, length: int) -> BinaryIO:
    """An output file cut back to a length, to be written on. Raises InputFileError when it is shorter."""
    try:
        file = path.open("r+b")
    except FileNotFoundError as error:
        raise InputFileError(f"{path} is gone. Start again without --resume.") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error
    _locked(file, path)
    if file.seek(0, os.SEEK_END) < length:
        file.close()
        raise InputFileError(f"{path} is shorter than it was. Start again without --resume.")
    file.truncate(length)
    file.seek(length)
    return file


def _locked(file: BinaryIO, path: Path) -> BinaryIO:
    """The file, which no other run may write until it is closed; file systems without locks go without."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigurationError(f"another run is writing {path}. Wait for it, or choose another --out.") from error
    except OSError:
        pass
    return file
