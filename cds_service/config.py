"""Frozen settings, from `CDS_*` variables and the command line; an unknown CDS_* name is warned of."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cds_service.errors import ConfigurationError
from cds_service.files import as_text, read_regular
from cds_service.urls import LOOPBACK, check_origin, is_address, split_checked

_MOST_OF_A_FILE = 64 * 1024
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

log = logging.getLogger(__name__)


def _setting(default: Any, text: str, least: float | None = None, most: float | None = None) -> Any:
    """A field; a number has its bounds with it, which the page tells and `Settings.check` holds to."""
    return field(default=default, metadata={"help": text, "bounds": (least, most)})


@dataclass(frozen=True)
class Settings:
    """One field per setting; `CDS_<NAME>` in the environment. `docs/configuration.md` is made from this class."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8000, "Port to listen on.", 1, 65535)
    admin_host: str = _setting("127.0.0.1", "Address of operators' pages and metrics.")
    admin_hosts: str = _setting(
        "", "Names, beside loopback, by which operators may call their listener, comma separated."
    )
    admin_port: int = _setting(
        0, "Port of operators' pages and metrics; 0: none. Demo mode has them on the main port.", 0, 65535
    )
    workers: int = _setting(1, "Worker processes.", 1, 256)
    threads: int = _setting(
        2, "Calls worked on at once, per worker; more than one, so that a large one lets others pass.", 1, 1024
    )
    waiting: int = _setting(
        64,
        "Calls at once, per worker: most wait for a body, a FHIR server, the ledger or a turn. Beyond: 503 at once.",
        1,
        4096,
    )
    demo: bool = _setting(False, "Demo mode: loopback only, no authentication, throwaway database, bundled charts.")
    public_url: str = _setting("", "Base URL as callers see it, also behind a proxy; default http://HOST:PORT.")
    cards: str = _setting("", "Folder or compiled file of policies; default: the bundled ones.")
    content_deadline: float = _setting(
        60.0, "Seconds for changed policies to be read and checked; beyond, those in force stay.", 0.1, 3600
    )
    control: str = _setting("", "YAML file that silences or switches off policies and clients; watched.")
    database_url: str = _setting("", "Ledger database; default: SQLite in .cds-service/, in demo mode a throwaway one.")
    ledger_sync: Literal["normal", "full"] = _setting("normal", "`full`: durable against power loss as well.")
    ledger_key: str = _setting("", "Key of the ledger's seals (text); default: a key file beside a SQLite database.")
    ledger_deadline: float = _setting(
        5.0, "Seconds that a write to the ledger may take, waiting included; then 503.", 0.1, 600
    )
    ledger_mask: str = _setting("", "JSON Pointers, or elements such as Patient.name; comma separated, never stored.")
    clients: str = _setting("", "YAML file of trusted clients; watched. Needed outside demo mode.")
    token_lifetime: int = _setting(900, "Longest life of a client's token, in seconds.", 1, 3600)
    # At least 1: clients round iat up to the next second.
    clock_leeway: int = _setting(60, "Seconds by which a client's clock may differ.", 1, 120)
    services: str = _setting("advisor,crd", "Which services are offered: advisor, crd, or both.")
    default_payer: str = _setting("", "Payer to assume for advisor calls that have no Coverage to read.")
    payers: str = _setting("", "Payers whose coverage this deployment may assert (CRD), comma separated.")
    unreviewed_policies: Literal["hide", "show"] = _setting("hide", "`show`: policies not yet approved fire, marked.")
    allow_fhir: str = _setting("", "Demo mode: FHIR base URLs that may be called, comma separated.")
    fetch_deadline: float = _setting(3.0, "Seconds for all FHIR queries of a call together.", 0.001, 600)
    fetch_workers: int = _setting(16, "FHIR queries under way at once, per worker.", 1, 1024)
    fhir_ca_file: str = _setting("", "Certificate authorities (PEM) of FHIR servers; default: the usual public ones.")
    explanation_days: int = _setting(30, "Days an explanation page can be opened.", 1, 36500)
    cors_origins: str = _setting("", "Origins of browser clients, comma separated; * for all (demo mode: *).")
    open_discovery: bool = _setting(True, "Discovery without a token.")
    max_body_bytes: int = _setting(10 * 1024 * 1024, "Largest request body.", 1, 2**30)
    read_deadline: float = _setting(15.0, "Seconds for a request body to arrive.", 0.001, 3600)
    check_responses: int = _setting(
        16, "One in so many hook responses is checked against the contract; 1: every one.", 1, 10**9
    )
    shutdown_seconds: int = _setting(20, "Seconds that calls under way have to finish at shutdown.", 1, 3600)
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
        """The settings, if they make sense; raises ConfigurationError, which names the variable."""
        for setting in fields(self):
            _check_bounds(setting.name, getattr(self, setting.name), *setting.metadata["bounds"])
        for name in ("host", "admin_host"):
            host = getattr(self, name)
            if not is_address(host) and not _HOST.fullmatch(host):
                raise ConfigurationError(f"CDS_{name.upper()} must be an IP address or a host name.")
        for name in ("public_url", "allow_fhir", "cors_origins"):
            for url in self.listed(name):
                _check_url(name, url, _check_origin if name == "cors_origins" else split_checked)
        if self.admin_port == self.port and not self.demo:
            raise ConfigurationError("CDS_ADMIN_PORT must differ from CDS_PORT: operators' pages ask for no login.")
        self._check_names()
        return self

    def _check_names(self) -> None:
        if unknown := self.offered - {"advisor", "crd"}:
            raise ConfigurationError(f"CDS_SERVICES: '{sorted(unknown)[0]}' is not advisor or crd.")
        if not self.offered:
            raise ConfigurationError("CDS_SERVICES must name advisor, crd, or both.")
        for name in ("public_url", "default_payer"):
            if "," in getattr(self, name):
                raise ConfigurationError(f"CDS_{name.upper()} holds a comma: name one.")

    def check_listening(self) -> Settings:
        """The settings, if what listens may listen where they say; raises ConfigurationError."""
        if self.demo and self.host not in LOOPBACK:
            raise ConfigurationError("--demo listens on loopback only. Leave --host at 127.0.0.1, or drop --demo.")
        return self


