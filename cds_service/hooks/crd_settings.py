"""What a CRD client asks for in one call: version of the guide, and configuration (Da Vinci CRD, deviations)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.determination.crd_outcome import VERSIONS, Version
from cds_service.errors import Issue, RequestError
from cds_service.hooks.crd_services import CARD_TYPES, COVERAGE_INFO, DEFAULT_MAX_CARDS, MAX_CARDS

log = logging.getLogger("cds_service.hooks")
_PATH = 'extension."davinci-crd.requestedVersion"'
_PATCHED = re.compile(r"(\d+\.\d+)(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Preferences:
    """Version of the guide, and what not to return."""

    version: Version
    coverage_info: bool = True
    switched_off: frozenset[str] = frozenset()
    max_cards: int = DEFAULT_MAX_CARDS


def preferences(extension: Mapping[str, Any], default: str) -> Preferences:
    """Read the request's extension; `default` is the version of the clients file.

    What is not a supported option, or has a value of another type, is ignored. RequestError for a version that
    is not served: an answer in another version could not be read.
    """
    given = extension.get("davinci-crd.configuration")
    options = given if isinstance(given, dict) else {}
    off = frozenset(code for code in (COVERAGE_INFO, *CARD_TYPES) if options.get(code) is False)
    _log_ignored(options)
    most = options.get(MAX_CARDS)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        most = DEFAULT_MAX_CARDS
    return Preferences(
        _version(extension.get("davinci-crd.requestedVersion"), default),
        COVERAGE_INFO not in off,
        off - {COVERAGE_INFO},
        most,
    )


def _version(asked: object, default: str) -> Version:
    text = default if asked is None else asked
    match = _PATCHED.fullmatch(text) if isinstance(text, str) else None
    for version in VERSIONS:
        if match and match[1] == version:
            return version
    raise RequestError(Issue(f"is not one of {', '.join(VERSIONS)}", _PATH, "value"))


def _log_ignored(options: Mapping[str, Any]) -> None:
    wrong = [c for c in (COVERAGE_INFO, *CARD_TYPES) if c in options and not isinstance(options[c], bool)]
    most = options.get(MAX_CARDS, 0)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        wrong.append(MAX_CARDS)
    if wrong:
        log.info("CRD configuration ignored, wrong type of value: %s", ", ".join(wrong))
