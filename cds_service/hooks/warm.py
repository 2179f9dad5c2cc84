"""Answers a bundled made-up request once at start, so that no caller waits for what is built on first use."""

from __future__ import annotations

from cds_service.content_files import bundled
from cds_service.errors import RequestError
from cds_service.hooks.answer import answer, determinations
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime

STORY = "cervical-fusion-authorised"


def warm(runtime: Runtime) -> None:
    """Compile validators, templates and the policies of the story. Asks no FHIR server and records nothing."""
    raw = (bundled("fhir_fixtures") / STORY / "request.json").read_bytes()
    body = parse(raw)
    for service in runtime.services.values():
        if service.hook == body["hook"] and service.group == "advisor":
            try:
                determinations(answer(validate(body, service, raw), service, runtime, Caller("warm-up")))
            except RequestError:
                return  # a deployment's own policies may ask for more than the story holds
