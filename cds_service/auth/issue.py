"""The client's side, for integrators' tests: make a key pair, publish its JWK Set, sign a token."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from cds_service.errors import InputFileError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey

_BY_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def generate_key(algorithm: str) -> PrivateKey:
    """A new private key for ES384 or RS384, the two that CDS Hooks recommends."""
    if algorithm == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    if algorithm == "RS384":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    raise ValueError("algorithm is ES384 or RS384")


def algorithm_of(key: PrivateKey) -> str:
    """The algorithm this project signs with, given the key: ES256/384/512 by curve, RS384, EdDSA."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS384"
    return _BY_CURVE[key.curve.name] if isinstance(key, ec.EllipticCurvePrivateKey) else "EdDSA"


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    """The public half as JWK; its kid is the key's thumbprint (RFC 7638)."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    required: dict[str, Any] = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    return {**required, "kid": _thumbprint(required), "use": "sig", "alg": algorithm_of(key)}


def _thumbprint(required: dict[str, Any]) -> str:
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()


def write_private_key(path: Path, key: PrivateKey) -> None:
    """Write the key as PEM, readable by its owner only; an existing file is never replaced."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InputFileError(f"{path}: exists already. Choose another folder or client id.") from error
    except OSError as error:
        raise InputFileError(f"{path}: cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def read_private_key(path: Path) -> PrivateKey:
    """A private key from a PEM file without password. InputFileError if there is none of a known kind."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise InputFileError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise InputFileError(f"{path}: is not a private key in PEM form without a password.") from error
    known = not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name in _BY_CURVE
    if not isinstance(key, PrivateKey) or not known:
        raise InputFileError(f"{path}: is a key of another kind. Use EC P-256, P-384, P-521, RSA or Ed25519.")
    return key


def sign_token(
    key: PrivateKey,
    *,
    issuer: str,
    audience: str,
    kid: str | None = None,
    tenant: str | None = None,
    jku: str | None = None,
    lifetime_s: int = 300,
    now: float | None = None,
) -> str:
    """A JWT as CDS Hooks asks ("Trusting CDS Clients"), with a new jti; times in seconds."""
    issued = int(time.time() if now is None else now)
    claims = {
        "iss": issuer,
        "aud": audience,
        "iat": issued,
        "exp": issued + lifetime_s,
        "jti": str(uuid.uuid4()),
    }
    headers = {"kid": kid or public_jwk(key)["kid"], **({"jku": jku} if jku else {})}
    extra = {"tenant": tenant} if tenant is not None else {}
    return jwt.encode({**claims, **extra}, key, algorithm=algorithm_of(key), headers=headers)
