"""The FHIR client against servers that misbehave (issue 4, Must hold 2).

Whatever the server does: an answer within deadline + 200 ms, the right state, and no connection to another host.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

import pytest
from hostile_fhir import (
    Behaviour,
    HostileFhir,
    Request,
    Wire,
    bundle,
    client_threads,
    condition,
    gzip_bomb,
    head,
    wait_for,
)

from cds_service.facts.client import Allowed, Fetched, FhirClient, Limits, Query
from cds_service.facts.fetch_types import FetchError
from cds_service.facts.outbound import address_kind, checked
from cds_service.policy.case import SourceState

READ, EMPTY, UNAVAILABLE = SourceState.READ, SourceState.EMPTY, SourceState.UNAVAILABLE
LATE = "the FHIR server did not answer within the deadline"
BROKEN = "the FHIR server's answer broke off or is not HTTP"
NOT_FHIR = "the FHIR server's answer is not a FHIR resource in JSON"
TOO_LARGE = "the FHIR server's answer is too large"
AWAY = "a link of the query leads away from the declared FHIR server"
NOT_HERE = "the FHIR server's name leads to an address that may not be called"

DEADLINE_S = 0.4
SEARCH = Query("conditions", "Condition?patient=p1")
PATIENT = Query("patient", "Patient/p1")
TOKEN = "synthetic-token-93af"
RECORD = json.dumps(bundle(condition(1))).encode()


@pytest.fixture(scope="module")
def client() -> Iterator[FhirClient]:
    made = FhirClient(Limits(deadline_s=DEADLINE_S))
    yield made
    made.close()


@pytest.fixture
def bystander() -> Iterator[HostileFhir]:
    """A server that nobody declared. At the end nothing may have connected to it."""
    with HostileFhir(lambda wire, _: wire.json(bundle(condition(99)))) as server:
        yield server
    assert server.connections == 0


def timed(client: FhirClient, base: str, allowed: Allowed, *queries: Query) -> dict[str, Fetched]:
    """`fetch`, which must come back within deadline + 200 ms."""
    started = time.monotonic()
    result = client.fetch(base, TOKEN, queries, allowed=allowed)
    assert time.monotonic() - started < DEADLINE_S + 0.2
    return result


def ask(client: FhirClient, server: HostileFhir, query: Query = SEARCH) -> Fetched:
    return timed(client, server.base, Allowed.of([(server.base, True)]), query)[query.name]


def stream_without_end(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {"Content-Length": str(1 << 30)}))
    for _ in range(1 << 14):
        wire.send(b" " * (1 << 16))


def stream_in_chunks(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {"Transfer-Encoding": "chunked"}))
    for _ in range(1 << 14):
        wire.send(b"10000\r\n" + b" " * (1 << 16) + b"\r\n")


def half_a_body(wire: Wire, _: Request) -> None:
    wire.send(
        head("200 OK", "application/fhir+json", {"Content-Length": str(len(RECORD))}) + RECORD[: len(RECORD) // 2]
    )
    wire.connection.close()


def half_a_chunk(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {"Transfer-Encoding": "chunked"}) + b"fff\r\n" + RECORD)
    wire.connection.close()


def reset_in_the_body(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {"Content-Length": str(len(RECORD))}) + RECORD[:10])
    time.sleep(0.02)
    wire.reset()


def half_a_gzip(wire: Wire, _: Request) -> None:
    wire.respond(gzip_bomb(0)[:-9], Content_Encoding="gzip")


def nothing(wire: Wire, _: Request) -> None:
    wire.hold()


def drip_headers(wire: Wire, _: Request) -> None:
    wire.drip(head("200 OK", "application/fhir+json", {"X-Long": "x" * 1000}), 0.05)


def drip_continue(wire: Wire, _: Request) -> None:
    wire.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.002)


def drip_body(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {"Content-Length": str(len(RECORD))}))
    wire.drip(RECORD, 0.05)


def drip_chunks(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {"Transfer-Encoding": "chunked"}))
    wire.drip(b"1\r\n \r\n" * 100, 0.02)


def many_headers(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {f"X-{number}": "y" for number in range(10_000)}))


def long_header(wire: Wire, _: Request) -> None:
    wire.send(head("200 OK", "application/fhir+json", {"X": "y" * 1_000_000}))


def endless_pages(wire: Wire, request: Request) -> None:
    wire.json(bundle(condition(request.number), next=f"Condition?page={request.number}"))


def endless_empty_pages(wire: Wire, request: Request) -> None:
    wire.json(bundle(next=f"Condition?page={request.number}"))


def pages_in_a_circle(wire: Wire, request: Request) -> None:
    wire.json(bundle(condition(request.number), next=f"Condition?page={request.number % 2}"))


def raw(data: bytes) -> Behaviour:
    def answer(wire: Wire, _: Request) -> None:
        wire.send(data)
        wire.connection.close()

    return answer


def body(content: bytes, media: str = "application/fhir+json", **headers: str) -> Behaviour:
    return lambda wire, _: wire.respond(content, media=media, **headers)


def status(line: str, **headers: str) -> Behaviour:
    return lambda wire, _: wire.respond(RECORD, line, **headers)


DEEP = b'{"resourceType": "Bundle", "type": "searchset", "x": ' + b"[" * 80 + b"]" * 80 + b"}"
DEEPER = b'{"resourceType":"Bundle","x":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_001


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        pytest.param(nothing, LATE, id="accepts and says nothing"),
        pytest.param(drip_headers, LATE, id="slow headers"),
        pytest.param(drip_continue, LATE, id="100 Continue without end"),
        pytest.param(drip_body, LATE, id="slow body"),
        pytest.param(drip_chunks, LATE, id="slow chunks"),
        pytest.param(
            lambda wire, _: wire.reset(), "the FHIR server closed the connection without an answer", id="reset"
        ),
        pytest.param(
            lambda wire, _: wire.connection.close(),
            "the FHIR server closed the connection without an answer",
            id="closes",
        ),
        pytest.param(half_a_body, BROKEN, id="half a body"),
        pytest.param(half_a_chunk, BROKEN, id="half a chunk"),
        pytest.param(reset_in_the_body, BROKEN, id="reset in the body"),
        pytest.param(raw(b"SSH-2.0-OpenSSH_9.6\r\n"), BROKEN, id="not HTTP"),
        pytest.param(many_headers, BROKEN, id="10,000 headers"),
        pytest.param(long_header, BROKEN, id="a header of 1 MB"),
        pytest.param(stream_without_end, TOO_LARGE, id="1 GB"),
        pytest.param(stream_in_chunks, TOO_LARGE, id="1 GB in chunks"),
        pytest.param(body(gzip_bomb(50), Content_Encoding="gzip"), TOO_LARGE, id="gzip bomb"),
        pytest.param(half_a_gzip, "the FHIR server's answer broke off", id="half a gzip"),
        pytest.param(
            body(RECORD, Content_Encoding="gzip"), "the FHIR server's answer is not valid gzip", id="not gzip"
        ),
        pytest.param(status("500 Internal Server Error"), "the FHIR server answered HTTP 500", id="500"),
        pytest.param(status("204 No Content"), "the FHIR server answered HTTP 204", id="204"),
        pytest.param(body(b"<html>Log in</html>", "text/html"), NOT_FHIR, id="HTML"),
        pytest.param(body(b"<html>Log in</html>"), NOT_FHIR, id="HTML that calls itself FHIR"),
        pytest.param(body(RECORD, "text/html"), NOT_FHIR, id="FHIR that calls itself HTML"),
        pytest.param(body(b""), NOT_FHIR, id="no body"),
        pytest.param(body(RECORD[:-1]), NOT_FHIR, id="JSON cut short"),
        pytest.param(body(RECORD.replace(b"c1", b"\xff\xfe")), NOT_FHIR, id="invalid UTF-8"),
        pytest.param(body(DEEP), "the FHIR server's answer is nested too deep", id="81 levels"),
        pytest.param(body(DEEPER), NOT_FHIR, id="200,000 levels"),
        pytest.param(endless_pages, "the search has more than 10 pages", id="endless next"),
        pytest.param(endless_empty_pages, "the search has more than 10 pages", id="endless empty pages"),
        pytest.param(pages_in_a_circle, "the pages of the search lead in a circle", id="next in a circle"),
        pytest.param(
            status("429 Too Many Requests", Retry_After="3600"), "the FHIR server is busy (HTTP 429)", id="wait an hour"
        ),
        pytest.param(
            status("503 Service Unavailable", Retry_After="Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
            "the FHIR server is busy (HTTP 503)",
            id="senseless Retry-After",
        ),
    ],
)
def test_a_hostile_answer_is_unavailable_in_time(client: FhirClient, behaviour: Behaviour, detail: str) -> None:
    with HostileFhir(behaviour) as server:
        fetched = ask(client, server)
        assert (fetched.state, fetched.resources, fetched.detail) == (UNAVAILABLE, (), detail)
        wait_for(lambda: server.open_connections() <= 1)  # one may stay pooled; broken ones are hung up


def test_bytes_count_over_all_pages(client: FhirClient) -> None:
    def big_pages(wire: Wire, request: Request) -> None:
        filler = {"resourceType": "Basic", "id": "b", "x": "x" * 2_000_000}
        wire.json(bundle(filler, next=f"Condition?page={request.number}"))

    with HostileFhir(big_pages) as server:
        fetched = ask(client, server)
        assert (fetched.state, fetched.resources, fetched.pages) == (UNAVAILABLE, (), 2)
    assert fetched.detail == TOO_LARGE


@pytest.mark.parametrize("behaviour", [body(gzip_bomb(500), Content_Encoding="gzip"), stream_without_end])
def test_a_bomb_and_an_endless_stream_cost_little_memory(client: FhirClient, behaviour: Behaviour) -> None:
    tracemalloc.start()
    try:
        with HostileFhir(behaviour) as server:
            assert ask(client, server).detail == TOO_LARGE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 5 << 20 < peak < 20 << 20


# --- other hosts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{other}/fhir/Condition?page=2",
        "//127.0.0.1:{other}/fhir/Condition?page=2",
        "http://127.0.0.1:{own}@127.0.0.1:{other}/fhir/Condition",
        "http://127.0.0.1:{own}\\@127.0.0.1:{other}/fhir/Condition",
        "http://localhost:{own}/fhir/Condition?page=2",
        "https://127.0.0.1:{own}/fhir/Condition?page=2",
        "http://127.0.0.1:{own}/admin",
        "http://127.0.0.1:{own}/fhir2/Condition",
        "http://127.0.0.1:{own}/fhir/../admin",
        "http://127.0.0.1:{own}/fhir/%2e%2e/admin",
        "../admin",
        "..;/admin",
        "..;a=1/admin",
        "%252e%252e/admin",
        "%252E.;x/admin",
        "x/%2e%2e%3b/..%2f../admin",
        "/admin",
        "file:///etc/passwd",
        "http://[::1/fhir",
        "Condition?page=2#x",
        "Condition?page=2\r\nX-Injected: 1",
    ],
)
def test_a_next_link_that_leads_elsewhere_is_not_followed(
    client: FhirClient, bystander: HostileFhir, target: str
) -> None:
    def page(wire: Wire, _: Request) -> None:
        wire.json(bundle(condition(1), next=target.format(own=server.port, other=bystander.port)))

    with HostileFhir(page) as server:
        fetched = ask(client, server)
    assert (fetched.state, fetched.resources, fetched.pages, fetched.status) == (UNAVAILABLE, (), 1, 200)
    assert fetched.detail.startswith("a link of the query")
    assert server.paths == ["/fhir/Condition?patient=p1"]


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_redirect_is_not_followed(client: FhirClient, bystander: HostileFhir, code: str, elsewhere: bool) -> None:
    def redirect(wire: Wire, _: Request) -> None:
        port = bystander.port if elsewhere else server.port
        wire.respond(b"", code, Location=f"http://127.0.0.1:{port}/fhir/Condition?patient=p1")

    with HostileFhir(redirect) as server:
        fetched = ask(client, server)
    assert (fetched.state, fetched.status) == (UNAVAILABLE, int(code[:3]))
    assert fetched.detail == f"the FHIR server redirects (HTTP {code[:3]}), which is not followed"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "path", ["//127.0.0.1:{other}/x", "http://127.0.0.1:{other}/x", "../x", "/x", "Patient/../../x", "Patient/p 1"]
)
def test_a_query_that_leads_elsewhere_is_not_sent(client: FhirClient, bystander: HostileFhir, path: str) -> None:
    with HostileFhir(body(RECORD)) as server:
        fetched = ask(client, server, Query("conditions", path.format(other=bystander.port)))
    assert (fetched.state, server.connections) == (UNAVAILABLE, 0)


def test_an_undeclared_server_gets_no_packet_and_no_name_look_up(bystander: HostileFhir) -> None:
    def look_up(*_: Any, **__: Any) -> list[Any]:
        raise AssertionError("a name was looked up")

    client = FhirClient(Limits(deadline_s=DEADLINE_S), resolver=look_up)
    allowed = Allowed.of([("https://ehr.example.org/fhir", True), ("http://127.0.0.1:1/fhir", True)])
    result = timed(client, bystander.base, allowed, SEARCH, PATIENT)
    client.close()
    detail = "fhirServer is not a FHIR server declared for this client"
    assert [(f.state, f.detail, f.status) for f in result.values()] == [(UNAVAILABLE, detail, None)] * 2


def test_proxies_and_netrc_of_the_environment_are_not_used(
    client: FhirClient, bystander: HostileFhir, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{bystander.port}")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with HostileFhir(body(RECORD)) as server:
        allowed = Allowed.of([(server.base, True)])
        assert client.fetch(server.base, None, [SEARCH], allowed=allowed)["conditions"].state is READ
    assert "authorization" not in server.requests[0].headers


# --- addresses ------------------------------------------------------------------------------------------------


def resolving(*answers: list[str]) -> tuple[Callable[..., list[Any]], list[str]]:
    """A resolver that gives one answer after the other (the last for ever), and the names it was asked for."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in addresses
        ]

    return look_up, asked


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"]])
def test_a_name_that_leads_to_a_private_address_gets_no_packet(bystander: HostileFhir, addresses: list[str]) -> None:
    look_up, asked = resolving(addresses)
    client = FhirClient(Limits(deadline_s=DEADLINE_S), resolver=look_up)
    base = f"http://ehr.example.org:{bystander.port}/fhir"
    result = timed(client, base, Allowed.of([(base, False)]), SEARCH, PATIENT)
    client.close()
    assert [(f.state, f.detail) for f in result.values()] == [(UNAVAILABLE, NOT_HERE)] * 2
    assert asked == ["ehr.example.org"]


