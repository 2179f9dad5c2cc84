"""Forged tokens are all refused alike; good ones pass, also right after a forged one."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from cds_service.auth.clients import Client, Clients
from cds_service.auth.issue import public_jwk
from cds_service.auth.refusal import Reason, Refused
from cds_service.auth.replay import MemoryReplay
from cds_service.auth.verify import Verifier
from cds_service.errors import ConfigurationError, Unauthorized

PUBLIC_URL = "https://cds.example.org"
PATH = "/cds-services/order-sign-advisor"
NOW = 1_800_000_000.0
PUBLIC_TEXT = str(Unauthorized())
ISSUER = "https://ehr.example.org/"
JKU = "https://ehr.example.org/jwks.json"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode(part: Any) -> str:
    return b64(part if isinstance(part, bytes) else json.dumps(part).encode())


def sign(alg: str, key: Any) -> Callable[[bytes], bytes]:
    return lambda message: get_default_algorithms()[alg].sign(message, key)


def hs384(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda message: hmac.new(secret, message, hashlib.sha384).digest()


@dataclass
class World:
    """A verifier for two clients, their private keys, and a token that is good unless changed."""

    ec: Any
    rsa: Any
    ed: Any
    stranger: Any
    verifier: Verifier = field(init=False)
    jti: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        keys = [{**public_jwk(key), "kid": kid} for kid, key in
                (("ec", self.ec), ("rsa", self.rsa), ("ed", self.ed))]  # fmt: skip
        for key in keys:
            del key["alg"]
        ehr = Client(id="ehr", name="EHR", issuer=ISSUER, jwks={"keys": keys}, tenants=["north"], jku_allowed=[JKU])
        pinned = {**public_jwk(self.stranger), "kid": "other"}
        other = Client(id="other", name="Other", issuer="https://other.example.org/", jwks={"keys": [pinned]})
        self.verifier = Verifier(
            Clients((ehr, other)), public_url=PUBLIC_URL, replay=MemoryReplay(lambda: NOW), now=lambda: NOW
        )

    def header(self, **changes: Any) -> dict[str, Any]:
        return without_none({"alg": "ES384", "typ": "JWT", "kid": "ec", **changes})

    def claims(self, **changes: Any) -> dict[str, Any]:
        good = {"iss": ISSUER, "aud": PUBLIC_URL + PATH, "iat": NOW, "exp": NOW + 300, "jti": self.jti}
        return without_none({**good, "tenant": "north", **changes})

    def token(self, header: Any = None, claims: Any = None, signer: Callable[[bytes], bytes] | None = None) -> str:
        first = encode(self.header() if header is None else header)
        text = f"{first}.{encode(self.claims() if claims is None else claims)}"
        return f"Bearer {text}.{b64((signer or sign('ES384', self.ec))(text.encode()))}"

    def pem(self) -> bytes:
        return self.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, header: str | None, path: str = PATH) -> Client:
        return self.verifier.verify(header, path)


def without_none(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def world(rsa_key: rsa.RSAPrivateKey) -> World:
    p384 = ec.generate_private_key(ec.SECP384R1())
    return World(p384, rsa_key, ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1()))


def header(**changes: Any) -> Callable[[World], str]:
    """A token whose header is changed, signed with the client's own key."""
    return lambda w: w.token(header=w.header(**changes))


def claims(**changes: Any) -> Callable[[World], str]:
    """A token whose claims are changed (None: removed), signed with the client's own key."""
    return lambda w: w.token(claims=w.claims(**changes))


def by_stranger(**changes: Any) -> Callable[[World], str]:
    """A token signed with another key, its header changed."""
    return lambda w: w.token(header=w.header(**changes), signer=sign("ES384", w.stranger))


def without_signature(alg: str) -> Callable[[World], str]:
    return lambda w: w.token(header=w.header(alg=alg), signer=lambda _: b"")


def hmac_with(secret: Callable[[World], bytes], alg: str = "HS384", kid: str = "rsa") -> Callable[[World], str]:
    return lambda w: w.token(header=w.header(alg=alg, kid=kid), signer=hs384(secret(w)))


