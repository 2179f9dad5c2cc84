"""What a deployment and a call add to the content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cds_service.determination.routing import PayerDirectory
from cds_service.policy.case import Code

Billing = Mapping[str, tuple[tuple[Code, ...], ...]]
"""By order, the groups of codes by which it may be billed."""


@dataclass(frozen=True)
class Terms:
    """By what an order is decided, beside the policies.

    `directory` is the registry of payers. `fires` tells of a policy's id and its version's review status whether it
    speaks (None: all do). `default_payer` is assumed without Coverage. `selections` are the orders to judge
    (order-select), else all drafts. `billing` are the ways in which orders may be billed. `payer_wanted` where a
    coverage policy, whosever, would speak to the orders: then it matters which coverages lead to no payer.
    """

    directory: PayerDirectory
    fires: Callable[[str, str], bool] | None = None
    default_payer: str | None = None
    selections: tuple[str, ...] | None = None
    billing: Billing = field(default_factory=dict)
    payer_wanted: bool = False
