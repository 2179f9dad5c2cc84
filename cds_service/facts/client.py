"""Fetches from the calling client's FHIR server what prefetch did not carry (CDS Hooks, FHIR Resource Access)."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

import requests
import urllib3

from cds_service.facts.fetch_body import not_whole, page_of, parse, read_body
from cds_service.facts.fetch_transport import PinnedAdapter, silence_urllib3, tls_context
from cds_service.facts.fetch_types import LATE, Fetched, FetchError, Limits, Query, RetryableError
from cds_service.facts.outbound import Address, Allowed, Base, GetAddrInfo, Resolver, checked
from cds_service.facts.pages import NOT_SENT, Page, lacks
from cds_service.policy.case import SourceState

__all__ = ["Allowed", "Fetched", "FhirClient", "Limits", "Query"]

_READ = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?(?:\?.*)?")
_TOKEN = re.compile(r"[!-~]{1,16384}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_FIRST_BACKOFF_S = 0.1
_MAX_ADAPTERS = 32
# Workers stop by themselves at the deadline; this long they may take to say what they got as far as.
_GRACE_S = 0.05


USUAL_LIMITS = Limits()


class FhirClient:
    """One per process, shared by all its threads. Nothing of one call is seen by another but idle connections.

    `workers` bounds the requests under way at once, over all calls. `ca_file` (PEM) replaces the usual public
    certificate authorities. `resolver` has the signature of socket.getaddrinfo.
    """

    def __init__(
        self,
        limits: Limits = USUAL_LIMITS,
        *,
        workers: int = 8,
        resolver: GetAddrInfo = socket.getaddrinfo,
        ca_file: str | None = None,
    ) -> None:
        silence_urllib3()
        self._limits, self._workers = limits, workers
        self._resolver = Resolver(resolver)
        self._tls = tls_context(ca_file)
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="fhir-fetch")
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._adapters: OrderedDict[tuple[str, str, int, frozenset[Address]], PinnedAdapter] = OrderedDict()

    def fetch(
        self, base: str, token: str | None, queries: Sequence[Query], *, allowed: Allowed, deadline: float | None = None
    ) -> dict[str, Fetched]:
        """What came of each query, by name; never raises for what a server does or a request says.

        `base` is the request's fhirServer, `token` its access token. `deadline` is a time.monotonic() value; the
        limits' own deadline holds too. ValueError if two queries have the same name.
        """
        started = time.monotonic()
        if len({query.name for query in queries}) != len(queries):
            raise ValueError("two queries have the same name")
        until = started + self._limits.deadline_s
        until = until if deadline is None else min(until, deadline)
        try:
            server, adapter = self._connect(base, allowed, until)
            headers = _headers(token)
        except FetchError as error:
            spent = _milliseconds(started)
            return {q.name: Fetched(q.name, SourceState.UNAVAILABLE, (), None, error.detail, spent) for q in queries}
        jobs = [_Job(q, server, adapter, headers, self._limits, started, until, self._closing) for q in queries]
        return self._run(jobs, until)

    def close(self) -> None:
        """Let go of all threads and connections; what is under way ends as unavailable."""
        self._closing.set()
        self._executor.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            adapters = list(self._adapters.values())
            self._adapters.clear()
        for adapter in adapters:
            adapter.close()

    def _connect(self, url: str, allowed: Allowed, until: float) -> tuple[Base, PinnedAdapter]:
        server, allow_private = allowed.find(url)
        if time.monotonic() >= until:
            raise FetchError(LATE)
        addresses = checked(self._resolver.look_up(server, until), allow_private)
        return server, self._adapter(server, addresses)

    def _adapter(self, server: Base, addresses: tuple[Address, ...]) -> PinnedAdapter:
        key = (server.scheme, server.host, server.port, frozenset(addresses))
        with self._lock:
            adapter = self._adapters.get(key)
            if adapter is None:
                adapter = self._adapters[key] = PinnedAdapter(server, addresses, self._tls, self._workers)
            self._adapters.move_to_end(key)
            dropped = self._adapters.popitem(last=False)[1] if len(self._adapters) > _MAX_ADAPTERS else None
        if dropped:
            dropped.close()
        return adapter

    def _run(self, jobs: list[_Job], until: float) -> dict[str, Fetched]:
        futures: list[Future[Fetched]] = [self._executor.submit(job.run) for job in jobs]
        wait(futures, max(0.0, until - time.monotonic()) + _GRACE_S)
        results: dict[str, Fetched] = {}
        for job, future in zip(jobs, futures, strict=True):
            abandoned = future.cancel() or not future.done()
            results[job.query.name] = job.unavailable(LATE) if abandoned else future.result()
        return results


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Accept": "application/fhir+json", "Accept-Encoding": "gzip", "User-Agent": "cds-service"}
    if token is None:
        return headers
    if not _TOKEN.fullmatch(token):
        raise FetchError("the access token is empty or holds characters that no token may have")
    return headers | {"Authorization": f"Bearer {token}"}


def _milliseconds(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)


class _Job:
    """One query on its way: pages, retries and bytes spent."""

    def __init__(
        self,
        query: Query,
        server: Base,
        adapter: PinnedAdapter,
        headers: dict[str, str],
        limits: Limits,
        started: float,
        until: float,
        closing: threading.Event,
    ) -> None:
        self.query, self._server, self._adapter, self._headers = query, server, adapter, headers
        self._limits, self._started, self._until, self._closing = limits, started, until, closing
        self._retries, self._room = limits.retries, limits.max_bytes
        self._status: int | None = None
        self._pages = 0

    def run(self) -> Fetched:
        """Do it, before the deadline."""
        try:
            url = self._server.resolve(self.query.path)
            wanted = _READ.fullmatch(self.query.path)
            return self._read(url, wanted[1], wanted[2]) if wanted else self._search(url)
        except FetchError as error:
            return self.unavailable(error.detail)

    def unavailable(self, detail: str) -> Fetched:
        """The result when it cannot be had. Also called by the waiting thread, for a job that is late."""
        return self._result(SourceState.UNAVAILABLE, (), detail)

    def _result(self, state: SourceState, resources: tuple[dict[str, Any], ...], detail: str = "") -> Fetched:
        spent = _milliseconds(self._started)
        return Fetched(self.query.name, state, resources, self._status, detail, spent, self._pages)

    def _read(self, url: str, resource_type: str, identifier: str) -> Fetched:
        resource = self._get(url, absent=(404, 410))
        if resource is None:
            return self._result(SourceState.EMPTY, (), "the FHIR server has no such resource")
        if (resource["resourceType"], resource.get("id")) != (resource_type, identifier):
            raise FetchError("the FHIR server answered with another resource than asked for")
        return self._result(SourceState.READ, (resource,))

    def _search(self, url: str) -> Fetched:
        pages = list(self._follow(url))
        if not self.query.continues and lacks(pages):
            raise not_whole(NOT_SENT)
        resources = tuple(resource for page in pages for resource, _ in page.entries)
        warnings = sum(page.warnings for page in pages)
        detail = f"the FHIR server added {warnings} warning(s)" if warnings else ""
        return self._result(SourceState.READ if resources else SourceState.EMPTY, resources, detail)

    def _follow(self, url: str) -> Iterator[Page]:
        seen: set[str] = set()
        while True:
            if url in seen:
                raise FetchError("the pages of the search lead in a circle")
            if len(seen) == self._limits.max_pages:
                raise FetchError(f"the search has more than {self._limits.max_pages} pages")
            seen.add(url)
            page = page_of(self._get(url) or {})
            yield page
            if page.next is None:
                return
            url = self._server.resolve(page.next, url)

    def _get(self, url: str, absent: tuple[int, ...] = ()) -> dict[str, Any] | None:
        """The resource at `url`, None for a status in `absent`. Asks again when that may help."""
        while True:
            try:
                return self._get_once(url, absent)
            except RetryableError as error:
                self._pause(error)

    def _get_once(self, url: str, absent: tuple[int, ...]) -> dict[str, Any] | None:
        with _plain_errors():
            request = requests.Request("GET", url, headers=self._headers).prepare()
            timeout: Any = urllib3.Timeout(total=self._left())  # which requests takes, though its types do not say so
            with self._adapter.send(request, stream=True, timeout=timeout) as response:
                self._status = response.status_code
                if response.status_code in absent:
                    return None
                _check_status(response)
                body = read_body(response, self._room)
        self._room -= len(body)
        self._pages += 1
        return parse(response, body, self._limits)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise FetchError(LATE)
        return left

    def _pause(self, error: RetryableError) -> None:
        used = self._limits.retries - self._retries
        delay = _FIRST_BACKOFF_S * 2**used if error.delay is None else error.delay
        if self._retries == 0 or delay >= self._left():
            raise FetchError(error.detail)
        self._retries -= 1
        if self._closing.wait(delay):
            raise FetchError("the service is shutting down")


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status in (429, 503):
        raise RetryableError(f"the FHIR server is busy (HTTP {status})", _retry_after(response.headers))
    if 300 <= status < 400:
        raise FetchError(f"the FHIR server redirects (HTTP {status}), which is not followed")
    if status in (401, 403):
        raise FetchError(f"the FHIR server refuses access (HTTP {status})")
    if status != 200:
        raise FetchError(f"the FHIR server answered HTTP {status}")


def _retry_after(headers: Any) -> float | None:
    """Seconds that the server asks to wait (RFC 9110 section 10.2.3); None if it does not say."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Whatever goes wrong with a connection, as FetchError. The originals hold the request, thus the token."""
    try:
        yield
    except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        raise FetchError(LATE) from None
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        raise FetchError("no secure connection: the FHIR server's certificate or TLS was not accepted") from None
    except requests.ConnectionError as error:
        raise _connection_error(error) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError):
        raise FetchError("the FHIR server's answer broke off or is not HTTP") from None


def _connection_error(error: requests.ConnectionError) -> FetchError:
    cause = error.args[0] if error.args else None
    if not isinstance(cause, urllib3.exceptions.ProtocolError):
        return FetchError("no connection to the FHIR server")
    if isinstance(cause.args[-1], ConnectionError):
        return RetryableError("the FHIR server closed the connection without an answer")
    return FetchError("the FHIR server's answer broke off or is not HTTP")