def jwks_text(w: World) -> bytes:
    return json.dumps({"keys": [public_jwk(w.rsa)]}).encode()


def der(w: World) -> str:
    return w.token(signer=lambda message: w.ec.sign(message, ec.ECDSA(SHA384())))


def high_bytes_in_signature(w: World) -> str:
    """r and s of one byte each: the shortest well-formed ES384 signature, all zero."""
    return w.token(signer=lambda _: bytes(96))


def malleable(w: World) -> str:
    """Same signature value with its last base64 character changed in the bits that carry nothing."""
    good = w.token(signer=sign("RS384", w.rsa), header=w.header(alg="RS384", kid="rsa"))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return good[:-1] + alphabet[alphabet.index(good[-1]) + 1]


def tampered(w: World) -> str:
    first, _, last = w.token().split(".")
    return f"{first}.{encode(w.claims(sub='admin'))}.{last}"


def jwk_of_stranger(w: World) -> str:
    return by_stranger(jwk={**public_jwk(w.stranger), "kid": "ec"})(w)


@functools.cache
def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def weak(kid: str) -> Callable[[World], str]:
    return lambda w: w.token(header=w.header(alg="RS384", kid=kid), signer=sign("RS384", weak_key()))


def raw_claims(text: str | bytes) -> Callable[[World], str]:
    return lambda w: w.token(claims=text.encode() if isinstance(text, str) else text)


def raw_header(text: str | bytes) -> Callable[[World], str]:
    return lambda w: w.token(header=text.encode() if isinstance(text, str) else text)


def reworded(change: Callable[[str], str | None]) -> Callable[[World], str | None]:
    """The good Authorization header, changed as text."""
    return lambda w: change(w.token())


