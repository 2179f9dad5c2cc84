"""The command line: serve, evaluate, and the tools for policies, clients and the ledger."""

from __future__ import annotations

import importlib
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click

from cds_service.errors import CdsServiceError

# Groups are imported when they are called, so that `serve` starts without their libraries.
_LAZY = {
    "policy": ("cds_service.commands.policy", "policy_group"),
    "client": ("cds_service.auth.cli", "client_group"),
    "ledger": ("cds_service.ledger.cli", "ledger"),
    "replay": ("cds_service.commands.replay", "replay"),
    "synth": ("cds_service.commands.synth", "synth"),
}


class LazyGroup(click.Group):
    """A group whose sub-commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted({*super().list_commands(ctx), *_LAZY})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name."""
        if cmd_name in _LAZY:
            module, name = _LAZY[cmd_name]
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=LazyGroup)
@click.version_option(package_name="cds-service")
def cli() -> None:
    """CDS Hooks and Da Vinci CRD: draft orders against coverage and guideline policies."""


@cli.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--admin-port", type=int, help="Port of operators' pages, on loopback.")
@click.option("--workers", type=int, help="Worker processes.")
@click.option("--demo", is_flag=True, default=None, help="Loopback only, no authentication, bundled charts.")
@click.option("--database-url", help="Ledger database.")
@click.option("--cards", help="Folder or compiled file of policies.")
@click.option("--allow-fhir", multiple=True, help="Demo mode: FHIR base URL that may be called; may be repeated.")
def serve(allow_fhir: tuple[str, ...], **options: Any) -> None:
    """Start the service."""
    from cds_service.web.server import run

    run({**options, "allow_fhir": ",".join(allow_fhir) or None})


@cli.command()
@click.argument("request", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--service", help="Service id; default: the advisor of the request's hook.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Judge all orders as of this day.")
@click.option("--explain", is_flag=True, help="Print each card's explanation as well.")
@click.option("--json", "as_json", is_flag=True, help="The exact response, determinations and findings.")
@click.option("--cards", help="Folder or compiled file of policies.")
def evaluate(request: Path, service: str | None, as_of: Any, explain: bool, as_json: bool, cards: str | None) -> None:
    """Answer a hook request from a file, on the same path as HTTP."""
    from cds_service.commands.evaluate import evaluate_file

    day: date | None = as_of.date() if as_of else None
    evaluate_file(request, service, day, explain, as_json, cards)


def main() -> None:
    """Entry point: errors made on purpose are one line and an exit code, never a traceback."""
    from cds_service.config import read_files
    from cds_service.policy.content import Faults

    try:
        read_files(os.environ)
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except Faults as faults:
        for fault in faults.errors:
            click.echo(str(fault), err=True)
        sys.exit(10)
    except CdsServiceError as error:
        click.echo(f"cds-service: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