def test_a_rebinding_name_server_gains_nothing(bystander: HostileFhir) -> None:
    # 192.88.99.1 counts as public and leads nowhere; the second look-up would lead to the bystander.
    look_up, asked = resolving(["192.88.99.1"], ["127.0.0.1"])
    client = FhirClient(Limits(deadline_s=DEADLINE_S), resolver=look_up)
    base = f"http://ehr.example.org:{bystander.port}/fhir"
    first = timed(client, base, Allowed.of([(base, False)]), SEARCH, PATIENT)
    assert {f.state for f in first.values()} == {UNAVAILABLE}
    assert NOT_HERE not in {f.detail for f in first.values()}
    assert asked == ["ehr.example.org"]
    second = timed(client, base, Allowed.of([(base, False)]), SEARCH)
    client.close()
    assert second["conditions"].detail == NOT_HERE


def test_the_checked_address_is_the_one_that_is_called() -> None:
    look_up, asked = resolving(["127.0.0.1"], ["127.0.0.2"])
    client = FhirClient(Limits(deadline_s=DEADLINE_S), resolver=look_up)
    with HostileFhir(endless_pages) as server:
        base = f"http://ehr.example.org:{server.port}/fhir"
        fetched = timed(client, base, Allowed.of([(base, True)]), SEARCH)["conditions"]
    client.close()
    assert (fetched.pages, len(server.requests), asked) == (10, 10, ["ehr.example.org"])
    assert {request.headers["host"] for request in server.requests} == {f"ehr.example.org:{server.port}"}