FORGED: dict[str, tuple[Callable[[World], str | None], Reason]] = {
    # signature and key
    "wrong key": (by_stranger(), Reason.SIGNATURE),
    "alg none": (without_signature("none"), Reason.NOT_BEARER),
    "alg none with signature": (header(alg="none"), Reason.ALGORITHM),
    "alg None": (header(alg="None"), Reason.ALGORITHM),
    "alg NONE": (header(alg="NONE"), Reason.ALGORITHM),
    "alg nOnE": (header(alg="nOnE"), Reason.ALGORITHM),
    "alg missing": (header(alg=None), Reason.ALGORITHM),
    "alg empty": (header(alg=""), Reason.ALGORITHM),
    "alg a list": (header(alg=["ES384"]), Reason.ALGORITHM),
    "alg in lower case": (header(alg="es384"), Reason.ALGORITHM),
    "alg ES256K": (header(alg="ES256K"), Reason.ALGORITHM),
    "HMAC with the public key PEM": (hmac_with(lambda w: w.pem()), Reason.ALGORITHM),
    "HMAC with the PEM stripped": (hmac_with(lambda w: w.pem().strip()), Reason.ALGORITHM),
    "HMAC with the JWKS JSON": (hmac_with(jwks_text), Reason.ALGORITHM),
    "HMAC under an RSA alg": (hmac_with(lambda w: w.pem(), alg="RS384"), Reason.SIGNATURE),
    "HMAC with empty secret": (hmac_with(lambda _: b"", alg="HS256"), Reason.ALGORITHM),
    "RSA alg on an EC key": (header(alg="RS384"), Reason.KEY_MISFIT),
    "ES256 on a P-384 key": (header(alg="ES256"), Reason.KEY_MISFIT),
    "EdDSA on an EC key": (header(alg="EdDSA"), Reason.KEY_MISFIT),
    "PS384 header on an RS384 signature": (
        lambda w: w.token(header=w.header(alg="PS384", kid="rsa"), signer=sign("RS384", w.rsa)),
        Reason.SIGNATURE,
    ),
    "tampered payload": (tampered, Reason.SIGNATURE),
    "signature stripped": (reworded(lambda t: t[: t.rindex(".") + 1]), Reason.NOT_BEARER),
    "signature and dot stripped": (reworded(lambda t: t[: t.rindex(".")]), Reason.NOT_BEARER),
    "signature in DER form": (der, Reason.SIGNATURE),
    "signature all zero": (high_bytes_in_signature, Reason.SIGNATURE),
    "signature spelled otherwise": (malleable, Reason.SIGNATURE),
    "weak key of its own": (weak("weak"), Reason.NO_KEY),
    "weak key under a strong key's kid": (weak("rsa"), Reason.SIGNATURE),
    # ways to bring a key along
    "jku unlisted": (by_stranger(jku="https://evil.example.org/jwks.json"), Reason.KEY_URL),
    "jku unlisted, own key": (header(jku="https://evil.example.org/jwks.json"), Reason.KEY_URL),
    "jku listed plus query": (header(jku=JKU + "?x"), Reason.KEY_URL),
    "jku on a listed host": (header(jku=JKU + "/../evil.json"), Reason.KEY_URL),
    "jku with a user part": (header(jku=JKU.replace("://", "://ehr.example.org@evil.example.org/")), Reason.KEY_URL),
    "jku a list": (header(jku=[JKU]), Reason.KEY_URL),
    "jku a file": (header(jku="file:///etc/passwd"), Reason.KEY_URL),
    "jwk embedded": (jwk_of_stranger, Reason.SIGNATURE),
    "x5c embedded": (by_stranger(x5c=["MIIB"]), Reason.SIGNATURE),
    "x5u": (by_stranger(x5u="https://evil.example.org/cert.pem"), Reason.SIGNATURE),
    "kid path traversal": (by_stranger(kid="../../../../dev/null"), Reason.NO_KEY),
    "kid SQL": (by_stranger(kid="ec' UNION SELECT 'k"), Reason.NO_KEY),
    "kid command": (by_stranger(kid="ec|/usr/bin/id"), Reason.NO_KEY),
    "kid of another client": (by_stranger(kid="other"), Reason.NO_KEY),
    "kid a list": (header(kid=["ec"]), Reason.KEY_ID),
    "kid an object": (header(kid={"ec": "ec"}), Reason.KEY_ID),
    "kid missing": (header(kid=None), Reason.KEY_ID),
    "kid empty": (header(kid=""), Reason.KEY_ID),
    "kid too long": (header(kid="e" * 257), Reason.KEY_ID),
    "crit header": (header(crit=["exp"]), Reason.CRITICAL),
    "crit empty": (header(crit=[]), Reason.CRITICAL),
    "b64 false": (header(b64=False, crit=["b64"]), Reason.CRITICAL),
    "typ of another token": (header(typ="at+jwt"), Reason.TYPE),
    "typ a number": (header(typ=1), Reason.TYPE),
    # claims
    "iss foreign": (claims(iss="https://evil.example.org/"), Reason.ISSUER),
    "iss without its slash": (claims(iss=ISSUER.rstrip("/")), Reason.ISSUER),
    "iss missing": (claims(iss=None), Reason.ISSUER),
    "iss a list": (claims(iss=[ISSUER]), Reason.ISSUER),
    "iss of another client, own key": (claims(iss="https://other.example.org/"), Reason.NO_KEY),
    "aud of another host": (claims(aud="https://evil.example.org" + PATH), Reason.AUDIENCE),
    "aud a prefix": (claims(aud=PUBLIC_URL + "/cds-services"), Reason.AUDIENCE),
    "aud longer": (claims(aud=PUBLIC_URL + PATH + "/feedback"), Reason.AUDIENCE),
    "aud the base URL": (claims(aud=PUBLIC_URL), Reason.AUDIENCE),
    "aud of another service": (claims(aud=PUBLIC_URL + "/cds-services/order-sign-crd"), Reason.AUDIENCE),
    "aud by http": (claims(aud="http://cds.example.org" + PATH), Reason.AUDIENCE),
    "aud on another port": (claims(aud="https://cds.example.org:8443" + PATH), Reason.AUDIENCE),
    "aud port 80 under https": (claims(aud="https://cds.example.org:80" + PATH), Reason.AUDIENCE),
    "aud with query": (claims(aud=PUBLIC_URL + PATH + "?x=1"), Reason.AUDIENCE),
    "aud with two slashes": (claims(aud=PUBLIC_URL + PATH + "//"), Reason.AUDIENCE),
    "aud in upper case": (claims(aud=(PUBLIC_URL + PATH).upper()), Reason.AUDIENCE),
    "aud missing": (claims(aud=None), Reason.AUDIENCE),
    "aud an empty list": (claims(aud=[]), Reason.AUDIENCE),
    "aud a list of others": (claims(aud=[PUBLIC_URL, "https://evil.example.org"]), Reason.AUDIENCE),
    "aud an object": (claims(aud={PUBLIC_URL + PATH: 1}), Reason.AUDIENCE),
    "expired": (claims(iat=NOW - 400, exp=NOW - 61), Reason.EXPIRED),
    "expired at the leeway": (claims(iat=NOW - 400, exp=NOW - 60), Reason.EXPIRED),
    "iat in the future": (claims(iat=NOW + 61), Reason.FUTURE),
    "lifetime too long": (claims(exp=NOW + 901), Reason.LIFETIME),
    "iat long ago, exp far": (claims(iat=0), Reason.LIFETIME),
    "exp before iat": (claims(iat=NOW + 4, exp=NOW + 3), Reason.LIFETIME),
    "exp missing": (claims(exp=None), Reason.EXPIRES),
    "exp a text": (claims(exp=str(NOW + 300)), Reason.EXPIRES),
    "exp true": (claims(exp=True), Reason.EXPIRES),
    "exp a huge integer": (claims(exp=10**400), Reason.EXPIRES),
    "exp 1e999": (raw_claims(f'{{"iss":"{ISSUER}","aud":"{PUBLIC_URL}{PATH}","exp":1e999}}'), Reason.EXPIRES),
    "exp Infinity": (claims(exp=float("inf")), Reason.BAD_PAYLOAD),
    "iat missing": (claims(iat=None), Reason.ISSUED),
    "iat a list": (claims(iat=[NOW]), Reason.ISSUED),
    "iat NaN": (claims(iat=float("nan")), Reason.BAD_PAYLOAD),
    "nbf in the future": (claims(nbf=NOW + 61), Reason.NOT_BEFORE),
    "nbf a text": (claims(nbf="now"), Reason.NOT_BEFORE),
    "jti missing": (claims(jti=None), Reason.TOKEN_ID),
    "jti empty": (claims(jti=""), Reason.TOKEN_ID),
    "jti too long": (claims(jti="j" * 257), Reason.TOKEN_ID),
    "jti a number": (claims(jti=7), Reason.TOKEN_ID),
    "jti with NUL": (claims(jti="a\0b"), Reason.TOKEN_ID),
    "jti half a surrogate pair": (claims(jti="\ud800"), Reason.TOKEN_ID),
    "tenant outside the list": (claims(tenant="south"), Reason.TENANT),
    "tenant missing": (claims(tenant=None), Reason.TENANT),
    "tenant a list": (claims(tenant=["north"]), Reason.TENANT),
    # form
    "no header": (lambda _: None, Reason.NO_HEADER),
    "empty header": (lambda _: "", Reason.NOT_BEARER),
    "scheme Basic": (reworded(lambda t: t.replace("Bearer", "Basic")), Reason.NOT_BEARER),
    "scheme DPoP": (reworded(lambda t: t.replace("Bearer", "DPoP")), Reason.NOT_BEARER),
    "no scheme": (reworded(lambda t: t.removeprefix("Bearer ")), Reason.NOT_BEARER),
    "two values joined": (reworded(lambda t: f"{t}, {t}"), Reason.NOT_BEARER),
    "two values joined without blank": (reworded(lambda t: f"{t},{t}"), Reason.NOT_BEARER),
    "two tokens": (reworded(lambda t: f"{t} {t.split()[1]}"), Reason.NOT_BEARER),
    "giant token": (claims(more="x" * 8192), Reason.TOO_LONG),
    "not ASCII": (reworded(lambda t: t + "\u00e9"), Reason.NOT_BEARER),
    "line break": (reworded(lambda t: t + "\nX: y"), Reason.NOT_BEARER),
    "padding": (reworded(lambda t: t + "="), Reason.NOT_BEARER),
    "five parts, as JWE": (reworded(lambda t: t + ".a.b"), Reason.NOT_BEARER),
    "payload not UTF-8": (raw_claims(b'{"iss":"\xff"}'), Reason.BAD_PAYLOAD),
    "payload in UTF-16": (raw_claims('{"iss":"x"}'.encode("utf-16")), Reason.BAD_PAYLOAD),
    "payload a list": (raw_claims("[1]"), Reason.BAD_PAYLOAD),
    "payload a nested token": (lambda w: w.token(claims=w.token().split()[1].encode()), Reason.BAD_PAYLOAD),
    "payload deeply nested": (raw_claims("[" * 4000), Reason.BAD_PAYLOAD),
    "payload with a repeated key": (raw_claims(f'{{"iss":"{ISSUER}","iss":"x"}}'), Reason.BAD_PAYLOAD),
    "payload an integer of 5,000 digits": (raw_claims(f'{{"exp":{"1" * 5000}}}'), Reason.BAD_PAYLOAD),
    "header not UTF-8": (raw_header(b'{"alg":"\xff"}'), Reason.BAD_HEADER),
    "header a text": (raw_header('"ES384"'), Reason.BAD_HEADER),
    "header with a repeated alg": (raw_header('{"alg":"none","alg":"ES384","kid":"ec"}'), Reason.BAD_HEADER),
    "header deeply nested": (raw_header('{"alg":' * 800), Reason.BAD_HEADER),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_forged_token_is_refused_alike_and_spoils_nothing(
    case: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    forge, reason = FORGED[case]
    forged = forge(world)
    with pytest.raises(Unauthorized) as caught:
        world.verify(forged)
    assert isinstance(caught.value, Refused)
    assert caught.value.reason is reason
    assert str(caught.value) == PUBLIC_TEXT
    assert [(issue.text, issue.path, issue.code) for issue in caught.value.issues] == [(PUBLIC_TEXT, "", "login")]
    assert_log_is_silent(caplog.records, reason)
    # Refused again: no verdict was cached. The honest token with the same jti still passes, once.
    with pytest.raises(Unauthorized, match=PUBLIC_TEXT):
        world.verify(forged)
    assert world.verify(world.token()).id == "ehr"
    with pytest.raises(Refused) as replayed:
        world.verify(world.token())
    assert replayed.value.reason is Reason.REPLAYED


STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def assert_log_is_silent(records: list[logging.LogRecord], reason: Reason) -> None:
    """One line at INFO: a fixed text, the reason's name and a configured client id, and nothing else."""
    (record,) = records
    extra = {key: value for key, value in record.__dict__.items() if key not in STANDARD}
    assert (record.levelno, record.getMessage(), record.args, record.exc_info) == (
        logging.INFO, "token refused", (), None
    )  # fmt: skip
    assert extra.keys() == {"reason", "client"}
    assert extra["reason"] == reason.code
    assert extra["client"] in (None, "ehr", "other")


def test_replayed_token_is_refused_like_a_forged_one(world: World) -> None:
    token = world.token()
    assert world.verify(token).id == "ehr"
    with pytest.raises(Refused, match=PUBLIC_TEXT) as caught:
        world.verify(token)
    assert caught.value.reason is Reason.REPLAYED


def test_jti_is_kept_per_issuer(world: World) -> None:
    assert world.verify(world.token()).id == "ehr"
    claims = world.claims(iss="https://other.example.org/", tenant=None)
    same_jti = world.token(world.header(kid="other"), claims, sign("ES384", world.stranger))
    assert world.verify(same_jti).id == "other"


@pytest.mark.parametrize(
    ("alg", "kid", "key"),
    [("ES384", "ec", "ec"), ("EdDSA", "ed", "ed"),
     *[(f"{family}{bits}", "rsa", "rsa") for family in ("RS", "PS") for bits in (256, 384, 512)]],
)  # fmt: skip
def test_good_token_names_its_client(alg: str, kid: str, key: str, world: World) -> None:
    token = world.token(world.header(alg=alg, kid=kid), signer=sign(alg, getattr(world, key)))
    assert world.verify(token).id == "ehr"


@pytest.mark.parametrize(
    ("alg", "key"),
    [("ES256", ec.generate_private_key(ec.SECP256R1())), ("ES512", ec.generate_private_key(ec.SECP521R1())),
     ("EdDSA", ed448.Ed448PrivateKey.generate())],
    ids=["ES256", "ES512", "Ed448"],
)  # fmt: skip
def test_further_curves(alg: str, key: Any, world: World) -> None:
    client = Client(id="c", name="C", issuer=ISSUER, jwks={"keys": [{**public_jwk(key), "kid": "k"}]})
    verifier = Verifier(Clients((client,)), public_url=PUBLIC_URL, replay=MemoryReplay(), now=lambda: NOW)
    assert verifier.verify(world.token(world.header(alg=alg, kid="k"), signer=sign(alg, key)), PATH) is client


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": NOW + 0.9},
        {"iat": NOW + 5},
        {"iat": NOW - 304, "exp": NOW - 4},
        {"exp": NOW + 900},
        {"nbf": NOW + 1},
        {"aud": [PUBLIC_URL + PATH]},
        {"aud": ["https://elsewhere.example.org", PUBLIC_URL + PATH]},
        {"aud": "https://cds.example.org:443" + PATH},
        {"aud": PUBLIC_URL + PATH + "/"},
        {"jti": "j" * 256},
        {"sub": "someone", "extra": {"nested": [1]}},
    ],
    ids=str,
)
def test_tolerated_claims(changes: dict[str, Any], world: World) -> None:
    assert world.verify(claims(**changes)(world)).id == "ehr"


