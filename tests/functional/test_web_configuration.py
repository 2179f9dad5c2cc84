"""Settings: the page is in step with the code, every one does something, and nonsense stops the start."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from cds_service.config import Settings, as_markdown, from_environment
from cds_service.errors import ConfigurationError
from cds_service.hooks.runtime import Runtime
from cds_service.web.process import open_ledger
from cds_service.web.server import _fhir_client
from tests.functional.deployment import CONTENT, ROOT

NAMES = [field.name for field in fields(Settings)]


def test_the_page_is_made_from_the_settings() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == as_markdown(), "Renew it: python -m cds_service.config > docs/configuration.md"
    assert all(f"| `CDS_{name.upper()}` |" in page for name in NAMES)


def used() -> set[str]:
    """Settings that the code reads: `settings.name`, `listed("name")`, or through a property of Settings."""
    found: set[str] = set()
    for file in (ROOT / "cds_service").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and "settings" in ast.unparse(node.value).lower():
                found.add(node.attr)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "listed":
                found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    behind = {"base_url": {"host", "port", "public_url"}, "database": {"database_url"}, "offered": {"services"}}
    return found.union(*(names for name, names in behind.items() if name in found))


def test_every_setting_is_used() -> None:
    assert set(NAMES) - used() == set()


def test_the_examples_of_container_files_name_real_settings() -> None:
    known = {f"CDS_{name.upper()}" for name in NAMES}
    for file in ("Dockerfile", "compose.yaml", "docs/operations.md", "docs/security.md", "docs/clients.md"):
        words = (ROOT / file).read_text(encoding="utf-8").replace("=", " ").replace(":", " ").replace("`", " ").split()
        named = {w.strip(".,;()") for w in words if w.startswith("CDS_")} - {"CDS_*"}
        assert {w if w in known else w.removesuffix("_FILE") for w in named} <= known, file


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CDS_WORKERS", "many", "CDS_WORKERS must be a whole number."),
        ("CDS_WORKERS", "", "CDS_WORKERS must be a whole number."),
        ("CDS_WORKERS", "1e9", "CDS_WORKERS must be a whole number."),
        ("CDS_WORKERS", "0", "CDS_WORKERS must be a whole number from 1 to 256."),
        ("CDS_READ_DEADLINE", "nan", "CDS_READ_DEADLINE must be a number from 0.001 to 3600."),
        ("CDS_FETCH_DEADLINE", "inf", "CDS_FETCH_DEADLINE must be a number from 0.001 to 600."),
        ("CDS_FETCH_DEADLINE", "soon", "CDS_FETCH_DEADLINE must be a number."),
        ("CDS_PORT", "0", "CDS_PORT must be a whole number from 1 to 65535."),
        ("CDS_PORT", "70000", "CDS_PORT must be a whole number from 1 to 65535."),
        ("CDS_EXPLANATION_DAYS", "-3", "CDS_EXPLANATION_DAYS must be a whole number from 1 to 36500."),
        ("CDS_EXPLANATION_DAYS", "99999999999", "CDS_EXPLANATION_DAYS must be a whole number from 1 to 36500."),
        ("CDS_TOKEN_LIFETIME", "3601", "CDS_TOKEN_LIFETIME must be a whole number from 1 to 3600."),
        ("CDS_CLOCK_LEEWAY", "0", "CDS_CLOCK_LEEWAY must be a whole number from 1 to 120."),
        ("CDS_DEMO", "perhaps", "CDS_DEMO must be true or false."),
        ("CDS_LEDGER_SYNC", "often", "CDS_LEDGER_SYNC must be one of normal, full."),
        ("CDS_SERVICES", "advisor,crd,dtr", "CDS_SERVICES: 'dtr' is not advisor or crd."),
        ("CDS_SERVICES", " , ", "CDS_SERVICES must name advisor, crd, or both."),
        ("CDS_HOST", "", "CDS_HOST must be an IP address or a host name."),
        ("CDS_ADMIN_HOST", "two words", "CDS_ADMIN_HOST must be an IP address or a host name."),
        ("CDS_ALLOW_FHIR", "foo", "CDS_ALLOW_FHIR is not an absolute URL: write https://host/path."),
        ("CDS_PUBLIC_URL", "https://h/../x", "CDS_PUBLIC_URL holds . or .. in its path: remove it."),
        ("CDS_PUBLIC_URL", "https://a,https://b", "CDS_PUBLIC_URL holds a comma: name one."),
        ("CDS_CORS_ORIGINS", "https://h/path",
         "CDS_CORS_ORIGINS is not an origin: write scheme://host or scheme://host:port, in lower case."),
        ("CDS_DEFAULT_PAYER", "aetna,humana", "CDS_DEFAULT_PAYER holds a comma: name one."),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused(name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_environment({name: value})
    assert str(caught.value) == told


NONSENSE = ("", " ", "-1", "0", "1e9", "1e999", "nan", "9" * 5000, "a b", "\u0664", "*", "[::g")


def refusal(environment: dict[str, str]) -> str:
    """Why a service with these settings does not start; empty if it would."""
    try:
        settings = from_environment(environment)
        Runtime.build(settings)
        _fhir_client(settings).close()
        if settings.database_url:  # an empty one is the default, in the folder where the test runs
            open_ledger(settings).close()
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", NAMES)
def test_nonsense_in_any_setting_is_refused_by_its_name_or_harmless(tmp_path: Path, name: str) -> None:
    good = {"CDS_DEMO": "1", "CDS_CARDS": str(CONTENT), "CDS_DATABASE_URL": f"sqlite:///{tmp_path}/l.db"}
    variable = f"CDS_{name.upper()}"
    told = {value[:9]: refusal(good | {variable: value}) for value in NONSENSE}
    assert {value: text for value, text in told.items() if text and variable not in text} == {}


@pytest.mark.parametrize("name", ["payers", "default_payer"])
def test_payers_must_be_in_the_registry(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"CDS_{name.upper()}: 'aetan' is not in payers.yaml. Known: aetna."):
        Runtime.build(from_environment({}, cards=str(CONTENT), **{name: "aetan"}))


def test_demo_listens_on_loopback_only() -> None:
    with pytest.raises(ConfigurationError, match="--demo listens on loopback only"):
        from_environment({}, demo=True, host="0.0.0.0").check_listening()


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ({}, 2, "clients are missing: declare them in a file (CDS_CLIENTS), or use --demo."),
        ({"CDS_CLIENTS": "{folder}/none.yaml"}, 2, "cannot be read"),
        ({"CDS_CLIENTS": "{folder}/empty.yaml"}, 2, "declares no clients"),
        ({"CDS_DEMO": "1", "CDS_CONTROL": "{folder}/control.yaml"}, 2, "policies: 'no/such' is not known"),
        ({"CDS_DEMO": "1", "CDS_FHIR_CA_FILE": "{folder}/none.pem"}, 2, "none.pem"),
        ({"CDS_DEMO": "1", "CDS_CARDS": "{folder}/cards"}, 10, "surplus.yaml:1:1: "),
    ],
)
def test_serve_refuses_to_start_and_says_why(tmp_path: Path, options: dict[str, str], code: int, told: str) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "surplus.yaml").write_text("format: 1\n")
    (tmp_path / "empty.yaml").write_text("format: 1\nclients: []\n")
    (tmp_path / "control.yaml").write_text("format: 1\npolicies: {no/such: silent}\n")
    environment = {"CDS_CARDS": str(CONTENT), "CDS_DATABASE_URL": f"sqlite:///{tmp_path}/l.db"} | options
    environment = {name: value.format(folder=tmp_path) for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-m", "cds_service.cli", "serve", "--port", "8099"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert told in done.stderr


def test_a_variable_that_is_no_setting_is_a_line_of_the_log(tmp_path: Path) -> None:
    environment = {"CDS_TYPO": "1", "CDS_CARDS": str(CONTENT), "CDS_DATABASE_URL": f"sqlite:///{tmp_path}/l.db"}
    done = subprocess.run(
        [sys.executable, "-m", "cds_service.cli", "serve"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    first, *others = done.stderr.splitlines()
    assert json.loads(first)["message"] == "CDS_TYPO is not a setting; docs/configuration.md lists them."
    assert [line.split(":")[0] for line in others] == ["cds-service"]


def test_several_fhir_servers_may_be_allowed_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of them used to win, silently."""
    from click.testing import CliRunner

    from cds_service.cli import cli
    from cds_service.web import server

    given: list[dict[str, object]] = []
    monkeypatch.setattr(server, "run", given.append)
    servers = ["https://a.example.org/fhir", "https://b.example.org/fhir"]
    called = CliRunner().invoke(cli, ["serve", "--demo", "--allow-fhir", servers[0], "--allow-fhir", servers[1]])
    assert called.exit_code == 0, called.output
    assert from_environment(**given[0]).listed("allow_fhir") == tuple(servers)
    CliRunner().invoke(cli, ["serve", "--demo"])
    assert given[1]["allow_fhir"] is None
