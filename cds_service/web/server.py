"""Runs the service under granian: workers, the operators' listener, reload on SIGHUP, a graceful end."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

from cds_service.config import Settings, from_environment
from cds_service.content_files import bundled
from cds_service.errors import ConfigurationError
from cds_service.facts.client import FhirClient, Limits
from cds_service.hooks.runtime import Book, Runtime, load_book
from cds_service.web import logs, process
from cds_service.web.listening import OperatorsListener, check_descriptors, check_places, has_operators
from cds_service.web.places import AT_ONCE, RESERVE
from cds_service.web.respawns import Respawns

log = logging.getLogger(__name__)
GC_THRESHOLDS = 50_000, 20, 20
_PAUSE = 0.01

# Workers that are forked find the content here, already read; what a SIGHUP has outdated is not used.
_read: Book | None = None


def run(options: dict[str, Any]) -> None:
    """Start the service with command-line options; returns when it is stopped."""
    logs.configure("warning")  # until it is known what is to be logged
    settings = from_environment(**options).check_listening()
    folder = process.RunFolder.make()
    try:
        if settings.demo and not settings.database_url:
            settings = replace(settings, database_url=folder.throwaway_database())
        check_descriptors(settings)
        _check(settings, folder)
        check_places(settings)
        process.hand_down(settings)
        _announce(settings)
        _serve(settings, folder)
    finally:
        folder.remove()


def _check(settings: Settings, folder: process.RunFolder) -> None:
    """Refuse to start on anything that a worker would stumble over; what is in order is kept for the workers."""
    global _read  # noqa: PLW0603
    from cds_service.web.control import Live, Texts, declared_clients, look
    from cds_service.web.in_force import InForce

    seen = look(settings, folder.marker)
    declared_clients(settings, Texts.read(settings).clients)
    _fhir_client(settings).close()
    _read = load_book(settings)
    with process.open_ledger(settings) as ledger:
        live = Live(Runtime.build(settings, book=_read), ledger, counted=False)
    InForce(folder.in_force).keep(live.state, seen)


def _serve(settings: Settings, folder: process.RunFolder) -> None:
    server = Server("cds_service.web.server:application", settings.host, settings.port, settings, settings.workers)
    server.reload = folder.marker.touch
    logs.configure(settings.log_level)
    if _read is not None and Runtime.build(settings, book=_read).shows_nothing:
        log.warning("no policy is approved: nothing will be shown; see CDS_UNREVIEWED_POLICIES")
    with _operators_listener(settings):
        server.serve()


class Server(MPServer):
    """granian as both listeners use it: few processes, many waiting threads, HTTP/1.1 only."""

    reload: Callable[[], None] | None = None

    def __init__(self, target: str, host: str, port: int, settings: Settings, workers: int) -> None:
        super().__init__(
            target,
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=workers,
            blocking_threads=settings.waiting + RESERVE + AT_ONCE,
            backpressure=check_descriptors(settings),
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=int(settings.read_deadline * 1000)),  # milliseconds
            log_level=LogLevels.warning,
            websockets=False,
            respawn_failed_workers=True,
            workers_kill_timeout=settings.shutdown_seconds,
        )

    def serve(self, *_args: Any, **_more: Any) -> None:
        """Serve until told to end. granian's own loader would have workers import from the working directory first."""
        super().serve(target_loader=_load)

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        """Replace each worker that dies, with pauses where it dies again and again; the others go on.

        granian by itself would end the service at the second death of one worker within seconds.
        """
        respawns = Respawns(self.workers)
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait(respawns.pause())
            if self.interrupt_signal:
                return
            self.main_loop_interrupt.clear()
            while self.interrupt_children:
                index = self.interrupt_children.pop()
                respawns.died(index, time.monotonic() - self.wrks[index].birth)
            if respawns.hopeless():
                log.error("no worker has lived for %g s: the service ends", respawns.HOPELESS)
                self.interrupt_children.append(0)  # granian's sign for exit code 1
                return
            for index in respawns.due():
                self._respawn(index, spawn_target, target_loader, respawns)

    def _respawn(self, index: int, spawn_target: Any, target_loader: Any, respawns: Respawns) -> None:
        worker = self._spawn_worker(idx=index, target=spawn_target, callback_loader=target_loader)
        try:
            worker.start()  # type: ignore[no-untyped-call]
        except OSError as error:  # no memory, or too many processes: another time
            log.error("a worker cannot be started: %s", error.strerror)
            respawns.died(index, 0.0)
        else:
            self.wrks[index] = worker

    def _stop_workers(self) -> None:
        """Ask the workers to end, and wait for them.

        granian by itself may take one that has just ended for one that refuses to, and say so: the thread that waits
        for it has heard of its end, but not taken note of it yet.
        """
        for worker in self.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]
        until = time.monotonic() + (self.workers_kill_timeout or 0)
        while any(worker.is_alive() for worker in self.wrks) and time.monotonic() < until:  # type: ignore[no-untyped-call]
            time.sleep(_PAUSE)
        self.workers_kill_timeout = 1
        super()._stop_workers()  # type: ignore[no-untyped-call]

    def signal_handler_reload(self, *_args: Any, **_more: Any) -> None:
        """On SIGHUP. granian itself would replace its workers, and drop the connections that wait for the old ones."""
        global _read  # noqa: PLW0603
        _read = None
        if self.reload is not None:
            self.reload()