def test_the_next_address_is_tried_when_the_first_does_not_answer() -> None:
    look_up, _ = resolving(["127.0.0.2", "127.0.0.1"])
    client = FhirClient(Limits(deadline_s=DEADLINE_S), resolver=look_up)
    with HostileFhir(body(RECORD)) as server:
        base = f"http://ehr.example.org:{server.port}/fhir"
        fetched = timed(client, base, Allowed.of([(base, True)]), SEARCH)["conditions"]
    client.close()
    assert fetched.state is READ


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("public", "8.8.8.8 2606:4700:4700::1111 64:ff9b::808:808"),
        ("private", "127.0.0.1 127.8.9.1 10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 ::1 fd00::1 64:ff9b::7f00:1"),
        (
            "never",
            "169.254.169.254 0.0.0.0 0.1.2.3 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 fe80::1 ff02::1 :: "
            "::127.0.0.1 ::ffff:8.8.8.8 ::ffff:127.0.0.1 2002:7f00:1::1 2001:0:7f00:1::1 64:ff9b::a9fe:a9fe "
            "fd00:ec2::254 100.100.100.200 168.63.129.16 64:ff9b:1::a9fe:a9fe 64:ff9b::6464:64c8",
        ),
    ],
)
def test_kinds_of_addresses(kind: str, addresses: str) -> None:
    assert {text: address_kind(ip_address(text)) for text in addresses.split()} == dict.fromkeys(
        addresses.split(), kind
    )


