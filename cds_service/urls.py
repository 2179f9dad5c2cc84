"""URLs of the deployment, of its clients and in tokens: what is accepted, and when two are the same."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

PORTS = {"http": 80, "https": 443}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names by which only this machine is reached; what listens for this machine alone listens on one of them."""


def normalise(url: str) -> str:
    """The same URL without default port and without one trailing slash; nothing else is changed.

    Works on the text, so that two different URLs never become equal through a parser's leniency.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, slash, path = rest.partition("/")
    if scheme in PORTS:
        authority = authority.removesuffix(f":{PORTS[scheme]}")
    return f"{scheme}://{authority}{slash}{path}".removesuffix("/")


def is_loopback(host: str | None) -> bool:
    """True for `localhost` and for loopback addresses, without asking a name server."""
    if host is None or host.lower() == "localhost":
        return host is not None
    return is_address(host) and ip_address(host).is_loopback


def is_address(host: str) -> bool:
    """True for an IPv4 or IPv6 address, without brackets."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def split_checked(url: str, *, query: bool = False) -> SplitResult:
    """The parts of an absolute http(s) URL; with `query`, one may be there.

    ValueError, with the cure, for another scheme, no host, a bad port, a user name or password, a query, a fragment,
    `.` or `..` in the path, however encoded and whatever parameters follow it, and for characters that parsers take
    differently: they shall have nothing to disagree on.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("holds a blank or a control character: remove it")
    if "\\" in url or not url.isascii():
        raise ValueError("holds a backslash or a character that is not ASCII: encode it, a host name as xn--")
    if "#" in url or ("?" in url and not query):
        raise ValueError("holds a query or a fragment: remove it")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("has a bad address in brackets: correct it") from None
    if parts.scheme not in PORTS or not parts.hostname or "%" in parts.netloc:
        raise ValueError("is not an absolute URL: write https://host/path")
    _refuse_extras(parts)
    return parts


def _refuse_extras(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password: remove it")
    if any(step.partition(";")[0] in (".", "..") or "\\" in step for step in _decoded(parts.path).split("/")):
        raise ValueError("holds . or .. in its path: remove it")
    if ":" in (parts.hostname or "") and not is_address(parts.hostname or ""):
        raise ValueError("has a bad address in brackets: correct it")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("has a port that is not between 1 and 65535: correct it")


def _decoded(path: str) -> str:
    """A path as the last of several servers may read it, each of which decodes it once."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return path


def require_https(parts: SplitResult, *, loopback_allowed: bool, permission: str) -> None:
    """ValueError unless https, or http to a loopback host with the setting named `permission`."""
    if parts.scheme == "https":
        return
    if not is_loopback(parts.hostname):
        raise ValueError("is not https: use https")
    if not loopback_allowed:
        raise ValueError(f"is not https: use https, or for a test on this machine set {permission}: true")


def check_origin(text: str) -> str:
    """A browser origin (RFC 6454) as it is. ValueError, with the cure, for anything else, `*` too."""
    if text == "*":
        raise ValueError("is not an origin: list each origin, * is for demo mode only")
    parts = split_checked(text)
    if parts.path or text != text.lower():
        raise ValueError("is not an origin: write scheme://host or scheme://host:port, in lower case")
    return text
