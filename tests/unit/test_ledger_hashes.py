"""The ledger's hashes are the usual ones, whatever the length; and no name of a token is overlooked."""

from __future__ import annotations

import hashlib
import hmac

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


NAMES = "authorization Authorization AUTHORIZATION Proxy-AuthoriZation access_token REFRESH_TOKEN Id_Token"


@pytest.mark.parametrize("name", NAMES.split())
def test_tokens_under_telling_names_are_removed_in_any_spelling(name: str) -> None:
    document = {"request": {"z_Z": 'zation":', "x": [{name: "s3cret"}]}, "response": {}, "determinations": ["_z"]}
    stored, changed = serialise(document, None)
    assert changed
    assert "s3cret" not in stored
