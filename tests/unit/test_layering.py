"""Imports run one way (docs: architecture): who may know whom, and which packages know neither web, disk nor clock."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "cds_service"
EVERYONE = {"errors", "config", "files", "urls"}
# What each room may import beside itself, and beside what everyone may.
ALLOWED: dict[str, set[str]] = {
    "policy": set(),
    "determination": {"policy"},
    "render": {"policy", "determination"},
    "facts": {"policy"},
    "content_files": {"policy", "render"},
    "ledger": set(),
    "hooks": {"facts", "policy", "determination", "render", "ledger", "content_files"},
    "auth": {"hooks", "facts", "policy", "ledger", "render"},
    "replay": {"hooks", "facts", "policy", "determination", "render", "content_files"},
    "web": {"auth", "hooks", "facts", "policy", "determination", "render", "ledger", "replay", "content_files"},
}
# Nobody imports these: they are where a process starts.
TOPS = {"cli", "commands"}
PURE = ("policy", "determination", "render")
# What a pure package may use of the standard library, and beside it.
PURE_LIBRARIES = {"pydantic", "pydantic_core", "yaml", "jinja2", "markupsafe", "orjson", "jsonschema"}
IMPURE_STANDARD = {
    "os", "io", "time", "socket", "subprocess", "random", "secrets", "threading", "asyncio", "logging", "sqlite3",
    "http", "urllib", "tempfile", "shutil", "glob", "pathlib", "sys", "multiprocessing", "ssl", "uuid",
}  # fmt: skip
CLOCKS = {"now", "today", "utcnow", "fromtimestamp", "perf_counter", "monotonic"}
FHIR_JUDGES = {"facts/intake.py", "facts/validity.py", "facts/generate_schema.py"}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import, also those inside functions; no relative ones are used here."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            if node.module == "cds_service":
                for alias in node.names:
                    yield f"cds_service.{alias.name}", node.lineno
            else:
                yield node.module, node.lineno


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_the_rooms_are_known() -> None:
    assert {room(p) for p in modules()} <= ALLOWED.keys() | TOPS | EVERYONE | {"__init__"}
    assert set(PURE) <= {room(p) for p in modules()}


def test_the_plan_itself_has_no_circle() -> None:
    def below(one: str, seen: tuple[str, ...] = ()) -> set[str]:
        assert one not in seen, f"circle: {' -> '.join((*seen, one))}"
        return ALLOWED[one].union(*(below(other, (*seen, one)) for other in ALLOWED[one]))

    for one in ALLOWED:
        assert one not in below(one)


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_run_one_way(path: Path) -> None:
    own = room(path)
    faults = []
    for target, line in imported(path):
        if not target.startswith("cds_service."):
            continue
        other = target.split(".")[1]
        if own in TOPS or other == own:
            continue
        allowed = EVERYONE | (ALLOWED.get(own, set()) if own not in EVERYONE else set())
        if other not in allowed:
            faults.append(f"{name(path)}:{line} imports {target}")
    assert faults == []


# The engine. What it finds leaves determination/ as a Decision, so that whoever reads that needs to know none of these.
ENGINE = {f"cds_service.policy.{n}" for n in ("evaluate", "view", "rules", "criteria", "formula", "compile")}
DECIDING = {f"cds_service.determination.{n}" for n in ("decider", "options", "closing")}


@pytest.mark.parametrize("path", modules(), ids=name)
def test_the_engine_is_known_only_to_those_who_decide(path: Path) -> None:
    own = room(path)
    private = (set() if own in ("policy", "determination") else ENGINE) | (
        set() if own == "determination" else DECIDING
    )
    assert [f"{name(path)}:{line} imports {target}" for target, line in imported(path) if target in private] == []


def test_the_engine_is_where_it_is_looked_for() -> None:
    """A module that is renamed must not get out of the rule above."""
    known = {f"cds_service.{name(p).removesuffix('.py').replace('/', '.')}" for p in modules()}
    assert known >= ENGINE | DECIDING


def _pure() -> list[Path]:
    return [p for p in modules() if room(p) in PURE]


@pytest.mark.parametrize("path", _pure(), ids=name)
def test_pure_packages_use_no_web_disk_or_process(path: Path) -> None:
    faults = []
    for target, line in imported(path):
        top = target.split(".")[0]
        if top == "cds_service":
            fine = target.split(".")[1] != "config"
        elif top in sys.stdlib_module_names:
            fine = top not in IMPURE_STANDARD
        else:
            fine = top in PURE_LIBRARIES
        if not fine:
            faults.append(f"{name(path)}:{line} imports {target}")
    assert faults == []


@pytest.mark.parametrize("path", _pure(), ids=name)
def test_pure_packages_read_no_clock_and_open_no_file(path: Path) -> None:
    faults = []
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in CLOCKS:
            faults.append(f"{name(path)}:{node.lineno} calls .{called.attr}()")
        if isinstance(called, ast.Name) and called.id in {"open", "print", "input", "exec", "eval"}:
            faults.append(f"{name(path)}:{node.lineno} calls {called.id}()")
    assert faults == []


def test_only_intake_knows_fhir_resources() -> None:
    users = {name(p) for p in modules() for target, _ in imported(p) if target.split(".")[0] in ("fhir", "fhir_core")}
    assert users
    assert users <= FHIR_JUDGES


def test_only_the_edge_knows_flask_and_only_the_ledger_sql() -> None:
    for library, rooms in {"flask": {"web"}, "sqlalchemy": {"ledger"}, "requests": {"facts", "auth"}}.items():
        users = {room(p) for p in modules() for target, _ in imported(p) if target.split(".")[0] == library}
        assert users <= rooms, library
