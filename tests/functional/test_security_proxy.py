"""Clients made with the project's own commands get through nginx, which ends TLS as docs/operations.md says."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.service import free_port

from cds_service.auth.cli import client_group
from tests.functional.deployment import FEEDBACK, ROOT, SERVICE, Deployment, hook_request, marrow_cards

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
MAIN = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {server}
}}
"""


def certificate(folder: Path) -> Path:
    """A certificate for `localhost` and its key, in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "fullchain.pem"


def documented(folder: Path, port: int, instances: list[int]) -> str:
    """The block of the documentation, with ports and paths of this test, and a line for each instance."""
    [block] = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
    [first, *_] = lines = re.findall(r"    server 127.0.0.1:80.*\n", block)
    for line in lines[1:]:
        block = block.replace(line, "")
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("cds.example.org", "localhost"),
        ("/etc/cds/tls", str(folder)),
        (first, "".join(first.replace("8000", str(instance)) for instance in instances)),
    ):
        assert block.count(old) >= 1
        block = block.replace(old, new)
    return block


@dataclass(frozen=True)
class Proxy:
    """nginx as documented: its address, a session that trusts its certificate, and its log."""

    url: str
    session: requests.Session
    log: Path


@contextmanager
def proxied(folder: Path, instances: list[int], port: int | None = None) -> Iterator[Proxy]:
    """nginx in front of instances of the service; skips the test without nginx, fails in CI."""
    if NGINX is None:
        missing = "nginx is not installed (Debian: apt-get install nginx-light); its tests do not run."
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    port = port or free_port()
    with ExitStack() as stack:
        session = stack.enter_context(requests.Session())
        session.trust_env = False  # its REQUESTS_CA_BUNDLE would win over `verify`
        session.verify = str(certificate(folder))
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, server=documented(folder, port, instances)))
        proxy = subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")])
        stack.callback(proxy.wait, 10)
        stack.callback(proxy.terminate)
        until = time.monotonic() + 20
        while True:
            with suppress(requests.ConnectionError):
                session.get(f"https://localhost:{port}/health/live", timeout=5)
                break
            assert time.monotonic() < until, (folder / "nginx.log").read_text()
            time.sleep(0.05)
        yield Proxy(f"https://localhost:{port}", session, folder / "nginx.log")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The service behind nginx; few waiting places, so that the proxy's buffering shows."""
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    site = Deployment(folder, {"CDS_PUBLIC_URL": f"https://localhost:{port}", "CDS_WAITING": "2"})
    site.add("elliptic", "--algorithm", "ES384")
    site.add("rsa", "--algorithm", "RS384")
    with proxied(folder, [site.port], port) as proxy:
        site.session.verify = proxy.session.verify
        site.start()
        yield site
        site.stop()


def command(*arguments: str, given: str | None = None) -> str:
    done = CliRunner().invoke(client_group, arguments, input=given)
    assert done.exit_code == 0, done.output
    return done.output.strip()


def token(site: Deployment, client: str, path: str) -> str:
    """A token by `cds-service client token`, which `client check-token` accepts."""
    key = str(site.folder / "keys" / f"{client}.private.pem")
    issuer = site.clients[client].issuer
    text = command("token", "--key", key, "--issuer", issuer, "--url", site.public + path)
    told = command("check-token", "-", "--url", site.public + path, "--clients", str(site.clients_file), given=text)
    assert told.startswith(f"Accepted: client {client}.")
    return text


@pytest.mark.parametrize("client", ["elliptic", "rsa"])
def test_a_client_gets_through_from_discovery_to_feedback(site: Deployment, client: str) -> None:
    def headers(path: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(site, client, path)}"}

    https = site.session
    services = https.get(f"{site.public}/cds-services", headers=headers("/cds-services"), timeout=20).json()["services"]
    assert SERVICE.rsplit("/", 1)[1] in {service["id"] for service in services}
    answer = https.post(site.public + SERVICE, json=hook_request(), headers=headers(SERVICE), timeout=20)
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    [card] = marrow_cards(answer.json()["cards"])
    page = https.get(card["links"][0]["url"], timeout=20)
    assert (page.status_code, page.url.startswith(f"{site.public}/explanations/")) == (200, True)
    item = {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-11-20T12:00:00Z"}
    given = https.post(site.public + FEEDBACK, json={"feedback": [item]}, headers=headers(FEEDBACK), timeout=20)
    assert given.status_code == 200


def test_a_token_for_the_address_behind_the_proxy_is_refused(site: Deployment) -> None:
    inner = site.clients["rsa"].token(site.url + SERVICE)
    answer = site.session.post(
        site.public + SERVICE, json=hook_request(), headers={"Authorization": f"Bearer {inner}"}, timeout=20
    )
    assert answer.status_code == 401


def test_a_body_over_the_limit_is_refused_by_the_service(site: Deployment) -> None:
    body = hook_request() | {"extension": {"x": "y" * (10 * 1024 * 1024)}}
    headers = {"Authorization": f"Bearer {token(site, 'rsa', SERVICE)}"}
    answer = site.session.post(site.public + SERVICE, json=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["resourceType"]) == (413, "OperationOutcome")


def test_clients_that_stop_in_the_middle_of_a_body_do_not_reach_the_service(site: Deployment) -> None:
    import ssl

    context = ssl.create_default_context(cafile=str(site.session.verify))
    port = int(site.public.rsplit(":", 1)[1])
    with ExitStack() as stack:
        for _ in range(6):
            plain = stack.enter_context(socket.create_connection(("localhost", port), timeout=10))
            stalled = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            stalled.sendall(f"POST {SERVICE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{".encode())
        headers = {"Authorization": f"Bearer {token(site, 'elliptic', SERVICE)}"}
        answer = requests.post(
            site.public + SERVICE, json=hook_request(), headers=headers, timeout=10, verify=str(site.session.verify)
        )
        assert answer.status_code == 200