def test_allow_private_does_not_open_link_local_addresses() -> None:
    infos, _ = resolving(["169.254.169.254"])
    with pytest.raises(FetchError, match="may not be called"):
        checked(infos("metadata.example", 80), allow_private=True)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
def test_odd_spellings_of_loopback_are_seen_through(client: FhirClient, bystander: HostileFhir, host: str) -> None:
    base = f"http://{host}:{bystander.port}/fhir"
    assert timed(client, base, Allowed.of([(base, False)]), SEARCH)["conditions"].detail == NOT_HERE


def test_names_that_do_not_resolve_or_not_in_time() -> None:
    before, release = client_threads(), threading.Event()
    calls: list[str] = []

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        calls.append(host)
        if host == "slow.example":
            release.wait(5)
        raise socket.gaierror("no such name")

    client = FhirClient(Limits(deadline_s=DEADLINE_S), resolver=look_up)
    names = [f"https://{host}.example/fhir" for host in ("slow", "gone")]
    allowed = Allowed.of([(name, False) for name in names])
    with ThreadPoolExecutor(4) as callers:
        slow = list(callers.map(lambda _: timed(client, names[0], allowed, SEARCH)["conditions"].detail, range(4)))
    gone = timed(client, names[1], allowed, SEARCH)["conditions"].detail
    assert slow == ["the FHIR server's name was not resolved within the deadline"] * 4
    assert gone == "the FHIR server's name cannot be resolved"
    assert calls == ["slow.example", "gone.example"]
    release.set()
    client.close()
    wait_for(lambda: client_threads() <= before)


