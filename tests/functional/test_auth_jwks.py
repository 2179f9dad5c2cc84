"""JWK Sets over real HTTP on loopback: caching, rotation, floods, and servers that misbehave."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cds_service.auth.clients import Client, Clients
from cds_service.auth.issue import public_jwk, sign_token
from cds_service.auth.jwk import Key
from cds_service.auth.jwks_fetch import JwksUnavailableError, _session, fetch_jwks
from cds_service.auth.keys import KeyRing, KeySource
from cds_service.auth.refusal import Reason, Refused
from cds_service.auth.replay import MemoryReplay
from cds_service.auth.verify import Verifier

URL = "https://cds.example.org/cds-services"
ISSUER = "https://ehr.example.org"

Answer = Callable[[BaseHTTPRequestHandler], None]


class Clock:
    def __init__(self) -> None:
        self.time = 5000.0

    def __call__(self) -> float:
        return self.time


class JwksServer(ThreadingHTTPServer):
    """Answers every GET with `answer`, and counts."""

    daemon_threads = True
    answer: Answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/jwks.json"

    def publish(self, *keys: Any, cache_control: str | None = None) -> None:
        """From now on serve the public halves of these keys."""
        self.answer = json_answer({"keys": [public_jwk(key) for key in keys]}, cache_control)


class _Handler(BaseHTTPRequestHandler):
    server: JwksServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.answer(self)

    def log_message(self, *args: Any) -> None:
        pass


def body_answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def json_answer(document: Any, cache_control: str | None = None) -> Answer:
    headers = {"Cache_Control": cache_control} if cache_control else {}
    return body_answer(json.dumps(document).encode(), **headers)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def kid(key: Any) -> str:
    return str(public_jwk(key)["kid"])


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.stopped.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def source(server: JwksServer, clock: Clock) -> KeySource:
    return KeySource(server.url, loopback_http=True, now=clock)


def verifier(client: Client, clock: Clock) -> Verifier:
    return Verifier(Clients((client,)), public_url=URL, replay=MemoryReplay(), keys=KeyRing(now=clock))


def client(**changes: Any) -> Client:
    return Client.model_validate({"id": "ehr", "name": "EHR", "issuer": ISSUER, "allow_loopback_http": True, **changes})


def bearer(key: Any, **changes: Any) -> str:
    return f"Bearer {sign_token(key, issuer=ISSUER, audience=URL, **changes)}"


def refusal(checked: Verifier, header: str) -> Reason:
    with pytest.raises(Refused) as caught:
        checked.verify(header, "")
    return caught.value.reason


def test_keys_are_fetched_once_and_kept(server: JwksServer, clock: Clock) -> None:
    key = new_key()
    server.publish(key)
    checked = verifier(client(jwks_url=server.url), clock)
    assert [checked.verify(bearer(key), "").id for _ in range(20)] == ["ehr"] * 20
    assert len(server.requests) == 1
    path, headers = server.requests[0]
    assert path == "/jwks.json"
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("cache_control", "fresh"),
    [
        (None, 600), ("max-age=120", 120), ("public, max-age=120, immutable", 120), ("max-age=1", 60),
        ("max-age=0", 60), ("no-store", 60), ("no-cache, max-age=500", 60), ("max-age=99999999", 86400),
        ("s-maxage=90", 600), ("max-age=soon", 600),
    ],
)  # fmt: skip
def test_cache_control_is_honoured_within_bounds(
    cache_control: str | None, fresh: int, server: JwksServer, clock: Clock
) -> None:
    key = new_key()
    server.publish(key, cache_control=cache_control)
    keys = source(server, clock)
    counts = []
    for moment in (0, fresh - 0.1, fresh):
        clock.time = 5000 + moment
        assert [found.kid for found in keys.find(kid(key))] == [kid(key)]
        counts.append(len(server.requests))
    assert counts == [1, 1, 2]


def test_rotation_is_followed_by_an_unknown_kid(server: JwksServer, clock: Clock) -> None:
    old, new = new_key(), new_key()
    server.publish(old)
    checked = verifier(client(jwks_url=server.url), clock)
    assert checked.verify(bearer(old), "").id == "ehr"
    server.publish(new)
    clock.time += 30
    assert checked.verify(bearer(new), "").id == "ehr"
    assert refusal(checked, bearer(old)) is Reason.NO_KEY
    assert len(server.requests) == 2


def test_withdrawn_keys_stop_counting_when_the_set_is_emptied(server: JwksServer, clock: Clock) -> None:
    key = new_key()
    server.publish(key)
    checked = verifier(client(jwks_url=server.url), clock)
    assert checked.verify(bearer(key), "").id == "ehr"
    server.publish()
    clock.time += 600
    assert refusal(checked, bearer(key)) is Reason.NO_KEY


def test_forged_kids_cause_one_refresh_per_30_seconds(server: JwksServer, clock: Clock) -> None:
    key = new_key()
    server.publish(key)
    checked = verifier(client(jwks_url=server.url), clock)
    assert checked.verify(bearer(key), "").id == "ehr"
    for _ in range(6):
        for forged in range(50):
            assert refusal(checked, bearer(key, kid=f"forged-{forged}")) is Reason.NO_KEY
            clock.time += 0.25
        assert checked.verify(bearer(key), "").id == "ehr"
    assert len(server.requests) == 1 + 2  # 75 seconds passed


def test_many_threads_share_one_fetch(server: JwksServer, clock: Clock) -> None:
    key = new_key()
    good = json_answer({"keys": [public_jwk(key)]})
    gate = threading.Event()

    def wait_then_answer(handler: BaseHTTPRequestHandler) -> None:
        gate.wait(1.5)
        good(handler)

    server.answer = wait_then_answer
    keys = source(server, clock)
    found: list[tuple[Key, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(keys.find(kid(key)))) for _ in range(12)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert [len(keys_found) for keys_found in found] == [1] * 12
    assert len(server.requests) == 1


def test_last_good_keys_survive_a_failing_server_for_an_hour(
    server: JwksServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key()
    server.publish(key)
    keys = source(server, clock)
    assert len(keys.find(kid(key))) == 1
    server.answer = body_answer(b"down", status=503)
    found = {}
    for moment in (600, 2000, 4199, 4200):
        clock.time = 5000 + moment
        found[moment] = len(keys.find(kid(key)))
    assert found == {600: 1, 2000: 1, 4199: 1, 4200: 0}
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert {(record.getMessage(), record.__dict__["reason"]) for record in warnings} == {
        ("JWK Set not available", "HTTP status 503")
    }
    server.publish(key)
    clock.time += 30
    assert len(keys.find(kid(key))) == 1


def test_outage_costs_the_client_one_wait(server: JwksServer, clock: Clock) -> None:
    key = new_key()
    server.publish(key)
    keys = source(server, clock)
    assert len(keys.find(kid(key))) == 1
    server.answer = lambda _: drip_nothing(server)
    waits = []
    for moment in (600, 601, 640, 680):
        clock.time = 5000 + moment
        started = time.monotonic()
        assert len(keys.find(kid(key))) == 1
        waits.append(time.monotonic() - started)
    assert 1.8 < waits[0] < 2.4
    assert max(waits[1:]) < 0.2


def test_failing_server_is_asked_once_per_30_seconds(server: JwksServer, clock: Clock) -> None:
    server.answer = body_answer(b"down", status=500)
    keys = source(server, clock)
    for _ in range(100):
        assert keys.find("any") == ()
        clock.time += 0.6
    assert len(server.requests) == 2


def test_other_client_is_not_disturbed_by_a_hanging_server(server: JwksServer, clock: Clock) -> None:
    key, other_key = new_key(), new_key()
    server.answer = lambda _: drip_nothing(server)
    ring = KeyRing(now=clock)
    slow = client(jwks_url=server.url)
    pinned = Client(id="b", name="B", issuer="https://b.example.org", jwks={"keys": [public_jwk(other_key)]})
    thread = threading.Thread(target=ring.find, args=(slow, kid(key), None))
    thread.start()
    started = time.monotonic()
    assert len(ring.find(pinned, kid(other_key), None)) == 1
    assert time.monotonic() - started < 0.2
    thread.join()


def drip_nothing(server: JwksServer) -> None:
    server.stopped.wait(10)


def drip(server: JwksServer, first: bytes) -> Answer:
    """One byte each 0.2 s after `first`: no single read ever times out."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(first)
            for _ in range(30):
                if server.stopped.wait(0.2):
                    return
                handler.wfile.write(b" ")
        except OSError:
            pass  # the client hung up, which is what is wanted

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = HEAD + b"Content-Length: 9999\r\n\r\n{"


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", BODY],
    ids=["status line", "header", "body"],
)  # fmt: skip
def test_dripping_server_holds_no_caller_beyond_two_seconds(first: bytes, server: JwksServer, clock: Clock) -> None:
    server.answer = drip(server, first)
    keys = source(server, clock)
    started = time.monotonic()
    assert keys.find("k") == ()
    assert 1.8 < time.monotonic() - started < 2.4
    # Later callers do not wait for it at all, and nobody joins or doubles a fetch that hangs.
    clock.time += 31 if first != BODY else 0
    started = time.monotonic()
    assert [keys.find("k") for _ in range(20)] == [()] * 20
    assert time.monotonic() - started < 0.5
    assert len(server.requests) == 1


