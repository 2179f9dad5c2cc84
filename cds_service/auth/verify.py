"""Verify the JWT of a calling CDS client (CDS Hooks, "Trusting CDS Clients"; RFC 7515, 7519, 8725)."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import jwt

from cds_service.auth.clients import Client, Clients
from cds_service.auth.jwk import ALGORITHMS, MAX_KID, Key
from cds_service.auth.keys import KeyRing
from cds_service.auth.refusal import Reason, Refused
from cds_service.auth.replay import ReplayGuard
from cds_service.errors import ConfigurationError
from cds_service.urls import normalise, split_checked

log = logging.getLogger(__name__)

MAX_HEADER = 8 * 1024
MAX_JTI = 256
_BEARER = re.compile(r"bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.IGNORECASE | re.ASCII)
_LAST_SECOND = 2**53
_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_JWS = jwt.PyJWS(algorithms=sorted(ALGORITHMS), options={"verify_signature": True, "enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class _Token:
    """A token taken apart; nothing in it is believed yet."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class Verifier:
    """Says which declared client made a call. Keeps no verdict: every token is verified in full."""

    def __init__(
        self,
        clients: Clients,
        *,
        public_url: str,
        replay: ReplayGuard,
        now: Callable[[], float] = time.time,
        max_lifetime_s: int = 900,
        leeway_s: int = 60,
        keys: KeyRing | None = None,
    ) -> None:
        """`public_url` is the base URL as clients see it, also behind a proxy; times in seconds.

        ConfigurationError if the URL makes no sense.
        """
        try:
            split_checked(public_url)
        except ValueError as error:
            raise ConfigurationError(f"public URL: {error}.") from error
        self._clients, self._replay, self._now = clients, replay, now
        self._public_url, self._lifetime, self._leeway = public_url.rstrip("/"), max_lifetime_s, leeway_s
        self._keys = keys or KeyRing()

    def verify(self, authorization_header: str | None, path: str, *, also: str | None = None) -> Client:
        """The client that made this call to `public_url` + `path` (decoded); raises Unauthorized (a Refused).

        The token may name the path `also` instead, where one is given. A disabled client is returned as well: what to
        answer it is the caller's decision.
        """
        client: Client | None = None
        try:
            token = _take_apart(authorization_header)
            _check_header(token.header)
            client = self._client(token.claims)
            _check_signature(token, self._find_keys(client, token.header))
            self._check_claims(client, token.claims, (path,) if also is None else (path, also))
            self._claim(client, token.claims)
        except Refused as refused:
            # The declared id is ours; nothing that the caller sent is logged.
            known = client.id if client else None
            log.info("token refused", extra={"reason": refused.reason.code, "client": known})
            raise
        return client

    def _client(self, claims: Mapping[str, Any]) -> Client:
        issuer = claims.get("iss")
        client = self._clients.by_issuer(issuer) if isinstance(issuer, str) else None
        if client is None:
            raise Refused(Reason.ISSUER)
        return client

    def _find_keys(self, client: Client, header: Mapping[str, Any]) -> tuple[Key, ...]:
        jku = header.get("jku")
        if "jku" in header and (not isinstance(jku, str) or jku not in client.key_urls):
            raise Refused(Reason.KEY_URL)
        keys = self._keys.find(client, header["kid"], jku)
        _require(keys, Reason.NO_KEY)
        return keys

    def _check_claims(self, client: Client, claims: Mapping[str, Any], paths: tuple[str, ...]) -> None:
        self._check_audience(claims.get("aud"), paths)
        self._check_times(client, claims)
        tenant = claims.get("tenant")
        _require("tenant" not in claims or isinstance(tenant, str), Reason.TENANT)
        _require(client.tenants is None or tenant in client.tenants, Reason.TENANT)
        jti = claims.get("jti")
        _require(isinstance(jti, str) and 0 < len(jti) <= MAX_JTI, Reason.TOKEN_ID)
        # A database refuses such text, and a refusal there would be our fault, not the caller's.
        _require(not _UNSTORABLE.search(str(jti)), Reason.TOKEN_ID)

    def _check_audience(self, audience: object, paths: tuple[str, ...]) -> None:
        named = audience if isinstance(audience, list) else [audience]
        called = {normalise(self._public_url + path) for path in paths}
        # The path comes decoded, a client names it as it calls it: c%7C1 for c|1.
        urls = {spelling for url in named if isinstance(url, str) for spelling in (url, unquote(url))}
        _require(not called.isdisjoint(map(normalise, urls)), Reason.AUDIENCE)

    def _check_times(self, client: Client, claims: Mapping[str, Any]) -> None:
        now, leeway = self._now(), self._skew(client)
        own = client.spoken.token_lifetime
        lifetime = self._lifetime if own is None else own
        expires = _seconds(claims.get("exp"), Reason.EXPIRES)
        issued = _seconds(claims.get("iat"), Reason.ISSUED)
        _require(expires > now - leeway, Reason.EXPIRED)
        _require(issued <= now + leeway, Reason.FUTURE)
        _require(0 < expires - issued <= lifetime, Reason.LIFETIME)
        if "nbf" in claims:
            _require(_seconds(claims["nbf"], Reason.NOT_BEFORE) <= now + leeway, Reason.NOT_BEFORE)

    def _skew(self, client: Client) -> int:
        """Seconds by which this client's clock may differ."""
        own = client.spoken.clock_skew
        return self._leeway if own is None else own

    def _claim(self, client: Client, claims: Mapping[str, Any]) -> None:
        """Last of all, so that a refused token uses up no jti of an honest client."""
        acceptable_until = math.ceil(claims["exp"]) + self._skew(client)
        _require(self._replay.claim(client.issuer, claims["jti"], acceptable_until), Reason.REPLAYED)


