"""The service as a hospital runs it: outside demo mode, clients made with the project's own commands."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from click.testing import CliRunner
from support.service import free_port

from cds_service.auth.cli import client_group
from cds_service.auth.issue import PrivateKey, read_private_key, sign_token
from cds_service.ledger.store import Ledger

ROOT = Path(__file__).resolve().parents[2]
CONTENT = ROOT / "tests" / "functional" / "content"
POLICY = "demo/spine"
SECRET = "a key of at least thirty-two characters"
SERVICE = "/cds-services/order-sign-advisor"
FEEDBACK = f"{SERVICE}/feedback"
START_SECONDS = 30
Json = dict[str, Any]


@dataclass(frozen=True)
class Trusted:
    """A declared client, with what it needs to call."""

    id: str
    issuer: str
    key: PrivateKey

    def token(self, url: str, **more: Any) -> str:
        return sign_token(self.key, issuer=self.issuer, audience=url, **more)


def declare(clients_file: Path, name: str, *options: str) -> Trusted:
    """A new client, by `cds-service client add`."""
    issuer, keys = f"https://{name}.example.org", clients_file.parent / "keys"
    arguments = ["add", name, "--issuer", issuer, "--clients", str(clients_file), "--generate-key", str(keys), *options]
    done = CliRunner().invoke(client_group, arguments)
    assert done.exit_code == 0, done.output
    return Trusted(name, issuer, read_private_key(keys / f"{name}.private.pem"))


@dataclass
class Deployment:
    """A service that may be started and stopped several times, on the same port and ledger."""

    folder: Path
    options: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.clients_file = self.folder / "clients.yaml"
        self.log_file = self.folder / "service.log"
        self.session = requests.Session()
        self.session.trust_env = False  # its REQUESTS_CA_BUNDLE would win over `verify`
        self.clients: dict[str, Trusted] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def public(self) -> str:
        return self.options.get("CDS_PUBLIC_URL", self.url)

    @property
    def database(self) -> str:
        return self.options.get("CDS_DATABASE_URL", f"sqlite:///{self.folder / 'ledger.sqlite3'}")

    def add(self, name: str, *options: str) -> Trusted:
        self.clients[name] = declare(self.clients_file, name, *options)
        return self.clients[name]

    # -- process

    def start(self) -> Deployment:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("CDS_")}
        settings = {
            "CDS_CLIENTS": str(self.clients_file),
            "CDS_DATABASE_URL": self.database,
            "CDS_LEDGER_KEY": SECRET,
            "CDS_CARDS": str(CONTENT),
            "CDS_PORT": str(self.port),
            "CDS_CHECK_RESPONSES": "1",
            **self.options,
        }
        workers = self.ready_workers() + int(self.options.get("CDS_WORKERS", "1"))
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cds_service.cli", "serve"],
                cwd=ROOT, stdout=log, stderr=log, env=clean | settings, start_new_session=True,
            )  # fmt: skip
        self.wait_until(self.answers, START_SECONDS)
        if self.options.get("CDS_LOG_LEVEL", "info") in ("debug", "info"):  # else workers do not say it
            self.wait_until(lambda: self.ready_workers() >= workers, START_SECONDS)
        return self

    def ready_workers(self) -> int:
        """How many workers have begun to answer, since the log began."""
        return self.log().count('"message": "worker ready"') if self.log_file.exists() else 0

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/health/ready", timeout=5).ok
        return False

    def wait_until(self, holds: Any, seconds: float = 30.0) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"waited {seconds} s in vain:\n{self.log()[-2000:]}"
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM to the parent, as a supervisor sends it; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def kill_group(self) -> None:
        """kill -9 of everything."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.wait_until(lambda: not self.members())

    def members(self) -> list[int]:
        """Process ids of the service's group."""
        assert self.process is not None
        found = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in found.splitlines()]
        return [int(pid) for pid, group, state in rows if int(group) == self.process.pid and state[0] != "Z"]

    def hang_up(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def log_lines(self) -> list[Json]:
        """The structured lines of the log."""
        whole = self.log().rpartition("\n")[0]  # the last line may still be being written
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    # -- calls

    def headers(self, client: str, path: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.clients[client].token(self.public + path)}"}

    def call(self, client: str, body: Any, path: str = SERVICE, **options: Any) -> requests.Response:
        """A POST with a token of its own."""
        headers = self.headers(client, path) | options.pop("headers", {})
        return self.session.post(self.url + path, json=body, headers=headers, timeout=30, **options)

    def cards(self, client: str, body: Any) -> list[Json]:
        response = self.call(client, body)
        assert response.status_code == 200, response.text
        cards: list[Json] = response.json()["cards"]
        return cards

    def ledger(self) -> Ledger:
        return Ledger.open(self.database, key=SECRET.encode())


@contextmanager
def deployed(folder: Path, *clients: str, **options: str) -> Iterator[Deployment]:
    """A running deployment with these clients; options are CDS_* settings."""
    deployment = Deployment(folder, options)
    for name in clients:
        deployment.add(name)
    deployment.start()
    try:
        yield deployment
    finally:
        deployment.session.close()
        if deployment.process is not None and deployment.process.poll() is None:
            deployment.stop()
        if deployment.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(deployment.process.pid, signal.SIGKILL)


# --- a request that makes a card ------------------------------------------------------------------------

CPT = "http://www.ama-assn.org/go/cpt"
PATIENT = "zwillinger-77"


def order(code: str, system: str = CPT) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": f"order-{code}",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{PATIENT}"},
        "authoredOn": "2026-11-20",
        "code": {"coding": [{"system": system, "code": code}]},
    }


