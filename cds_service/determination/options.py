"""What can be done about a flagged order: covered options, and the suggestions that lead to no new warning."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.determination.decider import Decider
from cds_service.determination.decision import Determination, Flagged, Option, OrderDecision
from cds_service.policy.case import Case, Code, Order
from cds_service.policy.compile import CompiledVersion

# Orders of these roles shape nothing else: no region, approach or level count follows from them, and no other
# code is added to them.
APART_ROLES = frozenset({"graft", "interbody-device", "instrumentation", "hardware-removal", "stimulator"})


def flagged_groups(decider: Decider, decided: tuple[OrderDecision, ...]) -> tuple[Flagged, ...]:
    """Flagged orders, twins together, with their options."""
    groups: dict[tuple[object, ...], list[OrderDecision]] = {}
    for found in decided:
        governing = found.governing
        if found.flag and governing and governing.policy is not None:
            order = decider.order(found.order.ref)
            homes = tuple([id(o) for o in decider.evaluator.facts.operations.of(order) if o.primaries])
            groups.setdefault((governing.key, governing.item, governing.rule, homes), []).append(found)
    by_ref = {found.order.ref: found for found in decided}
    return tuple([_flagged(decider, group, by_ref) for group in groups.values()])


def _flagged(decider: Decider, group: list[OrderDecision], by_ref: dict[str, OrderDecision]) -> Flagged:
    twins = tuple([decider.order(found.order.ref) for found in group])
    gone = {o.ref for o in twins}
    others = [found for ref, found in by_ref.items() if ref not in gone and _can_worsen(found)]
    removable = not _dependents(decider, twins, gone) and _no_new_warning(decider, others, twins)
    flagging = group[0].governing
    assert flagging is not None
    ordered, possible = _options(decider, twins[0], flagging, by_ref)
    offered = [o for o in possible if _fits(decider, flagging, twins, others, o)] if removable else []
    return Flagged(tuple([o.ref for o in twins]), ordered, tuple(offered), removable)


def _options(
    decider: Decider, order: Order, flagging: Determination, by_ref: dict[str, OrderDecision]
) -> tuple[tuple[Option, ...], list[Option]]:
    """Options that are ordered already; then those that the policy names for this case."""
    ordered, possible = [], []
    verdict = decider.verdict(order.ref, flagging)
    view = decider.evaluator.view(verdict.version, order)
    neighbours = _neighbours(decider, order)
    for alternative, when in verdict.item.alternatives:
        option = Option(Code(alternative.system, alternative.code), alternative.label)
        present = [o for o in neighbours if option.code in o.codes]
        if present:
            covered = [o for o in present if _is_covered(decider, o, by_ref)]
            ordered += [Option(option.code, option.label, o.ref) for o in covered[:1]]
        elif (when is None or when.met(view)) and _has_primary(decider, neighbours, option.code):
            possible.append(option)
    return tuple(ordered), possible


def _fits(
    decider: Decider, flagging: Determination, twins: tuple[Order, ...], others: list[OrderDecision], option: Option
) -> bool:
    """The policy that flagged the twins supports what the option would draft, and no other order suffers from it."""
    draft = replacement(twins[0], option.code)
    return _supported(decider, flagging, twins, draft) and _no_new_warning(decider, others, twins, draft)


def _has_primary(decider: Decider, neighbours: list[Order], code: Code) -> bool:
    """False for an add-on that nothing ordered beside it takes: to offer it would only draw a coding question."""
    entry = decider.rulebook.vocabulary.procedures.get(code)
    if entry is None or not entry.add_on:
        return True
    beside = {c.code for o in neighbours for c in o.codes}
    return not beside.isdisjoint(entry.requires)


def _neighbours(decider: Decider, order: Order) -> list[Order]:
    operations = decider.evaluator.facts.operations.of(order)
    found = {p.order.ref: p.order for o in operations for p in (*o.members, *o.maybe) if p.order.ref != order.ref}
    return list(found.values())


def _is_covered(decider: Decider, order: Order, by_ref: dict[str, OrderDecision]) -> bool:
    if decider.authorization(order) is not None:
        return True
    result = by_ref.get(order.ref) or decider.bare_result(order)
    governing = result.governing
    return governing is not None and governing.outcome == "supported" and result.flag is None


def replacement(original: Order, code: Code) -> Order:
    """The order that an accepted option would draft: same place and reasons, another code, no text of its own."""
    return Order(
        f"{original.ref}-{code.code}",
        (code,),
        original.draft,
        reason_codes=original.reason_codes,
        reason_refs=original.reason_refs,
        reasons_faulty=original.reasons_faulty,
        body_sites=original.body_sites,
        body_site_texts=original.body_site_texts,
        encounter=original.encounter,
        requisition=original.requisition,
        based_on=original.based_on,
        insurance=original.insurance,
        occurrence=original.occurrence,
        authored_on=original.authored_on,
    )


def _applied(case: Case, twins: tuple[Order, ...], drafts: tuple[Order, ...]) -> tuple[Order, ...]:
    gone = {o.ref for o in twins}
    return (*[o for o in case.orders if o.ref not in gone], *drafts)


def _supported(decider: Decider, flagging: Determination, twins: tuple[Order, ...], order: Order) -> bool:
    """The same policy, on the case with an option's order in place, finds it supported, and nothing else objects."""
    version = decider.verdict(twins[0].ref, flagging).version
    if _shapes_nothing(decider, order) and _shapes_nothing(decider, twins[0]):
        # The operation is the same with either: judge the option where the flagged order stands.
        decider.evaluator.facts.operations.place_like(order, twins[0], decider.rulebook.vocabulary)
        judged = decider.bare_result(order)
        if not _readers(decider, twins, (judged,)):
            return _stands(decider, version, order, judged)
    again = decider.with_orders(_applied(decider.case, twins, (order,)))
    return _stands(again, version, order, again.bare_result(order))


