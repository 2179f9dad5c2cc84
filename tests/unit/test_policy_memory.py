"""What is remembered by codes belongs to one content: a changed copy does not answer with what the first one knew."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from cds_service.content_files import load_rulebook
from cds_service.policy.case import Code, Order
from cds_service.policy.rulebook import ANYONE, Rulebook

DAY = date(2026, 11, 20)
CAGE = Order("ServiceRequest/cage", (Code("cpt", "22853"),))


@pytest.fixture(scope="module")
def book() -> Rulebook:
    return load_rulebook(None)


def test_a_rulebook_with_other_versions(book: Rulebook) -> None:
    before = book.speaking(CAGE, ANYONE, DAY)
    renamed = [replace(v, key="other") for v in book.versions]
    found = replace(book, versions=renamed).speaking(CAGE, ANYONE, DAY)
    assert before
    assert [v.version.version for v in found] == [v.version.version for v in before]
    assert not any(v is known for v in found for known in before)


def test_a_rulebook_with_other_outlines(book: Rulebook) -> None:
    assert book.concerning(CAGE, DAY)
    assert replace(book, outlines={}).concerning(CAGE, DAY) == ()


def test_a_version_with_other_items_and_findings(book: Rulebook) -> None:
    spoken = [v for v in book.versions if v.choice(CAGE, book.vocabulary).item]
    remarked = [v for v in book.versions if v.findings_for(CAGE, book.vocabulary)]
    assert spoken
    assert remarked
    assert all(replace(v, items=()).choice(CAGE, book.vocabulary).item is None for v in spoken)
    for version in remarked:
        others = tuple(f for f in version.findings if not book.vocabulary.matches(CAGE, f.rule.about))
        assert replace(version, findings=others).findings_for(CAGE, book.vocabulary) == ()


def test_a_vocabulary_with_other_sets(book: Rulebook) -> None:
    code = CAGE.codes[0]
    assert book.vocabulary.sets_of(code)
    assert book.vocabulary.membership(CAGE.codes)
    empty = replace(book.vocabulary, sets={})
    assert (empty.sets_of(code), empty.membership(CAGE.codes)) == (frozenset(), {})
