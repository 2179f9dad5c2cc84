"""Public keys in JWK form: which are accepted, and which signature algorithm fits which key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192  # beyond, one verification costs more than it protects
MAX_KID = 256

# RFC 7518 section 3.1 and RFC 8037: the only algorithms a token may name, with the key each needs.
_FITS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ES256": ("EC", ("P-256",)),
    "ES384": ("EC", ("P-384",)),
    "ES512": ("EC", ("P-521",)),
    **{f"{family}{bits}": ("RSA", ("",)) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "EdDSA": ("OKP", ("Ed25519", "Ed448")),
}
ALGORITHMS = frozenset(_FITS)

_PARSERS = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
_CURVES = frozenset(curve for _, curves in _FITS.values() for curve in curves)
_TEXTS = ("kty", "kid", "use", "alg", "crv", "n", "e", "x", "y")
_MAX_MODULUS = MAX_RSA_BITS // 6 + 16  # characters of base64url; checked before any arithmetic
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


class BadKeyError(ValueError):
    """A JWK that this service does not accept; says why and the cure, never a key value."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key of a JWK Set. `alg` is the key's own restriction to one algorithm, if any."""

    kid: str
    kty: str
    crv: str
    alg: str | None
    public: PublicKey

    def fits(self, alg: str) -> bool:
        """True if a signature of algorithm `alg` may be checked with this key."""
        if alg not in _FITS or self.alg not in (None, alg):
            return False
        kty, curves = _FITS[alg]
        return self.kty == kty and self.crv in curves


def parse_jwk(jwk: Mapping[str, Any]) -> Key:
    """One JWK (RFC 7517 section 4) as a key; BadKeyError unless public, strong, for signatures."""
    _check_kind(jwk)
    _check_use(jwk)
    public = _public_key(jwk)
    _check_strength(public)
    return Key(jwk["kid"], jwk["kty"], str(jwk.get("crv", "")), jwk.get("alg"), public)


def _check_kind(jwk: Mapping[str, Any]) -> None:
    if not all(isinstance(jwk.get(name, ""), str) for name in _TEXTS):
        raise BadKeyError(f"holds a value that is not text: put {', '.join(_TEXTS)} in quotes")
    if len(str(jwk.get("n", ""))) > _MAX_MODULUS:
        raise BadKeyError(f"is an RSA key of over {MAX_RSA_BITS} bits: use {MIN_RSA_BITS} to {MAX_RSA_BITS}")
    if jwk.get("kty") == "oct" or "k" in jwk:
        raise BadKeyError("is a symmetric key: declare a public RSA, EC or OKP key")
    if _PRIVATE & set(jwk):
        raise BadKeyError("is a private key: declare only the public key of a new pair, this one is no longer secret")
    if jwk.get("kty") not in _PARSERS:
        raise BadKeyError("has an unsupported kty: use RSA, EC or OKP")
    if jwk["kty"] != "RSA" and jwk.get("crv") not in _CURVES - {""}:
        raise BadKeyError("has an unsupported crv: use P-256, P-384, P-521, Ed25519 or Ed448")
    if not isinstance(jwk.get("kid"), str) or not 0 < len(jwk["kid"]) <= MAX_KID:
        raise BadKeyError(f"has no kid: give it a text of 1 to {MAX_KID} characters, unique in the set, in quotes")


def _check_use(jwk: Mapping[str, Any]) -> None:
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise BadKeyError("is not for signatures: declare the key whose use is sig")
    if jwk.get("alg") is not None and jwk["alg"] not in ALGORITHMS:
        raise BadKeyError(f"has an unsupported alg: use one of {', '.join(sorted(ALGORITHMS))}")


def _public_key(jwk: Mapping[str, Any]) -> PublicKey:
    try:
        key = _PARSERS[jwk["kty"]](dict(jwk))
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, KeyError) as error:
        raise BadKeyError("cannot be read as a public key: copy it again from the client") from error
    if not isinstance(key, PublicKey):
        raise BadKeyError("is a private key: declare the public key only")
    return key


def _check_strength(public: PublicKey) -> None:
    if isinstance(public, RSAPublicKey) and not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise BadKeyError(
            f"is an RSA key of {public.key_size} bits: use {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, or ES384"
        )
