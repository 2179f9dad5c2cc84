"""Policies that would take for ever stop neither the kill switch, nor a client's removal, nor `policy lint`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from cds_service.auth.clients_file import MAX_VALUES, read_yaml
from cds_service.errors import ConfigurationError, ContentError
from cds_service.policy.source import MAX_NODES, Document
from tests.functional.deployment import CONTENT, POLICY, ROOT, Deployment, deployed, hook_request, marrow_cards
from tests.functional.test_web_control import reloads

NINE = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {k: x}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FLAT = "a: [" + "x," * (MAX_NODES + 1) + "]\n"
MANY = f"more than {MAX_NODES} values"


@pytest.mark.parametrize(
    "bomb", [NINE, MERGED, FLAT, FLAT.replace("a: [", "").replace("]\n", "").replace("x,", "- x\n")]
)
def test_values_are_counted_with_every_alias_written_out(bomb: str) -> None:
    with pytest.raises(ContentError, match=rf"f:\d+:\d+: {MANY}"):
        Document("f", bomb)
    with pytest.raises(ConfigurationError, match=rf"f:\d+:\d+: holds more than {MAX_VALUES} values"):
        read_yaml(Path("f"), bomb)


def test_aliases_that_lead_far_down_are_levels_too() -> None:
    chain = "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 70))
    with pytest.raises(ContentError, match="f:66:6: nested more than 64 levels deep"):
        Document("f", chain)


def test_a_file_may_say_a_thing_in_several_places() -> None:
    assert Document("f", "a: &a [1, 2]\nb: [*a, *a]\n").data["b"] == [[1, 2], [1, 2]]


def alias_bomb(cards: Path) -> None:
    (cards / POLICY / "policy.yaml").write_text(NINE)


def merge_bomb(cards: Path) -> None:
    (cards / POLICY / "card.yaml").write_text(MERGED)


def pipe(cards: Path) -> None:
    os.mkfifo(cards / "value_sets" / "pipe.yaml")


def endless(cards: Path) -> None:
    (cards / "payers.yaml").unlink()
    (cards / "payers.yaml").symlink_to("/dev/zero")


def value_set(cards: Path, name: str, text: str) -> None:
    (cards / "value_sets" / f"{name}.yaml").write_text(
        f"format: 1\nid: {name}\ntitle: T\nsource: {{title: S, confidence: seen}}\n{text}\n"
    )


def ways(cards: Path) -> None:
    """Each includes the next pair: 2^24 ways to the last; and a chain that is longer than Python's stack."""
    for n in range(24):
        for side in "ab":
            value_set(cards, f"s{n}{side}", f"includes: [s{n + 1}a, s{n + 1}b]")
    value_set(cards, "s24a", "terms: [one]")
    value_set(cards, "s24b", "terms: [other]")
    for n in range(1100):
        value_set(cards, f"long{n}", f"includes: [long{n + 1}]")
    value_set(cards, "long1100", "terms: [last]")


def pattern(cards: Path) -> None:
    value_set(cards, "slow", "patterns: ['(?:\\w+\\s?)+x']")


def template(cards: Path) -> None:
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{{ name }}"
    (cards / POLICY / "card.yaml").write_text(f"format: 1\norders: {{marrow-aspirate: {{summary: ['{loop}']}}}}\n")


BOMBS: dict[Callable[[Path], None], str] = {
    alias_bomb: MANY,
    merge_bomb: MANY,
    pipe: "Not a regular file",
    endless: "Not a regular file",
    pattern: "a repeat without an end of what has several ways to match.",
    template: "For on line 1 is not offered",
}


def name(bomb: Callable[[Path], None]) -> str:
    return bomb.__name__


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cds_service.cli", "policy", "lint", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize("bomb", BOMBS, ids=name)
def test_lint_ends_and_says_what_it_is(bomb: Callable[[Path], None], tmp_path: Path) -> None:
    shutil.copytree(CONTENT, tmp_path / "cards")
    bomb(tmp_path / "cards")
    done = lint(tmp_path / "cards")
    assert done.returncode in (2, 10)
    assert BOMBS[bomb] in " ".join((done.stdout + done.stderr).split())


def test_includes_are_gone_through_once(tmp_path: Path) -> None:
    shutil.copytree(CONTENT, tmp_path / "cards")
    ways(tmp_path / "cards")
    assert lint(tmp_path / "cards").stdout.strip().endswith("warnings.")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("bombs")
    shutil.copytree(CONTENT, folder / "cards")
    (folder / "control.yaml").write_text("")
    options = {"CDS_WORKERS": "2", "CDS_CARDS": f"{folder}/cards", "CDS_CONTROL": f"{folder}/control.yaml"}
    with deployed(folder, "north", "south", CDS_CONTENT_DEADLINE="4", **options) as site:
        yield site
        assert site.stop() == 0


