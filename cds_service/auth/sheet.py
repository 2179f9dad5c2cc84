"""What a site's analyst types in, for an EHR that does not read the discovery document, as Text or Markdown.

All of it is worked out from what is served: services, prefetch and URLs as discovery has them, and the client as the
clients file declares it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cds_service.auth.clients import Client
from cds_service.config import Settings
from cds_service.hooks.runtime import Runtime
from cds_service.hooks.services import Service, prefetch
from cds_service.render.parts import OVERRIDE_REASONS, REASON_SYSTEM

_TYPE = re.compile(r"[A-Z][A-Za-z]+")
# Read where a draft or a Coverage refers to them and they did not come with it.
_BESIDE = ("Device", "Medication", "Organization")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the sheet: a heading, sentences, and pairs of a name and what to type in."""

    heading: str
    told: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


def sheet(client: Client, runtime: Runtime) -> tuple[Part, ...]:
    """The parts of the sheet of one client."""
    services = tuple(runtime.services.values())
    return (
        Part(f"{client.name} ({client.id})", ("What to type in so that this EHR can call the CDS service.",)),
        *(_service(s, runtime) for s in services),
        Part("FHIR access", _fhir(client), (("Scopes", " ".join(_scopes(services, runtime))),)),
        Part("Tokens of the EHR (JWT)", _tokens(client), tuple(_claims(client, runtime.settings))),
        _reasons(client),
        _orders(client),
        Part("Links", (_links(client, runtime.settings),)),
        Part("Timeouts", (
            f"The service asks FHIR servers for at most {runtime.settings.fetch_deadline:g} s a call: let the EHR wait "
            f"at least {runtime.settings.fetch_deadline + 2:g} s where prefetch does not bring all.",
            f"A request body has to arrive within {runtime.settings.read_deadline:g} s and may have "
            f"{runtime.settings.max_body_bytes} bytes.",
        )),
    )  # fmt: skip


def _service(service: Service, runtime: Runtime) -> Part:
    url = f"{runtime.settings.base_url}/cds-services/{service.id}"
    rulebook = runtime.book.rulebook
    templates = prefetch(service, rulebook) if service.prefetch is None else service.prefetch
    pairs = [("Hook", service.hook), ("Service URL", url), ("Feedback URL", f"{url}/feedback")]
    pairs += [(f"Prefetch {key}", template) for key, template in templates.items()]
    return Part(f"Service: {service.title}", (service.usage,), tuple(pairs))


def _fhir(client: Client) -> tuple[str, ...]:
    servers = ", ".join(server.url for server in client.fhir_servers)
    if not servers:
        return ("No FHIR server of this client may be called: all data has to come as prefetch.",)
    return (f"What prefetch does not bring is asked of {servers} with the access token of the call (read only).",)


def _scopes(services: Iterable[Service], runtime: Runtime) -> list[str]:
    """SMART scopes (version 1 spelling) of the resources that any template or follow-up query reads."""
    texts = [
        t for s in services for t in (prefetch(s, runtime.book.rulebook) if s.prefetch is None else s.prefetch).values()
    ]
    kinds = {found[0] for text in texts if (found := _TYPE.match(text))} | set(_BESIDE)
    return [f"user/{kind}.read" for kind in sorted(kinds)]


def _tokens(client: Client) -> tuple[str, ...]:
    asked = ["alg: RS256 to RS512, PS256 to PS512, ES256, ES384, ES512 or EdDSA; a new jti for each call."]
    if client.jwks:
        known = ", ".join(f"{key.kid} ({key.alg or key.kty})" for key in client.jwks.parsed)
        asked.append(f"Public keys known here, by kid: {known}.")
    asked += [f"Public keys are fetched from {url}." for url in sorted(client.key_urls)]
    return tuple(asked)


def _claims(client: Client, settings: Settings) -> Iterator[tuple[str, str]]:
    spoken = client.spoken
    lifetime = settings.token_lifetime if spoken.token_lifetime is None else spoken.token_lifetime
    skew = settings.clock_leeway if spoken.clock_skew is None else spoken.clock_skew
    yield "iss", client.issuer
    yield "aud", "the service URL that is called; for feedback the service URL or the feedback URL"
    yield "exp", f"at most {lifetime} s after iat"
    yield "Clock", f"may differ by {skew} s"
    if client.tenants:
        yield "tenant", " or ".join(client.tenants)


def _reasons(client: Client) -> Part:
    if "overrideReasons" in client.spoken.omit:
        return Part("Override reasons", ("None are sent to this client; reasons of its own are recorded.",))
    told = (f"Code system: {REASON_SYSTEM}", "Reasons of the site's own, and comments, are recorded as well.")
    return Part("Override reasons", told, OVERRIDE_REASONS)


def _orders(client: Client) -> Part:
    spoken = client.spoken
    if not spoken.create_system:
        return Part("Suggested orders", ("Orders are suggested by their CPT or HCPCS code.",))
    told = f"Orders are suggested by codes of the site, of {spoken.create_system} unless said otherwise."
    pairs = [(f"{c.system}:{c.code}", f"{s.code} ({s.system})") for c, s in spoken.order_codes.items()]
    return Part(
        "Suggested orders", (told, *([] if pairs else ["None are declared: no order is suggested."])), tuple(pairs)
    )


def _links(client: Client, settings: Settings) -> str:
    if "links" in client.spoken.omit:
        return "Cards have no links for this client."
    return f"Cards have plain links (type absolute) below {settings.base_url}/explanations/; no SMART app is launched."


# --- the two forms ----------------------------------------------------------------------------------------


def as_text(parts: Iterable[Part]) -> str:
    """For a terminal or a mail."""
    return "\n".join(line for part in parts for line in _text(part))


def _text(part: Part) -> Iterator[str]:
    yield from (part.heading, "-" * len(part.heading), *part.told)
    width = max((len(name) for name, _ in part.pairs), default=0)
    yield from (f"{name:<{width}}  {value}" for name, value in part.pairs)
    yield ""


def as_markdown(parts: Iterable[Part]) -> str:
    """For a wiki or a ticket."""
    return "\n".join(line for part in parts for line in _markdown(part))


def _markdown(part: Part) -> Iterator[str]:
    yield from (f"## {part.heading}", "")
    yield from (line for told in part.told for line in (told, ""))
    if part.pairs:
        yield from ("| | |", "| --- | --- |")
        yield from (f"| {_cell(name)} | `{_cell(value)}` |" for name, value in part.pairs)
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