@pytest.mark.parametrize(
    "changes", [{"typ": None}, {"typ": "jwt"}, {"x5t": "abc"}, {"jku": JKU}, {"cty": "JWT"}], ids=str
)
def test_tolerated_headers(changes: dict[str, Any], world: World) -> None:
    """A listed jku does not lead to a fetch while the declared keys hold the kid."""
    assert world.verify(header(**changes)(world)).id == "ehr"


def test_key_declared_for_one_algorithm_serves_no_other(world: World) -> None:
    jwk = {**public_jwk(world.rsa), "kid": "rsa"}
    client = Client(id="c", name="C", issuer=ISSUER, jwks={"keys": [jwk]})
    verifier = Verifier(Clients((client,)), public_url=PUBLIC_URL, replay=MemoryReplay(), now=lambda: NOW)
    other = world.token(world.header(alg="PS384", kid="rsa"), signer=sign("PS384", world.rsa))
    with pytest.raises(Refused) as caught:
        verifier.verify(other, PATH)
    assert caught.value.reason is Reason.KEY_MISFIT
    declared = world.token(world.header(alg="RS384", kid="rsa"), signer=sign("RS384", world.rsa))
    assert verifier.verify(declared, PATH) is client


def test_scheme_is_case_insensitive(world: World) -> None:
    assert world.verify(world.token().replace("Bearer", "bearer")).id == "ehr"


