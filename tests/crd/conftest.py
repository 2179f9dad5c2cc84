"""Fixtures of the CRD tests: an in-process path without HTTP, and every answer of the service held to the guide."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cds_service.config import Settings
from cds_service.errors import RequestError
from cds_service.hooks.answer import Answer, answer
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime

Json = dict[str, Any]
BASE = "https://payer.example.org"


@pytest.fixture(scope="session")
def demo() -> Runtime:
    """A runtime in demo mode with the bundled policies."""
    return Runtime.build(Settings(demo=True, public_url=BASE))


@pytest.fixture(scope="session")
def ask(demo: Runtime) -> Callable[..., Answer]:
    """Answer a request body on the path that HTTP takes, without HTTP."""

    def run(body: Json, runtime: Runtime | None = None, caller: Caller | None = None, *, live: bool = False) -> Answer:
        here = runtime or demo
        raw = json.dumps(body).encode()
        service = here.services[f"{body['hook']}-crd"]
        return answer(validate(parse(raw), service, raw), service, here, caller or Caller("tester"), live=live)

    return run


@pytest.fixture(scope="session")
def ask_any(demo: Runtime) -> Callable[[Json, str], Answer]:
    """As `ask`, of any service."""

    def run(body: Json, service: str) -> Answer:
        raw = json.dumps(body).encode()
        return answer(validate(parse(raw), demo.services[service], raw), demo.services[service], demo, Caller("tester"))

    return run


@pytest.fixture(scope="session")
def refusal(ask: Callable[..., Answer]) -> Callable[[Json], RequestError]:
    """The error that a request is refused with."""

    def run(body: Json) -> RequestError:
        with pytest.raises(RequestError) as caught:
            ask(body)
        return caught.value

    return run


@pytest.fixture(scope="session")
def deployment(demo: Runtime) -> Callable[..., Runtime]:
    """The same content outside demo mode, with some settings."""

    def make(**settings: Any) -> Runtime:
        return replace(demo, settings=Settings(public_url=BASE, **settings), members=None)

    return make
