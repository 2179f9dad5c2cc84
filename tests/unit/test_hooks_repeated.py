"""A name that is twice in one object of a body is refused: a gateway in front may have read the first."""

from __future__ import annotations

import json
import random
from typing import Any

import orjson
import pytest

from cds_service.errors import RequestError
from cds_service.hooks.request import parse


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"patientId":"a","patientId":"b"}', "patientId"),
        (b'{"a":{"b":[{"c":1,"c":1}]}}', "c"),
        (b'{"a" :1, "a" :2}', "a"),
        (b'{"a"\n:1,"a"\t:2}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"x":"\\u003a","a":1,"a":2}', "a"),
        (b'{"a":":","a":":"}', "a"),
        (b'{"a":{"x":1},"a":{"y":1,"z":1}}', "a"),
        (b'\xef\xbb\xbf{"a":1,"a":2}', "a"),
        (b'{"Jane Doe":1,"Jane Doe":2}', "(name withheld)"),
    ],
)
def test_the_name_is_told(body: bytes, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(body)
    [issue] = caught.value.issues
    assert (issue.path, issue.text, caught.value.http_status) == (path, "is there twice in one object", 400)


@pytest.mark.parametrize(
    "body", [b'{"a":[{"a":1},{"a":1}],"b":{"a":":"}}', b'{"a":"\\":\\":","b":" : "}', b"{}", b'{"":1}']
)
def test_what_is_there_once_is_taken(body: bytes) -> None:
    assert parse(body) == orjson.loads(body)


def made(rng: random.Random, levels: int) -> Any:
    if levels == 0 or rng.random() < 0.3:
        return rng.choice(["", ":", 'a":', "\\", "\\:", " :", '"', 1, -1.5e300, None, True, "é", "\n:"])
    if rng.random() < 0.4:
        return [made(rng, levels - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["a", "b", ":", '":', " ", "c :"]): made(rng, levels - 1) for _ in range(rng.randrange(4))}


def twice(rng: random.Random, text: str) -> str | None:
    """The text with a member that its object has already put before it."""
    places = [n for n, sign in enumerate(text) if sign == "{" and text[n + 1 : n + 2] == '"']
    if not places:
        return None
    at = rng.choice(places)
    name = json.JSONDecoder().raw_decode(text[at + 1 :])[0]
    return f"{text[: at + 1]}{json.dumps(name)}:1,{text[at + 1 :]}"


def inside_text(text: str, longer: str) -> bool:
    """Did the brace stand in a text, so that nothing is there twice?"""
    pairs: list[bool] = []
    try:
        json.loads(longer, object_pairs_hook=lambda found: pairs.append(len({n for n, _ in found}) != len(found)))
    except json.JSONDecodeError:
        return True
    return not any(pairs)


def test_generated_ones_are_told_apart() -> None:
    rng, refused = random.Random(7), 0
    for _ in range(3000):
        value = {"v": made(rng, 5)}
        indent, separators = rng.choice([(None, (",", ":")), (None, None), (1, None), (None, (" , ", " : "))])
        text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=rng.random() < 0.5)
        assert parse(text.encode()) == value
        longer = twice(rng, text)
        if longer is not None and not inside_text(text, longer):
            refused += 1
            with pytest.raises(RequestError, match="is there twice"):
                parse(longer.encode())
    assert refused > 2000
