"""The policies' own words for what was decided: labels, sources, notices, passages. Content alone, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cds_service.determination.decision import Determination, Finding
from cds_service.policy.case import Code
from cds_service.policy.content import PolicyFolder
from cds_service.policy.model import Item, ItemWording, Policy, Version
from cds_service.policy.vocabulary import Vocabulary

Json = dict[str, Any]


class Spoken(NamedTuple):
    """The version of a policy that spoke."""

    policy: Policy
    version: Version

    @property
    def approved(self) -> bool:
        """Whether its encoding has been approved."""
        return self.version.review.status == "approved"


@dataclass(frozen=True)
class Policies:
    """Policies by id with their wording, and labels of codes."""

    folders: Mapping[str, PolicyFolder]
    vocabulary: Vocabulary
    _references: dict[str, list[Json]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _spoken: dict[tuple[str | None, str | None], Spoken] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def spoken(self, said: Determination | Finding) -> Spoken:
        """The version that speaks. KeyError where none does."""
        known = self._spoken.get((said.policy, said.version))
        if known is None:
            folder = self.folders[said.policy or ""]
            known = self._spoken[said.policy, said.version] = Spoken(folder.policy, folder.version(said.version))
        return known

    def item(self, said: Determination) -> Item:
        """The kind of order that was judged."""
        return self.spoken(said).version.orders[said.item or ""]

    def words(self, said: Determination) -> ItemWording:
        """What the policy's card says of that kind of order."""
        return self.folders[said.policy or ""].card.orders.get(said.item or "") or ItemWording()

    def references(self, said: Determination) -> list[Json]:
        """The sources of the version that speaks, each with its key as `id`; written out once."""
        known = self._references.get(said.key)
        if known is None:
            sources = self.spoken(said).version.sources.items()
            known = [{"id": key, **source.model_dump(mode="json", exclude_none=True)} for key, source in sources]
            self._references[said.key] = known
        return known

    def code(self, said: Determination, codes: tuple[Code, ...]) -> tuple[Code, ...]:
        """Of an order's codes, the one that the policy governs; all where its own text was matched."""
        hit = self.vocabulary.sets[self.item(said).value_set].first(codes)
        return (hit[0],) if hit else codes
