"""An interrupted replay goes on where it stopped: each determination once, also after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.paths import ROOT

from cds_service.replay.journal import Journal, State, create
from cds_service.replay.judge import Result
from cds_service.replay.output import Output
from tests.functional.replay_runs import clean, command, ndjson, policies, run, story

FORMS = ("requests", "bulk")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    for form in FORMS:
        run("synth", "--patients", 600, "--seed", 9, "--out", folder / form, "--format", form)
    policies(folder)
    for form in FORMS:
        run("replay", folder / form, "--cards", folder / "cards.compiled", "--out", folder / f"{form}.whole")
    return folder


def begin(made: Path, form: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    words = ("replay", made / form, "--cards", made / "cards.compiled", "--out", out, *more)
    return subprocess.Popen(command(*words), cwd=ROOT, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def until(process: subprocess.Popen[bytes], out: Path, size: int) -> bool:
    """Wait until the output has a size; False if the run ended before."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if out.exists() and out.stat().st_size >= size:
            return True
        time.sleep(0.005)
    raise AssertionError("no output in 60 s")


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(("form", "processes"), [("requests", "2"), ("bulk", "1")])
def test_kill_9_and_resume_lose_and_double_nothing(form: str, processes: str, made: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "o.ndjson", (made / f"{form}.whole").read_bytes()
    killed = 0
    for share in (0.15, 0.6):
        process = begin(made, form, out, "--processes", processes, *(("--resume",) if killed else ()))
        assert process.stderr is not None
        if until(process, out, int(len(whole) * share)):
            workers = children(process.pid)
            process.kill()
            killed += 1
        process.wait(20)
        process.stderr.close()
        assert all(gone(pid) for pid in workers), "a worker outlives its parent"
    assert killed
    run("replay", made / form, "--cards", made / "cards.compiled", "--out", out, "--resume", "--processes", processes)
    assert out.read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.ndjson", "o.ndjson.journal"]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().split(") ")[-1].startswith("Z"):
            return True
        time.sleep(0.02)
    return False


def test_an_interrupt_says_how_to_go_on(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.ndjson"
    process = begin(made, "requests", out, "--processes", "2")
    assert until(process, out, 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Interrupted. --resume goes on where it stopped." in said
    assert b"Traceback" not in said
    done = run("replay", made / "requests", "--cards", made / "cards.compiled", "--out", out, "--resume")
    assert out.read_bytes() == (made / "requests.whole").read_bytes()
    assert "600 events" in done.stdout


def test_an_interrupt_within_a_piece_leaves_it_to_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines are written, but not counted yet: to vouch for them would write them twice."""
    journal = Journal(tmp_path / "o.ndjson")
    with create(tmp_path / "o.ndjson") as file:
        output = Output(
            {"lines": file}, journal, State({"received": "2026-11-27T00:00:00+00:00"}), tmp_path / "o.ndjson"
        )
        output.begin()
        output.write(Result(lines=bytearray(b"first\n")))
        output.begin()

        def interrupted(_result: Result) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(output.outcome, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            output.write(Result(lines=bytearray(b"second\n")))
        output.interrupted()
    state = journal.read()
    assert state is not None
    assert (state.done, state.lengths) == (1, {"lines": len(b"first\n")})


def test_going_on_needs_the_same_inputs_and_policies(made: Path, tmp_path: Path) -> None:
    inputs = ndjson(tmp_path / "in.ndjson", *[story("cervical-fusion")] * 100)
    out = tmp_path / "o.ndjson"
    words = ("replay", inputs, "--cards", made / "cards.compiled", "--out", out)
    process = subprocess.Popen(command(*words), cwd=ROOT, env=clean(), stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    assert until(process, out, 1)
    process.kill()
    process.wait(20)
    said = run("replay", inputs, "--out", out, "--resume", "--service", "order-sign-advisor",
               "--cards", made / "cards.compiled", code=11).stderr  # fmt: skip
    assert "the service has changed since. Start again without --resume." in said
    ndjson(inputs, story("cervical-fusion"))
    said = run(*words, "--resume", code=11).stderr
    assert "the inputs have changed since. Start again without --resume." in said
    run(*words)
    before = out.read_bytes()
    assert "1 events" in run(*words, "--resume").stdout, "a finished run is finished"
    assert out.read_bytes() == before
    (tmp_path / "o.ndjson.journal").unlink()
    assert "has no journal" in run(*words, "--resume", code=11).stderr
    assert "--resume needs --out FILE" in run("replay", inputs, "--resume", code=2).stderr
