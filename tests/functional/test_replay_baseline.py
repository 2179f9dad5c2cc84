"""Two policy sets on the same orders: what changes, for whom, by which criterion, and the exit code for CI."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.paths import ROOT

from tests.functional.replay_runs import STORIES, rows, run

POLICY = Path("aetna/bone-graft-adjuncts/policy.yaml")


class Parsed(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [v for k, v in attrs if k in ("src", "href") and v], "nothing is loaded from elsewhere"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled policies, but marrow in a fusion waits for information."""
    folder = tmp_path_factory.mktemp("changed") / "cards"
    shutil.copytree(ROOT / "cards", folder)
    text = (folder / POLICY).read_text(encoding="utf-8")
    start = text.index("- id: adjunct-to-fusion")
    at = text.index("outcome: not-supported", start)
    text = text[:at] + "outcome: needs-information" + text[at + len("outcome: not-supported") :]
    (folder / POLICY).write_text(text, encoding="utf-8")
    return folder


def test_a_changed_rule_is_told_for_every_order_it_changes(changed: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "o.ndjson", tmp_path / "report.html"
    stories = [STORIES / n for n in ("cervical-fusion", "laminotomy-no-fusion", "ungoverned")]
    done = run("replay", *stories, "--cards", changed, "--baseline", ROOT / "cards", "--out", out,
               "--report", report, "--processes", 2, code=1)  # fmt: skip
    found = rows(tmp_path / "o.changes.ndjson")
    assert [(Path(r["file"]).parent.name, r["order"], r["before"], r["after"]) for r in found] == [
        ("cervical-fusion", "ServiceRequest/p2-marrow", "not-supported", "needs-information")
    ]
    assert "rule 'adjunct-to-fusion' gave not-supported, now needs-information" in found[0]["reasons"]
    assert "1 orders change" in done.stdout
    assert "ServiceRequest/p2-marrow" in done.stdout
    after = {(r["order"], r["policy"]): r["outcome"] for r in rows(out)}
    assert after["ServiceRequest/p2-marrow", "aetna/bone-graft-adjuncts"] == "needs-information"
    page = Parsed(report.read_text(encoding="utf-8"))
    assert page.tags.count("svg") >= 2
    assert "script" not in page.tags
    assert "ServiceRequest/p2-marrow" in page.words
    assert any("rule 'adjunct-to-fusion'" in w for w in page.words)


def test_the_same_policies_change_nothing(tmp_path: Path) -> None:
    done = run("replay", STORIES, "--baseline", ROOT / "cards", "--out", tmp_path / "o.ndjson", code=0)
    assert "Nothing changes against the baseline." in done.stdout
    assert (tmp_path / "o.changes.ndjson").read_bytes() == b""


def test_a_policy_that_is_new_now_speaks(changed: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(ROOT / "cards", fewer)
    shutil.rmtree(fewer / POLICY.parent)
    out = tmp_path / "o.ndjson"
    run("replay", STORIES / "cervical-fusion", "--baseline", fewer, "--out", out, code=1)
    found = [r for r in rows(tmp_path / "o.changes.ndjson") if r["policy"] == "aetna/bone-graft-adjuncts"]
    marrow = next(r for r in found if r["order"] == "ServiceRequest/p2-marrow")
    assert (marrow["before"], marrow["after"]) == (None, "not-supported")
    assert any("now speaks to the order" in reason for reason in marrow["reasons"])


DIFFERING = "Versions that differ from the baseline's and judged nothing"


def unheard(stdout: str) -> dict[str, str]:
    """Policy and version -> why, from the table of those that judged nothing."""
    lines = stdout.partition(DIFFERING)[2].splitlines()
    cells = ([c.strip() for c in line.split("│")[1:-1]] for line in lines if line.startswith("│"))
    return {f"{policy} {version}": why for policy, version, why in cells}


def test_a_version_that_is_not_in_force_yet_is_no_version_that_changes_nothing(tmp_path: Path) -> None:
    """Next year's version, put in beside this year's."""
    new, out, report = tmp_path / "cards", tmp_path / "o.ndjson", tmp_path / "report.html"
    shutil.copytree(ROOT / "cards", new)
    head, _, version = (new / POLICY).read_text(encoding="utf-8").partition("versions:\n")
    now = version.replace("to: null", "to: 2030-12-31", 1)
    then = version.replace("from: null", "from: 2031-01-01", 1).replace('version: "2026-11"', 'version: "2031"', 1)
    (new / POLICY).write_text(f"{head}versions:\n{now}{then}", encoding="utf-8")
    words = ("replay", STORIES, "--cards", new, "--baseline", ROOT / "cards", "--out", out, "--report", report)
    for more in ((), ("--processes", 2), ("--resume",)):
        done = run(*words, *more)
        assert "Nothing changes against the baseline." in done.stdout
        assert unheard(done.stdout) == {
            "aetna/bone-graft-adjuncts 2031": "no order is of its days (from 2031-01-01 on)"
        }
        page = Parsed(report.read_text(encoding="utf-8"))
        assert page.words.count("no order is of its days (from 2031-01-01 on)") == 1
    assert DIFFERING not in run("replay", STORIES, "--baseline", ROOT / "cards").stdout


def test_versions_that_had_no_order_to_judge_are_listed_with_the_reason(tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(ROOT / "cards", fewer)
    for new in (
        "humana/bone-graft-substitutes",
        "fda/rhbmp-cervical",
        "coding/spine-coding-sanity",
        "aetna/spinal-fusion",
    ):
        shutil.rmtree(fewer / new)
    [file] = (fewer / "aetna/bone-growth-stimulators").glob("policy.yaml")
    file.write_text(file.read_text(encoding="utf-8").replace("payers: [aetna", "payers: [aetna, humana", 1))
    done = run("replay", STORIES / "lumbar-fusion-aetna", "--baseline", fewer, code=1)
    assert "now speaks to the order" in done.stdout  # the policy on fusion, which judges
    assert unheard(done.stdout) == {
        "aetna/bone-growth-stimulators 2026-11": "orders of its days (from the first on): 4; it speaks to none of them",
        "coding/spine-coding-sanity 2026-11": "orders that it speaks to: 4; none gave cause for a remark",
        "fda/rhbmp-cervical 2008-07": "orders of its days (from 2008-07-01 on): 4; it speaks to none of them",
        "humana/bone-graft-substitutes 2024-01-01": "orders that it speaks to: 4; none is insured with its payers",
    }


def test_faulty_policies_end_the_run_before_it_begins(changed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(changed, broken)
    (broken / POLICY).write_text("format: 1\n", encoding="utf-8")
    done = run("replay", STORIES, "--cards", broken, "--out", tmp_path / "o.ndjson", code=10)
    assert "aetna/bone-graft-adjuncts/policy.yaml:1" in done.stderr
    assert not (tmp_path / "o.ndjson").exists()


def test_a_baseline_that_is_no_compiled_file_is_named(tmp_path: Path) -> None:
    baseline = ROOT / "cards" / "payers.yaml"
    done = run("replay", STORIES, "--baseline", baseline, "--out", tmp_path / "o.ndjson", code=10)
    assert f"{baseline}:1:1: not a file made by 'policy build'." in done.stderr
    assert not (tmp_path / "o.ndjson").exists()
