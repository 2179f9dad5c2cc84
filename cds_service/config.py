"""Frozen settings, from `CDS_*` variables and the command line; an unknown CDS_* name is warned of."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cds_service.errors import ConfigurationError

log = logging.getLogger(__name__)


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """One field per setting; `CDS_<NAME>` in the environment. `docs/configuration.md` is made from this class."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on.")
    admin_host: str = _setting("127.0.0.1", "Address of operators' pages and metrics.")
    admin_port: int = _setting(0, "Port of operators' pages and metrics; 0: none. Demo mode has them on the main port.")
    workers: int = _setting(1, "Worker processes.")
    threads: int = _setting(
        2, "Calls worked on at once, per worker; more than one, so that a large one lets others pass."
    )
    waiting: int = _setting(64, "Calls that may wait at once, per worker: for a body, a FHIR server, or their turn.")
    demo: bool = _setting(False, "Demo mode: loopback only, no authentication, throwaway database, bundled charts.")
    public_url: str = _setting("", "Base URL as callers see it, also behind a proxy; default http://HOST:PORT.")
    cards: str = _setting("", "Folder or compiled file of policies; default: the bundled ones.")
    control: str = _setting("", "YAML file that silences or switches off policies and clients; watched.")
    database_url: str = _setting("", "Ledger database; default: SQLite in .cds-service/, in demo mode a throwaway one.")
    ledger_sync: Literal["normal", "full"] = _setting("normal", "`full`: durable against power loss as well.")
    ledger_key: str = _setting("", "Key of the ledger's seals (text); default: a key file beside a SQLite database.")
    ledger_mask: str = _setting("", "JSON Pointers, comma separated, removed from requests before they are stored.")
    clients: str = _setting("", "YAML file of trusted clients; watched. Needed outside demo mode.")
    token_lifetime: int = _setting(600, "Longest life of a client's token, in seconds.")
    clock_leeway: int = _setting(5, "Seconds by which a client's clock may differ.")
    services: str = _setting("advisor,crd", "Which services are offered: advisor, crd, or both.")
    default_payer: str = _setting("", "Payer to assume for advisor calls that have no Coverage to read.")
    payers: str = _setting("", "Payers whose coverage this deployment may assert (CRD), comma separated.")
    unreviewed_policies: Literal["hide", "show"] = _setting("hide", "`show`: policies not yet approved fire, marked.")
    allow_fhir: str = _setting("", "Demo mode: FHIR base URLs that may be called, comma separated.")
    fetch_deadline: float = _setting(3.0, "Seconds for all FHIR queries of a call together.")
    fetch_workers: int = _setting(16, "FHIR queries under way at once, per worker.")
    fhir_ca_file: str = _setting("", "Certificate authorities (PEM) of FHIR servers; default: the usual public ones.")
    explanation_days: int = _setting(30, "Days an explanation page can be opened.")
    cors_origins: str = _setting("", "Origins of browser clients, comma separated; * for all (demo mode: *).")
    open_discovery: bool = _setting(True, "Discovery without a token.")
    max_body_bytes: int = _setting(10 * 1024 * 1024, "Largest request body.")
    read_deadline: float = _setting(15.0, "Seconds for a request body to arrive.")
    check_responses: int = _setting(16, "One in so many hook responses is checked against the contract; 1: every one.")
    shutdown_seconds: int = _setting(20, "Seconds that calls under way have to finish at shutdown.")
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "Least level that is logged.")

    @property
    def base_url(self) -> str:
        """Base URL as callers see it, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def database(self) -> str:
        """The ledger's database URL."""
        return self.database_url or f"sqlite:///{Path('.cds-service') / 'ledger.sqlite3'}"

    @property
    def writes_wait(self) -> bool:
        """Whether writing to the ledger waits for a disk or a server, long enough to work on another call."""
        return not self.database.startswith("sqlite:") or self.ledger_sync == "full"

    def listed(self, name: str) -> tuple[str, ...]:
        """A comma-separated setting as a tuple."""
        return tuple(part.strip() for part in str(getattr(self, name)).split(",") if part.strip())

    @property
    def offered(self) -> frozenset[str]:
        """Groups of services that this deployment offers."""
        return frozenset(self.listed("services"))

    def check(self) -> Settings:
        """The settings, if they make sense together; raises ConfigurationError."""
        if unknown := self.offered - {"advisor", "crd"}:
            raise ConfigurationError(f"CDS_SERVICES: '{sorted(unknown)[0]}' is not advisor or crd.")
        for name in (
            "workers",
            "threads",
            "waiting",
            "fetch_workers",
            "max_body_bytes",
            "check_responses",
            "shutdown_seconds",
        ):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"CDS_{name.upper()} must be at least 1.")
        for name in ("fetch_deadline", "read_deadline"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"CDS_{name.upper()} must be a time in seconds above 0.")
        for name in ("port", "admin_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise ConfigurationError(f"CDS_{name.upper()} must be a port: 1 to 65535.")
        if self.admin_port == self.port != 0 and not self.demo:
            raise ConfigurationError("CDS_ADMIN_PORT must differ from CDS_PORT: operators' pages ask for no login.")
        if self.demo and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigurationError("--demo listens on loopback only. Leave --host at 127.0.0.1, or drop --demo.")
        return self


_PAGE = """# Configuration

Settings come from environment variables; options of `cds-service serve` win over them. An unknown `CDS_` variable is
warned of at start, a value that makes no sense stops the start. A change needs a restart; policies, clients and the
control file do not ([operations.md](operations.md)).

This page is made from the code: `python -m cds_service.config > docs/configuration.md`.

| variable | default | meaning |
| --- | --- | --- |
"""


def as_markdown() -> str:
    """The configuration page, from the fields of Settings."""
    rows = []
    for setting in fields(Settings):
        default = "" if setting.default == "" else f"`{str(setting.default).lower()}`"
        hint = Settings.__annotations__[setting.name]
        options = f" One of {', '.join(f'`{o}`' for o in _options(hint))}." if hint.startswith("Literal") else ""
        rows.append(f"| `CDS_{setting.name.upper()}` | {default} | {setting.metadata['help']}{options} |\n")
    return _PAGE + "".join(rows)


def _options(hint: str) -> tuple[str, ...]:
    return tuple(part.strip(" \"'") for part in hint[8:-1].split(","))


def _convert(name: str, kind: Any, text: str) -> Any:
    options = get_args(kind)
    if options:
        if text not in options:
            raise ConfigurationError(f"CDS_{name.upper()} must be one of {', '.join(options)}.")
        return text
    if kind is bool:
        if text.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
            raise ConfigurationError(f"CDS_{name.upper()} must be true or false.")
        return text.lower() in ("1", "true", "yes", "on")
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"CDS_{name.upper()} must be a number.") from None


def from_environment(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from CDS_* variables; `overrides` (the command line) win where they are not None."""
    variables = os.environ if environment is None else environment
    hints = Settings.__annotations__
    kinds = {"str": str, "int": int, "float": float, "bool": bool}
    values: dict[str, Any] = {}
    known = {f"CDS_{f.name.upper()}": f.name for f in fields(Settings)}
    for variable, text in sorted(variables.items()):
        if not variable.startswith("CDS_"):
            continue
        name = known.get(variable)
        if name is None:
            log.warning("%s is not a setting; docs/configuration.md lists them.", variable)
            continue
        hint = hints[name]
        kind = kinds.get(hint) or Literal[_options(hint)]
        values[name] = _convert(name, kind, text)
    values.update({k: v for k, v in overrides.items() if v is not None})
    return Settings(**values).check()


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