def _load(target: str) -> Flask:
    """The application that `module:function` makes."""
    module, _, name = target.partition(":")
    made: Flask = getattr(import_module(module), name)()
    return made


@contextmanager
def _operators_listener(settings: Settings) -> Iterator[None]:
    if not has_operators(settings):
        yield
        return
    listener = OperatorsListener(settings.shutdown_seconds)
    try:
        yield
    finally:
        listener.stop()


def application() -> Flask:
    """The application of one worker process."""
    process.end_with_parent()
    settings = process.inherited_settings()
    logs.configure(settings.log_level)
    from cds_service.auth.rate import RateLimiter
    from cds_service.hooks.warm import warm
    from cds_service.web import metrics
    from cds_service.web.app import create_app
    from cds_service.web.in_force import InForce
    from cds_service.web.watch import Watcher

    folder = process.RunFolder.inherited()
    metrics.share(folder.metrics)
    in_force = InForce(folder.in_force)
    begin = in_force.begin(settings, _read)
    watcher = Watcher(settings, folder.marker, begin.seen, in_force.keep)
    runtime = Runtime.build(settings, fhir=_fhir_client(settings), book=begin.book)
    ledger = process.open_ledger(settings)
    process.close_at_exit(ledger)
    warm(runtime)
    app = create_app(runtime, ledger, begin.texts, RateLimiter(folder.rates))
    watcher.start(app.extensions["cds_live"])
    # The content is there to stay: collecting garbage need not look at it over and over.
    gc.collect()
    gc.freeze()
    # A call leaves no cycles behind, so that looking for them after every call would find nothing.
    gc.set_threshold(*GC_THRESHOLDS)
    log.info("worker ready", extra={"revision": runtime.book.rulebook.revision})
    return app


def _fhir_client(settings: Settings) -> FhirClient:
    limits = Limits(deadline_s=settings.fetch_deadline)
    try:
        return FhirClient(limits, workers=settings.fetch_workers, ca_file=settings.fhir_ca_file or None)
    except OSError as error:
        file = settings.fhir_ca_file
        raise ConfigurationError(f"CDS_FHIR_CA_FILE: {file} cannot be used: {error.strerror}.") from None


def _announce(settings: Settings) -> None:
    base = settings.base_url
    if not settings.demo:
        click.echo(f"CDS service: {base}/cds-services")
        if settings.admin_port:
            click.echo(f"Operators: http://{settings.admin_host}:{settings.admin_port}/")
        return
    click.echo(f"CDS service: {base}/cds-services (demo mode: no authentication, loopback only)")
    story = bundled("fhir_fixtures") / "cervical-fusion-authorised" / "request.json"
    shown = story.relative_to(Path.cwd()) if story.is_relative_to(Path.cwd()) else story
    click.echo("Try it:")
    click.echo(f"  curl -s -H 'Content-Type: application/json' --data @{shown} {base}/cds-services/order-sign-advisor")
