"""The `client` commands: what an integrator types, and what it does to the clients file."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cds_service.auth.cli import client_group
from cds_service.auth.clients import load_clients
from cds_service.auth.issue import generate_key, public_jwk
from cds_service.auth.replay import MemoryReplay
from cds_service.auth.verify import Verifier
from cds_service.errors import ConfigurationError, InputFileError

Run = Callable[..., Result]

ISSUER = "https://ehr.example.org"
URL = "https://cds.example.org/cds-services/order-sign-advisor"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CDS_CLIENTS", raising=False)

    def invoke(*args: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(client_group, args, input=stdin)

    return invoke


def add(run: Run, client_id: str = "ehr", *more: str, issuer: str = ISSUER) -> Result:
    return run("add", client_id, "--issuer", issuer, *(more or ("--generate-key", "keys")))


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_client_made_with_the_commands_gets_through_behind_a_proxy(run: Run, algorithm: str) -> None:
    added = add(run, "ehr", "--generate-key", "keys", "--algorithm", algorithm, "--tenant", "north")
    assert (added.exit_code, added.output) == (
        0, "Private key, for tests only: keys/ehr.private.pem\nDeclared ehr in clients.yaml.\n"
    )  # fmt: skip
    made = run("token", "--key", "keys/ehr.private.pem", "--issuer", ISSUER, "--url", URL, "--tenant", "north")
    assert made.exit_code == 0
    verifier = Verifier(load_clients("clients.yaml"), public_url="https://cds.example.org", replay=MemoryReplay())
    client = verifier.verify(f"Bearer {made.stdout.strip()}", "/cds-services/order-sign-advisor")
    assert (client.id, client.jwks.keys[0]["alg"]) == ("ehr", algorithm)


def test_key_files(run: Run, tmp_path: Path) -> None:
    assert add(run).exit_code == 0
    private, published = tmp_path / "keys/ehr.private.pem", tmp_path / "keys/ehr.jwks.json"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert json.loads(published.read_text()) == yaml.safe_load(Path("clients.yaml").read_text())["clients"][0]["jwks"]
    assert "d" not in json.loads(published.read_text())["keys"][0]
    assert "PRIVATE" not in Path("clients.yaml").read_text()


def test_existing_private_key_is_never_replaced(run: Run) -> None:
    assert add(run).exit_code == 0
    key, clients = Path("keys/ehr.private.pem").read_bytes(), Path("clients.yaml").read_text()
    again = run("add", "ehr", "--issuer", "https://b.example.org", "--clients", "b.yaml", "--generate-key", "keys")
    assert isinstance(again.exception, InputFileError)
    assert str(again.exception) == "keys/ehr.private.pem: exists already. Choose another folder or client id."
    assert (Path("keys/ehr.private.pem").read_bytes(), Path("clients.yaml").read_text()) == (key, clients)
    assert not Path("b.yaml").exists()


def test_refused_client_leaves_no_key_and_the_file_as_it_was(run: Run) -> None:
    assert add(run).exit_code == 0
    before = Path("clients.yaml").read_text()
    refused = add(run, "second")
    assert isinstance(refused.exception, ConfigurationError)
    assert str(refused.exception) == (
        "clients.yaml: clients[1].issuer: is the same as in clients[0]. Give each client its own."
    )
    assert Path("clients.yaml").read_text() == before
    assert sorted(path.name for path in Path("keys").iterdir()) == ["ehr.jwks.json", "ehr.private.pem"]
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_all_options_reach_the_file(run: Run) -> None:
    result = run(
        "add", "ehr", "--issuer", ISSUER, "--name", "North: the EHR", "--jwks-url", ISSUER + "/jwks.json",
        "--jku", ISSUER + "/a.json", "--jku", ISSUER + "/b.json", "--tenant", "042", "--fhir-server",
        "http://10.0.0.1/fhir", "--allow-private", "--crd-version", "2.1", "--rate-limit", "60",
        "--cors-origin", "https://app.example.org", "--silent",
    )  # fmt: skip
    assert (result.exit_code, result.output) == (0, "Declared ehr in clients.yaml.\n")
    (client,) = load_clients("clients.yaml")
    assert client.model_dump(exclude_defaults=True) == {
        "id": "ehr", "name": "North: the EHR", "issuer": ISSUER, "jwks_url": ISSUER + "/jwks.json",
        "jku_allowed": [ISSUER + "/a.json", ISSUER + "/b.json"], "tenants": ["042"],
        "fhir_servers": [{"url": "http://10.0.0.1/fhir", "allow_private": True}], "crd_version": "2.1",
        "rate_limit_per_minute": 60, "cors_origins": ["https://app.example.org"], "silent": True,
    }  # fmt: skip


def test_jwks_from_a_file(run: Run) -> None:
    jwks = {"keys": [public_jwk(generate_key("ES384"))]}
    Path("jwks.json").write_text(json.dumps(jwks))
    assert add(run, "ehr", "--jwks", "jwks.json").exit_code == 0
    (client,) = load_clients("clients.yaml")
    assert client.jwks.model_dump() == jwks


ENTRY = """  - id: second
    name: second
    issuer: https://second.example.org
    jwks_url: https://second.example.org/jwks
