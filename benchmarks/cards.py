"""What a month of orders makes a clinician read: cards, their kinds and length, and how many hold something to do.

300 synthetic patients (`cds-service synth --patients 300 --seed 7 --format requests`), each request answered by the
advisor as `cds-service evaluate` answers it. Nothing is timed; the counts are the same on every machine.

    python benchmarks/cards.py            # measure, compare with the limits, record
    python benchmarks/cards.py --show     # as well every card that breaks a limit
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from results_file import Json, record

from cds_service.config import from_environment
from cds_service.content_files import bundled, load_content
from cds_service.hooks.answer import answer
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.services import service_for
from cds_service.policy.lint_questions import asks_of_policy, payer_names
from cds_service.replay.synth_files import write

PATIENTS, SEED = 300, 7
LONGEST, MEDIAN, TO_DO = 150, 60, 0.7
_MARKS = re.compile(r"&#\d+;|[*_#]|^- ", re.MULTILINE)


def words(card: Json) -> int:
    """Words that a person reads: summary and detail, without Markdown."""
    return len(_MARKS.sub("", f"{card['summary']} {card['detail']}").split())


def to_do(card: Json) -> bool:
    """A suggestion to take, or the page that lists what to document (a form, where one is linked)."""
    return bool(card.get("suggestions")) or any(
        link["label"].startswith("What to document") for link in card.get("links", ())
    )


def _kind(card: Json) -> str:
    topic = card["source"].get("topic", {}).get("code", "not looked at")
    return f"{topic}, {card['indicator']}"


def asks_payer(card: Json, names: frozenset[str]) -> list[str]:
    """Questions on a card that ask what a policy says."""
    asked = re.findall(r"[^.?!\n]*\?", _MARKS.sub("", card["detail"]))
    return [q.strip() for q in asked if asks_of_policy(q, names)]


def month(runtime: Runtime, folder: Path) -> list[list[Json]]:
    """The cards of each event."""
    write(PATIENTS, SEED, folder, "requests")
    events: list[list[Json]] = []
    for path in sorted(folder.glob("*.ndjson")):
        for line in path.read_bytes().splitlines():
            body = parse(line)
            service = service_for(runtime.services, None, body)
            done = answer(validate(body, service, line), service, runtime, Caller("evaluate"))
            events.append(done.response["cards"])
    return events


def measured(events: list[list[Json]], names: frozenset[str]) -> tuple[Json, list[Json]]:
    """The counts, and the cards that break a limit."""
    cards = [c for event in events for c in event]
    lengths = [words(c) for c in cards]
    wrong = [c for c in cards if words(c) > LONGEST or asks_payer(c, names)]
    told: dict[str, Any] = {
        "events": len(events),
        "cards": len(cards),
        "cards_per_event": round(len(cards) / len(events), 2),
        "most_on_one_event": max(map(len, events)),
        "kinds": dict(Counter(_kind(c) for c in cards).most_common()),
        "with_suggestion": sum(bool(c.get("suggestions")) for c in cards),
        "with_something_to_do": sum(map(to_do, cards)),
        "share_with_something_to_do": round(sum(map(to_do, cards)) / len(cards), 2),
        "words_median": int(statistics.median(lengths)),
        "words_most": max(lengths),
        "asking_what_a_policy_says": sum(bool(asks_payer(c, names)) for c in cards),
    }
    return told, wrong


def broken(told: Json) -> list[str]:
    """Limits that the counts break."""
    limits = {
        "a card asks what a policy says": told["asking_what_a_policy_says"] > 0,
        f"a card has more than {LONGEST} words": told["words_most"] > LONGEST,
        f"the median card has more than {MEDIAN} words": told["words_median"] > MEDIAN,
        f"less than {TO_DO:.0%} of cards hold something to do": told["share_with_something_to_do"] < TO_DO,
    }
    return [text for text, is_broken in limits.items() if is_broken]


def table(told: Json) -> str:
    """The counts as a table of README.md."""
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in told.items() if name != "kinds"]
    rows += [f"| {kind} | {count} |" for kind, count in told["kinds"].items()]
    return "\n".join(["| what | count |", "| --- | --- |", *rows])


def main() -> int:
    """Measure, print, record; 1 where a limit is broken."""
    runtime = Runtime.build(from_environment(demo=True, cards=None))
    content = load_content(bundled("cards"))
    names = frozenset().union(*(payer_names(content, folder.policy) for folder in content.policies.values()))
    with tempfile.TemporaryDirectory() as folder:
        told, wrong = measured(month(runtime, Path(folder)), names)
    print(json.dumps(told, indent=2))
    if "--show" in sys.argv:
        for card in wrong:
            print(f"\n{words(card)} words: {card['summary']}\n{card['detail']}")
    record("cards", told, table(told))
    faults = broken(told)
    print("\n".join(f"missed: {fault}" for fault in faults) or "Every limit holds.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
