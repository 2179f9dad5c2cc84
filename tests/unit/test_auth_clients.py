"""The clients file: what it declares, and how each mistake in it is reported."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm

from cds_service.auth.clients import Client, load_clients
from cds_service.auth.issue import public_jwk
from cds_service.errors import ConfigurationError
from cds_service.policy.case import Code
from cds_service.urls import is_loopback, normalise

EC_KEY = ec.generate_private_key(ec.SECP384R1())
JWK = {**public_jwk(EC_KEY), "kid": "k1"}


@functools.cache
def weak_jwk() -> dict[str, Any]:
    return public_jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024))


def declared(**changes: Any) -> dict[str, Any]:
    """A client entry; None removes a key."""
    entry = {"id": "ehr", "name": "EHR", "issuer": "https://ehr.example.org", "jwks": {"keys": [JWK]}, **changes}
    return {key: value for key, value in entry.items() if value is not None}


def write(path: Path, *entries: dict[str, Any]) -> Path:
    file = path / "clients.yaml"
    file.write_text(yaml.safe_dump({"format": 1, "clients": list(entries)}))
    return file


FULL = """
# Clients of the test deployment
format: 1
clients:
  - id: north-ehr
    name: North Hospital
    issuer: https://ehr.north.example.org
    jwks_url: https://ehr.north.example.org/jwks.json
    jku_allowed: [https://ehr.north.example.org/old.json]
    tenants: [north, "042"]
    fhir_servers:
      - url: https://fhir.north.example.org/r4/
      - {url: "http://10.1.2.3:8080/fhir", allow_private: true}
    code_map:
      https://ehr.north.example.org/orders:
        GRAFT-BMA: cpt:20939
        "0748": hcpcs:E0748
    crd_version: 2.1
    silent: [aetna-0016]
    disabled: true
    rate_limit_per_minute: 600
    cors_origins: [https://sandbox.example.org]
"""


def test_every_field_is_read(tmp_path: Path) -> None:
    file = tmp_path / "clients.yaml"
    file.write_text(FULL)
    clients = load_clients(file)
    client = clients.by_issuer("https://ehr.north.example.org")
    assert client is not None
    assert (len(clients), [one.id for one in clients], client.name) == (1, ["north-ehr"], "North Hospital")
    assert client.key_urls == {
        "https://ehr.north.example.org/jwks.json", "https://ehr.north.example.org/old.json"
    }  # fmt: skip
    assert (client.tenants, client.crd_version, client.disabled) == (["north", "042"], "2.1", True)
    assert [server.allow_private for server in client.fhir_servers] == [False, True]
    assert (client.rate_limit_per_minute, clients.cors_origins) == (600, {"https://sandbox.example.org"})
    assert client.local_codes == {
        ("https://ehr.north.example.org/orders", "GRAFT-BMA"): Code("cpt", "20939"),
        ("https://ehr.north.example.org/orders", "0748"): Code("hcpcs", "E0748"),
    }
    assert [client.is_silent(policy) for policy in ("aetna-0016", "aetna-0017")] == [True, False]


def test_defaults(tmp_path: Path) -> None:
    (client,) = load_clients(write(tmp_path, declared()))
    assert client.model_dump(exclude={"id", "name", "issuer", "jwks"}) == {
        "jwks_url": None, "jku_allowed": [], "allow_loopback_http": False, "tenants": None, "fhir_servers": [],
        "code_map": {}, "crd_version": "2.0", "silent": False, "disabled": False,
        "rate_limit_per_minute": None, "cors_origins": [],
        "dialect": "default", "token_lifetime": None, "clock_skew": None, "selection_behavior": None,
        "single_action": None, "create_system": None, "order_codes": {}, "topic_code": None, "omit": None,
    }  # fmt: skip
    assert not client.is_silent("any")
    assert client.model_copy(update={"silent": True}).is_silent("any")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "format: 1\n", "format: 1\nclients: []\n"])
def test_no_clients(text: str, tmp_path: Path) -> None:
    file = tmp_path / "clients.yaml"
    file.write_text(text)
    clients = load_clients(file)
    assert (len(clients), clients.by_issuer("x"), clients.cors_origins) == (0, None, frozenset())


ENTRY_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"isuer": "x"}, "clients[0].isuer: is not a known key. Correct its spelling or remove it."),
    "no issuer": ({"issuer": None}, "clients[0].issuer: is missing. Add it."),
    "issuer with blank": (
        {"issuer": "a b"},
        "clients[0].issuer: is empty, too long or holds a blank: copy the iss claim of the client's tokens.",
    ),
    "id with blank": (
        {"id": "The EHR"},
        "clients[0].id: has a wrong form. Use 1 to 64 of a-z, 0-9, dot, dash, underscore.",
    ),
    "no keys": ({"jwks": None}, "clients[0]: has no keys: add jwks, jwks_url or jku_allowed."),
    "keys twice": (
        {"jwks_url": "https://ehr.example.org/jwks"}, "clients[0]: has both jwks and jwks_url: keep one."
    ),
    "empty jwks": (
        {"jwks": {"keys": []}},
        "clients[0].jwks.keys: list should have at least 1 item after validation, not 0.",
    ),
    "private key": (
        {"jwks": {"keys": [JWK, {**ECAlgorithm.to_jwk(EC_KEY, as_dict=True), "kid": "k2"}]}},
        "clients[0].jwks.keys: key 1 is a private key: declare only the public key of a new pair, "
        "this one is no longer secret.",
    ),
    "symmetric key": (
        {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k"}]}},
        "clients[0].jwks.keys: key 0 is a symmetric key: declare a public RSA, EC or OKP key.",
    ),
    "symmetric key in disguise": (
        {"jwks": {"keys": [{**JWK, "k": "c2VjcmV0"}]}},
        "clients[0].jwks.keys: key 0 is a symmetric key: declare a public RSA, EC or OKP key.",
    ),
    "no kid": (
        {"jwks": {"keys": [{k: v for k, v in JWK.items() if k != "kid"}]}},
        "clients[0].jwks.keys: key 0 has no kid: give it a text of 1 to 256 characters, unique in the set, in quotes.",
    ),
    "kid a number": (
        {"jwks": {"keys": [{**JWK, "kid": 7}]}},
        "clients[0].jwks.keys: key 0 holds a value that is not text: "
        "put kty, kid, use, alg, crv, n, e, x, y in quotes.",
    ),
    "kid twice": (
        {"jwks": {"keys": [JWK, JWK]}},
        "clients[0].jwks.keys: key 1 repeats a kid: give every key its own.",
    ),
    "point off the curve": (
        {"jwks": {"keys": [{**JWK, "x": JWK["y"]}]}},
        "clients[0].jwks.keys: key 0 cannot be read as a public key: copy it again from the client.",
    ),
    "curve not accepted": (
        {"jwks": {"keys": [{**JWK, "crv": "secp256k1"}]}},
        "clients[0].jwks.keys: key 0 has an unsupported crv: use P-256, P-384, P-521, Ed25519 or Ed448.",
    ),
    "key for encryption": (
        {"jwks": {"keys": [{**JWK, "use": "enc"}]}},
        "clients[0].jwks.keys: key 0 is not for signatures: declare the key whose use is sig.",
    ),
    "key operations without verify": (
        {"jwks": {"keys": [{**JWK, "key_ops": 7}]}},
        "clients[0].jwks.keys: key 0 is not for signatures: declare the key whose use is sig.",
    ),
    "key for HMAC": (
        {"jwks": {"keys": [{**JWK, "alg": "HS256"}]}},
        "clients[0].jwks.keys: key 0 has an unsupported alg: use one of "
        "ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512.",
    ),
    "url without host": (
        {"jwks": None, "jwks_url": "https:///jwks"},
        "clients[0].jwks_url: is not an absolute URL: write https://host/path.",
    ),
    "url of a file": (
        {"jku_allowed": ["file:///etc/passwd"]},
        "clients[0].jku_allowed[0]: is not an absolute URL: write https://host/path.",
    ),
    "url with password": (
        {"jwks": None, "jwks_url": "https://u:p@ehr.example.org/"},
        "clients[0].jwks_url: holds a user name or password: remove it.",
    ),
    "url with bad port": (
        {"jwks": None, "jwks_url": "https://ehr.example.org:99999/"},
        "clients[0].jwks_url: has a port that is not between 1 and 65535: correct it.",
    ),
    "url with line break": (
        {"jwks": None, "jwks_url": "https://ehr.example.org/\njwks"},
        "clients[0].jwks_url: holds a blank or a control character: remove it.",
    ),
    "jwks by http": (
        {"jwks": None, "jwks_url": "http://ehr.example.org/jwks", "allow_loopback_http": True},
        "clients[0]: jwks_url or jku_allowed is not https: use https.",
    ),
    "jwks by http on loopback, not permitted": (
        {"jku_allowed": ["http://127.0.0.1:8/jwks"]},
        "clients[0]: jwks_url or jku_allowed is not https: use https, or for a test on this machine set "
        "allow_loopback_http: true.",
    ),
    "fhir server by http": (
        {"fhir_servers": [{"url": "http://fhir.example.org"}]},
        "clients[0].fhir_servers[0]: url is not https: use https, or set allow_private: true for a server "
        "in your network.",
    ),
    "fhir server with query": (
        {"fhir_servers": [{"url": "https://fhir.example.org/?a=b"}]},
        "clients[0].fhir_servers[0].url: holds a query or a fragment: remove it.",
    ),
    "fhir server above its folder": (
        {"fhir_servers": [{"url": "https://fhir.example.org/a/%2e%2E/r4"}]},
        "clients[0].fhir_servers[0].url: holds . or .. in its path: remove it.",
    ),
    "fhir server of a host that is not ASCII": (
        {"fhir_servers": [{"url": "https://fhír.example.org/r4"}]},
        "clients[0].fhir_servers[0].url: holds a backslash or a character that is not ASCII: encode it, a host name "
        "as xn--.",
    ),
    "fhir server with a bad address": (
        {"fhir_servers": [{"url": "https://[::g]/r4"}]},
        "clients[0].fhir_servers[0].url: has a bad address in brackets: correct it.",
    ),
    "code map target": (
        {"code_map": {"https://s": {"X": "cpt:2093"}}},
        "clients[0].code_map: https://s X has a bad target: write cpt:20939 or hcpcs:E0748.",
    ),
    "code map, unquoted code": (
        {"code_map": {"https://s": {20939: "cpt:20939"}}},
        "clients[0].code_map.https://s[20939]: is not text. Put it in quotes.",
    ),
    "crd version": ({"crd_version": "2.3"}, "clients[0].crd_version: input should be '2.0', '2.1' or '2.2'."),
    "tenants empty": (
        {"tenants": []}, "clients[0].tenants: list should have at least 1 item after validation, not 0."
    ),
    "disabled a text": (
        {"disabled": "yes"}, "clients[0].disabled: is not true or false. Write one of the two, without quotes."
    ),
    "rate of zero": (
        {"rate_limit_per_minute": 0},
        "clients[0].rate_limit_per_minute: input should be greater than or equal to 1.",
    ),
    "origin star": (
        {"cors_origins": ["*"]},
        "clients[0].cors_origins[0]: is not an origin: list each origin, * is for demo mode only.",
    ),
    "origin with path": (
        {"cors_origins": ["https://a.example.org/"]},
        "clients[0].cors_origins[0]: is not an origin: write scheme://host or scheme://host:port, in lower case.",
    ),
    "servers not a list": (
        {"fhir_servers": "https://fhir.example.org"},
        "clients[0].fhir_servers: is not a list. Write each item on a line of its own, after a dash.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENTRY_FAULTS)
def test_fault_names_file_field_and_cure(case: str, tmp_path: Path) -> None:
    changes, text = ENTRY_FAULTS[case]
    file = write(tmp_path, declared(**changes))
    with pytest.raises(ConfigurationError) as caught:
        load_clients(file)
    assert str(caught.value) == f"{file}: {text}"


def test_weak_rsa_key(tmp_path: Path) -> None:
    file = write(tmp_path, declared(jwks={"keys": [weak_jwk()]}))
    with pytest.raises(ConfigurationError) as caught:
        load_clients(file)
    assert str(caught.value) == (
        f"{file}: clients[0].jwks.keys: key 0 is an RSA key of 1024 bits: use 2048 to 8192 bits, or ES384."
    )


def test_giant_rsa_key_is_refused_before_any_arithmetic(tmp_path: Path) -> None:
    file = write(tmp_path, declared(jwks={"keys": [{"kty": "RSA", "kid": "k", "e": "AQAB", "n": "w" * 60_000}]}))
    with pytest.raises(ConfigurationError, match="key 0 is an RSA key of over 8192 bits: use 2048 to 8192"):
        load_clients(file)


def test_message_holds_no_private_value(tmp_path: Path) -> None:
    private = {**ECAlgorithm.to_jwk(EC_KEY, as_dict=True), "kid": "k2"}
    file = write(tmp_path, declared(jwks={"keys": [private]}))
    with pytest.raises(ConfigurationError) as caught:
        load_clients(file)
    assert private["d"] not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize(("second", "field"), [({"issuer": "https://b.example.org"}, "id"), ({"id": "b"}, "issuer")])
def test_repeated_id_or_issuer(second: dict[str, Any], field: str, tmp_path: Path) -> None:
    file = write(tmp_path, declared(), declared(**second))
    with pytest.raises(ConfigurationError) as caught:
        load_clients(file)
    assert str(caught.value) == (f"{file}: clients[1].{field}: is the same as in clients[0]. Give each client its own.")


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, declared(name=None), declared(disabled=1, extra=1))
    with pytest.raises(ConfigurationError) as caught:
        load_clients(file)
    fields = re.findall(r"clients\[\d\]\.\w+", str(caught.value))
    assert fields == ["clients[0].name", "clients[1].disabled", "clients[1].extra"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"format: 2\nclients: []\n", ": format: input should be 1."),
        (b"clients: []\n", ": format: is missing. Add it."),
        (b"[]\n", ": (whole file): is not a mapping. Write key: value lines."),
        (b"format: 1\nformat: 1\n", ":2:1: is not valid YAML: this key is given twice; keep one."),
        (b"format: [1\n", ":2:1: is not valid YAML: expected ',' or ']', but got '<stream end>'."),
        (b"format: !!python/object:os.system 1\n",
         ":1:9: is not valid YAML: could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/object:os.system'."),
        (b"\xff\xfe\xff", ": is not UTF-8. Save it as UTF-8."),
        (b"name: 2026-13-45\n", ":1:7: looks like a number, a date or the like and is none. Put it in quotes."),
        (b"a: !!bool 7\n", ":1:4: looks like a number, a date or the like and is none. Put it in quotes."),
        (b"? [a]\n: b\n", ":1:3: is not valid YAML: found unhashable key."),
        (b"a: " + b"[" * 3000, ":1:66: is nested more than 64 levels deep. Write it with fewer levels."),
        (b"- " * 3000, ":1:127: is nested more than 64 levels deep. Write it with fewer levels."),
    ],
)  # fmt: skip
def test_faulty_file(content: bytes, text: str, tmp_path: Path) -> None:
    file = tmp_path / "clients.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_clients(file)
    assert str(caught.value) == f"{file}{text}"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml: cannot be read: No such file or directory\."):
        load_clients(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://a.example.org:443/x/", "https://a.example.org/x"),
        ("http://a.example.org:80", "http://a.example.org"),
        ("https://a.example.org:80/x", "https://a.example.org:80/x"),
        ("https://a.example.org/x//", "https://a.example.org/x/"),
        ("https://A.example.org/X", "https://A.example.org/X"),
        ("https://[::1]:443/x", "https://[::1]/x"),
        ("not a url/", "not a url/"),
        ("ftp://a.example.org:21/", "ftp://a.example.org:21"),
    ],
)
def test_only_default_port_and_one_slash_are_normalised(url: str, same: str) -> None:
    assert normalise(url) == same


def test_loopback_hosts() -> None:
    hosts = ["localhost", "127.0.0.1", "127.9.9.9", "::1", "localhost.example.org", "10.0.0.1", "0.0.0.0", "", None]
    assert [is_loopback(host) for host in hosts] == [True] * 4 + [False] * 5


def test_clients_are_frozen() -> None:
    client = Client.model_validate(declared())
    with pytest.raises(ValueError, match="frozen"):
        client.disabled = True  # type: ignore[misc]
