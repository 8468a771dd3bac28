"""Columns of a custom resource's version (additionalPrinterColumns)."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kubelite.api.machinery.columns.layout import JSON, Cells, Column, Layout, age_of, name_of
from kubelite.api.machinery.jsonpath import JSONPath, compile_path, print_values
from kubelite.api.machinery.times import age

_NAME = Column("Name", format="name")


def _age_cells(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), age_of(thing, now)]


def _created_cells(thing: JSON, _now: datetime) -> Cells:
    return [name_of(thing), (thing.get("metadata") or {}).get("creationTimestamp")]


# The layout of a built-in kind without columns of its own.
CREATED_AT = Layout((_NAME, Column("Created At", "date")), _created_cells)
_AGE = Layout((_NAME, Column("Age", "date")), _age_cells)


def custom_layout(definitions: Sequence[JSON]) -> Layout:
    """Build the layout of a custom resource; without definitions it shows the age.

    Raises:
        ValueError: A definition's path is malformed.
    """
    if not definitions:
        return _AGE
    shown = [_NAME]
    readers: list[tuple[JSONPath, str]] = []
    for definition in definitions:
        kind = definition.get("type", "string")
        shown.append(
            Column(
                definition.get("name", ""),
                kind,
                definition.get("format", ""),
                definition.get("priority", 0),
                definition.get("description", ""),
            )
        )
        readers.append((compile_path(definition.get("jsonPath", "")), kind))

    def cells(thing: JSON, now: datetime) -> Cells:
        return [name_of(thing), *(_cell(path(thing), kind, now) for path, kind in readers)]

    return Layout(tuple(shown), cells)


def _cell(values: list[Any], kind: str, now: datetime) -> Any:
    if not values:
        return None
    value = values[0]
    if kind == "string":
        return print_values(values[:1])  # of several only the first is shown, as upstream
    if kind == "integer" and isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if math.isfinite(value) else None
    if kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "date" and isinstance(value, str):
        shown = age(value, now)
        return "<invalid>" if shown == "<unknown>" else shown
    return None
