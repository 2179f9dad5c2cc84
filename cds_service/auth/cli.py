"""Commands for integrators: `cds-service client add | list | sheet | check-token | token`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from cds_service.auth.clients import Client, load_clients
from cds_service.auth.clients_edit import add_client
from cds_service.auth.issue import generate_key, public_jwk, read_private_key, sign_token, write_private_key
from cds_service.auth.refusal import Refused
from cds_service.auth.replay import MemoryReplay
from cds_service.auth.verify import Verifier
from cds_service.config import from_environment
from cds_service.errors import InputFileError
from cds_service.hooks.dialects import DIALECTS
from cds_service.hooks.runtime import Runtime

_FILE = click.option(
    "--clients",
    "clients_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("clients.yaml"),
    envvar="CDS_CLIENTS",
    show_default=True,
    show_envvar=True,
    help="The file that declares trusted clients.",
)

# A token for feedback may name the service instead.
_FEEDBACK = re.compile(r"(.+/cds-services/[^/]+)(/feedback)/?")


@click.group("client")
def client_group() -> None:
    """Declare trusted clients and test their tokens."""


@client_group.command("add")
@click.argument("client_id", metavar="ID")
@_FILE
@click.option("--name", help="Name for people. Default: the id.")
@click.option("--issuer", required=True, help="The iss claim of the client's tokens.")
@click.option("--jwks-url", help="https URL of the client's JWK Set.")
@click.option("--jwks", "jwks_file", type=click.Path(path_type=Path), help="File with the client's JWK Set.")
@click.option("--generate-key", "key_folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Make a key pair for tests in this folder and declare its public key.")  # fmt: skip
@click.option("--algorithm", type=click.Choice(["ES384", "RS384"]), default="ES384", show_default=True,
              help="Algorithm of the generated key.")  # fmt: skip
@click.option("--jku", "jku_allowed", multiple=True, help="URL the client may name in jku. Repeatable.")
@click.option("--tenant", "tenants", multiple=True, help="Accepted tenant claim. Repeatable.")
@click.option("--fhir-server", "fhir_servers", multiple=True, help="FHIR base URL we may call. Repeatable.")
@click.option("--allow-private", is_flag=True, help="The FHIR servers are in a private network.")
@click.option("--allow-loopback-http", is_flag=True, help="The JWK Set is served by http on this machine.")
@click.option("--dialect", type=click.Choice(list(DIALECTS)), help="How the client speaks CDS Hooks.")
@click.option("--crd-version", type=click.Choice(["2.0", "2.1", "2.2"]), help="Da Vinci CRD version.")
@click.option("--rate-limit", "rate_limit_per_minute", type=click.IntRange(1), help="Calls per minute.")
@click.option("--cors-origin", "cors_origins", multiple=True, help="Browser origin. Repeatable.")
@click.option("--silent", is_flag=True, help="Evaluate and record, show nothing.")
def add(client_id: str, clients_file: Path, issuer: str, name: str | None, **options: Any) -> None:
    """Declare the trusted client ID; other entries and comments of the file stay as they are."""
    jwks_file, key_folder = options.pop("jwks_file"), options.pop("key_folder")
    algorithm, private = options.pop("algorithm"), options.pop("allow_private")
    if sum(source is not None for source in (jwks_file, key_folder, options["jwks_url"])) > 1:
        raise click.UsageError("Give one of --jwks-url, --jwks and --generate-key.")
    options["fhir_servers"] = [
        {"url": url, **({"allow_private": True} if private else {})} for url in options["fhir_servers"]
    ]
    entry: dict[str, Any] = {"id": client_id, "name": name or client_id, "issuer": issuer}
    entry |= {key: list(value) if isinstance(value, tuple) else value for key, value in options.items() if value}
    if jwks_file is not None:
        entry["jwks"] = _read_json(jwks_file)
    if key_folder is None:
        add_client(clients_file, entry)
    else:
        _with_new_key(clients_file, entry, key_folder, algorithm)
    click.echo(f"Declared {client_id} in {clients_file}.")


def _with_new_key(clients_file: Path, entry: dict[str, Any], folder: Path, algorithm: str) -> None:
    key = generate_key(algorithm)
    private = folder / f"{entry['id']}.private.pem"
    entry["jwks"] = {"keys": [public_jwk(key)]}
    write_private_key(private, key)
    try:
        add_client(clients_file, entry)
    except BaseException:
        private.unlink()
        raise
    (folder / f"{entry['id']}.jwks.json").write_text(json.dumps(entry["jwks"], indent=2) + "\n")
    click.echo(f"Private key, for tests only: {private}")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputFileError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputFileError(f"{path}: is not JSON. Save the client's JWK Set in it.") from error


@client_group.command("list")
@_FILE
def list_clients(clients_file: Path) -> None:
    """Show the declared clients, one a line."""
    clients = load_clients(clients_file)
    for client in clients:
        click.echo(_summary(client))
    if not len(clients):
        click.echo(f"{clients_file} declares no clients.")


def _summary(client: Client) -> str:
    if client.jwks:
        keys = "keys " + ", ".join(f"{key.kid} ({key.alg or key.kty})" for key in client.jwks.parsed)
    else:
        keys = f"keys at {client.jwks_url or 'jku'}"
    marks = [word for word, holds in (("disabled", client.disabled), ("silent", client.silent)) if holds]
    return "  ".join([client.id, client.issuer, keys, *marks])


@client_group.command("sheet")
@click.argument("client_id", metavar="NAME")
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@_FILE
def print_sheet(client_id: str, form: str, clients_file: Path) -> None:
    """Print what a site's analyst has to type in for the client NAME: URLs, hooks, prefetch, scopes, keys, reasons.

    Read it with the settings (CDS_*) that the service has: CDS_PUBLIC_URL is in every URL.
    """
    declared = {client.id: client for client in load_clients(clients_file)}
    if client_id not in declared:
        raise click.UsageError(f"{clients_file} declares no client '{client_id}'. Declared: {', '.join(declared)}.")
    from cds_service.auth import sheet  # reads policies: not for the other commands to wait for

    parts = sheet.sheet(declared[client_id], Runtime.build(from_environment().check()))
    click.echo(sheet.as_markdown(parts) if form == "markdown" else sheet.as_text(parts))


@client_group.command("check-token")
@click.argument("token_file", metavar="FILE", default="-")
@click.option("--url", required=True, help="The called URL as the client sees it.")
@_FILE
def check_token(token_file: str, url: str, clients_file: Path) -> None:
    """Check the token in FILE (- is standard input): say which check fails, and the cure."""
    header = _read_token(token_file)
    feedback = _FEEDBACK.fullmatch(url)
    base, path, also = (feedback[1], feedback[2], "") if feedback else (url, "", None)
    verifier = Verifier(load_clients(clients_file), public_url=base, replay=MemoryReplay())
    try:
        client = verifier.verify(header, path, also=also)
    except Refused as refused:
        reason = refused.reason
        click.echo(f"Refused ({reason.code}): {reason.check}\nCure: {reason.cure}")
        sys.exit(refused.exit_code)
    click.echo(f"Accepted: client {client.id}. Whether its jti was used before is not checked here.")
    if client.disabled:
        click.echo("This client is disabled in the clients file.")


def _read_token(file: str) -> str:
    if file.count(".") == 2 and file.startswith("ey"):
        raise click.UsageError("Give a file, or - and the token on standard input; arguments are visible to others.")
    try:
        stream = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError("The token file cannot be read. Check its path.") from error
    words = stream.strip().removeprefix("Authorization:").split()
    return " ".join(words if words[:1] and words[0].lower() == "bearer" else ["Bearer", *words])


@client_group.command("token")
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), help="Private key, PEM.")
@click.option("--issuer", required=True, help="The iss claim: as declared for the client.")
@click.option("--url", required=True, help="The URL to be called: the aud claim.")
@click.option("--kid", help="Key id. Default: the key's thumbprint, as `client add --generate-key` declares it.")
@click.option("--tenant", help="The tenant claim.")
@click.option("--jku", help="The jku header.")
@click.option("--lifetime", type=click.IntRange(1, 3600), default=300, show_default=True, help="Seconds.")
def token(key_file: Path, issuer: str, url: str, lifetime: int, **optional: Any) -> None:
    """Print a signed token for one call to URL, for tests; each token is good for one call."""
    key = read_private_key(key_file)
    click.echo(sign_token(key, issuer=issuer, audience=url, lifetime_s=lifetime, **optional))