FEEDBACK = PATH + "/feedback"


@pytest.mark.parametrize("audience", [FEEDBACK, PATH, PATH + "/", [PUBLIC_URL, PUBLIC_URL + PATH]], ids=str)
def test_a_second_path_may_be_named_instead(audience: str | list[str], world: World) -> None:
    named = audience if isinstance(audience, list) else PUBLIC_URL + audience
    token = claims(aud=named)(world)
    assert world.verifier.verify(token, FEEDBACK, also=PATH).id == "ehr"
    with pytest.raises(Refused) as caught:
        world.verifier.verify(token, FEEDBACK, also=PATH)
    assert caught.value.reason is Reason.REPLAYED


@pytest.mark.parametrize("audience", ["", "/cds-services", "/cds-services/other", PATH + "/other", FEEDBACK + "/x"])
def test_no_third_path_may_be_named(audience: str, world: World) -> None:
    with pytest.raises(Refused) as caught:
        world.verifier.verify(claims(aud=PUBLIC_URL + audience)(world), FEEDBACK, also=PATH)
    assert caught.value.reason is Reason.AUDIENCE


@pytest.mark.parametrize("public_url", ["https://hospital.example.org/cds", "https://hospital.example.org:443/cds/"])
def test_audience_is_the_public_url_behind_a_proxy(public_url: str, world: World) -> None:
    client = next(iter(world.verifier._clients))
    verifier = Verifier(Clients((client,)), public_url=public_url, replay=MemoryReplay(), now=lambda: NOW)
    with pytest.raises(Refused) as caught:
        verifier.verify(claims(aud="http://127.0.0.1:8000" + PATH)(world), PATH)
    assert caught.value.reason is Reason.AUDIENCE
    token = claims(aud="https://hospital.example.org/cds" + PATH)(world)
    assert verifier.verify(token, PATH) is client