def _check_bounds(name: str, value: Any, least: float | None, most: float | None) -> None:
    if least is not None and most is not None and not least <= value <= most:  # NaN is not between anything
        raise ConfigurationError(f"CDS_{name.upper()} must be {_number(value)} from {least} to {most}.")


def _number(value: Any) -> str:
    return "a number" if isinstance(value, float) else "a whole number"


def _check_url(name: str, url: str, rule: Callable[[str], Any]) -> None:
    try:
        rule(url)
    except ValueError as error:
        raise ConfigurationError(f"CDS_{name.upper()} {error}.") from None


def _check_origin(text: str) -> None:
    if text != "*":
        check_origin(text)


_PAGE = """# Configuration

Settings come from environment variables; options of `cds-service serve` win over them. An unknown `CDS_` variable is
warned of at start, a value that makes no sense stops the start. A change needs a restart; policies, clients and the
control file do not ([operations.md](operations.md)).

Any of them may lie in a file instead, as secrets of containers do: `CDS_LEDGER_KEY_FILE=/run/secrets/ledger_key` reads
`CDS_LEDGER_KEY` from there, at start, for every command; white space around it does not count. Both together are
refused.

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
        least, most = setting.metadata["bounds"]
        options += "" if least is None else f" {least} to {most}."
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
        raise ConfigurationError(f"CDS_{name.upper()} must be {_number(kind())}.") from None


def read_files(environment: MutableMapping[str, str]) -> None:
    """Settings that lie in files of their own, as secrets of containers do: `CDS_<NAME>_FILE` becomes `CDS_<NAME>`.

    Raises ConfigurationError where a file cannot be read, or where both are given.
    """
    for setting in fields(Settings):
        name = f"CDS_{setting.name.upper()}"
        file = environment.get(f"{name}_FILE")
        if file is None:
            continue
        if name in environment:
            raise ConfigurationError(f"{name} and {name}_FILE are both given. Keep one of them.")
        try:
            environment[name] = as_text(read_regular(Path(file.strip()), _MOST_OF_A_FILE)).strip()
        except OSError as error:
            raise ConfigurationError(f"{name}_FILE: {file.strip()} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{name}_FILE: {file.strip()} is not UTF-8 text.") from None
        del environment[f"{name}_FILE"]


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
        values[name] = _convert(name, kind, text.strip())
    values.update({k: v for k, v in overrides.items() if v is not None})
    return Settings(**values).check()


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