def bundle(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": r} for r in resources]}


COVERAGE = {
    "resourceType": "Coverage",
    "id": "cov",
    "status": "active",
    "beneficiary": {"reference": f"Patient/{PATIENT}"},
    "payor": [{"identifier": {"system": "http://example.org/payer-id", "value": "aetna"}}],
}
SLIP = {
    "resourceType": "Condition",
    "id": "slip",
    "clinicalStatus": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
    },
    "subject": {"reference": f"Patient/{PATIENT}"},
    "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M43.12"}]},
}
PATIENT_RESOURCE = {
    "resourceType": "Patient",
    "id": PATIENT,
    "birthDate": "1961-04-07",
    "name": [{"family": "Zwillinger"}],
}
PREFETCH = {
    "patient": PATIENT_RESOURCE,
    "conditions": bundle(SLIP),
    "procedures": bundle(),
    "activeOrders": bundle(),
    "coverage": bundle(COVERAGE),
    "authorizations": bundle(),
    "observations": bundle(),
    "questionnaireResponses": bundle(),
}
ORDERS = (order("22551"), order("20930"), order("20939"))


def hook_request(*orders: Json, **fields: Any) -> Json:
    """A fresh order-sign request: neck fusion with marrow aspirate (20939) unless other orders are given."""
    request = {
        "hook": "order-sign",
        "hookInstance": str(uuid4()),
        "context": {
            "userId": "Practitioner/d1",
            "patientId": PATIENT,
            "draftOrders": {**bundle(*(orders or ORDERS)), "type": "collection"},
        },
        "prefetch": PREFETCH,
    }
    return copy.deepcopy(request | fields)


def marrow_cards(cards: list[Json]) -> list[Json]:
    """The cards about 20939."""
    return [card for card in cards if "20939" in card["summary"]]


def sample(exposition: str, name: str, **labels: str) -> float:
    """The value of one metric with exactly these labels, 0 if there is none; others of the same name are left out."""
    for line in exposition.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? ([-+.\deE]+|NaN)", line)
        if found and found[1] == name and dict(re.findall(r'(\w+)="([^"]*)"', found[2] or "")) == labels:
            return float(found[3])
    return 0.0
