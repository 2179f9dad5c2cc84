"""The workbench: an order-entry screen as in an EHR, on the real hook endpoint, with the trace beside it."""

from __future__ import annotations

from datetime import date
from threading import Thread
from typing import Any

import nh3
from flask import Response, render_template, request
from markdown_it import MarkdownIt

from cds_service.errors import NotFound, RequestError
from cds_service.hooks.answer import Answer, Timing, answer, determinations, findings
from cds_service.hooks.request import parse, parse_chart, validate
from cds_service.hooks.runtime import Caller
from cds_service.hooks.services import Service
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import WorkedCase
from cds_service.policy.rulebook import Rulebook
from cds_service.web.body import read_json_body
from cds_service.web.hooks_api import gate, runtime, turns
from cds_service.web.pages import code_search, stories
from cds_service.web.pages.blueprint import pages
from cds_service.web.pages.case_request import request_of
from cds_service.web.pages.cases import all_results
from cds_service.web.pages.incoming import as_request
from cds_service.web.pages.sample import sample
from cds_service.web.pages.sentences import CONFIDENCE
from cds_service.web.responses import json_response

Json = dict[str, Any]
MOST_TEXTS = 50
MOST_CHARACTERS = 50_000  # of all together; the details of fifty cards have fewer
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_TAGS = {"p", "strong", "em", "ul", "ol", "li", "br", "code", "pre", "blockquote"}


@pages.get("/")
def workbench() -> str:
    """The page; what it shows is fetched by its script."""
    here = runtime()
    Thread(target=_warm, args=(here.book.rulebook, here.now().date(), here.settings.demo), daemon=True).start()
    offered = [{"id": s.id, "hook": s.hook, "title": s.title} for s in here.services.values()]
    return render_template("workbench.html", stories=list(stories.stories().values()), services=offered)


def _warm(rulebook: Rulebook, today: date, demo: bool) -> None:
    """Work out what the other pages show, while this one is read; remembered until the content changes."""
    all_results(rulebook)
    if demo:
        sample(rulebook, today)


@pages.get("/workbench/stories/<name>")
def story(name: str) -> Response:
    """A bundled story: service, request, and what it is about."""
    return json_response(stories.story(name).opened())


@pages.get("/workbench/cases/<publisher>/<policy>/<case>")
def worked_case(publisher: str, policy: str, case: str) -> Response:
    """A policy's worked case as a hook request."""
    folder = runtime().book.rulebook.folders.get(f"{publisher}/{policy}")
    worked = _case(folder, case)
    if folder is None or worked is None:
        raise NotFound("There is no such worked case.")
    body = request_of(folder, worked, runtime().book.rulebook)
    about = f"{folder.policy.short_title}: {worked.title}"
    return json_response({"service": "order-sign-advisor", "request": body, "title": "Worked case", "about": about})


def _case(folder: PolicyFolder | None, name: str) -> WorkedCase | None:
    cases = folder.cases.cases if folder and folder.cases else ()
    return next((c for c in cases if c.id == name), None)


@pages.get("/workbench/codes")
def codes() -> Response:
    """Codes by number or words (`q`), or the one with a number (`code`)."""
    rulebook = runtime().book.rulebook
    if exact := request.args.get("code"):
        found = code_search.by_code(rulebook, exact)
        return json_response({"codes": [found] if found else []})
    return json_response({"codes": code_search.search(rulebook, request.args.get("q", ""))})


@pages.post("/workbench/request")
def pasted() -> Response:
    """What was pasted, as a hook request."""
    return json_response(as_request(parse_chart(_raw())))


@pages.post("/workbench/markdown")
def markdown() -> Response:
    """Card details as safe HTML: raw HTML in them shows as text, and only plain formatting comes out."""
    texts = _body().get("texts")
    if not isinstance(texts, list) or len(texts) > MOST_TEXTS:
        raise RequestError(f"must be a list of at most {MOST_TEXTS} texts", path="texts", code="structure")
    texts = [str(text) for text in texts]
    if sum(map(len, texts)) > MOST_CHARACTERS:
        raise RequestError(f"hold more than {MOST_CHARACTERS:,} characters", path="texts", code="too-long")
    return json_response({"html": [safe_html(text) for text in texts]})


def safe_html(text: str) -> str:
    """CommonMark to HTML without attributes, links, images or raw HTML."""
    return nh3.clean(_MARKDOWN.render(text), tags=_TAGS, attributes={}, link_rel=None)


@pages.post("/workbench/trace")
def trace() -> Response:
    """The same request on the same path, with what a hook response does not carry. Nothing is recorded."""
    here, clock = runtime(), Timing()
    body = _body()
    service = here.services.get(str(body.get("service")))
    if service is None:
        raise NotFound("There is no such service.")
    with clock.stage("validate"):
        hook_request = validate(_object(body.get("request")), service)
    with turns().take():
        done = answer(hook_request, service, here, _caller(), timing=clock)
    return json_response(_told(done, service))


def _body() -> Json:
    return parse(_raw())


def _raw() -> bytes:
    settings = runtime().settings
    return read_json_body(request, settings.max_body_bytes, settings.read_deadline)


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise RequestError("must be an object", path="request", code="structure")
    return value


def _caller() -> Caller:
    return gate().admit(request) if runtime().settings.demo else Caller("workbench")


def _told(done: Answer, service: Service) -> Json:
    response = done.response
    if not runtime().settings.demo:  # nothing was recorded, so a card's link leads nowhere
        response = {**response, "cards": [{k: v for k, v in c.items() if k != "links"} for c in response["cards"]]}
    return {
        "service": service.id,
        "response": response,
        "determinations": determinations(done),
        "findings": findings(done),
        "sources": {n: {"state": s.state.value, "detail": s.detail} for n, s in done.case.sources.items()},
        "fetched": done.fetched,
        "timing": {name: round(ms, 3) for name, ms in done.timing.stages.items()},
        "policies": _policies(done),
        "revision": done.revision[:12],
    }


def _policies(done: Answer) -> Json:
    """Names and sources of the policies that spoke, for headings and citations in the trace."""
    policies = runtime().book.policies
    spoken = {said.key: policies.spoken(said) for d in done.decision.orders for said in d.spoken}
    return {
        key: {
            "title": policy.short_title,
            "sources": {
                k: {**s.model_dump(mode="json", exclude_none=True), "confidence": CONFIDENCE[s.confidence]}
                for k, s in version.sources.items()
            },
        }
        for key, (policy, version) in spoken.items()
    }
