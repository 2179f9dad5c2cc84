"""The pytest plugin as others use it: installed, in a project of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from tests.functional.replay_runs import STORIES, bundle_of, clean

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
