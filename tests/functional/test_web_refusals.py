"""Refusals of large bodies arrive, on a connection of their own and on one that goes on, direct and by nginx."""

from __future__ import annotations

import http.client
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from support.service import free_port

from cds_service.web import unread
from cds_service.web.unread import drain
from tests.functional.deployment import SERVICE, Deployment, hook_request
from tests.functional.test_security_proxy import Proxy, proxied

LARGE = json.dumps(hook_request() | {"extension": {"x": "y" * 5_000_000}}).encode()
NONE = "/cds-services/none"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder, port = tmp_path_factory.mktemp("refusals"), free_port()
    site = Deployment(folder, {"CDS_MAX_BODY_BYTES": "6000000"})
    site.add("north")
    site.add("slow", "--rate-limit", "1")
    site.port = port
    site.start()
    yield site
    assert site.stop() == 0


@dataclass(frozen=True)
class Refusal:
    """A call that is refused before its body is read."""

    status: int
    path: str = SERVICE
    method: str = "POST"
    headers: Callable[[], dict[str, str]] = dict
    media: str = "application/json"


def attempts(site: Deployment) -> dict[str, Refusal]:
    used = site.headers("north", SERVICE)
    site.session.post(site.url + SERVICE, data=LARGE, headers=JSON | used, timeout=30)
    site.call("slow", hook_request())
    return {
        "no token": Refusal(401),
        "a forged token": Refusal(401, headers=lambda: {"Authorization": "Bearer x.y.z"}),
        "a used token": Refusal(401, headers=lambda: used),
        "no such address": Refusal(404, "/nowhere"),
        "no such service": Refusal(404, NONE, headers=lambda: site.headers("north", NONE)),
        "no such method": Refusal(405, method="PUT"),
        "no JSON": Refusal(415, headers=lambda: site.headers("north", SERVICE), media="text/plain"),
        "beyond the limit of the client": Refusal(429, headers=lambda: site.headers("slow", SERVICE)),
        "two hosts": Refusal(400, headers=lambda: {"Host": "a, b"}),
    }


def statuses(port: int, kinds: dict[str, Refusal], times: int = 4) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {}
    for kind, call in kinds.items():
        found[kind] = Counter()
        for _ in range(times):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                connection.request(call.method, call.path, LARGE, {"Content-Type": call.media} | call.headers())
                answer = connection.getresponse()
                assert json.loads(answer.read())["resourceType"] == "OperationOutcome"
            found[kind][answer.status] += 1
    return found


def test_thirty_six_of_thirty_six_arrive(site: Deployment) -> None:
    kinds = attempts(site)
    assert statuses(site.port, kinds) == {kind: {call.status: 4} for kind, call in kinds.items()}


def test_one_that_is_too_large_arrives_too_whether_its_length_is_told_or_not(site: Deployment) -> None:
    for chunked in (False, True):
        body = [b'{"a": "', *[b"x" * 1_000_000] * 9, b'"}']
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        headers = JSON | site.headers("north", SERVICE)
        if not chunked:
            headers["Content-Length"] = str(sum(map(len, body)))
        connection.request("POST", SERVICE, iter(body), headers, encode_chunked=chunked)
        assert connection.getresponse().status == 413
        connection.close()


def test_the_connection_goes_on_after_a_refusal(site: Deployment) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    for _ in range(3):
        connection.request("POST", SERVICE, LARGE, JSON)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (401, True)
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
    connection.close()


def test_bodies_that_never_end_hold_up_neither_calls_nor_probes(site: Deployment) -> None:
    """More of them than there are places and threads that read what nobody reads."""
    stalled = [socket.create_connection(("127.0.0.1", site.port), timeout=10) for _ in range(120)]
    for one in stalled:
        one.sendall(f"POST {SERVICE} HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n{{".encode())
        assert one.recv(12) == b"HTTP/1.1 401"
    assert site.call("north", hook_request()).status_code == 200
    assert site.session.get(f"{site.url}/health/live", timeout=2).ok
    for one in stalled:
        one.close()


@pytest.fixture(scope="module")
def proxy(site: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxied(tmp_path_factory.mktemp("proxy"), [site.port]) as proxy:
        yield proxy


def test_they_arrive_by_nginx_as_well(site: Deployment, proxy: Proxy) -> None:
    kinds = {kind: told for kind, told in attempts(site).items() if kind != "two hosts"}  # nginx itself refuses it
    for kind, call in kinds.items():
        for _ in range(4):
            headers = {"Content-Type": call.media} | call.headers()
            answer = proxy.session.request(call.method, proxy.url + call.path, data=LARGE, headers=headers, timeout=30)
            assert (kind, answer.status_code) == (kind, call.status)


class Drip:
    """A body that never ends, a second for every read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.bytes = 0.0, 0
        monkeypatch.setattr(unread.time, "monotonic", lambda: self.now)

    def read(self, size: int) -> bytes:
        self.now += 1
        self.bytes += size
        return b"x" * size


def test_what_is_drained_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drip = Drip(monkeypatch)
    drain(drip)  # type: ignore[arg-type]
    assert drip.now == unread.MOST_SECONDS


def test_what_is_drained_is_bounded_in_bytes() -> None:
    class Zero:
        bytes = 0

        def read(self, size: int) -> bytes:
            self.bytes += size
            return b"x" * size

    zero = Zero()
    drain(zero)  # type: ignore[arg-type]
    assert zero.bytes == unread.MOST_BYTES
