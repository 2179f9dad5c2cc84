"""The ledger's HMAC key: from CDS_LEDGER_KEY, or a file beside the SQLite database made at first start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cds_service.errors import ConfigurationError
from cds_service.ledger.database import Database

VARIABLE = "CDS_LEDGER_KEY"
SHORTEST = 32


def ledger_key(url: str, environ: Mapping[str, str] = os.environ, *, make: bool = True) -> bytes:
    """The key (bytes) for the ledger at `url`; a key file that is not there is made if `make`. Or ConfigurationError.

    A PostgreSQL ledger has no file beside it, and its key must not lie in the database it protects.
    """
    if text := environ.get(VARIABLE, ""):
        return _checked(text.strip(), VARIABLE)
    database = Database(url, make=make)
    if not database.is_sqlite:
        raise ConfigurationError(
            f"Set {VARIABLE} to a secret of at least {SHORTEST} characters, the same for every process."
        )
    return _from_file(database.path.with_name(database.path.name + ".key"), make)


def _from_file(path: Path, make: bool) -> bytes:
    if make and not path.exists():
        _make(path)
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The ledger's key file {path} cannot be read. Put it back, or set {VARIABLE}."
        ) from error
    return _checked(text, str(path))


def _make(path: Path) -> None:
    """Write the whole key under another name and link it, so that no process reads half of it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first: its key counts
    except OSError as error:
        raise ConfigurationError(f"The ledger's key file {path} cannot be made: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def _checked(text: str, where: str) -> bytes:
    if len(text) < SHORTEST:
        raise ConfigurationError(f"The ledger's key in {where} is shorter than {SHORTEST} characters.")
    return text.encode()
