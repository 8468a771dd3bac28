"""Membership in an enum of any JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kubelite.api.machinery.causes import cut, quoted
from kubelite.limits import SHOWN_VALUE

_encode = msgspec.json.Encoder(order="deterministic").encode


class Enum:
    """The values that an enum allows; null is never one of them, as in Kubernetes."""

    __slots__ = ("_others", "floats", "integers", "texts")

    def __init__(self, values: Sequence[Any]) -> None:
        self.texts = frozenset(value for value in values if value.__class__ is str)
        self.integers = frozenset(value for value in values if value.__class__ is int)
        self.floats = frozenset(value for value in values if value.__class__ is float)
        others = (value for value in values if value.__class__ in {bool, dict, list})
        self._others = frozenset(map(_encode, others))

    def __contains__(self, value: Any) -> bool:
        kind = value.__class__
        if kind is str:
            return value in self.texts
        if kind is int:
            return value in self.integers or float(value) in self.floats
        if kind is float:  # compared with integers without its fraction, as Go converts it
            return value in self.floats or (abs(value) < 2.0**63 and int(value) in self.integers)
        return kind in {bool, dict, list} and _encode(value) in self._others


def supported(values: Sequence[Any]) -> str:
    """Print the values of an enum, as far as a message takes them."""
    printed, left = [], SHOWN_VALUE.value
    for value in values:
        text = quoted(value if isinstance(value, str) else _encode(value).decode())
        printed.append(text)
        left -= len(text) + 2
        if left < 0:
            break
    return cut(", ".join(printed))