def _take_apart(authorization: str | None) -> _Token:
    if authorization is None:
        raise Refused(Reason.NO_HEADER)
    _require(len(authorization) <= MAX_HEADER, Reason.TOO_LONG)
    bearer = _BEARER.fullmatch(authorization.strip(" \t"))
    if bearer is None:
        raise Refused(Reason.NOT_BEARER)
    header, payload, _ = bearer[1].split(".")
    return _Token(bearer[1], _json_object(header, Reason.BAD_HEADER), _json_object(payload, Reason.BAD_PAYLOAD))


def _json_object(segment: str, reason: Reason) -> Mapping[str, Any]:
    try:
        text = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (binascii.Error, ValueError, RecursionError):
        raise Refused(reason) from None
    if not isinstance(value, dict):
        raise Refused(reason)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: two readers might take different ones of a repeated key."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("repeated key")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_header(header: Mapping[str, Any]) -> None:
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    _require(isinstance(alg, str) and alg in ALGORITHMS, Reason.ALGORITHM)
    _require("crit" not in header and "b64" not in header, Reason.CRITICAL)
    _require(isinstance(typ, str) and typ.upper() == "JWT", Reason.TYPE)
    _require(isinstance(kid, str) and 0 < len(kid) <= MAX_KID, Reason.KEY_ID)


def _check_signature(token: _Token, keys: tuple[Key, ...]) -> None:
    alg = token.header["alg"]
    fitting = [key for key in keys if key.fits(alg)]
    _require(fitting, Reason.KEY_MISFIT)
    _require(any(_signed_by(token.text, alg, key) for key in fitting), Reason.SIGNATURE)


def _signed_by(token: str, alg: str, key: Key) -> bool:
    try:
        _JWS.decode_complete(token, key.public, algorithms=[alg])
    except jwt.InvalidTokenError:
        return False
    return True


def _seconds(value: object, reason: Reason) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise Refused(reason)
    return value


def _require(holds: object, reason: Reason) -> None:
    if not holds:
        raise Refused(reason)
