"""Conditions in a status: find, set with the time of the last transition kept, remove."""

from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

C = TypeVar("C")


def find(conditions: Sequence[C], condition_type: str) -> C | None:
    """Return the condition of a type, or None."""
    for condition in conditions:
        if _type(condition) == condition_type:
            return condition
    return None


def is_true(conditions: Sequence[C], condition_type: str) -> bool:
    """Return whether the condition of a type has the status True."""
    condition: Any = find(conditions, condition_type)
    return condition is not None and condition.status == "True"


def without(conditions: Sequence[C], condition_type: str) -> list[C]:
    """Return the conditions except those of a type."""
    return [condition for condition in conditions if _type(condition) != condition_type]


def put(conditions: Sequence[C], new: C) -> list[C]:
    """Return the conditions with `new` in place of the one of its type.

    A condition of equal status and reason is kept unchanged; with an equal status lastTransitionTime is kept.
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
