"""One GET of a JWK Set: https, no redirects, 2 seconds, 64 KiB."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
import urllib3

from cds_service.auth.jwk import BadKeyError, Key, parse_jwk
from cds_service.urls import is_loopback, require_https, split_checked

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
MAX_BYTES = 64 * 1024
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,10})", re.IGNORECASE)
_NO_CACHE = re.compile(r"(?:^|[,\s])no-(?:store|cache)\b", re.IGNORECASE)


class JwksUnavailableError(Exception):
    """The JWK Set could not be obtained; the text says why and holds nothing that the server sent."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Usable keys of a JWK Set, and for how many seconds the server lets them be kept, if it says."""

    keys: tuple[Key, ...]
    max_age: float | None


def fetch_jwks(url: str, loopback_http: bool = False) -> Fetched:
    """GET a JWK Set (RFC 7517 section 5). Keys that cannot be used are left out, as the RFC asks.

    Plain http only to a loopback host and with `loopback_http`. Raises JwksUnavailableError.
    """
    deadline = time.monotonic() + TIMEOUT_S
    try:
        parts = split_checked(url)
        require_https(parts, loopback_allowed=loopback_http, permission="allow_loopback_http")
        with _session(is_loopback(parts.hostname)) as session:
            return _get(session, url, deadline)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise JwksUnavailableError(f"no answer: {type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        raise JwksUnavailableError("not a JWK Set") from error


def _session(loopback: bool) -> requests.Session:
    session = requests.Session()
    session.trust_env = not loopback  # a proxy of the deployment counts, but not for this machine
    session.auth = _no_auth
    session.headers.update({"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"})
    return session


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Nothing is added; its presence keeps requests from sending credentials of a .netrc file."""
    return request


def _get(session: requests.Session, url: str, deadline: float) -> Fetched:
    with session.get(url, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as response:
        if response.status_code != 200:
            raise JwksUnavailableError(f"HTTP status {response.status_code}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise JwksUnavailableError("compressed although not asked for")
        body = _read(response, deadline)
        return Fetched(_keys(json.loads(body.decode())), _max_age(response.headers))


def _read(response: requests.Response, deadline: float) -> bytes:
    body = b""
    # read1 returns what has come; read would sit until its buffer is full, past the deadline.
    while chunk := response.raw.read1(MAX_BYTES + 1):
        body += chunk
        if len(body) > MAX_BYTES:
            raise JwksUnavailableError(f"larger than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise JwksUnavailableError(f"slower than {TIMEOUT_S} s")
    return body


def _keys(document: Any) -> tuple[Key, ...]:
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise JwksUnavailableError("not a JWK Set")
    keys = []
    for position, jwk in enumerate(document["keys"]):
        try:
            keys.append(parse_jwk(jwk if isinstance(jwk, dict) else {}))
        except BadKeyError as error:
            log.info("key left out of a JWK Set", extra={"position": position, "reason": str(error)})
    return tuple(keys)


def _max_age(headers: Mapping[str, str]) -> float | None:
    control = headers.get("Cache-Control", "")
    if _NO_CACHE.search(control):
        return 0.0
    found = _MAX_AGE.search(control)
    return float(found[1]) if found else None
