"""Conditions in a status: set, keep the time of the last transition, remove."""

from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

C = TypeVar("C")


def find(conditions: Sequence[C], condition_type: str) -> C | None:
    """Return the condition of a type."""
    for condition in conditions:
        if _type(condition) == condition_type:
            return condition
    return None


def is_true(conditions: Sequence[C], condition_type: str) -> bool:
    """Return whether there is a condition of that type with status True."""
    condition: Any = find(conditions, condition_type)
    return condition is not None and condition.status == "True"


def without(conditions: Sequence[C], condition_type: str) -> list[C]:
    """Return all conditions but those of a type."""
    return [condition for condition in conditions if _type(condition) != condition_type]


def put(conditions: Sequence[C], new: C) -> list[C]:
    """Return the conditions with `new` in place of the one of its type.

    One of equal status and reason stays as it is; with an equal status the time of its last transition stays.
    """
    added: Any = new
    current: Any = find(conditions, added.type)
    if current is None:
        return [*conditions, new]
    if current.status == added.status and current.reason == added.reason:
        return list(conditions)
    if current.status == added.status:
        added = replace(added, lastTransitionTime=current.lastTransitionTime)
    return [*without(conditions, added.type), added]


def _type(condition: Any) -> str:
    name: str = condition.type
    return name
