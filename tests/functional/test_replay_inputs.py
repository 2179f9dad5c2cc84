"""`cds-service replay` over every kind of input, whole and broken."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from tests.functional.replay_runs import STORIES, bundle_of, chart, ndjson, policies, rows, run, story, told

Json = dict[str, Any]
PATIENTS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same synthetic patients in all formats, and the policies as one file."""
    folder = tmp_path_factory.mktemp("made")
    for form in ("bundles", "bulk", "requests"):
        run("synth", "--patients", PATIENTS, "--seed", 7, "--out", folder / form, "--format", form)
    policies(folder)
    return folder


def replay(made: Path, *paths: Path | str, out: Path, code: int = 0, options: tuple[str, ...] = ()) -> str:
    """Replay; what it says on both streams."""
    done = run("replay", *paths, "--cards", made / "cards.compiled", "--out", out, *options, code=code)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def expected(made: Path) -> list[str]:
    """What the hook requests come to."""
    replay(made, made / "requests", out=made / "expected.ndjson")
    found = told(made / "expected.ndjson")
    orders = len((made / "bulk" / "ServiceRequest.ndjson").read_text().splitlines())
    named = {(r["event"], r["order"]) for r in rows(made / "expected.ndjson")}
    assert len(named) == orders
    return found


@pytest.mark.parametrize(("form", "processes"), [("bundles", "1"), ("bulk", "1"), ("bulk", "2")])
def test_charts_come_to_what_their_hook_requests_come_to(
    form: str, processes: str, made: Path, expected: list[str], tmp_path: Path
) -> None:
    replay(made, made / form, out=tmp_path / "o.ndjson", options=("--processes", processes))
    assert told(tmp_path / "o.ndjson") == expected
    origins = {r["file"] for r in rows(tmp_path / "o.ndjson")}
    assert len(origins) == (1 if form == "bulk" else PATIENTS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.ndjson", "o.ndjson.journal"]


@pytest.mark.parametrize("form", ["bundles", "bulk", "requests"])
def test_gzipped_inputs_under_a_glob(form: str, made: Path, expected: list[str], tmp_path: Path) -> None:
    for file in (p for p in (made / form).rglob("*") if p.is_file()):
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
    replay(made, f"{tmp_path}/*.gz", out=tmp_path / "o.ndjson", options=("--strict",))
    assert told(tmp_path / "o.ndjson") == expected


@pytest.mark.parametrize("kind", ["collection", "transaction", "searchset", "document"])
def test_a_bundle_of_a_story_gives_what_its_request_gives(kind: str, made: Path, tmp_path: Path) -> None:
    for name in ("cervical-fusion", "marrow-only-graft"):
        bundle = bundle_of(name) | {"type": kind}
        if kind == "document":
            composition = {"resourceType": "Composition", "id": "c", "status": "final"}
            bundle["entry"] = [{"resource": composition}, *bundle["entry"]]
        (tmp_path / "bundle.json").write_text(json.dumps(bundle, indent=1))
        replay(made, tmp_path / "bundle.json", out=tmp_path / "bundle.ndjson", options=("--strict",))
        replay(made, STORIES / name, out=tmp_path / "story.ndjson")
        outcomes = [
            Counter((r["order"], r["policy"], r["role"], r["outcome"]) for r in rows(tmp_path / f))
            for f in ("bundle.ndjson", "story.ndjson")
        ]
        assert outcomes[0] == outcomes[1]
        assert any(outcome == "not-supported" for _, _, _, outcome in outcomes[0])


def test_in_a_story_folder_only_the_request_is_replayed(made: Path, tmp_path: Path) -> None:
    said = replay(made, STORIES, out=tmp_path / "o.ndjson", options=("--strict",))
    found = {r["file"] for r in rows(tmp_path / "o.ndjson")}
    stories = [p for p in STORIES.iterdir() if p.is_dir()]
    assert {Path(f).parent.name for f in found} <= {p.name for p in stories}
    assert {Path(f).name for f in found} == {"request.json"}
    assert f"{len(stories)} events" in said


def test_determinations_are_those_of_evaluate(made: Path, tmp_path: Path) -> None:
    request = STORIES / "cervical-fusion" / "request.json"
    replay(made, request, out=tmp_path / "o.ndjson")
    done = run("evaluate", request, "--json", "--cards", made / "cards.compiled")
    body = story("cervical-fusion")
    origin = {"file": str(request), "line": None, "event": body["hookInstance"]}
    assert rows(tmp_path / "o.ndjson") == [origin | d for d in json.loads(done.stdout)["determinations"]]


def test_commands_that_listen_nowhere_run_where_the_service_listens_everywhere(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDS_HOST", "0.0.0.0")  # as in the image
    request = STORIES / "cervical-fusion" / "request.json"
    assert "1 events" in replay(made, request, out=tmp_path / "o.ndjson")
    assert "determinations" in json.loads(run("evaluate", request, "--json", "--cards", made / "cards.compiled").stdout)


def test_what_cannot_be_read_is_named_by_file_and_line_and_stops_nothing(made: Path, tmp_path: Path) -> None:
    good = story("cervical-fusion")
    other_hook = {**good, "hook": "medication-refill"}
    ndjson(tmp_path / "mixed.ndjson", good, '{"hook": ', "", good, other_hook, {"resourceType": "Patient", "id": "x"})
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "cut.ndjson.gz").write_bytes(gzip.compress(json.dumps(good).encode() * 50)[:-300])
    (tmp_path / "notes.json").write_text('{"note": "a secret of a patient"}')
    (tmp_path / "empty.json").write_text(json.dumps(chart("cervical-fusion") | {"entry": []}))
    said = replay(made, tmp_path, out=tmp_path / "o.out")
    place = str(tmp_path)
    expected = [
        f"{place}/cut.ndjson.gz:1: faulty: the gzip data is damaged or cut off",
        f"{place}/broken.json: faulty: is not JSON (line 1, column 2)",
        f"{place}/empty.json: skipped: a Bundle that holds no orders",
        f"{place}/notes.json: skipped: another kind of JSON, neither a hook request nor a Bundle",
        f"{place}/mixed.ndjson:2: faulty: is not JSON (line 1, column 9)",
        f"{place}/mixed.ndjson:5: refused: 400: hook is one that no service answers",
        f"{place}/mixed.ndjson:6: skipped: a Patient by itself, neither a hook request nor a Bundle",
    ]
    lines = said.splitlines()
    assert [line for line in lines if line.startswith(place)] == expected
    assert "Not replayed: 3 faulty, 1 refused, 3 skipped." in said
    assert "secret" not in said
    assert Counter(r["line"] for r in rows(tmp_path / "o.out")).keys() == {1, 4}
    assert "2 events" in said
    replay(made, tmp_path, out=tmp_path / "o.out", code=11, options=("--strict",))


def test_broken_lines_of_an_export_are_named(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "bulk", tmp_path / "export")
    orders = tmp_path / "export" / "ServiceRequest.ndjson"
    lines = orders.read_text().splitlines()
    bare = {k: v for k, v in json.loads(lines[0]).items() if k != "subject"}
    orders.write_text("\n".join([lines[0], "{oops", *lines[1:], json.dumps(bare), ""]))
    said = replay(made, tmp_path / "export", out=tmp_path / "o.ndjson")
    told_of = [line for line in said.splitlines() if line.startswith(str(orders))]
    assert told_of == [
        f"{orders}:2: faulty: is not JSON (column 2)",
        f"{orders}:{len(lines) + 2}: faulty: is a ServiceRequest that names no patient",
    ]
    assert len({(r["event"], r["order"]) for r in rows(tmp_path / "o.ndjson")}) == len(lines)


def test_nothing_to_replay_is_an_error(tmp_path: Path) -> None:
    assert "does not exist" in run("replay", tmp_path / "nowhere", code=11).stderr
    assert "nothing to replay" in run("replay", tmp_path, code=11).stderr


def test_a_crd_service_can_be_named(made: Path, tmp_path: Path) -> None:
    done = run("replay", STORIES / "cervical-fusion", "--service", "order-sign-crd", "--out", "-",
               "--cards", made / "cards.compiled")  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("coverage_information" in d for d in found)
    assert "1 events" in done.stderr
    assert run("replay", STORIES, "--service", "order-signs", code=13).stderr.startswith("error: There is no service")


def test_the_summary_counts_by_policy_rule_and_outcome(made: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    said = replay(made, STORIES / "cervical-fusion", out=tmp_path / "o.ndjson", options=("--report", str(report)))
    for entry in rows(tmp_path / "o.ndjson"):
        rule = entry["trace"].get("decided_by", "-")
        line = next(x for x in said.splitlines() if (entry["policy"] or "(no coverage") in x and f" {rule} " in x)
        assert entry["role"] in line
    page = report.read_text(encoding="utf-8")
    assert "<svg" in page
    assert "<script" not in page
    assert "aetna/bone-graft-adjuncts" in page


def test_text_of_a_chart_is_shown_as_it_is(made: Path, tmp_path: Path) -> None:
    """Neither markup nor emoji: an event's id in the table of changes, a line's number after a file's name."""
    told = ("[/x]", "[bold]y", "\x1b[2Jz")
    ndjson(tmp_path / "in.ndjson", *[story("cervical-fusion") | {"hookInstance": t} for t in told], *["{"] * 97)
    fewer = tmp_path / "fewer"
    shutil.copytree(ROOT / "cards", fewer)
    shutil.rmtree(fewer / "aetna" / "bone-graft-adjuncts")
    said = replay(made, tmp_path / "in.ndjson", out=tmp_path / "o.ndjson", code=1, options=("--baseline", str(fewer)))
    assert "[/x]" in said
    assert "[bold]y" in said
    assert "\x1b" not in said
    assert f"{tmp_path}/in.ndjson:100: faulty" in said


def test_a_folder_that_cannot_be_read_is_noted(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "closed").mkdir(parents=True)
    ndjson(tmp_path / "in" / "one.ndjson", story("cervical-fusion"))
    listed = Path.iterdir

    def guarded(folder: Path) -> Any:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", guarded)
    said = replay(made, tmp_path / "in", out=tmp_path / "o.ndjson")
    assert f"{tmp_path}/in/closed: faulty: cannot be read: Permission denied" in said
    assert "1 events" in said
    assert "cannot be read" in run("replay", tmp_path / "in" / "closed", code=11).stderr


def test_a_name_that_is_not_utf8_is_told_in_text(made: Path, tmp_path: Path) -> None:
    for name, content in ((b"caf\xe9.json", json.dumps(story("cervical-fusion"))), (b"th\xe9.json", "{")):
        (tmp_path / os.fsdecode(name)).write_text(content)
    said = replay(made, tmp_path, out=tmp_path / "o.out", options=("--report", str(tmp_path / "r.html")))
    assert {r["file"] for r in rows(tmp_path / "o.out")} == {f"{tmp_path}/caf\\xe9.json"}
    assert f"{tmp_path}/th\\xe9.json: faulty: is not JSON" in said


def test_a_file_is_replayed_once_by_whatever_way_it_is_found(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    ndjson(folder / "one.ndjson", story("cervical-fusion"))
    (folder / "below" / "loop").symlink_to(folder)
    (folder / "two.ndjson").symlink_to(folder / "one.ndjson")
    monkeypatch.chdir(tmp_path)
    said = replay(made, "in", folder, f"{folder}/**/*.ndjson", out=tmp_path / "o.ndjson", options=("--strict",))
    assert "1 events" in said
    shutil.copytree(made / "bulk", tmp_path / "export")
    paths = ("export/Patient.ndjson", f"{tmp_path}/export/*.ndjson", "export")
    replay(made, *paths, out=tmp_path / "o.ndjson", options=("--strict",))
    orders = len((made / "bulk" / "ServiceRequest.ndjson").read_text().splitlines())
    assert len({(r["event"], r["order"]) for r in rows(tmp_path / "o.ndjson")}) == orders
    assert len({r["file"] for r in rows(tmp_path / "o.ndjson")}) == 1


def test_faulty_lines_of_an_export_are_all_counted(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "bulk", tmp_path / "export")
    with (tmp_path / "export" / "Condition.ndjson").open("a") as file:
        file.write("{oops\n" * 1500)
    said = replay(made, tmp_path / "export", out=tmp_path / "o.ndjson")
    assert "Not replayed: 1,500 faulty." in said


def test_what_holds_no_orders_is_said(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "bulk", tmp_path / "export")
    (tmp_path / "export" / "ServiceRequest.ndjson").write_text("")
    (tmp_path / "export" / "AllergyIntolerance.ndjson").write_text("")
    said = replay(made, tmp_path / "export", out=tmp_path / "o.ndjson", code=11, options=("--strict",))
    assert f"{tmp_path}/export: skipped: an export that holds no orders" in said
    assert "Not replayed: 1 skipped." in said
    (tmp_path / "nothing.ndjson").write_text("\n")
    said = replay(made, tmp_path / "nothing.ndjson", out=tmp_path / "o.ndjson", code=11, options=("--strict",))
    assert f"{tmp_path}/nothing.ndjson: skipped: is empty" in said


def test_pipes_and_empty_paths_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", "/dev/null"):
        assert "replay reads regular files" in run("replay", path, code=11).stderr
    assert "a path is empty" in run("replay", "", code=11).stderr
