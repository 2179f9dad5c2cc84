"""Where the public keys of trusted clients come from: inline, or by URL with a bounded cache."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from cds_service.auth.clients import Client
from cds_service.auth.jwk import Key
from cds_service.auth.jwks_fetch import TIMEOUT_S, Fetched, JwksUnavailableError, fetch_jwks

log = logging.getLogger(__name__)

DEFAULT_AGE_S = 600.0
MIN_AGE_S = 60.0
MAX_AGE_S = 86_400.0
MIN_REFRESH_INTERVAL_S = 30.0
STALE_IF_ERROR_S = 3_600.0

Fetch = Callable[[str, bool], Fetched]
KeyMap = Mapping[str, tuple[Key, ...]]


class KeySource:
    """The keys behind one URL. Thread-safe; at most one fetch in flight, and one per 30 s started.

    An unknown `kid` asks for a refresh, so that a client may rotate its keys at any time. Forged
    kids ask as well, hence the bound. Callers wait at most 2 s for a fetch, however long it takes.
    """

    def __init__(
        self,
        url: str,
        *,
        loopback_http: bool = False,
        now: Callable[[], float] = time.monotonic,
        fetch: Fetch = fetch_jwks,
    ) -> None:
        self._url, self._loopback_http, self._now, self._fetch = url, loopback_http, now, fetch
        self._lock = threading.Lock()
        self._keys: KeyMap = {}
        self._fresh_until = self._usable_until = self._last_start = float("-inf")
        self._in_flight: _Flight | None = None
        self._failing = False

    def find(self, kid: str) -> tuple[Key, ...]:
        """The keys with this `kid`; none if unknown, or if the source failed for too long."""
        with self._lock:
            if kid in self._keys and self._now() < self._fresh_until:
                return self._keys[kid]
            flight = self._refresh()
            # In an outage the last good keys serve at once; only the first call waits to learn of it.
            if self._failing and kid in self._keys and self._now() < self._usable_until:
                return self._keys[kid]
        landed = flight is None or flight.wait()
        with self._lock:
            self._failing = self._failing or not landed
            return self._keys.get(kid, ()) if self._now() < self._usable_until else ()

    def _refresh(self) -> _Flight | None:
        """Start a fetch if one is due, or join the one in flight; called with the lock held."""
        if self._in_flight is None and self._now() - self._last_start >= MIN_REFRESH_INTERVAL_S:
            self._last_start = self._now()
            self._in_flight = _Flight()
            # A thread of its own: a server that drips bytes holds this thread, never a caller.
            threading.Thread(target=self._run, args=(self._in_flight,), name="jwks", daemon=True).start()
        return self._in_flight

    def _run(self, flight: _Flight) -> None:
        try:
            fetched = self._fetch(self._url, self._loopback_http)
            with self._lock:
                self._store(fetched)
        except JwksUnavailableError as error:
            with self._lock:
                self._failing = True
            log.warning("JWK Set not available", extra={"jwks_url": self._url, "reason": str(error)})
        finally:
            with self._lock:
                self._in_flight = None
            flight.landed.set()

    def _store(self, fetched: Fetched) -> None:
        self._failing = False
        age = DEFAULT_AGE_S if fetched.max_age is None else fetched.max_age
        self._fresh_until = self._now() + min(max(age, MIN_AGE_S), MAX_AGE_S)
        self._usable_until = self._fresh_until + STALE_IF_ERROR_S
        by_kid: dict[str, tuple[Key, ...]] = {}
        for key in fetched.keys:
            by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
        self._keys = by_kid


class _Flight:
    """One running fetch, with the moment (real time) after which nobody waits for it any more."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self._deadline = time.monotonic() + TIMEOUT_S

    def wait(self) -> bool:
        """Wait until it has landed, at most to the deadline; False if it has not."""
        return self.landed.wait(max(0.0, self._deadline - time.monotonic()))


class KeyRing:
    """Finds the keys of a client: those in its declaration first, then those behind its URL."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic, fetch: Fetch = fetch_jwks) -> None:
        self._now, self._fetch = now, fetch
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, bool], KeySource] = {}

    def find(self, client: Client, kid: str, jku: str | None) -> tuple[Key, ...]:
        """The keys with this `kid`. `jku`, already found in the client's allow-list, replaces `jwks_url`.

        Declared keys win over fetched ones, so a client whose URL is out of reach can be pinned.
        """
        declared = client.jwks.parsed if client.jwks else ()
        pinned = tuple(key for key in declared if key.kid == kid)
        url = jku or client.jwks_url
        if pinned or url is None:
            return pinned
        return self._source(url, client.allow_loopback_http).find(kid)

    def _source(self, url: str, loopback_http: bool) -> KeySource:
        # Only declared URLs get here, so the table cannot grow beyond the clients file.
        with self._lock:
            source = self._sources.get((url, loopback_http))
            if source is None:
                source = KeySource(url, loopback_http=loopback_http, now=self._now, fetch=self._fetch)
                self._sources[url, loopback_http] = source
            return source