@pytest.mark.parametrize("name", ["c%7C2026-1", "c%7c2026-1", "c|2026-1"])
def test_audience_is_the_url_as_called_or_decoded(name: str, world: World) -> None:
    token = claims(aud=f"{PUBLIC_URL}/Questionnaire/{name}")(world)
    with pytest.raises(Refused):
        world.verify(token, "/Questionnaire/c|2026-2")
    assert world.verify(token, "/Questionnaire/c|2026-1").id == "ehr"


def test_disabled_client_is_still_known(world: World) -> None:
    client = next(iter(world.verifier._clients)).model_copy(update={"disabled": True})
    verifier = Verifier(Clients((client,)), public_url=PUBLIC_URL, replay=MemoryReplay(), now=lambda: NOW)
    assert verifier.verify(world.token(), PATH).disabled is True


class SlowDuplicate:
    """A replay guard that records what it is asked."""

    def __init__(self) -> None:
        self.claims: list[tuple[str, str, int]] = []

    def claim(self, issuer: str, jti: str, expires: int) -> bool:
        self.claims.append((issuer, jti, expires))
        return True


def test_replay_guard_keeps_a_token_for_as_long_as_it_passes(world: World) -> None:
    guard = SlowDuplicate()
    client = next(iter(world.verifier._clients))
    verifier = Verifier(Clients((client,)), public_url=PUBLIC_URL, replay=guard, now=lambda: NOW, leeway_s=7)
    verifier.verify(claims(exp=NOW + 60.5)(world), PATH)
    assert guard.claims == [(ISSUER, world.jti, int(NOW) + 61 + 7)]


