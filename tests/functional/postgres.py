"""A private PostgreSQL server for tests: its own cluster in a temporary folder, on a Unix socket only."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

MISSING = "PostgreSQL's server is not installed (Debian: apt-get install postgresql); its tests do not run."


class PostgreSQL:
    """A running server; `new_database` gives the URL of an empty database."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.root = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has at most 107 bytes
        self._user = _unprivileged()
        if self._user is not None:
            os.chown(self.root, self._user.pw_uid, self._user.pw_gid)
        self._run(
            "initdb", "-D", str(self.root / "data"), "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
        )
        # Tests kill processes, not the power: what the server wrote stays in the kernel without fsync.
        self._options = (
            f"-c fsync=off -c listen_addresses='' -c unix_socket_directories='{self.root}' -c max_connections=200"
        )
        self._run(
            "pg_ctl", "-D", str(self.root / "data"), "-l", str(self.root / "log"), "-w", "-o", self._options, "start"
        )

    def _run(self, program: str, *arguments: str) -> None:
        as_user: dict[str, Any] = {} if self._user is None else {"user": self._user.pw_uid, "group": self._user.pw_gid}
        # pg_ctl's server keeps what it inherits: a pipe would never end.
        with (self.root / "setup").open("w+") as output:
            done = subprocess.run(
                [self.binaries / program, *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=self.root,
                extra_groups=[] if as_user else None,
                **as_user,
            )
            output.seek(0)
            assert done.returncode == 0, f"{program}: {output.read()}"

    def new_database(self) -> str:
        """URL of a new, empty database."""
        name = f"t{uuid4().hex}"
        self.tool("createdb", name)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://test@/{name}?host={self.root}"

    def tool(self, program: str, *arguments: str) -> bytes:
        """Run a client program on the server; what it prints."""
        command: list[Path | str] = [self.binaries / program, "-h", str(self.root), "-U", "test", *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def restart(self, mode: str) -> None:
        """Stop with pg_ctl's mode (`fast`, `immediate`) and start again."""
        self._control("-m", mode, "restart")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.root / "data"), "-l", str(self.root / "log"), "-w", *arguments)

    @contextmanager
    def stopped(self, mode: str) -> Iterator[None]:
        """The server is away until the block ends."""
        self._control("-m", mode, "stop")
        try:
            yield
        finally:
            self._control("-o", self._options, "start")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server and its processes hang, as with a disk that answers no more, until the block ends."""
        parent = (self.root / "data" / "postmaster.pid").read_text().split()[0]
        found = [parent, *Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
        for pid in found:
            os.kill(int(pid), signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGCONT)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.root / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.root)


@cache
def server() -> PostgreSQL:
    """The session's server, started at first use; skips the test without one, fails in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(MISSING)
    running = PostgreSQL(found[-1].parent)
    atexit.register(running.stop)
    return running


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run as: initdb refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.fail("Neither the user postgres nor nobody exists, and PostgreSQL refuses to run as root.")
