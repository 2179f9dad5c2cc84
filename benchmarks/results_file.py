"""Recorded results: read, compared, written; the tables of README.md follow from them."""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE / "README.md"
FALL = 0.15

Json = dict[str, Any]


def machine() -> Json:
    """What the numbers were measured on, and how busy it was before."""
    told = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", told.read_text()) if told.exists() else []
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "granian": version("granian"),
        "load_before": round(os.getloadavg()[0], 2),
        "on": datetime.now(UTC).date().isoformat(),
    }


def recorded(name: str) -> Json | None:
    """The recorded results, if any."""
    path = RESULTS / f"{name}.json"
    found: Json | None = json.loads(path.read_text()) if path.exists() else None
    return found


def record(name: str, results: Json, table: str) -> None:
    """Write the results and their table in README.md."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    text = README.read_text()
    begin, end = f"<!-- {name}: made by {name}.py -->", f"<!-- end {name} -->"
    README.write_text(re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL))


def fallen(ratios: Json, before: Json, higher_is_better: dict[str, bool]) -> list[str]:
    """Ratios that are worse than recorded by more than 15%."""
    found = []
    for name, better in higher_is_better.items():
        now, was = ratios.get(name), before.get(name)
        if now is None or was is None:
            continue
        worse = now < was * (1 - FALL) if better else now > was * (1 + FALL)
        if worse:
            found.append(f"{name}: {now:.3f}, recorded {was:.3f}")
    return found


def machine_line(told: Json) -> str:
    """The machine in one line."""
    return (
        f"{told['on']}: {told['processor']}, {told['cores']} cores, {told['memory_gib']} GiB, {told['system']}, "
        f"Python {told['python']}, granian {told['granian']}; load generator on the same machine; load before "
        f"{told['load_before']}"
    )
