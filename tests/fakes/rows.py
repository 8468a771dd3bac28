"""The rows of the built-in kinds, for tests of what a row refers to."""

from typing import Any

from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.resource import Resource

ROWS: dict[GroupVersionKind, Resource] = {
    row.kind: row for row in RESOURCES if "get" in row.verbs or row.post is not None
}
CANONICAL = {row.storage: row for row in RESOURCES if row.is_canonical}


def row_of(group: str, kind: str, version: str = "v1") -> Resource:
    """Return the row of a kind."""
    return ROWS[GroupVersionKind(group, version, kind)]


def complete(group: str, kind: str, item: dict[str, Any], version: str = "v1") -> None:
    """Give an object the form of its kind, defaults included."""
    row_of(group, kind, version).shape.complete(item)
