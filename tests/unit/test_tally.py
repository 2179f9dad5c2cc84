"""Counting: numbers that other processes read, kept when their process ends, and never mixed up as they grow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cds_service.web import metrics, tally
from cds_service.web.tally import Tally

MANY = 5000  # more than fit at first


def counted(folder: Path) -> dict[tuple[str, ...], list[float]]:
    return {key: numbers for _, key, numbers in tally.read(folder)}


@pytest.mark.parametrize("shared", [True, False])
def test_numbers_stay_with_their_keys_beyond_the_first_size(shared: bool, tmp_path: Path) -> None:
    here = Tally(tmp_path if shared else None)
    with here.lock:
        for number in range(MANY):
            here.add(("name", str(number)), number)
        here.add(("wide",), 0.5, 2, 3)
        here.put(("name", "7"), 0.25)
    found = dict(here.rows())
    expected = {("name", str(n)): [float(n)] for n in range(MANY)} | {("wide",): [0.0, 0.0, 0.5], ("name", "7"): [0.25]}
    assert found == expected
    assert (counted(tmp_path) == found) is shared


def test_what_is_being_written_is_left_out(tmp_path: Path) -> None:
    here = Tally(tmp_path)
    with here.lock:
        here.put(("whole",), 3)
    [keys] = tmp_path.glob("*.keys")
    with keys.open("ab") as file:
        file.write(b'[1,1,["hal')
    assert counted(tmp_path) == {("whole",): [3.0]}


OTHER = """
import sys
from pathlib import Path
from cds_service.web import metrics
metrics.share(Path(sys.argv[1]))
metrics.called("hook", "advisor", 200, 0.002)
metrics.called("hook", "advisor", 200, 0.3)
metrics.holds_revision(None, "0123456789abcdef")
"""


def test_processes_are_added_up_and_one_that_has_ended_holds_no_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics._Here, "folder", None)
    monkeypatch.setattr(metrics._Here, "tally", Tally())
    metrics.share(tmp_path)
    metrics.called("hook", "advisor", 200, 7.0)
    metrics.holds_revision(None, "0123456789abcdef")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", OTHER, str(tmp_path)], check=True, env=environment)
    lines = metrics.exposition()[0].decode().splitlines()
    assert 'cds_calls_total{endpoint="hook",service="advisor",status="200"} 3.0' in lines
    assert 'cds_call_seconds_bucket{le="0.001",service="advisor"} 0.0' in lines
    assert 'cds_call_seconds_bucket{le="0.0025",service="advisor"} 1.0' in lines
    assert 'cds_call_seconds_bucket{le="0.5",service="advisor"} 2.0' in lines
    assert 'cds_call_seconds_bucket{le="+Inf",service="advisor"} 3.0' in lines
    assert 'cds_call_seconds_count{service="advisor"} 3.0' in lines
    assert 'cds_call_seconds_sum{service="advisor"} 7.302' in lines
    assert 'cds_content_workers{revision="0123456789ab"} 1.0' in lines
