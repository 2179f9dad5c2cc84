"""The FHIR client against servers that behave: reads, searches, pages, retries, TLS, parallel fetch."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import ssl
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hostile_fhir import Behaviour, HostileFhir, Request, Wire, bundle, client_threads, condition, head, wait_for

from cds_service.facts.client import Allowed, Fetched, FhirClient, Limits, Query
from cds_service.facts.fetch_types import FetchError
from cds_service.facts.outbound import parse_base
from cds_service.policy.case import SourceState

READ, EMPTY, UNAVAILABLE = SourceState.READ, SourceState.EMPTY, SourceState.UNAVAILABLE
SEARCH = Query("conditions", "Condition?patient=p1")
PATIENT = Query("patient", "Patient/p1")
TOKEN = "synthetic-token-93af"
NOT_WHOLE = "the FHIR server's answer is not whole"


@pytest.fixture(scope="module")
def client() -> Iterator[FhirClient]:
    made = FhirClient(Limits(deadline_s=1.0))
    yield made
    made.close()


def ask(client: FhirClient, behaviour: Behaviour, query: Query = SEARCH) -> tuple[Fetched, HostileFhir]:
    with HostileFhir(behaviour) as server:
        result = client.fetch(server.base, TOKEN, [query], allowed=Allowed.of([(server.base, True)]))
        return result[query.name], server


def answering(resource: Any, status: str = "200 OK") -> Behaviour:
    return lambda wire, _: wire.json(resource, status)


def outcome(severity: str) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": "processing"}]}


# --- one answer -----------------------------------------------------------------------------------------------


def test_a_read_gives_the_resource_and_sends_exactly_these_headers(client: FhirClient) -> None:
    patient = {"resourceType": "Patient", "id": "p1"}
    fetched, server = ask(client, answering(patient), PATIENT)
    assert (fetched.state, fetched.resources, fetched.status, fetched.pages) == (READ, (patient,), 200, 1)
    [request] = server.requests
    assert request.path == "/fhir/Patient/p1"
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "cds-service",
        "accept": "application/fhir+json",
        "accept-encoding": "gzip",
        "authorization": f"Bearer {TOKEN}",
    }


def test_without_a_token_no_authorization_is_sent(client: FhirClient) -> None:
    with HostileFhir(answering(bundle(condition(1)))) as server:
        result = client.fetch(server.base, None, [SEARCH], allowed=Allowed.of([(server.base, True)]))
    assert result["conditions"].state is READ
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_a_resource_that_does_not_exist_is_empty(client: FhirClient, status: str) -> None:
    fetched, _ = ask(client, answering(outcome("error"), status), PATIENT)
    assert (fetched.state, fetched.resources, fetched.status) == (EMPTY, (), int(status[:3]))


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("Patient/p1", {"resourceType": "Patient", "id": "p2"}),
        ("Patient/p1", {"resourceType": "Person", "id": "p1"}),
        ("Patient/p1", {"resourceType": "Patient"}),
        ("Patient/p1/_history/2", {"resourceType": "Patient", "id": "2"}),
        ("Patient/p1?_elements=id", bundle()),
    ],
)
def test_a_read_that_answers_with_something_else_is_unavailable(
    client: FhirClient, path: str, resource: dict[str, Any]
) -> None:
    fetched, _ = ask(client, answering(resource), Query("patient", path))
    assert fetched.state is UNAVAILABLE
    assert fetched.detail == "the FHIR server answered with another resource than asked for"


def test_a_versioned_read_gives_the_resource(client: FhirClient) -> None:
    patient = {"resourceType": "Patient", "id": "p1", "meta": {"versionId": "2"}}
    fetched, _ = ask(client, answering(patient), Query("patient", "Patient/p1/_history/2"))
    assert (fetched.state, fetched.resources) == (READ, (patient,))


def test_a_search_keeps_matches_and_includes_and_leaves_out_warnings(client: FhirClient) -> None:
    included = {"resource": {"resourceType": "Encounter", "id": "e1"}, "search": {"mode": "include"}}
    warning = {"resource": outcome("warning"), "search": {"mode": "outcome"}}
    page = bundle(condition(1))
    page["entry"] += [included, warning]
    fetched, _ = ask(client, answering(page))
    assert [resource["id"] for resource in fetched.resources] == ["c1", "e1"]
    assert (fetched.state, fetched.detail) == (READ, "the FHIR server added 1 warning(s)")


@pytest.mark.parametrize("page", [bundle(), bundle(total=0), {"resourceType": "Bundle", "type": "searchset"}])
def test_a_search_without_entries_is_empty(client: FhirClient, page: dict[str, Any]) -> None:
    fetched, _ = ask(client, answering(page))
    assert (fetched.state, fetched.resources, fetched.pages) == (EMPTY, (), 1)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (bundle(total=3), f"{NOT_WHOLE}: results that were counted, but not sent"),
        (bundle(condition(1), total=3), f"{NOT_WHOLE}: results that were counted, but not sent"),
        (outcome("error"), "the FHIR server answered with an OperationOutcome"),
        (bundle(condition(1), outcome("fatal")), f"{NOT_WHOLE}: what an error was reported about"),
        (condition(1), "the FHIR server answered a search with something else than a searchset Bundle"),
        (bundle(type="collection"), "the FHIR server answered a search with something else than a searchset Bundle"),
        (bundle() | {"entry": [{"fullUrl": "urn:x"}]}, f"{NOT_WHOLE}: an entry without a resource"),
        (bundle() | {"entry": {"resource": {}}}, f"{NOT_WHOLE}: an entry without a resource"),
        (bundle() | {"link": [{"relation": "next"}]}, f"{NOT_WHOLE}: further pages"),
        ([1, 2], "the FHIR server's answer is not a FHIR resource in JSON"),
        ({"resourceType": 7}, "the FHIR server's answer is not a FHIR resource in JSON"),
        (None, "the FHIR server's answer is not a FHIR resource in JSON"),
    ],
)
def test_a_search_that_is_not_whole_is_unavailable(client: FhirClient, answer: Any, detail: str) -> None:
    fetched, _ = ask(client, answering(answer))
    assert (fetched.state, fetched.resources, fetched.detail) == (UNAVAILABLE, (), detail)


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        ("201 Created", "the FHIR server answered HTTP 201"),
        ("401 Unauthorized", "the FHIR server refuses access (HTTP 401)"),
        ("403 Forbidden", "the FHIR server refuses access (HTTP 403)"),
        ("404 Not Found", "the FHIR server answered HTTP 404"),
        ("500 Internal Server Error", "the FHIR server answered HTTP 500"),
    ],
)
def test_any_other_status_of_a_search_is_unavailable(client: FhirClient, status: str, detail: str) -> None:
    fetched, server = ask(client, answering(bundle(condition(1)), status))
    assert (fetched.state, fetched.detail, len(server.requests)) == (UNAVAILABLE, detail, 1)


def test_gzip_is_read_and_other_encodings_are_not(client: FhirClient) -> None:
    body = json.dumps(bundle(condition(1))).encode()
    packed, _ = ask(client, lambda wire, _: wire.respond(gzip.compress(body), Content_Encoding="gzip"))
    assert (packed.state, packed.resources) == (READ, (condition(1),))
    other, _ = ask(client, lambda wire, _: wire.respond(body, Content_Encoding="br"))
    assert (other.state, other.detail) == (
        UNAVAILABLE,
        "the FHIR server's answer is compressed in a way that was not asked for",
    )


def test_the_deadline_of_the_caller_counts_when_it_is_earlier(client: FhirClient) -> None:
    with HostileFhir(lambda wire, _: wire.hold()) as server:
        started = time.monotonic()
        allowed = Allowed.of([(server.base, True)])
        result = client.fetch(server.base, TOKEN, [SEARCH], allowed=allowed, deadline=started + 0.15)
        took = time.monotonic() - started
        late = client.fetch(server.base, TOKEN, [SEARCH], allowed=allowed, deadline=started)
        assert len(server.requests) == 1
    assert result["conditions"].detail == "the FHIR server did not answer within the deadline"
    assert 0.15 <= took < 0.35
    assert late["conditions"].state is UNAVAILABLE


def test_two_queries_of_one_name_are_a_mistake_of_the_program(client: FhirClient) -> None:
    with pytest.raises(ValueError, match="two queries have the same name"):
        client.fetch("https://ehr.example", None, [SEARCH, SEARCH], allowed=Allowed.of([]))


# --- pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link",
    ["{base}?page=2", "{base}/Condition?page=2", "Condition?page=2", "?page=2", "/fhir/Condition?page=2"],
)
def test_next_links_are_followed_absolute_and_relative(client: FhirClient, link: str) -> None:
    def pages(wire: Wire, request: Request) -> None:
        base = f"http://{request.headers['host']}/fhir"
        wire.json(
            bundle(condition(2)) if "page=2" in request.path else bundle(condition(1), next=link.format(base=base))
        )

    fetched, server = ask(client, pages)
    assert [resource["id"] for resource in fetched.resources] == ["c1", "c2"]
    assert (fetched.state, fetched.pages, server.connections) == (READ, 2, 1)
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in server.requests)


@pytest.mark.parametrize(("total", "state"), [(1, READ), (2, READ), (3, UNAVAILABLE)])
def test_the_pages_together_hold_what_was_counted(client: FhirClient, total: int, state: SourceState) -> None:
    def pages(wire: Wire, request: Request) -> None:
        last = "page=2" in request.path
        wire.json(bundle(condition(2 if last else 1), next=None if last else "?page=2", total=total))

    fetched, _ = ask(client, pages)
    assert fetched.state is state


def test_a_next_link_of_a_prefetched_bundle_is_a_query(client: FhirClient) -> None:
    with HostileFhir(answering(bundle(condition(2), total=2))) as server:
        queries = [Query("conditions+", f"{server.base}?_getpages=7", continues=True)]
        result = client.fetch(server.base, TOKEN, queries, allowed=Allowed.of([(server.base, True)]))
    assert (result["conditions+"].state, server.paths) == (READ, ["/fhir?_getpages=7"])


# --- retries --------------------------------------------------------------------------------------------------


def busy_then_ok(times: int, status: str, **headers: str) -> Behaviour:
    def answer(wire: Wire, request: Request) -> None:
        if request.number <= times:
            wire.json({}, status, **headers)
        else:
            wire.json(bundle(condition(1)))

    return answer


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_server_is_asked_again(client: FhirClient, status: str) -> None:
    fetched, server = ask(client, busy_then_ok(2, status))
    assert (fetched.state, fetched.status, len(server.requests)) == (READ, 200, 3)


def test_retries_are_bounded(client: FhirClient) -> None:
    fetched, server = ask(client, busy_then_ok(99, "503 Service Unavailable"))
    assert (fetched.state, fetched.status, fetched.detail) == (UNAVAILABLE, 503, "the FHIR server is busy (HTTP 503)")
    assert len(server.requests) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_waited_for(as_date: bool) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    text = format_datetime(moment, usegmt=True) if as_date else "1"
    client = FhirClient(Limits(deadline_s=2.5))
    fetched, _ = ask(client, busy_then_ok(1, "429 Too Many Requests", Retry_After=text))
    client.close()
    assert fetched.state is READ
    assert fetched.milliseconds >= (900 if as_date else 1000)


def test_a_connection_that_was_closed_before_the_answer_is_tried_again(client: FhirClient) -> None:
    def reset_first(wire: Wire, request: Request) -> None:
        wire.reset() if request.number == 1 else wire.json(bundle(condition(1)))

    fetched, server = ask(client, reset_first)
    assert (fetched.state, server.connections) == (READ, 2)


# --- sharing --------------------------------------------------------------------------------------------------


def test_calls_of_many_threads_do_not_mix_tokens_or_answers_and_keep_no_cookies() -> None:
    def echo(wire: Wire, request: Request) -> None:
        identifier = request.path.rsplit("/", 1)[1]
        seen = [request.headers["authorization"], request.headers.get("cookie")]
        wire.json({"resourceType": "Patient", "id": identifier, "seen": seen}, Set_Cookie="session=abc; Path=/")

    client = FhirClient(Limits(deadline_s=5.0))
    with HostileFhir(echo) as server, ThreadPoolExecutor(6) as callers:
        allowed = Allowed.of([(server.base, True)])

        def call(number: int) -> bool:
            queries = [Query(f"{number}-{part}", f"Patient/{number}-{part}") for part in range(3)]
            result = client.fetch(server.base, f"token-{number}", queries, allowed=allowed)
            return all(
                result[q.name].resources
                == ({"resourceType": "Patient", "id": q.name, "seen": [f"Bearer token-{number}", None]},)
                for q in queries
            )

        assert list(callers.map(call, range(40))) == [True] * 40
        assert server.connections <= 8
        assert len(server.requests) == 120
    client.close()


def test_closing_lets_go_of_threads_and_connections() -> None:
    before = client_threads()
    with HostileFhir(answering(bundle())) as server:
        client = FhirClient(Limits(deadline_s=1.0))
        queries = [Query(str(number), f"Condition?patient={number}") for number in range(6)]
        client.fetch(server.base, None, queries, allowed=Allowed.of([(server.base, True)]))
        assert (bool(client_threads() - before), server.open_connections() > 0) == (True, True)
        client.close()
        wait_for(lambda: server.open_connections() == 0)
        wait_for(lambda: client_threads() <= before)


# --- what people may see --------------------------------------------------------------------------------------


def test_no_log_text_or_repr_holds_the_token_or_the_query(client: FhirClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def bad_header(wire: Wire, _: Request) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\n{}")

    for behaviour in (bad_header, answering(bundle()), lambda wire, _: wire.reset()):
        fetched, _ = ask(client, behaviour, Query("conditions", "Condition?patient=secret-patient"))
        assert not re.search(f"{TOKEN}|secret-patient", caplog.text + repr(fetched))
    assert "secret-patient" not in repr(Query("conditions", "Condition?patient=secret-patient"))


@pytest.mark.parametrize("token", ["", "two words", "a\r\nX-Injected: 1", "tök", "x" * 16385])
def test_a_malformed_token_is_refused_without_a_packet(client: FhirClient, token: str) -> None:
    with HostileFhir(answering(bundle())) as server:
        result = client.fetch(server.base, token, [SEARCH], allowed=Allowed.of([(server.base, True)]))
    assert server.connections == 0
    assert result["conditions"].detail == "the access token is empty or holds characters that no token may have"


# --- base URLs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("http://host:80/fhir/", "http://host/fhir"),
        ("HTTPS://Host:443", "https://host/"),
        ("http://[0:0::1]:8080/r4", "http://[::1]:8080/r4/"),
    ],
)
def test_spellings_of_one_base(left: str, right: str) -> None:
    assert parse_base(left) == parse_base(right)
    assert Allowed.of([(left, True)]).find(right) == (parse_base(right), True)


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example.evil/fhir",
        "https://evil-host.example/fhir",
        "https://host.example./fhir",
        "https://host.example:444/fhir",
        "http://host.example/fhir",
        "https://host.example/FHIR",
        "https://host.example/fhir2",
        "https://host.example/fhir/tenant",
        "https://host.example",
        "https://host.example/%66hir",
        "https://host.example@evil.example/fhir",
        "https://user:pw@host.example/fhir",
        "https://host.example/fhir?x=1",
        "https://host.example/fhir#x",
        "https://host.example/fhir/../fhir",
        "https://host.example/x/%2e%2e/fhir",
        "https://host.example\\@evil.example/fhir",
        "https://host.example /fhir",
        "https://hóst.example/fhir",
        "https://host.example:port/fhir",
        "https://[host.example/fhir",
        "ftp://host.example/fhir",
        "file:///etc/passwd",
        "//host.example/fhir",
        "host.example/fhir",
        "",
    ],
)
def test_only_the_declared_base_is_found(url: str) -> None:
    with pytest.raises(FetchError, match="fhirServer"):
        Allowed.of([("https://host.example/fhir", False)]).find(url)


def test_a_deployer_learns_of_a_bad_declared_url() -> None:
    with pytest.raises(ValueError, match="holds a user name or password"):
        Allowed.of([("https://user@host.example/fhir", False)])


# --- TLS ------------------------------------------------------------------------------------------------------


def certificate(folder: Path, host: str) -> Path:
    """A self-signed certificate with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    path = folder / f"{host}.pem"
    path.write_bytes(pem)
    return path


