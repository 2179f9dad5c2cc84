"""A client's dialect: any traits give an answer that the contract allows, and lose nothing that works there."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.contract import validator

from cds_service.auth.clients import Client, load_clients
from cds_service.auth.issue import generate_key, public_jwk
from cds_service.config import from_environment
from cds_service.errors import ConfigurationError
from cds_service.hooks.answer import answer
from cds_service.hooks.dialects import DIALECTS, STANDARD, Dialect, SiteCode
from cds_service.hooks.in_dialect import topic_code
from cds_service.hooks.request import validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.services import service_for
from cds_service.policy.case import Code
from tests.functional.deployment import hook_request

SITE = "urn:example:preference-list"
KEY = public_jwk(generate_key("RS384"))
RUNTIME = Runtime.build(from_environment({}, demo=True))
SERVICE = "order-sign-advisor"


def cards(dialect: Dialect) -> list[dict[str, Any]]:
    body = hook_request()
    service = service_for(RUNTIME.services, SERVICE, body)
    done = answer(validate(body, service, b""), service, RUNTIME, Caller("x", dialect=dialect))
    assert list(validator("HookResponse").iter_errors(done.response)) == []
    assert [r.card for r in done.rendered] == done.response["cards"]
    return list(done.response["cards"])


def actions(card: dict[str, Any]) -> list[dict[str, Any]]:
    return [a for s in card.get("suggestions", ()) for a in s["actions"]]


def option() -> str:
    """The CPT code of an option that the content offers."""
    made = [a for c in cards(STANDARD) for a in actions(c) if a["type"] == "create"]
    return str(made[0]["resource"]["code"]["coding"][0]["code"])


OPTION = option()
DIALECT = st.builds(
    Dialect,
    selection_behavior=st.sampled_from(["at-most-one", "any"]),
    single_action=st.booleans(),
    create_system=st.sampled_from(["", SITE]),
    order_codes=st.sampled_from([{}, {Code("cpt", OPTION): SiteCode(SITE, "A1")}]),
    topic_code=st.sampled_from(["type", "alphanumeric"]),
    omit=st.frozensets(st.sampled_from(["systemActions", "links", "overrideReasons", "suggestions"])),
)


@settings(max_examples=150, deadline=None)
@given(DIALECT)
def test_any_traits_give_an_answer_of_the_contract(dialect: Dialect) -> None:
    for plain, card in zip(cards(STANDARD), cards(dialect), strict=True):
        assert (card["summary"], card["detail"]) == (plain["summary"], plain["detail"])
        assert not dialect.omit & set(card)
        for suggestion in card.get("suggestions", ()):
            assert card["selectionBehavior"] == dialect.selection_behavior
            assert not dialect.single_action or len(suggestion["actions"]) == 1
        if not dialect.single_action:  # "Replace by" never becomes a mere removal
            whole = {s["label"]: len(s["actions"]) for s in plain.get("suggestions", ())}
            assert all(len(s["actions"]) == whole[s["label"]] for s in card.get("suggestions", ()))
        uuids = [s["uuid"] for s in card.get("suggestions", ())]
        assert len(set(uuids)) == len(uuids)
        if "suggestions" in dialect.omit:
            continue
        ways = {(a["type"], a.get("resourceId") or a["resource"]["code"]["text"]) for a in actions(card)}
        wanted = {(a["type"], a.get("resourceId") or a["resource"]["code"]["text"]) for a in actions(plain)}
        if dialect.create_system:
            known = {c.code for c in dialect.order_codes}
            wanted = {
                (a["type"], a.get("resourceId") or a["resource"]["code"]["text"])
                for a in actions(plain)
                if a["type"] == "delete" or a["resource"]["code"]["coding"][0]["code"] in known
            }
        assert ways == wanted


def test_one_action_a_suggestion_says_each_thing_once() -> None:
    epic = cards(Dialect(selection_behavior="any", single_action=True))
    [card] = [c for c in epic if "20939" in c["summary"]]
    told = [(s["label"], s["actions"][0]["type"], s["actions"][0]["description"]) for s in card["suggestions"]]
    assert [kind for _, kind, _ in told] == ["delete", *["create"] * (len(told) - 1)]
    assert all(label == description for label, _, description in told)
    assert len({label for label, _, _ in told}) == len(told)
    assert len(told) > 1


def test_a_create_has_the_sites_code_first_or_is_not_offered() -> None:
    dialect = Dialect(single_action=True, create_system=SITE, order_codes={Code("cpt", OPTION): SiteCode(SITE, "A1")})
    made = [a for c in cards(dialect) for a in actions(c) if a["type"] == "create"]
    assert [a["resource"]["code"]["coding"][0] for a in made] == [{"system": SITE, "code": "A1"}]
    assert [a for c in cards(Dialect(create_system=SITE)) for a in actions(c) if a["type"] == "create"] == []


def test_topics_are_letters_and_digits_the_same_for_a_rule() -> None:
    dialect = Dialect(topic_code="alphanumeric")
    first, second = ([c["source"]["topic"]["code"] for c in cards(dialect) if "topic" in c["source"]] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) > 0
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,100}", code) for code in first)


def test_topics_do_not_depend_on_how_long_the_names_are() -> None:
    from cds_service.render.parts import RenderedCard

    def code(policy: str, rule: str) -> str:
        return topic_code(RenderedCard({}, "none", "f", (), policy=policy, rule=rule))

    assert len(code("p" * 300, "r")) == 100
    assert len({code("p" * 300, "r"), code("p" * 300, "s"), code("a-b", "c"), code("ab", "c"), code("a", "bc")}) == 5


# --- the clients file -------------------------------------------------------------------------------------


def load(tmp_path: Path, **traits: Any) -> Client:
    entry = {"id": "ehr", "name": "EHR", "issuer": "https://ehr.example.org", "jwks": {"keys": [KEY]}, **traits}
    file = tmp_path / f"{uuid4()}.yaml"
    file.write_text(yaml.safe_dump({"format": 1, "clients": [entry]}))
    [client] = load_clients(file)
    return client


def test_without_a_dialect_a_client_speaks_the_specification(tmp_path: Path) -> None:
    assert load(tmp_path).spoken == STANDARD


def test_each_trait_can_be_set_beside_a_dialect_or_without_one(tmp_path: Path) -> None:
    given_: dict[str, Any] = {
        "token_lifetime": 1200, "clock_skew": 90, "selection_behavior": "any", "single_action": True,
        "create_system": SITE, "topic_code": "alphanumeric", "omit": ["links"],
    }  # fmt: skip
    for (name, value), dialect in itertools.product(given_.items(), DIALECTS):
        spoken = load(tmp_path, dialect=dialect, **{name: value}).spoken
        expected = frozenset(value) if name == "omit" else value
        assert getattr(spoken, name) == expected
        others = set(given_) - {name}
        assert all(getattr(spoken, o) == getattr(DIALECTS[dialect], o) for o in others)
    epic = load(tmp_path, dialect="epic", single_action=False, order_codes={"cpt:20936": "A", "cpt:20937": {
        "system": SITE, "code": "B"}}).spoken  # fmt: skip
    assert epic.single_action is False
    assert epic.order_codes == {
        Code("cpt", "20936"): SiteCode(DIALECTS["epic"].create_system, "A"),
        Code("cpt", "20937"): SiteCode(SITE, "B"),
    }


@pytest.mark.parametrize(
    ("traits", "field"),
    [
        ({"dialect": "klingon"}, "dialect"),
        ({"token_lifetime": 0}, "token_lifetime"),
        ({"token_lifetime": "900"}, "token_lifetime"),
        ({"clock_skew": 121}, "clock_skew"),
        ({"selection_behavior": "all"}, "selection_behavior"),
        ({"single_action": "yes"}, "single_action"),
        ({"topic_code": "short"}, "topic_code"),
        ({"omit": ["cards"]}, "omit"),
        ({"dialect": "epic", "order_codes": {"20936": "A"}}, "order_codes"),
        ({"order_codes": {"cpt:20936": "A"}}, "order_codes and no create_system"),
    ],
)
def test_a_bad_trait_is_named(tmp_path: Path, traits: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"clients\[0\].*{field}"):
        load(tmp_path, **traits)