"""
FIRST = """  - id: first   # the old one
    name: "First"
    issuer: https://first.example.org
    jwks_url: https://first.example.org/jwks
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, f"format: 1\nclients:\n{ENTRY}"),
        ("", f"format: 1\nclients:\n{ENTRY}"),
        ("# Ours", f"# Ours\nformat: 1\nclients:\n{ENTRY}"),
        ("format: 1", f"format: 1\nclients:\n{ENTRY}"),
        ("format: 1\nclients: []\n# end\n", f"format: 1\nclients:\n{ENTRY}# end\n"),
        ("clients: []\nformat: 1\n", f"clients:\n{ENTRY}format: 1\n"),
        ("clients: []", None),
        (f"# Ours\nformat: 1\n\nclients:\n{FIRST}", f"# Ours\nformat: 1\n\nclients:\n{FIRST}{ENTRY}"),
        (f"format: 1\nclients:\n{FIRST.rstrip()}", f"format: 1\nclients:\n{FIRST}{ENTRY}"),
        (f"clients:\n{FIRST}format: 1\n", f"clients:\n{FIRST}{ENTRY}format: 1\n"),
        (
            "format: 1\nclients:\n" + FIRST.replace("\n  ", "\n").removeprefix("  "),
            "format: 1\nclients:\n" + (FIRST + ENTRY).replace("\n  ", "\n").removeprefix("  "),
        ),
    ],
    ids=["new", "empty", "comment", "format only", "flow", "flow first", "no format", "block", "no newline",
         "block first", "no indent"],
)  # fmt: skip
def test_adding_keeps_what_is_there(before: str | None, after: str | None, run: Run) -> None:
    file = Path("clients.yaml")
    if before is not None:
        file.write_text(before)
    result = run(
        "add", "second", "--issuer", "https://second.example.org", "--jwks-url", "https://second.example.org/jwks"
    )
    if after is None:
        assert str(result.exception) == "clients.yaml: format: is missing. Add it."
        assert file.read_text() == before
    else:
        assert result.exit_code == 0, result.exception
        assert file.read_text() == after


def test_clients_in_brackets_are_not_rewritten(run: Run) -> None:
    text = f"format: 1\nclients: [{{id: a, name: A, issuer: x, jwks_url: {ISSUER}/jwks}}]\n"
    Path("clients.yaml").write_text(text)
    result = add(run, "b", "--jwks-url", ISSUER + "/b")
    assert str(result.exception) == (
        "clients.yaml: clients: is written in brackets. Write one client per dash, then add."
    )
    assert Path("clients.yaml").read_text() == text


def test_mode_of_the_file_is_kept(run: Run) -> None:
    file = Path("clients.yaml")
    file.write_text("format: 1\n")
    file.chmod(0o640)
    assert add(run).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_two_key_sources_are_a_usage_error(run: Run) -> None:
    result = add(run, "ehr", "--jwks-url", ISSUER + "/jwks", "--generate-key", "keys")
    assert (result.exit_code, "Give one of --jwks-url, --jwks and --generate-key." in result.output) == (2, True)
    assert not Path("clients.yaml").exists()


def test_list(run: Run) -> None:
    Path("clients.yaml").write_text("")
    assert run("list").output == "clients.yaml declares no clients.\n"
    add(run, "a", issuer="https://a.example.org")
    add(run, "b", "--jwks-url", "https://b.example.org/jwks", "--silent", issuer="https://b.example.org")
    kid = load_clients("clients.yaml").by_issuer("https://a.example.org").jwks.parsed[0].kid
    assert run("list").output == (
        f"a  https://a.example.org  keys {kid} (ES384)\n"
        "b  https://b.example.org  keys at https://b.example.org/jwks  silent\n"
    )