# --- connections that do not come about -----------------------------------------------------------------------


def test_a_server_that_does_not_accept_connections_in_time(client: FhirClient) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # fills the backlog, so that the next handshake is never answered
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        base = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
        fetched = timed(client, base, Allowed.of([(base, True)]), SEARCH)["conditions"]
    assert (fetched.state, fetched.detail, fetched.status) == (UNAVAILABLE, LATE, None)
    assert fetched.milliseconds >= DEADLINE_S * 1000 - 20


def test_a_port_where_nobody_listens(client: FhirClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    base = f"http://127.0.0.1:{port}/fhir"
    fetched = timed(client, base, Allowed.of([(base, True)]), SEARCH)["conditions"]
    assert (fetched.state, fetched.detail) == (UNAVAILABLE, "no connection to the FHIR server")


def drip_handshake(wire: Wire, _: Request) -> None:
    wire.drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + b"x" * 1000, 0.05)


@pytest.mark.parametrize("behaviour", [nothing, drip_handshake])
def test_a_tls_handshake_that_never_ends(client: FhirClient, behaviour: Behaviour) -> None:
    with HostileFhir(behaviour, unasked=True) as server:
        base = server.base.replace("http:", "https:")
        fetched = timed(client, base, Allowed.of([(base, True)]), SEARCH)["conditions"]
        wait_for(lambda: server.open_connections() == 0)
    assert (fetched.state, fetched.detail) == (UNAVAILABLE, LATE)


