"""An author's typical mistakes: one broken set of files each, and the one message it gives, whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.commands.policy import policy_group
from cds_service.content_files import load_content
from cds_service.policy.content import Faults

HERE = Path(__file__).parent / "broken"
BASE = HERE / "_base"
MISTAKES = sorted(p.name for p in HERE.iterdir() if not p.name.startswith("_"))


def broken(mistake: str, target: Path) -> Path:
    """The valid base with one mistake's files over it."""
    shutil.copytree(BASE, target, dirs_exist_ok=True)
    shutil.copytree(HERE / mistake, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("expected.txt"))
    return target


def test_the_base_is_whole() -> None:
    assert list(load_content(BASE).policies) == ["acme/imaging"]


def test_there_are_at_least_thirty() -> None:
    assert len(MISTAKES) >= 30


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_clear_message(mistake: str, tmp_path: Path) -> None:
    with pytest.raises(Faults) as caught:
        load_content(broken(mistake, tmp_path / "cards"))
    assert [str(e) for e in caught.value.errors] == (HERE / mistake / "expected.txt").read_text().splitlines()
    assert len(caught.value.errors) == 1


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_message_has_a_cure(mistake: str, tmp_path: Path) -> None:
    with pytest.raises(Faults) as caught:
        load_content(broken(mistake, tmp_path / "cards"))
    assert [e.cure for e in caught.value.errors if not e.cure.endswith((".", "?"))] == []


def test_lint_prints_the_message_and_exits_10(tmp_path: Path) -> None:
    folder = broken("unknown-criterion", tmp_path / "cards")
    done = CliRunner().invoke(policy_group, ["lint", str(folder)])
    assert done.exit_code == 10
    assert done.output.splitlines() == [
        "acme/imaging/policy.yaml:39:13: error: there is no criterion 'red-flags'. Did you mean 'red-flag'?",
        "1 error, 0 warnings.",
    ]
