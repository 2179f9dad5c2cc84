"""Ports that are free to listen on, and the operators' listener, which is started again when it ends."""

from __future__ import annotations

import errno
import logging
import resource
import socket
import subprocess
import sys
import threading
import time

from cds_service.config import Settings
from cds_service.errors import ConfigurationError
from cds_service.web.places import AT_ONCE, RESERVE

log = logging.getLogger(__name__)
OWN_DESCRIPTORS = 128
"""Of a worker beside its connections: listening socket, log, database, policies, what is shared with other workers."""
MOST_CONNECTIONS = 1024
_MANY_DESCRIPTORS = 65536
FREE_SECONDS = 2.0
"""What is waited for a port: a former service of ours that has just been asked to end lets go of it within that."""
_FIRST_PAUSE, _LONGEST_PAUSE, _STEADY = 0.5, 4.0, 60.0


def check_places(settings: Settings) -> None:
    """Raise ConfigurationError unless the service can listen where it should.

    The server itself shares a port with whoever shares too (SO_REUSEPORT, for its workers): two services would answer
    each other's calls.
    """
    _check_free("CDS_HOST", settings.host, settings.port)
    if has_operators(settings):
        _check_free("CDS_ADMIN_HOST", settings.admin_host, settings.admin_port)


def check_descriptors(settings: Settings) -> int:
    """How many connections a worker may hold open; raises the limit of open files as far as it may be raised.

    Raises ConfigurationError where fewer files may be open than places need: calls would fail in the middle.
    """
    own = OWN_DESCRIPTORS + 2 * settings.fetch_workers
    needed = own + settings.waiting + RESERVE + AT_ONCE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MANY_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    limit = max(soft, limit)
    if limit < needed:
        raise ConfigurationError(
            f"only {limit} files may be open (ulimit -n), and CDS_WAITING={settings.waiting} with "
            f"CDS_FETCH_WORKERS={settings.fetch_workers} needs {needed}. Raise the limit, or lower these."
        )
    return min(MOST_CONNECTIONS, limit - own)


def has_operators(settings: Settings) -> bool:
    """Whether there is a listener for operators; demo mode has their pages on the main one."""
    return bool(settings.admin_port) and not settings.demo


def _check_free(name: str, host: str, port: int) -> None:
    until = time.monotonic() + FREE_SECONDS
    while True:
        try:
            return _bind(name, host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigurationError(f"cannot listen on {host}, port {port}: {error.strerror}.") from error
            if time.monotonic() > until:
                raise ConfigurationError(f"port {port} is in use. End what uses it, or choose another.") from error
        time.sleep(0.1)


def _bind(name: str, host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigurationError(f"{name}: '{host}' is no address that can be listened on.") from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may still be ending
        probe.bind(address)
        probe.listen()


class OperatorsListener:
    """The process of the operators' listener, watched by a thread that lives as long: its end would end the process."""

    def __init__(self, shutdown_seconds: float) -> None:
        self._seconds = shutdown_seconds
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="operators", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while (process := self._begin()) is not None:
            began = time.monotonic()
            code = process.wait()
            if self._stopping.is_set():
                return
            log.error("the operators' listener ended (exit code %s); it is started again in %g s", code, pause)
            self._stopping.wait(pause)
            steady = time.monotonic() - began > _STEADY
            pause = _FIRST_PAUSE if steady else min(pause * 2, _LONGEST_PAUSE)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            # Not closing what is closed anyway lets Python use posix_spawn. It would else wait for a pipe's end, which
            # a worker that is forked meanwhile keeps open.
            # -P: what lies in the working directory is not imported.
            self._process = subprocess.Popen([sys.executable, "-P", "-m", "cds_service.web.admin"], close_fds=False)
            return self._process

    def stop(self) -> None:
        """End it in good order, or after a while by force."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(self._seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join()
