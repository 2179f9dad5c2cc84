"""What the processes of one service share: settings, a folder for its run, and its end."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from datetime import timedelta
from multiprocessing.util import Finalize
from pathlib import Path

from cds_service.config import Settings
from cds_service.ledger.keys import ledger_key
from cds_service.ledger.silence import ANSWER_SECONDS
from cds_service.ledger.store import Ledger

# From the parent to its workers; not CDS_ settings of their own.
_SETTINGS, _FOLDER, _PARENT = "CDSSERVICE_SETTINGS", "CDSSERVICE_FOLDER", "CDSSERVICE_PARENT"
_PR_SET_PDEATHSIG = 1


class RunFolder:
    """A folder for as long as the service runs: what all workers count, what is in force, the mark to reload."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls) -> RunFolder:
        """A new one, for this process and those it starts."""
        folder = cls(Path(tempfile.mkdtemp(prefix="cds-service-")))
        folder.metrics.mkdir()
        folder.in_force.mkdir()
        folder.rates.mkdir()
        os.environ[_FOLDER] = str(folder.path)
        return folder

    @classmethod
    def inherited(cls) -> RunFolder:
        """The one of the parent process."""
        return cls(Path(os.environ[_FOLDER]))

    @property
    def metrics(self) -> Path:
        """Where each process keeps what it has counted."""
        return self.path / "metrics"

    @property
    def in_force(self) -> Path:
        """Where what is in force is kept for processes to come."""
        return self.path / "in-force"

    @property
    def rates(self) -> Path:
        """Where what clients have left of their rate limits is kept."""
        return self.path / "rates"

    @property
    def marker(self) -> Path:
        """Touched to have every process read its content again."""
        return self.path / "reload"

    def throwaway_database(self) -> str:
        """URL of a ledger that ends with the run."""
        return f"sqlite:///{self.path / 'ledger.sqlite3'}"

    def remove(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def hand_down(settings: Settings) -> None:
    """Give the settings to the processes that this one starts."""
    os.environ[_SETTINGS], os.environ[_PARENT] = json.dumps(asdict(settings)), str(os.getpid())


def inherited_settings() -> Settings:
    """The parent's settings; secrets among them leave the environment, which WSGI would copy into every call."""
    os.environ.pop("CDS_LEDGER_KEY", None)
    os.environ.pop("CDS_DATABASE_URL", None)
    return Settings(**json.loads(os.environ.pop(_SETTINGS)))


def end_with_parent() -> None:
    """Have this process ended in good order when its parent is killed, so that none is left over."""
    # Until the server sets its own: a forked worker has its parent's handler, which ends nothing here.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(os.environ[_PARENT]):
        sys.exit(1)


def open_ledger(settings: Settings) -> Ledger:
    """The ledger that the settings name, made on first use."""
    url = settings.database
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return Ledger.open(
        url,
        key=ledger_key(url, {"CDS_LEDGER_KEY": settings.ledger_key}),
        sync=settings.ledger_sync,
        mask=settings.listed("ledger_mask"),
        explanation_life=timedelta(days=settings.explanation_days),
        patience=ANSWER_SECONDS,
        deadline=settings.ledger_deadline,
    )


def close_at_exit(ledger: Ledger) -> None:
    """Seal the ledger's chains when this worker ends: worker processes run no atexit functions."""
    Finalize(None, ledger.close, exitpriority=10)
