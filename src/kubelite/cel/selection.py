"""Takes fields, keys and indices out of values, and tells whether they are there; optional values stay optional."""

import math
from typing import Any, Final

from kubelite.cel.conversions import double_to_string
from kubelite.cel.standard import has_key
from kubelite.cel.values import NONE, EvaluationFailed, Optional, Rows, UInt, Value, type_of

_GO_NAMES: Final = {
    bytes: "types.Bytes",
    type(None): "types.Null",
    list: "*types.baseList",
    dict: "*types.baseMap",
    Optional: "*types.Optional",
}
_KEYS: Final = frozenset({str, int, UInt, bool, float})
_ABSENT: Final = object()


def key_text(key: Value) -> str:
    """Return a key or index as messages show it."""
    if type(key) is bool:
        return "true" if key else "false"
    if type(key) is float:
        return double_to_string(key)
    return str(int(key)) if isinstance(key, int) else str(key)


def check_key(key: Value) -> None:
    """Raise EvaluationFailed if a value of this type is no key of anything."""
    if type(key) not in _KEYS:
        kind = type(key)
        name = _GO_NAMES.get(kind) or f"types.{kind.__name__}"
        raise EvaluationFailed(f"invalid qualifier type: {name}")


def _find(container: Value, key: Value) -> Any:
    """Return what a key leads to, or _ABSENT; raises EvaluationFailed where the key does not fit the container."""
    if isinstance(container, dict):
        if type(key) is str:
            try:
                return container[key]
            except KeyError:
                return _ABSENT
        return container[key] if has_key(container, key) else _ABSENT
    if isinstance(container, list):
        index = _index(key)
        return container[index] if 0 <= index < len(container) else _ABSENT
    return _ABSENT


def _index(key: Value) -> int:
    kind = type(key)
    if kind is int:
        return int(key)
    if kind is UInt and key < 1 << 63:
        return int(key)
    if kind is float and math.isfinite(key) and key == int(key) and abs(key) < 2.0**63:
        return int(key)
    if kind is float or kind is UInt:
        raise EvaluationFailed(f"unsupported index value {key_text(key)} in list")
    raise EvaluationFailed(f"unsupported index type '{type_of(key).name}' in list")


def get(container: Value, key: Value) -> Value:
    """Return an entry, field or element; of an optional the optional entry."""
    if type(container) is Optional:
        return get_optional(container, key)
    found = _find(container, key)
    if found is not _ABSENT:
        return found
    what = "index out of bounds" if isinstance(container, list) else "no such key"
    raise EvaluationFailed(f"{what}: {key_text(key)}")


def get_optional(container: Value, key: Value) -> Optional:
    """Return an entry, field or element as an optional, which is empty if there is none."""
    if type(container) is Optional:
        if not container.has_value:
            return NONE
        container = container.value
    found = _find(container, key)
    return NONE if found is _ABSENT else Optional(found)


def has(container: Value, key: str) -> bool:
    """Return whether a map or object has a key."""
    if type(container) is Optional:
        return container.has_value and has(container.value, key)
    if isinstance(container, dict):
        return key in container or type(container) is Rows
    if isinstance(container, list):
        _index(key)
    return False
