"""URLs in the trust configuration and in tokens: what is accepted, and when two are the same."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def normalise(url: str) -> str:
    """The same URL without default port and without one trailing slash; nothing else is changed.

    Works on the text, so that two different URLs never become equal through a parser's leniency.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, slash, path = rest.partition("/")
    authority = authority.removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    return f"{scheme}://{authority}{slash}{path}".removesuffix("/")


def is_loopback(host: str | None) -> bool:
    """True for `localhost` and for loopback addresses, without asking a name server."""
    if host is None or host.lower() == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def split_checked(url: str) -> SplitResult:
    """The parts of an absolute http(s) URL.

    ValueError, with the cure, for another scheme, no host, a bad port, a user name or password,
    a query, a fragment, blanks or control characters.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("holds a blank or a control character: remove it")
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("is not an absolute URL: write https://host/path")
    _refuse_extras(parts)
    return parts


def _refuse_extras(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password: remove it")
    if parts.query or parts.fragment:
        raise ValueError("holds a query or a fragment: remove it")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("has a port that is not between 1 and 65535: correct it")


def require_https(parts: SplitResult, *, loopback_allowed: bool, permission: str) -> None:
    """ValueError unless https, or http to a loopback host with the setting named `permission`."""
    if parts.scheme == "https":
        return
    if not is_loopback(parts.hostname):
        raise ValueError("is not https: use https")
    if not loopback_allowed:
        raise ValueError(f"is not https: use https, or for a test on this machine set {permission}: true")
