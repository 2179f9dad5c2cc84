"""Cards of a CRD answer: only what coverage-information does not say already.

Alternate orders (one delete and one create a suggestion, no links); guidelines, safety and coding remarks (links, no
suggestions); and what was not checked. All are labelled with the insurer. Documents are linked, never the source's
URL: they are mostly not the insurer's, whose name that URL would make a way to them. Source: Da Vinci CRD 2.2.1, cards,
and the logical models of each type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cds_service.determination.crd_outcome import Version
from cds_service.determination.decision import Flagged, OrderDecision
from cds_service.render.about import OrderNames, told
from cds_service.render.actions import replaceable
from cds_service.render.cards import option_text
from cds_service.render.covered import OPTIONS, supporter
from cds_service.render.crd import CARD_TYPES, TEMP, TOPICS, topic
from cds_service.render.markdown import escape, joined, lower_first
from cds_service.render.parts import DISCLAIMER, Context, RenderedCard, finding_key, governing, policy_line
from cds_service.render.policies import Spoken
from cds_service.render.unseen import not_checked
from cds_service.render.wording import SUMMARY_LIMIT

Json = dict[str, Any]
# None of the guide's topics fits what was not checked, and no card may pass for coverage information (resp-25).
NOT_CHECKED = "not-checked"
# Above warnings: a limit on cards shall not make an order that nobody looked at pass for one that is in order.
_RANK = {"critical": 0, NOT_CHECKED: 1, "warning": 2, "info": 3}
_ORDER = (*TOPICS, NOT_CHECKED)


@dataclass(frozen=True)
class CrdCards:
    """How cards are made for one call: insurer, version, what is switched off, how many at most, and in which words.

    `own_topics` is the code system of the topics that the guide has no code for. `early` at secondary hooks: it is too
    early for questions about coding (CRD 2.2, hook-19).
    """

    insurer: str
    version: Version
    own_topics: str
    switched_off: frozenset[str]
    max_cards: int
    context: Context
    names: OrderNames
    early: bool = False

    def of(self, rendered: Iterable[RenderedCard], unread: tuple[str, ...]) -> list[RenderedCard]:
        """CRD cards made of an advisor's as `drawn`, and one about what is `unread`: references, or places and faults.

        The most important come first, and no more than asked for.
        """
        made = [told(c, self.names) for r in rendered for c in self._made(r)]
        if unread:
            made.append(self._unread(unread))
        kept = [c for c in made if _topic(c) not in self.switched_off]
        kept.sort(key=lambda c: (_rank(c), _ORDER.index(_topic(c))))
        return kept[: self.max_cards]

    def _made(self, r: RenderedCard) -> Iterator[RenderedCard]:
        if r.kind == "safety":
            yield self._remark(r, "contraindication")
        elif r.kind == "coding" and not self.early:
            yield self._remark(r, "claim")
        elif r.kind in ("against", "none") and r.about:
            yield self._reference(r, r.about)
        if r.flagged and r.about and (r.flagged.ordered or r.flagged.offered):
            yield self._alternatives(r, r.flagged, r.about)

    def _unread(self, refs: tuple[str, ...]) -> RenderedCard:
        """Orders that the client sent or named and nobody could read: silence would look like an answer."""
        card = {
            "uuid": self.context.new_id(),
            "summary": not_checked(len(refs)),
            "detail": "\n".join(["**Not checked**", *(f"- {escape(r)}" for r in refs)]),
            "indicator": "info",
        }
        key = finding_key("unreadable", *refs)
        named = tuple([r for r in refs if not r.startswith("context.")])
        return self._labelled(RenderedCard(card, "unreadable", key, named), card, NOT_CHECKED)

    def _labelled(self, r: RenderedCard, card: Json, type_: str) -> RenderedCard:
        """The insurer's name, the topic, and the orders the card is about."""
        if type_ == NOT_CHECKED:
            about = {"system": self.own_topics, "code": NOT_CHECKED, "display": "Not Checked"}
        else:
            about = topic(type_, CARD_TYPES if self.version == "2.2" else TEMP)
        source = {"label": self.insurer, "topic": about}
        extension = {"davinci-crd.associated-resource": [{"reference": ref} for ref in r.orders]}
        return replace(r, card={**card, "source": source, "extension": extension})

    def _remark(self, r: RenderedCard, type_: str) -> RenderedCard:
        """What was found, with links to where its rules can be read."""
        card = _without(r.card, "links", "suggestions", "selectionBehavior")
        links = [link for f in r.findings for link in _documents(self.context.policies.spoken(f), f.cites)]
        return self._labelled(r, _linked(card, links), type_)

    def _reference(self, r: RenderedCard, decided: OrderDecision) -> RenderedCard:
        """A guideline, with links to where it can be read and to why it speaks here."""
        card = _without(r.card, "suggestions", "selectionBehavior")
        card = _linked(card, [*self._read(decided), *card["links"]])
        return self._labelled(r, card, "off-guideline" if r.kind == "against" else "guideline")

    def _alternatives(self, r: RenderedCard, group: Flagged, decided: OrderDecision) -> RenderedCard:
        """What could be ordered instead, or is ordered already; that it is not covered, the order itself says."""
        card = _without(r.card, "links", "suggestions", "selectionBehavior")
        # An id of its own: the same finding may make a guideline card as well.
        card |= {"uuid": self.context.new_id(), "indicator": "info"}
        by = supporter(decided, self.context)
        card |= {"summary": _summary(r, group, by)}
        links = self._read(decided)
        replacing = [_pair(s) for s in r.card.get("suggestions", ()) if len(s["actions"]) == 2]
        if replacing and len(group.orders) == 1:
            card |= {"suggestions": replacing, "selectionBehavior": "at-most-one"}
            reading = _listed(links)  # the guide's model has no links beside suggestions
        else:
            card, reading = _linked(card, links), []
        card |= {"detail": self._detail(r, group, decided, by, reading)}
        made = self._labelled(r, card, "therapy-alternatives-opt")
        return replace(made, kind="alternatives", finding=finding_key(r.finding, "alternatives"))

    def _read(self, decided: OrderDecision) -> list[Json]:
        """Links to what governs an order, and to what that cites."""
        said = governing(decided)
        return _documents(self.context.policies.spoken(said), said.cites)

    def _detail(self, r: RenderedCard, group: Flagged, decided: OrderDecision, by: str, reading: list[str]) -> str:
        said = governing(decided)
        lines = [f"**Why:** {said.because}"]
        if group.ordered:
            lines += ["", "**Ordered already**", *(f"- {option_text(o)}" for o in group.ordered)]
        if group.offered:
            lines += ["", f"**{OPTIONS[by]}**", *(f"- {option_text(o)}" for o in group.offered)]
            if all(replaceable(self.context.drafts.get(ref, {})) for ref in group.orders):
                lines += ["", f"By hand: remove {lower_first(r.names['name'])} and order one of these."]
        if by != "coverage":
            lines += ["", "For guidance only: this card asserts no coverage."]
        return "\n".join([*lines, *reading, "", policy_line(self.context.policies.spoken(said)), "", DISCLAIMER])