# --- several at once ------------------------------------------------------------------------------------------


def test_one_bad_query_does_not_spoil_the_others(client: FhirClient) -> None:
    def mixed(wire: Wire, request: Request) -> None:
        kind = request.path.removeprefix("/fhir/").split("?")[0]
        if kind == "Condition":
            wire.json(bundle(condition(1)))
        elif kind == "Observation":
            drip_body(wire, request)
        elif kind == "Procedure":
            wire.reset()
        else:
            wire.json(bundle())

    kinds = ["Condition", "Observation", "Procedure", "Coverage"]
    with HostileFhir(mixed) as server:
        queries = [Query(kind, f"{kind}?patient=p1") for kind in kinds]
        result = timed(client, server.base, Allowed.of([(server.base, True)]), *queries)
    assert [result[kind].state for kind in kinds] == [READ, UNAVAILABLE, UNAVAILABLE, EMPTY]


def test_workers_are_free_again_after_servers_that_drip() -> None:
    before = client_threads()
    client = FhirClient(Limits(deadline_s=DEADLINE_S), workers=4)
    queries = [Query(str(number), f"Condition?patient={number}") for number in range(6)]
    with HostileFhir(drip_headers) as slow, HostileFhir(drip_body) as slower, HostileFhir(body(RECORD)) as good:
        for server in (slow, slower):
            result = timed(client, server.base, Allowed.of([(server.base, True)]), *queries)
            assert {(fetched.state, fetched.detail) for fetched in result.values()} == {(UNAVAILABLE, LATE)}
            wait_for(lambda server=server: server.open_connections() == 0)
        result = timed(client, good.base, Allowed.of([(good.base, True)]), *queries)
        assert {fetched.state for fetched in result.values()} == {READ}
        assert max(fetched.milliseconds for fetched in result.values()) < 200
        assert len(client_threads() - before) == 4
        client.close()
        wait_for(lambda: client_threads() <= before)


# --- what is passed on ----------------------------------------------------------------------------------------


def test_another_patients_data_is_passed_on_for_extraction_to_judge(client: FhirClient) -> None:
    with HostileFhir(lambda wire, _: wire.json(bundle(condition(1), condition(2, patient="somebody-else")))) as server:
        fetched = ask(client, server)
    assert fetched.state is READ
    subjects = [found["subject"]["reference"] for found in fetched.resources]
    assert subjects == ["Patient/p1", "Patient/somebody-else"]


@pytest.mark.parametrize(("first", "last", "state"), [("p1", "p2", UNAVAILABLE), ("p2", "p1", READ)])
def test_of_a_repeated_key_the_last_value_counts(client: FhirClient, first: str, last: str, state: SourceState) -> None:
    text = f'{{"resourceType": "Patient", "id": "{first}", "id": "{last}"}}'.encode()
    with HostileFhir(body(text)) as server:
        assert ask(client, server, PATIENT).state is state


def test_mutated_answers_never_raise_and_never_read_wrong(client: FhirClient) -> None:
    """300 answers with bytes changed, cut or doubled: unavailable, or a search that was read or is empty."""
    dice = random.Random(20939)
    honest = (
        head("200 OK", "application/fhir+json", {"Content-Length": str(len(RECORD)), "Connection": "close"}) + RECORD
    )

    def mutate() -> bytes:
        data = bytearray(honest)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(data))
            cut = at + dice.randint(0, 40)
            data[at:cut] = dice.choice(
                [b"", bytes(dice.randbytes(3)), b"\r\n", b"99999999999", bytes(data[at:cut]) * 2]
            )
        return bytes(data)

    answers = [mutate() for _ in range(300)]
    with HostileFhir(lambda wire, request: raw(answers[request.number % 300])(wire, request)) as server:
        allowed = Allowed.of([(server.base, True)])
        queries = [Query(str(number), "Condition?patient=p1") for number in range(8)]
        states = [f.state for _ in range(40) for f in timed(client, server.base, allowed, *queries).values()]
    assert READ in states
    assert states.count(UNAVAILABLE) > 100
