"""An answer leaves no cycles behind: what a call used is given back at once, not looked for by the collector later."""

from __future__ import annotations

import gc

import pytest
from support.stories import Story, stories

from cds_service.config import Settings
from cds_service.hooks.answer import answer, determinations
from cds_service.hooks.request import validate
from cds_service.hooks.runtime import Caller, Runtime


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.build(Settings(demo=True))


SIGNED = [s for s in stories() if s.request["hook"] == "order-sign"]


@pytest.mark.parametrize("story", SIGNED, ids=lambda s: s.name)
def test_an_answer_leaves_no_cycles(runtime: Runtime, story: Story) -> None:
    service = runtime.services["order-sign-advisor"]

    def call() -> int:
        done = answer(validate(story.request, service), service, runtime, Caller())
        return len(determinations(done))

    assert call()  # what is made once is made
    gc.collect()
    gc.disable()
    try:
        call()
        assert gc.collect() == 0
    finally:
        gc.enable()
