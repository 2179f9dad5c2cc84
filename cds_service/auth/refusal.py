"""Why a token was refused: for the log and for `client check-token`, never for the caller."""

from __future__ import annotations

from enum import Enum

from cds_service.errors import Unauthorized


class Reason(Enum):
    """Every reason: a name for the log, the failed check, and its cure for an integrator."""

    NO_HEADER = ("no-header", "There is no Authorization header.", "Send Authorization: Bearer TOKEN.")
    TOO_LONG = (
        "too-long",
        "The Authorization header is over 8 KiB.",
        "Send only the claims CDS Hooks defines.",
    )
    NOT_BEARER = (
        "not-bearer",
        "The header is not one Bearer token of three base64url parts.",
        "Send one header, Authorization: Bearer HEADER.PAYLOAD.SIGNATURE, without padding.",
    )
    BAD_HEADER = ("bad-header", "The token's header is not a JSON object.", "Use a JWT library to sign.")
    BAD_PAYLOAD = ("bad-payload", "The token's payload is not a JSON object.", "Use a JWT library to sign.")
    ALGORITHM = (
        "algorithm",
        "alg is not an accepted asymmetric algorithm.",
        "Sign with ES384 or RS384 (ES, RS and PS with 256, 384, 512 and EdDSA are accepted).",
    )
    CRITICAL = ("critical-header", "The token's header has crit or b64.", "Leave both out.")
    TYPE = ("type", "typ is not JWT.", "Set typ to JWT.")
    KEY_ID = ("key-id", "kid is missing or not a text of 1 to 256 characters.", "Name the key in kid.")
    ISSUER = (
        "issuer",
        "iss is not that of a declared client.",
        "Declare the client with exactly this issuer.",
    )
    KEY_URL = ("key-url", "jku is not in the client's jku_allowed.", "Leave jku out, or list its exact URL.")
    NO_KEY = (
        "no-key",
        "No key with this kid is known for the client, or its JWK Set is out of reach.",
        "Publish the key under this kid; a new key is found within 30 s.",
    )
    KEY_MISFIT = ("key-misfit", "The key does not fit alg.", "Sign with the algorithm that fits the key.")
    SIGNATURE = (
        "signature",
        "The signature does not match.",
        "Sign with the private key of the declared pair.",
    )
    AUDIENCE = (
        "audience",
        "aud is not the called URL.",
        "Set aud to the URL of the called endpoint as the client sees it, without query.",
    )
    EXPIRES = ("expires", "exp is missing or not a number.", "Set exp, in seconds since 1970.")
    ISSUED = ("issued", "iat is missing or not a number.", "Set iat, in seconds since 1970.")
    EXPIRED = ("expired", "exp is in the past.", "Make a new token for each call; check the client's clock.")
    FUTURE = ("future", "iat is in the future.", "Check the client's clock.")
    LIFETIME = (
        "lifetime",
        "exp is before iat or too long after it.",
        "Let a token live 5 minutes (`CDS_TOKEN_LIFETIME`, or the client's token_lifetime, is the limit).",
    )
    NOT_BEFORE = ("not-before", "nbf is not a number or in the future.", "Leave nbf out or set it to iat.")
    TOKEN_ID = (
        "token-id",
        "jti is missing or not a text of 1 to 256 characters.",
        "Put a new UUID in jti for each call.",
    )
    TENANT = (
        "tenant",
        "tenant is not one of the client's tenants.",
        "Send a declared tenant, or declare it.",
    )
    REPLAYED = ("replayed", "jti was used before.", "Put a new UUID in jti for each call.")

    def __init__(self, code: str, check: str, cure: str) -> None:
        self.code, self.check, self.cure = code, check, cure


class Refused(Unauthorized):
    """Unauthorized, always with the same text; `reason` is for the log and for check-token only."""

    def __init__(self, reason: Reason) -> None:
        super().__init__()
        self.reason = reason