def token(run: Run, *more: str, url: str = URL) -> str:
    made = run("token", "--key", "keys/ehr.private.pem", "--issuer", ISSUER, "--url", url, *more)
    assert made.exit_code == 0
    return str(made.stdout)


ACCEPTED = "Accepted: client ehr. Whether its jti was used before is not checked here.\n"


def test_check_token_from_file_or_standard_input_in_any_usual_form(run: Run) -> None:
    add(run)
    text = token(run)
    Path("t").write_text(text)
    for given in (text, f"Bearer {text}", f"Authorization: Bearer {text}\n"):
        checked = run("check-token", "--url", URL, stdin=given)
        assert (checked.exit_code, checked.output) == (0, ACCEPTED)
    assert run("check-token", "t", "--url", URL).output == ACCEPTED


@pytest.mark.parametrize(
    ("audience", "called", "accepted"),
    [
        (f"{URL}/feedback", f"{URL}/feedback", True),
        (URL, f"{URL}/feedback", True),
        (URL, f"{URL}/feedback/", True),
        (f"{URL}/feedback", URL, False),
        ("https://cds.example.org/cds-services", f"{URL}/feedback", False),
    ],
)
def test_check_token_takes_a_services_token_for_its_feedback(
    audience: str, called: str, accepted: bool, run: Run
) -> None:
    add(run)
    checked = run("check-token", "--url", called, stdin=token(run, url=audience))
    assert (checked.exit_code == 0) is accepted
    assert ("Refused (audience)" in checked.output) is not accepted


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), None),
        (("--lifetime", "901"), "lifetime"),
        (("--kid", "other"), "no-key"),
        (("--jku", "https://x.example.org"), "key-url"),
        (("--tenant", "north"), None),
    ],
)
def test_check_token_names_check_and_cure(options: tuple[str, ...], code: str | None, run: Run) -> None:
    add(run)
    checked = run("check-token", "--url", URL, stdin=token(run, *options))
    if code is None:
        assert (checked.exit_code, checked.output) == (0, ACCEPTED)
    else:
        assert checked.exit_code == 13
        first, second = checked.output.splitlines()
        assert first.startswith(f"Refused ({code}): ")
        assert second.startswith("Cure: ")


def test_check_token_says_that_a_client_is_disabled(run: Run) -> None:
    add(run)
    with Path("clients.yaml").open("a") as file:
        file.write("    disabled: true\n")
    checked = run("check-token", "--url", URL, stdin=token(run))
    assert checked.output == f"{ACCEPTED}This client is disabled in the clients file.\n"


def test_check_token_never_takes_a_token_as_argument_nor_shows_it(run: Run) -> None:
    add(run)
    text = token(run).strip()
    given = run("check-token", text, "--url", URL)
    assert given.exit_code == 2
    assert "arguments are visible to others" in given.output
    missing = run("check-token", "missing.jwt", "--url", URL)
    assert str(missing.exception) == "The token file cannot be read. Check its path."
    refused = run("check-token", "--url", URL + "/x", stdin=text)
    for result in (given, missing, refused):
        assert not any(part in f"{result.output}{result.exception}" for part in text.split("."))


def test_empty_token(run: Run) -> None:
    add(run)
    checked = run("check-token", "--url", URL, stdin="")
    assert (checked.exit_code, checked.output.splitlines()[0]) == (
        13, "Refused (not-bearer): The header is not one Bearer token of three base64url parts."
    )  # fmt: skip


@pytest.mark.parametrize("content", [b"nonsense", None, "secp256k1"])
def test_token_needs_a_usable_private_key(content: bytes | str | None, run: Run) -> None:
    if content == "secp256k1":
        key = ec.generate_private_key(ec.SECP256K1())
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if isinstance(content, bytes):
        Path("key.pem").write_bytes(content)
    made = run("token", "--key", "key.pem", "--issuer", ISSUER, "--url", URL)
    assert isinstance(made.exception, InputFileError)
    assert str(made.exception).startswith("key.pem: ")
    assert made.stdout == ""


def test_thumbprint_of_the_rfc() -> None:
    """RFC 7638 section 3.1 gives this key and its thumbprint."""
    from cds_service.auth.issue import _thumbprint

    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
        "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
        "nqDKgw"
    )
    assert _thumbprint({"kty": "RSA", "n": modulus, "e": "AQAB"}) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