def test_dripping_body_ends_the_fetch(server: JwksServer) -> None:
    server.answer = drip(server, BODY)
    started = time.monotonic()
    with pytest.raises(JwksUnavailableError, match=r"slower than 2\.0 s"):
        fetch_jwks(server.url, loopback_http=True)
    assert 1.8 < time.monotonic() - started < 2.6


def huge(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(HEAD + b'\r\n{"keys": [')
    try:
        for _ in range(2000):
            handler.wfile.write(b"{}," * 20_000)
    except OSError:
        pass  # the client hung up, which is what is wanted


KEY = new_key()
GOOD = json.dumps({"keys": [public_jwk(KEY)]}).encode()

HOSTILE: dict[str, tuple[Answer, str]] = {
    "huge without length": (huge, "larger than 65536 bytes"),
    "huge with length": (body_answer(GOOD + b" " * 65536), "larger than 65536 bytes"),
    "redirect": (body_answer(b"", 302, Location="http://127.0.0.1:1/jwks.json"), "HTTP status 302"),
    "permanent redirect": (body_answer(b"", 308, Location="/elsewhere"), "HTTP status 308"),
    "HTML": (body_answer(b"<!doctype html><p>Sign in</p>", Content_Type="text/html"), "not a JWK Set"),
    "not found": (body_answer(GOOD, 404), "HTTP status 404"),
    "created": (body_answer(GOOD, 201), "HTTP status 201"),
    "empty": (body_answer(b""), "not a JWK Set"),
    "half a body": (body_answer(GOOD[:-20]), "not a JWK Set"),
    "not UTF-8": (body_answer(b'{"keys": "\xff"}'), "not a JWK Set"),
    "a list": (json_answer([public_jwk(KEY)]), "not a JWK Set"),
    "a bare key": (json_answer(public_jwk(KEY)), "not a JWK Set"),
    "deeply nested": (body_answer(b"[" * 60_000), "not a JWK Set"),
    "gzip": (body_answer(GOOD, Content_Encoding="gzip"), "compressed although not asked for"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_answer_yields_no_keys_and_a_plain_reason(case: str, server: JwksServer) -> None:
    server.answer, reason = HOSTILE[case]
    with pytest.raises(JwksUnavailableError) as caught:
        fetch_jwks(server.url, loopback_http=True)
    assert str(caught.value) == reason
    assert [path for path, _ in server.requests] == ["/jwks.json"]


def test_connection_reset_and_closed_port(server: JwksServer) -> None:
    server.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(JwksUnavailableError, match="no answer: ConnectionError"):
        fetch_jwks(server.url, loopback_http=True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(JwksUnavailableError, match="no answer: ConnectionError"):
            fetch_jwks(f"http://127.0.0.1:{unused.getsockname()[1]}/", loopback_http=True)


@pytest.mark.parametrize("permitted", [False, True])
def test_http_needs_loopback_and_permission(permitted: bool, server: JwksServer) -> None:
    server.publish(KEY)
    url = server.url if not permitted else "http://ehr.example.org/jwks.json"
    with pytest.raises(JwksUnavailableError, match="not a JWK Set"):
        fetch_jwks(url, loopback_http=permitted)
    assert server.requests == []


def test_unusable_keys_are_left_out_and_the_rest_counts(server: JwksServer) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    good = public_jwk(KEY)
    server.answer = json_answer({"keys": [
        public_jwk(weak), {"kty": "oct", "k": "c2VjcmV0", "kid": "h"}, {**good, "use": "enc"}, {**good, "d": "AA"},
        {**good, "kid": None}, {**good, "alg": ["ES384"]}, {**good, "key_ops": 7}, {**good, "x": 5},
        {**good, "crv": []},
        {"kty": "RSA", "kid": "e", "n": "w" * 342, "e": "AA"}, {"kty": "new", "kid": "n"}, "text", None, 7, good,
    ]})  # fmt: skip
    assert [key.kid for key in fetch_jwks(server.url, loopback_http=True).keys] == [good["kid"]]


@pytest.mark.parametrize("loopback", [False, True])
def test_credentials_of_the_account_are_not_sent(
    loopback: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine ehr.example.org login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    request = requests.Request("GET", "https://ehr.example.org/jwks.json")
    assert "Authorization" in requests.Session().prepare_request(request).headers
    with _session(loopback) as session:
        assert "Authorization" not in session.prepare_request(request).headers


def test_listed_jku_is_used_as_the_url(server: JwksServer, clock: Clock) -> None:
    server.publish(KEY)
    checked = verifier(client(jku_allowed=[server.url]), clock)
    assert checked.verify(bearer(KEY, jku=server.url), "").id == "ehr"
    assert len(server.requests) == 1


def test_unlisted_jku_is_never_fetched(server: JwksServer, clock: Clock) -> None:
    server.publish(KEY)
    mine = new_key()
    checked = verifier(client(jwks={"keys": [public_jwk(mine)]}), clock)
    for jku in (server.url, server.url + "/", server.url.replace("127.0.0.1", "localhost")):
        assert refusal(checked, bearer(KEY, jku=jku)) is Reason.KEY_URL
        assert refusal(checked, bearer(mine, jku=jku)) is Reason.KEY_URL
    assert server.requests == []
    assert checked.verify(bearer(mine), "").id == "ehr"


def test_pinned_keys_need_no_fetch_though_the_token_names_its_jku(server: JwksServer, clock: Clock) -> None:
    """The public sandbox names a jku that a closed network cannot reach."""
    server.answer = body_answer(b"down", status=500)
    checked = verifier(client(jwks={"keys": [public_jwk(KEY)]}, jku_allowed=[server.url]), clock)
    assert checked.verify(bearer(KEY, jku=server.url), "").id == "ehr"
    assert server.requests == []


def test_fault_in_the_fetching_thread_is_not_hidden(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)

    def broken(url: str, loopback_http: bool) -> Any:
        raise ZeroDivisionError

    keys = KeySource("https://ehr.example.org/jwks.json", now=clock, fetch=broken)
    assert keys.find("k") == ()
    assert [fault.exc_type for fault in seen] == [ZeroDivisionError]