def _topic(r: RenderedCard) -> str:
    code: str = r.card["source"]["topic"]["code"]
    return code


def _rank(r: RenderedCard) -> int:
    topic = _topic(r)
    return _RANK[topic if topic == NOT_CHECKED else r.card["indicator"]]


def _documents(spoken: Spoken, cites: Collection[str]) -> list[Json]:
    """Links to the policy itself and to the sources that are cited, as far as they have addresses."""
    titles = {spoken.policy.url: spoken.policy.title}
    titles |= {s.url: s.title for name, s in spoken.version.sources.items() if name in cites}
    return [{"label": title, "url": url, "type": "absolute"} for url, title in titles.items() if url]


def _linked(card: Json, links: Iterable[Json]) -> Json:
    """The card with links, each address once; as it is without any."""
    every = {link["url"]: link for link in links}
    return {**card, "links": list(every.values())} if every else card


def _listed(links: list[Json]) -> list[str]:
    """Links as lines of a detail, for the cards that have no other place for them."""
    return ["", "**To read**", *(f"- [{link['label']}]({link['url']})" for link in links)] if links else []


def _without(card: Mapping[str, Any], *names: str) -> Json:
    return {k: v for k, v in card.items() if k not in names}


def _pair(suggestion: Mapping[str, Any]) -> Json:
    return _without(suggestion, "isRecommended")


_LEADS = {
    "coverage": "Covered instead of {name}: ",
    "policy": "By the policy, instead of {name}: ",
    "guideline": "By the guideline, instead of {name}: ",
}
_WITHOUT_NAMES = {
    "coverage": "There are covered alternatives to an order",
    "policy": "There are alternatives to an order that the policy supports",
    "guideline": "There are alternatives to an order that the guideline supports",
}


def _summary(r: RenderedCard, group: Flagged, by: str) -> str:
    name = r.names["name"]
    if group.ordered:
        text = f"{name}: {r.names['ordered']} is ordered already and serves instead"
    else:
        options = joined([option_text(o) for o in group.offered], "or")
        text = _LEADS[by].format(name=lower_first(name)) + options
    return text if len(text) < SUMMARY_LIMIT else _WITHOUT_NAMES[by]
