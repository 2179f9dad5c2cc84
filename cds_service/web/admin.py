"""The operators' listener: a process of its own beside the workers, on loopback by default."""

from __future__ import annotations

from flask import Flask

from cds_service.hooks.runtime import Runtime
from cds_service.web import logs, process
from cds_service.web.server import Server


def application() -> Flask:
    """The application of the listener's worker process."""
    process.end_with_parent()
    settings = process.inherited_settings()
    logs.configure(settings.log_level)
    from cds_service.web import metrics
    from cds_service.web.app import create_admin_app
    from cds_service.web.in_force import InForce
    from cds_service.web.watch import Watcher

    folder = process.RunFolder.inherited()
    metrics.share(folder.metrics)
    in_force = InForce(folder.in_force)
    begin = in_force.begin(settings)
    watcher = Watcher(settings, folder.marker, begin.seen, in_force.keep)
    ledger = process.open_ledger(settings)
    process.close_at_exit(ledger)
    app = create_admin_app(Runtime.build(settings, book=begin.book), ledger, begin.texts)
    watcher.start(app.extensions["cds_live"])
    return app


def main() -> None:
    """Serve until the parent ends this process, or ends itself."""
    process.end_with_parent()
    settings = process.inherited_settings()
    process.hand_down(settings)
    server = Server("cds_service.web.admin:application", settings.admin_host, settings.admin_port, settings, 1)
    logs.configure(settings.log_level)
    server.serve()


if __name__ == "__main__":
    main()
