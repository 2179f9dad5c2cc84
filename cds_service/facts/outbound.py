"""Which FHIR servers may be called, and at which addresses: only declared ones, and none inside by surprise."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urljoin

from cds_service.facts.fetch_types import FetchError
from cds_service.urls import PORTS, split_checked

AddressInfo = tuple[Any, Any, int, str, Any]
GetAddrInfo = Callable[..., Sequence[AddressInfo]]

_NAT64 = IPv6Network("64:ff9b::/96")
_NEVER = tuple(map(ip_network, (
    "0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "::ffff:0:0/96", "2002::/16", "2001::/32", "64:ff9b:1::/48",
    "fd00:ec2::254/128",
)))  # fmt: skip
_MAX_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Base:
    """A FHIR base URL in one spelling: lower-case scheme and host, explicit port, path without trailing slash."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The base URL, without default port and trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def resolve(self, link: str, current: str | None = None) -> str:
        """Absolute URL of a query or `next` link; FetchError when it leads away from this base.

        A link that starts with `?` or `/` is taken relative to `current`, the page it stands on (RFC 3986
        section 5), any other relative link to the base (FHIR R4, Bundle.link).
        """
        onto = current if current and link.startswith(("?", "/")) else f"{self.url}/"
        try:
            url = urljoin(onto, link)
            place = _base(split_checked(url, query=True))
        except ValueError as error:
            raise FetchError(f"a link of the query {error}") from None
        same_server = (place.scheme, place.host, place.port) == (self.scheme, self.host, self.port)
        if not same_server or not f"{place.path}/".startswith(f"{self.path}/"):
            raise FetchError("a link of the query leads away from the declared FHIR server")
        return url


def parse_base(url: str) -> Base:
    """A FHIR base URL. ValueError, saying what is wrong, for anything but plain http(s)://host[:port][/path]."""
    return _base(split_checked(url))


def _base(parts: SplitResult) -> Base:
    port = PORTS[parts.scheme] if parts.port is None else parts.port
    return Base(parts.scheme, _host(parts.hostname or ""), port, parts.path.rstrip("/"))


def _host(name: str) -> str:
    return str(ip_address(name)) if ":" in name else name


@dataclass(frozen=True, slots=True)
class Allowed:
    """The FHIR servers that may be called for one client: base -> may its address be private or loopback?"""

    servers: Mapping[Base, bool]

    @classmethod
    def of(cls, declared: Iterable[tuple[str, bool]]) -> Allowed:
        """From (base URL, allow_private) pairs, as the client declares them. ValueError for a bad URL."""
        return cls({parse_base(url): allow_private for url, allow_private in declared})

    def find(self, url: str) -> tuple[Base, bool]:
        """The declared server with this base URL, and its allow_private; FetchError if it is not declared."""
        try:
            base = parse_base(url)
        except ValueError as error:
            raise FetchError(f"fhirServer {error}") from None
        if base not in self.servers:
            raise FetchError("fhirServer is not a FHIR server declared for this client")
        return base, self.servers[base]


def address_kind(address: IPv4Address | IPv6Address) -> str:
    """`public`, `private` (loopback counts) or `never`: link-local, multicast, reserved, IPv4 inside IPv6, and more.

    `never` holds even for servers declared with allow_private: cloud metadata services live at link-local addresses,
    and at one each of AWS (IPv6), Alibaba and Azure that is not. 64:ff9b:1::/48 may be anything inside (RFC 8215).
    """
    if isinstance(address, IPv6Address) and address in _NAT64:
        # An IPv6-only network reaches every IPv4 server this way, so what counts is the address inside.
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.is_loopback:
        return "private"
    if any(address in network for network in _NEVER):
        return "never"
    if address.is_link_local or address.is_multicast or address.is_reserved or address.is_unspecified:
        return "never"
    return "public" if address.is_global else "private"


@dataclass(frozen=True, slots=True)
class Address:
    """A checked socket address."""

    family: int
    sockaddr: tuple[Any, ...]


def checked(infos: Iterable[AddressInfo], allow_private: bool) -> tuple[Address, ...]:
    """The addresses of a getaddrinfo answer, at most 4. FetchError if there is none, or if one may not be called."""
    permitted = {"public", "private"} if allow_private else {"public"}
    addresses: dict[Address, None] = {}
    for family, _, _, _, sockaddr in infos:
        if address_kind(ip_address(sockaddr[0])) not in permitted:
            raise FetchError("the FHIR server's name leads to an address that may not be called")
        addresses[Address(int(family), tuple(sockaddr))] = None
    if not addresses:
        raise FetchError("the FHIR server's name has no address")
    return tuple(addresses)[:_MAX_ADDRESSES]


class Resolver:
    """Name look-up with a deadline.

    getaddrinfo cannot be interrupted, so each host is looked up in a daemon thread, at most one at a time for
    the same host: a name server that hangs holds up one thread per declared host, not the workers.
    """

    def __init__(self, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[Sequence[AddressInfo]]] = {}

    def look_up(self, base: Base, until: float) -> Sequence[AddressInfo]:
        """getaddrinfo of the base's host, by `until` (time.monotonic). FetchError if that fails."""
        try:
            return self._start(base.host, base.port).result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise FetchError("the FHIR server's name was not resolved within the deadline") from None
        except (OSError, ValueError):
            raise FetchError("the FHIR server's name cannot be resolved") from None

    def _start(self, host: str, port: int) -> Future[Sequence[AddressInfo]]:
        with self._lock:
            future = self._running.get((host, port))
            if future is None:
                future = self._running[host, port] = Future()
                threading.Thread(target=self._work, args=(host, port, future), name="fhir-dns", daemon=True).start()
            return future

    def _work(self, host: str, port: int, future: Future[Sequence[AddressInfo]]) -> None:
        try:
            infos = self._getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            self._forget(host, port)
            future.set_exception(error)
        else:
            self._forget(host, port)
            future.set_result(infos)

    def _forget(self, host: str, port: int) -> None:
        with self._lock:
            del self._running[host, port]
