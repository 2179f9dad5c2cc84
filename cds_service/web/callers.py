"""Who may call: trusted clients by their token; in demo mode anyone on this machine."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Protocol

from flask import Request

from cds_service.auth.clients import Client, Clients
from cds_service.auth.keys import KeyRing
from cds_service.auth.rate import RateLimiter
from cds_service.auth.verify import Verifier
from cds_service.config import Settings
from cds_service.errors import RequestError, TooManyRequests
from cds_service.facts.client import Allowed
from cds_service.hooks.runtime import Caller
from cds_service.ledger.record import Replayed
from cds_service.policy.case import Code
from cds_service.urls import LOOPBACK, is_address
from cds_service.web.control_file import Control

Claim = Callable[[str, str, int], bool]


class Throttled(TooManyRequests):
    """429, with the seconds to wait. The token is not used up: the same call may be sent again."""

    def __init__(self, seconds: float) -> None:
        super().__init__("The rate limit of this client is spent. Call again after the time in Retry-After.")
        self.retry_after = math.ceil(seconds)


class Admission(Protocol):
    """Admits callers; `Gate` of trusted clients, or `DemoGate`."""

    def admit_discovery(self, request: Request) -> None:
        """Whether the discovery document may be read."""

    def admit(self, request: Request, *, also: str | None = None) -> Caller:
        """The caller of a hook or feedback; its token is checked, but not used up yet.

        The token names the called path, or the path `also` where one is given.
        """

    def spend(self, caller: Caller) -> None:
        """Use up the caller's token, for calls that leave no record. Raises Replayed (401)."""

    @property
    def origins(self) -> frozenset[str]:
        """Browser origins that may call."""


class _Pending:
    """A ReplayGuard that only looks, and remembers, per thread, what is to be claimed.

    A hook call claims its `jti` in the transaction of its record, so that the two cannot come apart. A replay is
    refused here all the same, before it takes of the client's rate limit, of the processor and of FHIR servers.
    """

    def __init__(self, used: Callable[[str, str], bool]) -> None:
        self._local, self._used = threading.local(), used

    def claim(self, issuer: str, jti: str, expires: int) -> bool:
        """See auth.replay.ReplayGuard."""
        self._local.token = (issuer, jti, expires)
        return not self._used(issuer, jti)

    def take(self) -> tuple[str, str, int]:
        """The token that this thread verified last."""
        token: tuple[str, str, int] = self._local.token
        return token


@dataclass(frozen=True)
class Shared:
    """What outlives a reload: fetched keys, rate limits, and the ledger's memory of used tokens."""

    claim: Claim
    used: Callable[[str, str], bool]
    keys: KeyRing = field(default_factory=KeyRing)
    limiter: RateLimiter = field(default_factory=RateLimiter)


class Gate:
    """Admits trusted clients."""

    def __init__(self, settings: Settings, clients: Clients, control: Control, shared: Shared) -> None:
        self._settings, self._clients, self._shared = settings, clients, shared
        self._pending = _Pending(shared.used)
        self._verifier = Verifier(
            clients,
            public_url=settings.base_url,
            replay=self._pending,
            max_lifetime_s=settings.token_lifetime,
            leeway_s=settings.clock_leeway,
            keys=shared.keys,
        )
        self._callers = {client.id: _caller(client, control) for client in clients}

    def admit_discovery(self, request: Request) -> None:
        """Anyone, if discovery is open; else a trusted client, whose token is used up."""
        if not self._settings.open_discovery:
            self.spend(self.admit(request))

    def admit(self, request: Request, *, also: str | None = None) -> Caller:
        """The trusted client of a call. Raises Unauthorized (401) or Throttled (429)."""
        # Repeated headers arrive joined by a comma, which no bearer token may hold.
        client = self._verifier.verify(request.headers.get("Authorization"), request.path, also=also)
        wait = self._shared.limiter.allow(client)
        if wait is not None:
            raise Throttled(wait)
        return replace(self._callers[client.id], jti=self._pending.take())

    def spend(self, caller: Caller) -> None:
        """Use up the caller's token. Raises Replayed (401)."""
        if caller.jti is not None and not self._shared.claim(*caller.jti):
            raise Replayed

    @cached_property
    def origins(self) -> frozenset[str]:
        """Browser origins of the deployment and of its clients."""
        return frozenset(self._settings.listed("cors_origins")) | self._clients.cors_origins


def _caller(client: Client, control: Control) -> Caller:
    return Caller(
        id=client.id,
        allowed=Allowed.of((server.url, server.allow_private) for server in client.fhir_servers),
        local_codes={Code(system, local): code for (system, local), code in client.local_codes.items()},
        silent=partial(_silent, client, control),
        silenced=client.silent is True or control.clients.get(client.id) == "silent",
        stopped=client.disabled or control.clients.get(client.id) == "stopped",
        crd_version=client.crd_version,
        dialect=client.spoken,
    )


def _silent(client: Client, control: Control, policy: str) -> bool:
    return control.policies.get(policy) == "silent" or client.is_silent(policy)


class DemoGate:
    """Demo mode: anyone on this machine."""

    def __init__(self, settings: Settings, control: Control) -> None:
        listed = (f"{settings.base_url}/fhir", *settings.listed("allow_fhir"))
        self._caller = Caller(
            "demo",
            Allowed.of((url, True) for url in listed),
            silent=lambda policy: control.policies.get(policy) == "silent",
            silenced=control.clients.get("demo") == "silent",
            stopped=control.clients.get("demo") == "stopped",
        )
        self.origins = frozenset(settings.listed("cors_origins")) or frozenset({"*"})

    def admit_discovery(self, request: Request) -> None:
        """Anyone on this machine."""

    def admit(self, request: Request, *, also: str | None = None) -> Caller:  # noqa: ARG002
        """Anyone on this machine."""
        return self._caller

    def spend(self, caller: Caller) -> None:
        """Nothing: there are no tokens."""


def check_loopback_name(request: Request) -> None:
    """Refuse a Host header that is no name of loopback: a web page elsewhere may reach us by DNS tricks.

    Raises RequestError.
    """
    if _host(request) not in LOOPBACK:
        raise RequestError("must be a loopback name here", path="Host", code="security")


def check_operators_name(request: Request, settings: Settings) -> None:
    """Refuse a Host header that is no name of the operators' listener, as `check_loopback_name` does.

    Beyond loopback an address is taken as well: DNS tricks need a name. Raises RequestError.
    """
    name, beyond = _host(request), settings.admin_host not in LOOPBACK
    listed = {listed.lower().removesuffix(".") for listed in settings.listed("admin_hosts")}
    if name in LOOPBACK or name in listed or (beyond and is_address(name)):
        return
    raise RequestError("must be a name of this listener: CDS_ADMIN_HOSTS lists more", path="Host", code="security")


def _host(request: Request) -> str:
    host = request.host.lower()  # names ignore case, and a dot may end them
    return (host if host.endswith("]") else host.rsplit(":", 1)[0]).strip("[]").removesuffix(".")