def to_loopback(host: str, port: int, **_: Any) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.mark.parametrize(
    ("certified", "trusted", "state", "detail"),
    [
        ("ehr.example.org", True, READ, ""),
        (
            "other.example.org",
            True,
            UNAVAILABLE,
            "no secure connection: the FHIR server's certificate or TLS was not accepted",
        ),
        (
            "ehr.example.org",
            False,
            UNAVAILABLE,
            "no secure connection: the FHIR server's certificate or TLS was not accepted",
        ),
    ],
)
def test_tls_is_verified_against_the_host_name_at_the_pinned_address(
    tmp_path: Path, certified: str, trusted: bool, state: SourceState, detail: str
) -> None:
    names: list[str | None] = []
    pem = certificate(tmp_path, certified)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.sni_callback = lambda _, name, __: names.append(name)
    client = FhirClient(Limits(deadline_s=2.0), resolver=to_loopback, ca_file=str(pem) if trusted else None)
    with HostileFhir(answering(bundle(condition(1))), tls=context) as server:
        base = f"https://ehr.example.org:{server.port}/fhir"
        result = client.fetch(base, TOKEN, [SEARCH], allowed=Allowed.of([(base, True)]))["conditions"]
        hosts = [request.headers["host"] for request in server.requests]
    client.close()
    assert (result.state, result.detail) == (state, detail)
    assert names == ["ehr.example.org"]
    assert hosts == ([f"ehr.example.org:{server.port}"] if state is READ else [])