def _stands(decider: Decider, version: CompiledVersion, order: Order, judged: OrderDecision) -> bool:
    verdict = decider.evaluator.verdict(version, order)
    if verdict is None or verdict.outcome != "supported":
        return False
    return judged.flag is None and (not judged.covered_by_policy or judged.outcome == "supported")


def _shapes_nothing(decider: Decider, order: Order) -> bool:
    """True when no derived fact of the operation follows from the order."""
    entry = decider.rulebook.vocabulary.procedure(order.codes)
    return not order.texts and entry is not None and entry.role in APART_ROLES


def _readers(decider: Decider, orders: tuple[Order, ...], decided: Iterable[OrderDecision]) -> list[OrderDecision]:
    """Those that were decided by a criterion which looks for one of the orders beside its own."""
    codes = {c for o in orders for c in o.codes}
    sets = frozenset().union(*(decider.rulebook.vocabulary.sets_of(c) for c in codes))
    return [r for r in decided if any(sets & decider.verdict(r.order.ref, d).item.companions for d in r.spoken)]


def _dependents(decider: Decider, twins: tuple[Order, ...], gone: set[str]) -> bool:
    """True when another draft or active order is an add-on that, by the catalogue, one of the twins alone takes.

    Whether an order that is judged given one of the twins suffers, `_no_new_warning` sees.
    """
    procedures = decider.rulebook.vocabulary.procedures
    rest = [o for o in decider.case.orders if o.ref not in gone]
    codes = {c.code for o in twins for c in o.codes}
    for other in rest:
        for code in other.codes:
            entry = procedures.get(code)
            if entry is None or not entry.add_on or codes.isdisjoint(entry.requires):
                continue
            if not any(c.code in entry.requires for o in rest if o.ref != other.ref for c in o.codes):
                return True
    return False


def _no_new_warning(decider: Decider, others: list[OrderDecision], twins: tuple[Order, ...], *drafts: Order) -> bool:
    """Fixed point: with `drafts` in place of the twins, no other order that was quiet is flagged or not supported."""
    changed = (*twins, *drafts)
    if all(_shapes_nothing(decider, o) for o in changed):
        others = _readers(decider, changed, others)
    if not others:
        return True
    again = decider.with_orders(_applied(decider.case, twins, drafts))
    return not any(_worse(again.bare_result(again.order(r.order.ref)), r) for r in others)


def _can_worsen(before: OrderDecision) -> bool:
    """False where `_worse` could not be true, whatever the order's new result."""
    can_be_flagged = before.flag != "warning" and before.authorization is None
    return can_be_flagged or before.outcome == "supported"


def _worse(now: OrderDecision, before: OrderDecision) -> bool:
    flagged = now.flag == "warning" and before.flag != "warning"
    return flagged or (before.outcome == "supported" and now.outcome != "supported")
