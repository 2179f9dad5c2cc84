"""Runs the application under granian: few blocking threads, one worker a core, a graceful end."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
from flask import Flask
from granian import Granian
from granian.constants import Interfaces

from cds_service.config import Settings, from_environment
from cds_service.content_files import bundled
from cds_service.errors import ConfigurationError
from cds_service.facts.client import FhirClient, Limits
from cds_service.hooks.runtime import Runtime, load_book
from cds_service.ledger.keys import ledger_key
from cds_service.ledger.store import Ledger

_SETTINGS = "CDS_SERVICE_RESOLVED"  # settings of the parent, for its workers; not a CDS_ setting of its own


def run(options: dict[str, Any]) -> None:
    """Start the service with command-line options; returns when it is stopped."""
    settings = from_environment(**options)
    if not settings.demo and not settings.clients:
        raise ConfigurationError("clients are missing: declare them in a file (CDS_CLIENTS), or use --demo.")
    load_book(settings)  # refuse to start on bad content, before any worker does
    open_ledger(settings).close()
    os.environ[_SETTINGS] = json.dumps({f: getattr(settings, f) for f in settings.__dataclass_fields__})
    _announce(settings)
    server = Granian(
        "cds_service.web.server:application",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads,
        factory=True,
        log_enabled=True,
        log_level="warning",  # type: ignore[arg-type]
        websockets=False,
        workers_kill_timeout=20,
    )
    server.serve()


def application() -> Flask:
    """The application of one worker process."""
    from cds_service.web.app import create_app

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings(**json.loads(os.environ.pop(_SETTINGS)))
    fhir = FhirClient(Limits(deadline_s=settings.fetch_deadline))
    return create_app(Runtime.build(settings, fhir=fhir), open_ledger(settings))


def open_ledger(settings: Settings) -> Ledger:
    """The ledger that the settings name, made on first use."""
    from datetime import timedelta

    url = settings.database
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return Ledger.open(
        url,
        key=ledger_key(url, {"CDS_LEDGER_KEY": settings.ledger_key}),
        sync=settings.ledger_sync,
        mask=settings.listed("ledger_mask"),
        explanation_life=timedelta(days=settings.explanation_days),
    )


def _announce(settings: Settings) -> None:
    base = settings.base_url
    click.echo(
        f"CDS service: {base}/cds-services{' (demo mode: no authentication, loopback only)' if settings.demo else ''}"
    )
    if settings.demo:
        story = bundled("fhir_fixtures") / "cervical-fusion-authorised" / "request.json"
        try:
            shown = story.relative_to(Path.cwd())
        except ValueError:
            shown = story
        click.echo("Try it:")
        click.echo(
            f"  curl -s -H 'Content-Type: application/json' --data @{shown} {base}/cds-services/order-sign-advisor"
        )
