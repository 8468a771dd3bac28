"""Values that nest as deeply as an object may: no function runs out of Python's stack."""

from collections.abc import Callable

import pytest

from kubelite.cel.libraries import costs, list_extensions, sets
from kubelite.cel.libraries.formatting import format_text
from kubelite.cel.libraries.go_text import shown
from kubelite.cel.values import Optional, Value
from kubelite.limits import DOCUMENT_DEPTH


@pytest.mark.parametrize(
    ("wrap", "levels"),
    [
        (lambda inner: [inner], DOCUMENT_DEPTH.value),
        (lambda inner: {"a": inner}, DOCUMENT_DEPTH.value),
        (lambda inner: [Optional(inner)], DOCUMENT_DEPTH.value // 2),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda value: sets.contains([value], [value]),
        lambda value: list_extensions.distinct([value, value]),
        lambda value: list_extensions.flatten([value], 1000),
        costs.traversal,
        shown,
    ],
)
def test_deep_values(
    wrap: Callable[[Value], Value], levels: int, call: Callable[[Value], object]
) -> None:
    value: Value = 1
    for _ in range(levels):
        value = wrap(value)
    call(value)


def test_deep_values_are_formatted() -> None:
    value: Value = 1
    for _ in range(2 * DOCUMENT_DEPTH.value):
        value = [value]
    assert format_text("%s", [value]).startswith("[[[")