def test_one_token_in_many_threads_passes_once(world: World) -> None:
    token, outcomes = world.token(), []

    def call() -> None:
        try:
            outcomes.append(world.verify(token).id)
        except Refused as refused:
            outcomes.append(refused.reason.code)

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ehr"] + ["replayed"] * 15


def test_memory_replay_forgets_only_what_has_expired() -> None:
    time = [100.0]
    guard = MemoryReplay(lambda: time[0])
    assert guard.claim("i", "j", 110)
    time[0] = 110.0
    assert not guard.claim("i", "j", 110)
    time[0] = 110.5
    assert guard.claim("i", "j", 120)


@pytest.mark.parametrize(
    ("public_url", "text"),
    [
        ("cds.example.org", "public URL: is not an absolute URL: write https://host/path"),
        ("https://cds.example.org?x=1", "public URL: holds a query or a fragment: remove it"),
    ],
)
def test_a_senseless_public_url(public_url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Verifier(Clients(), public_url=public_url, replay=MemoryReplay())


def test_der_case_is_a_real_signature(world: World) -> None:
    """The DER case of the table fails for its form only: the same numbers in raw form pass."""
    message, signature = der(world).removeprefix("Bearer ").rsplit(".", 1)
    r, s = utils.decode_dss_signature(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    assert world.verify(f"Bearer {message}.{b64(raw)}").id == "ehr"