def test_a_slow_body_over_tls_is_cut_at_the_deadline(tmp_path: Path) -> None:
    def drip(wire: Wire, _: Request) -> None:
        wire.send(head("200 OK", "application/fhir+json", {"Content-Length": "100"}))
        wire.drip(b" " * 100, 0.05)

    pem = certificate(tmp_path, "ehr.example.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    client = FhirClient(Limits(deadline_s=0.4), resolver=to_loopback, ca_file=str(pem))
    with HostileFhir(drip, tls=context) as server:
        base = f"https://ehr.example.org:{server.port}/fhir"
        result = client.fetch(base, TOKEN, [SEARCH], allowed=Allowed.of([(base, True)]))["conditions"]
        wait_for(lambda: server.open_connections() == 0)  # long before the 5 s that the body would take
    client.close()
    assert (result.state, result.status) == (UNAVAILABLE, 200)
    assert result.detail == "the FHIR server did not answer within the deadline"
    assert result.milliseconds < 600


# --- speed ----------------------------------------------------------------------------------------------------


def test_six_resources_of_100_ms_each_take_hardly_longer_than_one(
    client: FhirClient, record_property: pytest.RecordProperty
) -> None:
    """Issue 4, Must hold 7: at most 115 ms; 150 ms is the guard here, for machines that are busy with other tests."""

    def slow(wire: Wire, request: Request) -> None:
        time.sleep(0.1)
        wire.json({"resourceType": "Patient", "id": request.path.rsplit("/", 1)[1]})

    def median_ms(count: int) -> float:
        queries = [Query(f"q{number}", f"Patient/p{number}") for number in range(count)]
        times = []
        for _ in range(5):
            started = time.perf_counter()
            result = client.fetch(server.base, TOKEN, queries, allowed=allowed)
            times.append((time.perf_counter() - started) * 1000)
            assert [fetched.state for fetched in result.values()] == [READ] * count
        return statistics.median(times)

    with HostileFhir(slow) as server:
        allowed = Allowed.of([(server.base, True)])
        one, six = median_ms(1), median_ms(6)
    print(f"one resource {one:.1f} ms, six in parallel {six:.1f} ms")
    record_property("parallel_ms", round(six, 1))
    assert one >= 100
    assert six <= one + 60
    assert six <= 150
