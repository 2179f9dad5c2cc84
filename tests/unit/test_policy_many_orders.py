"""What many orders of one code cost: counted in calls of functions, which no other program on the machine changes."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

import pytest

from cds_service.config import Settings
from cds_service.hooks.answer import answer
from cds_service.hooks.request import validate
from cds_service.hooks.runtime import Caller, Runtime
from tests.functional.deployment import Json, hook_request, order


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.build(Settings(demo=True))


def same(number: int) -> Json:
    return order("20939") | {"id": f"o{number}"}


def mixed(number: int) -> Json:
    return order(("20939", "20930", "20936")[number % 3]) | {"id": f"o{number}"}


def loose(number: int) -> Json:
    return order("20974") | {"id": f"o{number}"}


def calls(runtime: Runtime, draft: Callable[[int], Json], count: int) -> int:
    body = hook_request(order("22551"), *(draft(number) for number in range(count)))
    service = runtime.services["order-sign-advisor"]
    request = validate(body, service)
    profile = cProfile.Profile()
    profile.runcall(answer, request, service, runtime, Caller(), live=True)
    return int(pstats.Stats(profile).total_calls)


@pytest.mark.parametrize("draft", [same, mixed, loose])
def test_twice_as_many_orders_cost_little_more_than_twice_as_much(
    runtime: Runtime, draft: Callable[[int], Json]
) -> None:
    calls(runtime, draft, 10)  # what is remembered is remembered
    assert calls(runtime, draft, 800) / calls(runtime, draft, 400) <= 2.6
