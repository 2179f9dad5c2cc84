"""Where `cds-service replay` writes: never over what it reads or does not own; and what is said when it cannot."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest
from support.paths import ROOT

from cds_service.commands import replay as command_
from cds_service.replay import judge
from cds_service.replay.journal import create
from cds_service.replay.places import parts
from tests.functional.replay_runs import clean, command, ndjson, policies, run, story


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policies(tmp_path_factory.mktemp("outputs"))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return ndjson(tmp_path / "in.ndjson", story("cervical-fusion"))


@pytest.mark.parametrize("way", ["itself", "symlink", "hard link"])
def test_an_output_that_is_an_input_is_refused(way: str, inputs: Path, cards: Path, tmp_path: Path) -> None:
    before, out = inputs.read_bytes(), tmp_path / "other.ndjson"
    if way == "symlink":
        out.symlink_to(inputs)
    elif way == "hard link":
        os.link(inputs, out)
    else:
        out = tmp_path / "." / "in.ndjson"
    said = run("replay", inputs, "--cards", cards, "--out", out, code=2).stderr
    assert "is read by this run, and would be written over" in said
    assert inputs.read_bytes() == before


def test_what_is_written_beside_the_output_spares_inputs_too(inputs: Path, cards: Path, tmp_path: Path) -> None:
    changes = inputs.rename(tmp_path / "x.changes.ndjson")
    before = changes.read_bytes()
    words = ("replay", changes, "--cards", cards)
    run(*words, "--baseline", cards, "--out", tmp_path / "x.ndjson", code=2)
    run(*words, "--report", changes, code=2)
    assert changes.read_bytes() == before
    before = cards.read_bytes()
    run(*words, "--out", cards, code=2)
    assert cards.read_bytes() == before
    said = run(*words, "--out", tmp_path / "o", "--report", tmp_path / "o", code=2).stderr
    assert "two outputs are the same file" in said


def test_an_output_among_the_inputs_of_the_next_run_is_refused(inputs: Path, cards: Path, tmp_path: Path) -> None:
    said = run("replay", tmp_path, "--cards", cards, "--out", tmp_path / "o.ndjson", code=2).stderr
    assert "the next run would read it" in said
    assert not (tmp_path / "o.ndjson").exists()


def test_a_folder_that_no_replay_made_is_not_deleted(inputs: Path, cards: Path, tmp_path: Path) -> None:
    mine = tmp_path / "o.ndjson.parts"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    words = ("replay", inputs, "--cards", cards, "--out", tmp_path / "o.ndjson")
    assert "was not made by a replay" in run(*words, code=2).stderr
    assert (mine / "thesis.txt").exists()
    (mine / "thesis.txt").unlink()
    run(*words)
    assert not mine.exists()


def test_two_runs_do_not_write_the_same_output(inputs: Path, cards: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.ndjson"
    words = ("replay", inputs, "--cards", cards, "--out", out)
    run(*words)
    before = out.read_bytes()
    with create(out):
        assert "another run is writing" in run(*words, code=2).stderr
        assert "another run is writing" in run(*words, "--resume", code=2).stderr
    assert out.read_bytes() == before
    run(*words)


def test_places_that_cannot_be_written_are_noticed_before_the_work(inputs: Path, cards: Path, tmp_path: Path) -> None:
    words = ("replay", inputs, "--cards", cards)
    said = run(*words, "--report", tmp_path / "none" / "r.html", code=2)
    assert "none does not exist" in said.stderr
    assert said.stdout == ""
    (tmp_path / "o.ndjson").write_text("former\n")
    (tmp_path / "o.ndjson.journal.new").mkdir()
    assert "must be a regular file" in run(*words, "--out", tmp_path / "o.ndjson", code=2).stderr
    assert "must be a regular file" in run(*words, "--out", "/dev/null", code=2).stderr
    assert (tmp_path / "o.ndjson").read_text() == "former\n"


def limited() -> None:
    """A disk that is full after 100,000 bytes of a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_full_disk_is_told_with_a_code_of_its_own(processes: str, cards: Path, tmp_path: Path) -> None:
    inputs = ndjson(tmp_path / "in.ndjson", *[story("cervical-fusion")] * 100)
    out, whole = tmp_path / "o.ndjson", tmp_path / "whole.ndjson"
    words = ("replay", inputs, "--cards", cards, "--processes", processes)
    done = subprocess.run(command(*words, "--out", out), cwd=ROOT, env=clean(), capture_output=True, text=True,
                          preexec_fn=limited, timeout=60)  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (14, False), done.stderr
    assert "the run could not go on: File too large. --resume goes on where it stopped." in done.stderr
    run(*words, "--out", out, "--resume")
    run(*words, "--out", whole)
    assert out.read_bytes() == whole.read_bytes()


