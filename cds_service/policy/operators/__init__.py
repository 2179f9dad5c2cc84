"""The operators by name: each binds a criterion's arguments, once, to what it finds in a view of the case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cds_service.policy.model import Criterion
from cds_service.policy.operators.history import procedure
from cds_service.policy.operators.medication import medication
from cds_service.policy.operators.operation import interspaces, operation, vertebrae
from cds_service.policy.operators.orders import companion, lacks_primary, order
from cds_service.policy.operators.patient import age, asked, condition, indication, sex
from cds_service.policy.operators.quantity import repeated, units
from cds_service.policy.operators.results import observation
from cds_service.policy.operators.shared import Operator
from cds_service.policy.view import OPERATION, ORDER, PATIENT, REASONS

BY_NAME: dict[str, Callable[[Criterion, Any], Operator]] = {
    "order": order,
    "companion": companion,
    "operation": operation,
    "interspaces": interspaces,
    "vertebrae": vertebrae,
    "condition": condition,
    "indication": indication,
    "procedure": procedure,
    "medication": medication,
    "age": age,
    "sex": sex,
    "observation": observation,
    "units": units,
    "repeated": repeated,
    "lacks_primary": lacks_primary,
    "asked": asked,
}

_OF_OPERATION = frozenset({"operation", "interspaces", "vertebrae"})
_OF_PATIENT = frozenset({"condition", "procedure", "age", "sex", "observation", "asked"})


def reach(name: str, arguments: Any) -> int:
    """How far a criterion's answer reaches: PATIENT, OPERATION, (orders with the same) REASONS, or one ORDER."""
    if name in _OF_PATIENT:
        return OPERATION if getattr(arguments, "region", None) else PATIENT
    if name == "indication":
        return REASONS
    return OPERATION if name in _OF_OPERATION else ORDER
