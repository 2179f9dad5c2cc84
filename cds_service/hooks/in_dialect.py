"""Finished cards -> the same cards as one client can take them. The renderer knows of no client.

The summary, the reasons and the uuids of a card stay, so that feedback is joined as ever.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cds_service.facts.codes import URI
from cds_service.hooks.dialects import STANDARD, Dialect, SiteCode
from cds_service.render.parts import RenderedCard, governing

Json = dict[str, Any]
MAX_TOPIC = 100
_MEMBERS = ("links", "overrideReasons")


def in_dialect(
    cards: list[RenderedCard], dialect: Dialect, topics: str, new_id: Callable[[], str]
) -> list[RenderedCard]:
    """Cards as a client of this dialect can take them; `topics` is the code system of topics by rule."""
    if dialect == STANDARD:
        return cards
    return [replace(r, card=_card(r, dialect, topics, new_id)) for r in cards]


def _card(r: RenderedCard, dialect: Dialect, topics: str, new_id: Callable[[], str]) -> Json:
    card = {k: v for k, v in r.card.items() if k not in _MEMBERS or k not in dialect.omit}
    offered = [] if "suggestions" in dialect.omit else list(_suggestions(card.get("suggestions", ()), dialect, new_id))
    card.pop("suggestions", None)
    card.pop("selectionBehavior", None)
    if offered:
        card |= {"suggestions": offered, "selectionBehavior": dialect.selection_behavior}
    if dialect.topic_code == "alphanumeric" and "topic" in card["source"]:
        topic = {**card["source"]["topic"], "system": topics, "code": topic_code(r)}
        card["source"] = {**card["source"], "topic": topic}
    return card


# --- suggestions ------------------------------------------------------------------------------------------


def _suggestions(offered: Any, dialect: Dialect, new_id: Callable[[], str]) -> Iterator[Json]:
    """The suggestions that work there: one whose order the site has no code for would be a dead button."""
    seen: set[str] = set()
    for suggestion in offered:
        actions = [made for a in suggestion["actions"] if (made := _action(a, dialect))]
        if len(actions) < len(suggestion["actions"]):
            continue
        if not dialect.single_action:
            yield {**suggestion, "actions": actions}
            continue
        for position, action in enumerate(actions, 1):
            if action["type"] == "delete" and action["resourceId"] in seen:
                continue
            seen.add(str(action.get("resourceId")))
            # The last action is what tells the suggestions of a card apart: it keeps the uuid.
            uuid = suggestion["uuid"] if position == len(actions) else new_id()
            yield {**suggestion, "label": action["description"], "uuid": uuid, "actions": [action]}


def _action(action: Json, dialect: Dialect) -> Json | None:
    """The action, with the site's code where a `create` needs one; None where there is no such code."""
    if action["type"] != "create" or not dialect.create_system:
        return action
    resource = action["resource"]
    known = {(URI.get(c.system, c.system), c.code): site for c, site in dialect.order_codes.items()}
    codings = resource["code"]["coding"]
    site = next((known[k] for c in codings if (k := (c.get("system"), c.get("code"))) in known), None)
    return None if site is None else {**action, "resource": {**resource, "code": _coded(resource["code"], site)}}


def _coded(code: Mapping[str, Any], site: SiteCode) -> Json:
    """The site's coding first: it is by this one that the order is found."""
    return {**code, "coding": [{"system": site.system, "code": site.code}, *code["coding"]]}


# --- topics -----------------------------------------------------------------------------------------------


def topic_code(r: RenderedCard) -> str:
    """Letters and digits that stay the same for a rule: clients remember by it that a card was overridden."""
    about = [r.kind, r.policy, governing(r.about).item if r.about else None, r.rule]
    about += sorted(f"{f.policy} {f.kind} {f.rule}" for f in r.findings)
    told = "\x1f".join(part or "" for part in about)
    name = re.sub(r"[^A-Za-z0-9]", "", "".join(part or "" for part in (r.policy, r.rule or r.kind)))
    return f"{name[: MAX_TOPIC - 12]}{hashlib.sha256(told.encode()).hexdigest()[:12]}"
