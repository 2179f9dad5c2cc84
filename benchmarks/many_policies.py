"""5,000 policies: how fast a compiled file loads, and what a decision costs beside one policy's.

Two ways of having many: policies that speak to other orders, and the same policy for 5,000 other payers.
Prints one line per measurement; `--check` exits 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from cds_service.content_files import load_content
from cds_service.determination.decide import Terms, decide
from cds_service.determination.routing import PayerDirectory
from cds_service.determination.worked import to_case
from cds_service.policy.case import Case, Coverage
from cds_service.policy.compiled import dump, load
from cds_service.policy.content import Content, PolicyFolder
from cds_service.policy.model import CardFile, ContentSource, Payer, PayerIdentifier, SetCode, ValueSet
from cds_service.policy.rulebook import Rulebook

SEED = "aetna/bone-graft-adjuncts"
SYSTEM = "http://example.org/payer-id"


def one(content: Content) -> Content:
    """The seed policy alone."""
    return replace(content, policies={SEED: content.policies[SEED]})


def other_orders(content: Content, count: int) -> Content:
    """`count` policies: the seed, and copies of it for the same payer that speak to codes of their own."""
    seed = content.policies[SEED]
    policies = {SEED: seed}
    sets = dict(content.value_sets)
    for number in range(1, count):
        mine: dict[str, str] = {}
        version = seed.policy.versions[-1]
        for item in version.orders.values():
            name = f"made-{number}-{item.value_set}"
            code = SetCode(system="cpt", code=f"X{number:05}", label="Made")
            source = ContentSource(title="Made", confidence="recalled")
            sets[name] = ValueSet(format=1, id=name, title="Made", source=source, codes=[code])
            mine[item.value_set] = name
        orders = {k: i.model_copy(update={"value_set": mine[i.value_set]}) for k, i in version.orders.items()}
        made = version.model_copy(update={"orders": orders})
        policies |= _copy(seed, f"made/p{number}", [made], list(seed.policy.payers))
    return replace(content, policies=policies, value_sets=sets)


def other_payers(content: Content, count: int) -> Content:
    """`count` policies: the seed, and copies of it for payers of their own, speaking to the same orders."""
    seed = content.policies[SEED]
    policies = {SEED: seed}
    payers = dict(content.payers)
    for number in range(1, count):
        payer = f"made-{number}"
        identifier = PayerIdentifier(system=SYSTEM, value=payer)
        payers[payer] = Payer(id=payer, label=payer, identifiers=[identifier])
        policies |= _copy(seed, f"made/p{number}", seed.policy.versions, [payer])
    return replace(content, policies=policies, payers=payers)


def _copy(seed: PolicyFolder, name: str, versions: list, payers: list[str]) -> dict[str, PolicyFolder]:
    policy = seed.policy.model_copy(update={"id": name, "versions": versions, "payers": payers})
    return {name: PolicyFolder(policy, CardFile(format=1), None)}


def seed_case(content: Content) -> Case:
    """The seed case, with its payer by identifier."""
    folder = content.policies[SEED]
    worked = next(c for c in folder.cases.cases if c.id == "seed")  # type: ignore[union-attr]
    case = to_case(worked, SEED, "aetna")
    return replace(case, coverages=(Coverage("Coverage/v1", ((SYSTEM, "aetna"),), order=1),))


def timed(work: Callable[[], object]) -> float:
    """Seconds of one run."""
    started = perf_counter()
    work()
    return perf_counter() - started


def cost(book: Rulebook, case: Case, rounds: int) -> Callable[[], float]:
    """Seconds per decision, as the median of `rounds`."""
    directory = PayerDirectory(book.content.payers)
    decide(case, book, directory, Terms())
    return lambda: statistics.median(timed(lambda: decide(case, book, directory, Terms())) for _ in range(rounds))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    content = load_content()
    case = seed_case(content)
    alone = load(dump(one(content)))
    missed = []
    for name, make in (("other orders", other_orders), ("other payers", other_payers)):
        data = dump(make(content, options.policies))
        seconds = min(timed(lambda d=data: load(d)) for _ in range(3))
        book = load(data)
        first, second = cost(alone, case, options.rounds), cost(book, case, options.rounds)
        pairs = [(first(), second()) for _ in range(5)]  # side by side, so that a slow moment hits both
        ratio = statistics.median(b / a for a, b in pairs)
        result = {
            "kind": name,
            "policies": len(book.folders),
            "megabytes": round(len(data) / 1e6, 1),
            "load_seconds": round(seconds, 3),
            "decide_ms_one": round(pairs[-1][0] * 1000, 3),
            "decide_ms_many": round(pairs[-1][1] * 1000, 3),
            "ratio": round(ratio, 3),
            "built": len(book.versions._made),  # type: ignore[attr-defined]
        }
        print(json.dumps(result))
        if seconds >= 3 or ratio > 1.2:
            missed.append(name)
    sys.exit(1 if options.check and missed else 0)


if __name__ == "__main__":
    main()
