"""Trusted clients: the model of the one YAML file that declares them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from cds_service.auth.clients_file import check_model, read_yaml
from cds_service.auth.jwk import BadKeyError, Key, parse_jwk
from cds_service.auth.traits import TARGET, Strict, Text, Traits
from cds_service.errors import ConfigurationError
from cds_service.policy.case import Code
from cds_service.urls import check_origin, require_https, split_checked

FORMAT = 1
_ISSUER = re.compile(r"[^\s\x00-\x1f\x7f]{1,2048}")


def _absolute(url: str) -> str:
    split_checked(url)
    return url


def _issuer(text: str) -> str:
    if not _ISSUER.fullmatch(text):
        raise ValueError("is empty, too long or holds a blank: copy the iss claim of the client's tokens")
    return text


Url = Annotated[str, AfterValidator(_absolute)]
Origin = Annotated[str, AfterValidator(check_origin)]
ClientId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class FhirServer(Strict):
    """A FHIR server that may be called on behalf of one client; `allow_private` permits a private address."""

    url: Url
    allow_private: bool = False

    @model_validator(mode="after")
    def _https(self) -> FhirServer:
        if not self.allow_private and split_checked(self.url).scheme != "https":
            raise ValueError("url is not https: use https, or set allow_private: true for a server in your network")
        return self


class Jwks(Strict):
    """A JWK Set (RFC 7517 section 5) written into the file."""

    keys: list[dict[str, Any]] = Field(min_length=1)

    @field_validator("keys")
    @classmethod
    def _usable(cls, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        seen: set[tuple[str, str | None]] = set()
        for position, jwk in enumerate(keys):
            try:
                key = parse_jwk(jwk)
            except BadKeyError as error:
                raise ValueError(f"key {position} {error}") from error
            if (key.kid, key.alg) in seen:
                raise ValueError(f"key {position} repeats a kid: give every key its own")
            seen.add((key.kid, key.alg))
        return keys

    @cached_property
    def parsed(self) -> tuple[Key, ...]:
        """The keys, ready for use."""
        return tuple(parse_jwk(jwk) for jwk in self.keys)


class Client(Traits):
    """One trusted client, as declared. `disabled` clients still authenticate; the caller decides."""

    id: ClientId
    name: Text
    issuer: Annotated[str, AfterValidator(_issuer)]
    jwks: Jwks | None = None
    jwks_url: Url | None = None
    jku_allowed: list[Url] = Field(default_factory=list)
    allow_loopback_http: bool = False
    tenants: Annotated[list[Text], Field(min_length=1)] | None = None
    fhir_servers: list[FhirServer] = Field(default_factory=list)
    code_map: dict[Text, dict[Text, str]] = Field(default_factory=dict)
    crd_version: Literal["2.0", "2.1", "2.2"] = "2.0"
    silent: bool | list[Text] = False
    disabled: bool = False
    rate_limit_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    cors_origins: list[Origin] = Field(default_factory=list)

    @field_validator("crd_version", mode="before")
    @classmethod
    def _unquoted(cls, value: object) -> object:
        # YAML reads an unquoted 2.1 as a number; nothing is lost by taking it as text.
        return str(value) if isinstance(value, float) else value

    @field_validator("code_map")
    @classmethod
    def _targets(cls, code_map: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for system, codes in code_map.items():
            for code, target in codes.items():
                if not TARGET.fullmatch(target):
                    raise ValueError(f"{system} {code} has a bad target: write cpt:20939 or hcpcs:E0748")
        return code_map

    @model_validator(mode="after")
    def _key_source(self) -> Client:
        if self.jwks and self.jwks_url:
            raise ValueError("has both jwks and jwks_url: keep one")
        if not (self.jwks or self.jwks_url or self.jku_allowed):
            raise ValueError("has no keys: add jwks, jwks_url or jku_allowed")
        for url in self.key_urls:
            try:
                permitted = self.allow_loopback_http
                require_https(split_checked(url), loopback_allowed=permitted, permission="allow_loopback_http")
            except ValueError as error:
                raise ValueError(f"jwks_url or jku_allowed {error}") from error
        return self

    @property
    def key_urls(self) -> frozenset[str]:
        """The only URLs this client's keys may come from; a token's `jku` must be one of them."""
        return frozenset(self.jku_allowed) | ({self.jwks_url} if self.jwks_url else frozenset())

    @cached_property
    def local_codes(self) -> Mapping[tuple[str, str], Code]:
        """(system URI, local code) -> CPT or HCPCS code, from `code_map`."""
        return {
            (system, local): Code(*target.split(":"))
            for system, codes in self.code_map.items()
            for local, target in codes.items()
        }

    def is_silent(self, policy_id: str) -> bool:
        """True if this policy is evaluated and recorded for the client, but shown to nobody."""
        return self.silent if isinstance(self.silent, bool) else policy_id in self.silent


@dataclass(frozen=True)
class Clients:
    """All trusted clients of a deployment; ids and issuers are unique."""

    declared: tuple[Client, ...] = ()
    _by_issuer: Mapping[str, Client] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_issuer", {client.issuer: client for client in self.declared})

    def __iter__(self) -> Iterator[Client]:
        return iter(self.declared)

    def __len__(self) -> int:
        return len(self.declared)

    def by_issuer(self, iss: str) -> Client | None:
        """The client whose tokens carry this `iss`, compared as text (RFC 7519 section 4.1.1)."""
        return self._by_issuer.get(iss)

    @property
    def cors_origins(self) -> frozenset[str]:
        """Every browser origin that some client declares."""
        return frozenset(origin for client in self.declared for origin in client.cors_origins)


class _File(Strict):
    format: Literal[1]
    clients: list[Client] = Field(default_factory=list)


def load_clients(path: Path | str) -> Clients:
    """The clients declared in one YAML file; an empty file declares none.

    ConfigurationError names the file, every faulty field and the cure, never a value of the file.
    """
    return parse_clients(Path(path), None)


def parse_clients(path: Path, text: str | None) -> Clients:
    """As `load_clients`, but from `text` (None: read the file); `path` is only for messages then."""
    document = read_yaml(path, text)
    if document is None:
        return Clients()
    content = check_model(path, _File, document)
    _refuse_repeats(path, content.clients)
    return Clients(tuple(content.clients))


def _refuse_repeats(path: Path, clients: list[Client]) -> None:
    for name in ("id", "issuer"):
        seen: dict[str, int] = {}
        for position, client in enumerate(clients):
            first = seen.setdefault(getattr(client, name), position)
            if first != position:
                raise ConfigurationError(
                    f"{path}: clients[{position}].{name}: is the same as in clients[{first}]. Give each client its own."
                )