def checks(site: Deployment) -> dict[str, str]:
    found: dict[str, str] = requests.get(f"{site.url}/health/ready", timeout=10).json()["checks"]
    return found


def switch(site: Deployment, **clients: str) -> None:
    before = reloads(site)["reloaded"]
    text = json.dumps({"format": 1, "clients": clients})
    (site.folder / "control.yaml").write_text(text + "\n# changed\n" * (before + 1))
    site.wait_until(lambda: reloads(site)["reloaded"] == before + 2, 5)


def speaks(site: Deployment) -> set[bool]:
    """Whether workers answer the client with a card, each on a connection of its own."""
    answers = (site.call("north", hook_request(), headers={"Connection": "close"}) for _ in range(6))
    return {bool(marrow_cards(answer.json()["cards"])) for answer in answers}


def slow(cards: Path) -> None:
    """Nothing is wrong with it, but that there is far too much."""
    for n in range(40):
        value_set(cards, f"large{n}", "terms:\n" + "".join(f"  - term {n} {m}\n" for m in range(60_000)))


@pytest.mark.parametrize("bomb", [alias_bomb, pipe, endless, slow], ids=name)
def test_the_kill_switch_works_whatever_the_policies_hold(bomb: Callable[[Path], None], site: Deployment) -> None:
    cards = site.folder / "cards"
    former, before = checks(site)["content"], reloads(site)["reload failed"]
    bomb(cards)
    site.hang_up()
    if bomb is slow:
        site.wait_until(lambda: "being read since 20" in checks(site)["reload"])
    switch(site, north="stopped")
    assert speaks(site) == {False}
    if bomb is slow:
        assert reloads(site)["reload failed"] == before  # it still runs: the switch did not wait
        assert checks(site)["reload"] != "ok"
    site.wait_until(lambda: reloads(site)["reload failed"] == before + 2)
    told = [line["message"] for line in site.log_lines() if "reload failed" in line["message"]][-1]
    assert BOMBS.get(bomb, "the policies took longer than 4 s (CDS_CONTENT_DEADLINE)") in told
    assert (checks(site)["content"], checks(site)["reload"][:22]) == (former, "The last reload failed")
    switch(site)
    assert speaks(site) == {True}
    assert checks(site)["reload"][:22] == "The last reload failed"  # of the policies, still
    after = reloads(site)["reloaded"]
    shutil.rmtree(cards)
    shutil.copytree(CONTENT, cards)
    site.hang_up()
    site.wait_until(lambda: reloads(site)["reloaded"] == after + 2)
    assert checks(site)["reload"] == "ok"


def test_repaired_policies_are_read_at_once_not_after_the_deadline(site: Deployment) -> None:
    cards = site.folder / "cards"
    before = reloads(site)
    slow(cards)
    site.hang_up()
    site.wait_until(lambda: "being read since 20" in checks(site)["reload"])
    shutil.rmtree(cards)
    shutil.copytree(CONTENT, cards)
    site.hang_up()
    site.wait_until(lambda: reloads(site)["reloaded"] == before["reloaded"] + 2)
    assert reloads(site)["reload failed"] == before["reload failed"]


def test_a_client_is_taken_out_while_policies_are_being_read(site: Deployment) -> None:
    text = site.clients_file.read_text()
    slow(site.folder / "cards")
    site.hang_up()
    site.wait_until(lambda: "being read since 20" in checks(site)["reload"])
    before = reloads(site)
    site.clients_file.write_text(text.partition("  - id: south\n")[0])
    site.wait_until(lambda: reloads(site)["reloaded"] == before["reloaded"] + 2)
    assert site.call("south", hook_request()).status_code == 401
    assert reloads(site)["reload failed"] == before["reload failed"]


def test_only_the_two_loaders_read_yaml() -> None:
    """What is read elsewhere would be read without a limit."""
    readers = {"yaml.safe_load", "yaml.load(", "SafeLoader", "yaml.compose", "yaml.parse", "full_load", "BaseLoader"}
    found = {
        path.relative_to(ROOT / "cds_service").as_posix()
        for path in (ROOT / "cds_service").rglob("*.py")
        if any(reader in path.read_text() for reader in readers)
    }
    assert found == {"policy/source.py", "auth/clients_file.py", "auth/clients_edit.py"}
