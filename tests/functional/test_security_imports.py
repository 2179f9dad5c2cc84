"""What lies in the working directory is data: no process of the service takes it for code."""

from __future__ import annotations

import copy
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import requests
from support.service import free_port

from tests.functional.deployment import CONTENT, PREFETCH, ROOT, SECRET, SLIP, Deployment, bundle, hook_request

# Imported at start or on first use, by the service or by what it uses.
NAMES = ("granian", "alembic", "jinja2", "yaml", "jsonschema", "prometheus_client", "flask", "rich", "cds_service",
         "sqlalchemy", "uuid", "decimal", "sitecustomize", "usercustomize")  # fmt: skip


def laid_out(folder: Path) -> Path:
    """A working directory full of modules that leave a mark when they are imported."""
    folder.mkdir()
    mark = "import os, sys\nopen(os.path.join({0!r}, 'ran-' + __name__ + '-' + str(os.getpid())), 'w').close()\n"
    for name in NAMES:
        (folder / f"{name}.py").write_text(mark.format(str(folder)))
    (folder / "fhir").mkdir()
    (folder / "fhir" / "__init__.py").write_text(mark.format(str(folder)))
    (folder / "__init__.py").touch()
    return folder


def test_no_process_of_the_service_imports_from_its_working_directory(tmp_path: Path) -> None:
    folder, site, admin = laid_out(tmp_path / "cwd"), Deployment(tmp_path), free_port()
    site.add("north")
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CDS_CLIENTS": str(site.clients_file),
        "CDS_DATABASE_URL": site.database, "CDS_LEDGER_KEY": SECRET, "CDS_CARDS": str(CONTENT),
        "CDS_PORT": str(site.port), "CDS_ADMIN_PORT": str(admin),
    }  # fmt: skip
    command = [Path(sys.executable).with_name("cds-service"), "serve"]
    with site.log_file.open("wb") as log:
        site.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        site.wait_until(site.answers)
        site.wait_until(lambda: answers(admin))
        odd = copy.deepcopy(SLIP) | {"recordedDate": "of late"}  # for fhir.resources to judge, which is imported late
        answer = site.call("north", hook_request(prefetch=PREFETCH | {"conditions": bundle(odd)}))
        assert answer.status_code == 200
        explanation = re.search(r"/explanations/[0-9a-f-]{36}", answer.text)
        assert explanation is not None
        for port in (site.port, admin):
            assert requests.get(f"http://127.0.0.1:{port}{explanation[0]}", timeout=20).status_code == 200
        assert requests.get(f"http://127.0.0.1:{admin}/metrics", timeout=20).status_code == 200
    finally:
        assert site.stop() == 0
    assert sorted(path.name for path in folder.glob("ran-*")) == []


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_the_image_does_not_work_where_it_writes() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    final = lines[lines.index("FROM python:3.13-slim") :]
    [volume] = [line.removeprefix("VOLUME ") for line in final if line.startswith("VOLUME")]
    [place] = [line.removeprefix("WORKDIR ") for line in final if line.startswith("WORKDIR")]
    assert not Path(place).is_relative_to(volume)
    assert any("PYTHONSAFEPATH=1" in line for line in final)
    assert any(f"CDS_DATABASE_URL=sqlite:///{volume}/" in line for line in final)
