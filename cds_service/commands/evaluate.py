"""`cds-service evaluate`: one hook request from a file, answered as HTTP would answer it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from cds_service.commands.policy_requests import parse_file, read_bytes
from cds_service.config import from_environment
from cds_service.errors import InputFileError
from cds_service.hooks.answer import Answer, answer, determinations, findings, not_used
from cds_service.hooks.exact import as_written
from cds_service.hooks.request import validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.services import service_for

_COLOURS = {"critical": "red", "warning": "yellow", "info": "cyan"}


def answer_file(path: Path, service_id: str | None, as_of: date | None, cards: str | None) -> Answer:
    """Answer a request file. The deployment is a demo: policies not yet approved fire, marked as such."""
    runtime = Runtime.build(from_environment(demo=True, cards=cards))
    raw = read_bytes(path)
    body = parse_file(raw, path)
    if "hook" not in body and body.get("resourceType") in ("Bundle", "Parameters"):
        raise InputFileError(f"{path} is a chart, not a hook request. To judge its orders: cds-service replay {path}")
    service = service_for(runtime.services, service_id, body)
    return answer(validate(body, service, raw), service, runtime, Caller("evaluate"), as_of=as_of)


def evaluate_file(
    path: Path, service_id: str | None, as_of: date | None, explain: bool, as_json: bool, cards: str | None
) -> None:
    """Print the answer: cards for people, or with `as_json` everything for programs."""
    done = answer_file(path, service_id, as_of, cards)
    if as_json:
        told = {
            "response": done.response,
            "determinations": determinations(done),
            "findings": findings(done),
            "not_used": not_used(done),
        }
        click.echo(orjson.dumps(told, default=as_written, option=orjson.OPT_INDENT_2).decode())
        return
    console = Console(highlight=False)
    if not done.response["cards"]:
        console.print("No cards.")
    for card in done.response["cards"]:
        _print_card(console, card)
        if explain and card["uuid"] in done.explanations:
            _print_explanation(console, done.explanations[card["uuid"]])


def _print_card(console: Console, card: dict[str, Any]) -> None:
    console.print(Text(f"{card['indicator'].upper()}  {card['summary']}", style=f"bold {_COLOURS[card['indicator']]}"))
    console.print(Markdown(card.get("detail", "")))
    for suggestion in card.get("suggestions", ()):
        star = " (recommended)" if suggestion.get("isRecommended") else ""
        console.print(Text(f"  [ {suggestion['label']} ]{star}", style="bold"))
    console.print(Text(f"  Source: {card['source']['label']}", style="dim"))
    console.print()


def _print_explanation(console: Console, page: dict[str, Any]) -> None:
    for part in page["parts"]:
        console.print(Text(f"{part['number']}. {part['title']}", style="bold"))
        for line in part["clinician"]:
            console.print(Text(f"   {line}"))
    console.print()
