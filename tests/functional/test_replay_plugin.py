"""The pytest plugin as others use it: installed, in a project of their own."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from support.paths import ROOT

from cds_service.errors import CdsServiceError
from cds_service.replay.in_memory import Replayer
from cds_service.replay.pytest_plugin import Replayed
from tests.functional.replay_runs import STORIES, bundle_of, clean, story

PAGE = ROOT / "docs" / "replay.md"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's tests: the example of docs/replay.md, with the chart it speaks of."""
    (example,) = re.findall(r"```python\n# test_orders\.py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "test_orders.py").write_text(example)
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "fusion.json").write_text(json.dumps(bundle_of("cervical-fusion")))
    (tmp_path / "charts" / "request.json").write_bytes((STORIES / "cervical-fusion" / "request.json").read_bytes())
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return tmp_path


def run_tests(project: Path, *more: str) -> tuple[int, str]:
    others = ("cacheprovider", "xdist", "schemathesis", "hypothesispytest", "playwright", "anyio", "faker")
    without = [word for name in others for word in ("-p", f"no:{name}")]  # so that a run does not load them all
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *without, *more],
                          cwd=project, env=clean(), capture_output=True, text=True, timeout=60)  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_example_of_the_manual(project: Path) -> None:
    golden = project / "golden" / "fusion.json"
    code, said = run_tests(project)
    assert (code, golden.exists()) == (1, False)
    assert "Write it with --update-golden" in said
    code, said = run_tests(project, "--update-golden")
    assert code == 0, said
    held = json.loads(golden.read_text())
    assert held["cards"][0]["summary"].startswith("Bone marrow aspirate (20939) is not supported")
    code, said = run_tests(project)
    assert code == 0, said
    held["determinations"][0]["outcome"] = "denied"
    golden.write_text(json.dumps(held))
    code, said = run_tests(project)
    assert code == 1
    assert '-      "outcome": "denied"' in said
    assert "--update-golden accepts this" in said


def test_a_variable_that_is_no_setting_fails_no_test(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "test_orders.py").write_text(
        "def test_it(cds_replay):\n    assert cds_replay('charts/request.json').determinations\n"
    )
    monkeypatch.setattr("tests.functional.test_replay_plugin.clean", lambda: clean() | {"CDS_OF_ANOTHER_TOOL": "1"})
    code, said = run_tests(project)
    assert code == 0, said


@pytest.fixture(scope="module")
def replayer() -> Replayer:
    return Replayer()


def test_text_and_files_in_every_dress(replayer: Replayer, tmp_path: Path) -> None:
    request = json.dumps(story("cervical-fusion"))
    one = replayer.replay(json.loads(request)).determinations
    assert one
    twice = f"{request}\n\n{request}\n"
    (tmp_path / "in.ndjson").write_text(twice)
    (tmp_path / "in.json.gz").write_bytes(gzip.compress(twice.encode()))
    for source in (request, request.encode(), gzip.compress(request.encode()), f"\n{request}"):
        assert replayer.replay(source).determinations == one
    for source in (twice, twice.encode(), gzip.compress(twice.encode()), tmp_path / "in.ndjson",
                   str(tmp_path / "in.json.gz")):  # fmt: skip
        told = replayer.replay(source)
        assert (told.determinations, told.problems) == (one * 2, [])
    assert replayer.replay(f"{request}\n{{\n").problems[0].startswith("source:2: faulty: is not JSON")


def test_faults_are_errors_and_not_answers(replayer: Replayer, monkeypatch: pytest.MonkeyPatch) -> None:
    request = story("cervical-fusion")
    for wrong in ("2020-01-01", datetime(2020, 1, 1, tzinfo=UTC)):
        with pytest.raises(TypeError, match=r"as_of must be a datetime\.date, not"):
            replayer.replay(request, wrong)  # type: ignore[arg-type]
    assert replayer.replay(request, date(2026, 1, 1)).determinations

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("cds_service.replay.judge.answer", broken)
    with pytest.raises(CdsServiceError, match="internal: ZeroDivisionError"):
        replayer.replay(request)


def test_a_golden_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "golden.json").write_text("<<<<<<< HEAD\n")
    with pytest.raises(pytest.fail.Exception, match=r"golden\.json is not JSON: .* --update-golden writes it anew\."):
        Replayed([], [], [], []).check(tmp_path / "golden.json")
