"""The ledger's hashes are the usual ones, whatever the length; and no name of a token is overlooked."""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import pkgutil

import fhir.resources.R4B
import pytest

from cds_service.ledger.document import serialise
from cds_service.ledger.hashes import Keyed, digest


@pytest.mark.parametrize("length", [0, 1, 2046, 2047, 2048, 4094, 4095, 100_000])
def test_digest_is_sha256(length: int) -> None:
    text = ("é" + "x" * length)[:length]
    assert digest(text) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("key", [b"k", b"k" * 32, b"k" * 200])
def test_keyed_is_hmac_time_after_time(key: bytes) -> None:
    keyed = Keyed(key)
    for data in (b"", b"first", b"second" * 500, b"first"):
        assert keyed.digest(data) == hmac.digest(key, data, "sha256").hex()


NAMES = [
    "authorization", "Authorization", "AUTHORIZATION", "Proxy-AuthoriZation", "access_token", "REFRESH_TOKEN",
    "Id_Token", "accessToken", "token", "client_secret", "Client Secret", "Authorization ", "x-api-key", "apiKey",
    "pass-word", "bearer", "authorisation", "X-Authorization-Header", "sessionToken", "passwd",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_tokens_under_telling_names_are_removed_in_any_spelling(name: str) -> None:
    document = {"request": {"z_Z": 'zation":', "x": [{name: "s3cret"}]}, "response": {}, "determinations": ["_z"]}
    stored, changed = serialise(document, None)
    assert changed
    assert "s3cret" not in stored


def element_names() -> set[str]:
    """Names of all elements of FHIR R4B, in JSON."""
    names = set()
    for module in pkgutil.iter_modules(fhir.resources.R4B.__path__):
        loaded = importlib.import_module(f"fhir.resources.R4B.{module.name}")
        for model in vars(loaded).values():
            for name, field in getattr(model, "model_fields", {}).items():
                names.add(field.alias or name)
    return names


def test_no_element_of_fhir_sounds_like_a_token() -> None:
    names = element_names()
    assert {"birthDate", "preAuthRef", "valueString"} <= names
    document = {"request": {"accessToken": "s3cret", "x": dict.fromkeys(names, "kept")}}
    stored, _ = serialise(document, None)
    assert json.loads(stored)["request"] == {"accessToken": "[removed]", "x": dict.fromkeys(names, "kept")}


@pytest.mark.parametrize("part", ["fetched", "feedback"])
def test_what_else_came_from_outside_is_looked_at_too(part: str) -> None:
    document = {"request": {}, "response": {"resource": {"sessionToken": "s3cret"}}, part: [{"token": "s3cret"}]}
    stored, changed = serialise(document, None)
    assert changed
    assert '"token":"s3cret"' not in stored
