"""The walk through cards/README.md works line by line, from an empty folder, and prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "cards" / "README.md"
FENCE = re.compile(r"^```console\n(.*?)^```", re.S | re.M)
BIN = Path(sys.executable).parent


def steps(block: str) -> list[tuple[str, str]]:
    """(command, output) of one block: `$ ` starts a command, `> ` continues it, the rest is printed."""
    found: list[list[list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append([[line[2:]], []])
        elif line.startswith("> ") or line == ">":
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(output)) for command, output in found]


STEPS = [step for block in FENCE.findall(PAGE.read_text(encoding="utf-8")) for step in steps(block)]


def test_the_page_has_steps() -> None:
    assert len(STEPS) == 11


def test_every_step_prints_what_the_page_shows(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONUTF8": "1"}
    for command, shown in STEPS:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        pattern = ".*".join(re.escape(part) for part in shown.split("..."))
        assert re.fullmatch(pattern, (done.stdout + done.stderr).rstrip("\n")), f"{command}\n{done.stdout}{done.stderr}"


def test_every_policy_command_is_on_the_page() -> None:
    from cds_service.commands.policy import policy_group

    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in policy_group.commands if f"policy {name}" not in page] == []