def test_a_full_disk_while_an_export_is_sorted_promises_nothing(cards: Path, tmp_path: Path) -> None:
    run("synth", "--patients", 150, "--out", tmp_path / "export", "--format", "bulk")
    words = command("replay", tmp_path / "export", "--cards", cards, "--out", tmp_path / "o.ndjson")
    done = subprocess.run(words, cwd=ROOT, env=clean(), capture_output=True, text=True, preexec_fn=limited, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (14, False), done.stderr
    assert "--resume" not in done.stderr


def test_a_full_standard_output_is_told(inputs: Path, cards: Path) -> None:
    for more in (("--out", "-"), ()):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command("replay", inputs, "--cards", cards, *more), cwd=ROOT, env=clean(),
                                  stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)  # fmt: skip
        assert done.returncode == 14
        assert "the run could not go on: No space left on device." in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


@pytest.mark.parametrize("change", [
    lambda _: [], lambda _: {"format": 1}, lambda j: j | {"identity": 1}, lambda j: j | {"lengths": {}},
    lambda j: j | {"counted": {"tally": 1}}, lambda j: j | {"counted": {}}, lambda j: j | {"more": 1},
    lambda j: j | {"identity": j["identity"] | {"received": "soon"}},
])  # fmt: skip
def test_a_journal_that_no_run_has_written_is_refused(
    change: object, inputs: Path, cards: Path, tmp_path: Path
) -> None:
    words = ("replay", inputs, "--cards", cards, "--out", tmp_path / "o.ndjson")
    run(*words)
    journal = tmp_path / "o.ndjson.journal"
    journal.write_text(json.dumps(change(json.loads(journal.read_text()))))  # type: ignore[operator]
    said = run(*words, "--resume", code=11).stderr
    assert f"{journal}" in said
    assert "Start again without --resume." in said


@pytest.mark.parametrize("setting", ["CDS_DEFAULT_PAYER=aetna", "CDS_SERVICES=crd"])
def test_going_on_needs_the_same_settings(
    setting: str, inputs: Path, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("replay", inputs, "--cards", cards, "--out", tmp_path / "o.ndjson")
    run(*words)
    monkeypatch.setenv(*setting.split("="))
    assert "CDS_DEFAULT_PAYER or CDS_SERVICES has changed since" in run(*words, "--resume", code=11).stderr


def test_an_interrupt_before_there_is_a_journal_promises_nothing(
    inputs: Path, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_, "_engine", lambda _: interrupted)
    said = run("replay", inputs, "--cards", cards, "--out", tmp_path / "o.ndjson", code=130).stderr
    assert said.strip() == "Interrupted."


def test_synthetic_charts_are_not_mixed_with_other_files(tmp_path: Path) -> None:
    run("synth", "--patients", 2, "--out", tmp_path / "made")
    assert "is not empty" in run("synth", "--patients", 1, "--out", tmp_path / "made", code=2).stderr
    assert len(list((tmp_path / "made").rglob("*.json"))) == 2


def test_what_names_orders_and_patients_is_for_its_owner_only(cards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    before = os.umask(0o022)
    try:
        run("replay", ROOT / "fhir_fixtures" / "cervical-fusion", "--cards", cards, "--baseline", cards, "--out", out)
        with parts(out, resumed=False) as place:
            folder = stat.S_IMODE(place.stat().st_mode)
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {"out.ndjson": 0o600, "out.changes.ndjson": 0o600, "out.ndjson.journal": 0o600}
    assert folder == 0o700


def at_fault(*_: object, **__: object) -> None:
    raise KeyError("a value from the chart")


def test_an_internal_fault_is_no_change(
    inputs: Path, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two policy sets cannot be asked: nobody knows whether anything changes."""
    words = ("replay", inputs, "--cards", cards, "--baseline", cards, "--out", tmp_path / "o.ndjson")
    whole = judge.answer
    for faulty in ("policies", "baseline", "both"):
        calls = iter([faulty != "baseline", faulty != "policies"])
        monkeypatch.setattr(judge, "answer", lambda *a, c=calls, **k: at_fault() if next(c) else whole(*a, **k))
        done = run(*words, code=15)
        assert "Nothing changes against the baseline." in done.stdout
        assert f"{inputs}:1: internal: KeyError in at_fault, line " in done.stderr
        assert f"Not replayed: {2 if faulty == 'both' else 1} internal." in done.stdout
        assert (tmp_path / "o.changes.ndjson").read_bytes() == b""
        assert "a value from the chart" not in done.stdout + done.stderr


@pytest.mark.parametrize("place", ["cds_service.replay.local.do", "cds_service.replay.report.render"])
def test_a_run_that_an_internal_fault_ends_has_a_code_of_its_own(
    place: str, inputs: Path, cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, at_fault)
    done = run("replay", inputs, "--cards", cards, "--baseline", cards, "--out", tmp_path / "o.ndjson",
               "--report", tmp_path / "r.html", code=15)  # fmt: skip
    assert "a fault that nobody foresaw: KeyError at " in done.stderr
    assert done.stderr.endswith("Please report it. --resume goes on where it stopped.\n")
    assert "a value from the chart" not in done.stdout + done.stderr


def test_the_codes_are_documented(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    told = page.partition("Exit codes:")[2].partition("\n\n")[0]
    assert "15 after an internal fault" in told
    assert "15 that this program is at fault" in " ".join(run("replay", "--help").stdout.split())
