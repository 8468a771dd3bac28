"""Sets of fields in their wire form, FieldsV1, and the walks that make them from objects.

A set is a tree of dicts keyed by path elements: ``f:name`` a field or map key, ``k:{...}`` a list element by its keys,
``v:...`` an element of a set. A node is a member when it is empty or holds ``.``; a set without members is None.
Trees are shared, never changed in place.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from kubelite.api.machinery.causes import cut as cut_text
from kubelite.api.machinery.causes import quoted
from kubelite.api.machinery.go_json import escaped_for_html
from kubelite.api.machinery.schema import Schema

FieldSet = dict[str, Any]
JSON = dict[str, Any]

MEMBER = "."
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.decode

_ANY = Schema(type="any", preserve=True)


def child_schema(schema: Schema, name: str) -> Schema:
    """Return the node of a field or map key; a field that the schema does not know may have any type."""
    return schema.fields.get(name) or schema.items or _ANY


def is_granular(schema: Schema, value: Any) -> bool:
    """Return whether a dict is granular: its fields are owned separately."""
    if schema.map_type:
        return schema.map_type == "granular"
    if schema.type in ("object", "map"):
        return True
    return schema.type == "any" and schema.preserve and isinstance(value, dict)


def is_keyed(schema: Schema) -> bool:
    """Return whether the elements of a list are owned separately."""
    return schema.type == "array" and schema.list_type in ("map", "set")


class KeyMissing(ValueError):
    """A list element lacks the key that would identify it."""


def element_key(schema: Schema, item: Any) -> str:
    """Return the path element of a list's item. Keys that it lacks, and that have no default, are left out.

    Raises:
        KeyMissing: The item has none of the list's keys, or cannot be an element of such a list.
    """
    if schema.list_type == "set":
        return _set_element(item)
    if not isinstance(item, dict):
        what = "a null element" if item is None else "non-map elements"
        raise KeyMissing(f"associative list with keys may not have {what}")
    keys = schema.list_keys
    if len(keys) == 1 and isinstance(value := item.get(keys[0]), str) and value.isalnum():
        return f'k:{{"{keys[0]}":"{value}"}}'
    values = {}
    for key in keys:
        if key in item:
            values[key] = item[key]
        elif (value := _default_of_key(schema, key)) is not None:
            values[key] = value
    if not values:
        named = " ".join(quoted(key) for key in keys)
        raise KeyMissing(
            f"associative list with keys has an element that omits all key fields [{named}] "
            "(and doesn't have default values for any key fields)"
        )
    return "k:" + _go_json(values)


def _set_element(item: Any) -> str:
    if isinstance(item, dict):
        raise KeyMissing("associative list without keys has an element that's a map type")
    if isinstance(item, list):
        raise KeyMissing("not supported: associative list with lists as elements")
    if item is None:
        raise KeyMissing("associative list without keys has an element that's an explicit null")
    return "v:" + _go_json(item)


def _default_of_key(schema: Schema, key: str) -> Any:
    if schema.items is None or key not in schema.items.fields:
        return None
    value = schema.items.fields[key].fresh_default()
    return None if value is msgspec.UNSET else value


def _go_json(value: Any) -> str:
    """Encode a value as Go does: keys sorted, and characters with a meaning in HTML escaped."""
    return escaped_for_html(_encode(value)).decode()


def indexed(schema: Schema, items: list[Any]) -> dict[str, list[Any]]:
    """Return a list's items by their path elements; a duplicate key has more than one."""
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(element_key(schema, item), []).append(item)
    return found


def is_member(node: FieldSet) -> bool:
    """Return whether the node itself is a member of the set."""
    return not node or MEMBER in node


def created(value: Any, schema: Schema, *, held: bool = False) -> FieldSet | None:
    """Return the fields that a manager owns after it wrote `value` where no value was.

    `held`: the field is always written, so making it non-empty does not make the manager its owner.
    """
    if isinstance(value, dict) and is_granular(schema, value):
        if not value:
            return None if held else {}
        node: FieldSet = {} if held else {MEMBER: {}}
        fields, items = schema.fields, schema.items or _ANY
        for name, child in value.items():
            inner = fields.get(name) or items
            if held and inner.always:
                part = created(child, inner, held=True) if child else None
            elif isinstance(child, dict | list):
                part = created(child, inner)
            else:
                part = {}
            if part is not None:
                node["f:" + name] = part
        return node or None
    if isinstance(value, list) and value and is_keyed(schema):
        node = {} if held else {MEMBER: {}}
        inner = schema.items or _ANY
        try:
            for key, same in indexed(schema, value).items():
                # Elements with a duplicate key are owned as a whole.
                node[key] = (created(same[0], inner) or {}) if len(same) == 1 else {}
        except KeyMissing:
            return {}
        return node
    return {}


def applied(value: Any, schema: Schema) -> FieldSet | None:
    """Return the fields that an applied configuration owns: leaves and list elements, not their containers.

    Raises:
        KeyMissing: A list element cannot be identified.
    """
    if isinstance(value, dict) and value and is_granular(schema, value):
        node: FieldSet = {}
        for name, child in value.items():
            part = applied(child, child_schema(schema, name))
            if name not in schema.fields:
                part = {MEMBER: {}, **part} if part else {}
            if part is not None:
                node["f:" + name] = part
        return node or None
    if isinstance(value, list) and is_keyed(schema):
        node = {}
        inner = schema.items or _ANY
        for item in value:
            key = element_key(schema, item)
            if key in node:
                raise KeyMissing(f"duplicate entries for key {bracketed(key)}")
            part = applied(item, inner) if isinstance(item, dict) else None
            node[key] = {MEMBER: {}, **part} if part else {}
        return node or None
    return {}


class Difference:
    """The changes of a write: the set of added or modified fields, and that of fields removed with all below."""

    __slots__ = ("changed", "removed")

    def __init__(self, changed: FieldSet | None, removed: FieldSet | None) -> None:
        self.changed = changed
        self.removed = removed


_SAME = Difference(None, None)
_LEAF = Difference({}, None)


def difference(old: Any, new: Any, schema: Schema) -> Difference:
    """Return the difference of two values of the schema."""
    if old == new:
        return _SAME
    if _are_dicts(old, new) and is_granular(schema, old or new):
        return _compared(old or {}, new or {}, schema)
    if is_keyed(schema) and isinstance(old or new, list):
        try:
            before, after = indexed(schema, old or []), indexed(schema, new or [])
        except KeyMissing:
            return _LEAF
        return _compared_elements(before, after, schema)
    return _LEAF


def _are_dicts(old: Any, new: Any) -> bool:
    return (isinstance(new, dict) and isinstance(old, dict | None)) or (
        isinstance(old, dict) and new is None
    )


def _compared(old: JSON, new: JSON, schema: Schema) -> Difference:
    if not (old or new):
        return _LEAF
    changed: FieldSet = {}
    removed: FieldSet = {"f:" + name: {} for name in old if name not in new}
    fields, items = schema.fields, schema.items or _ANY
    for name, value in new.items():
        if name not in old:
            part = created(value, fields.get(name) or items)
            changed["f:" + name] = {} if part is None else part
            continue
        before = old[name]
        if before == value:
            continue
        inner = difference(before, value, fields.get(name) or items)
        if inner.changed is not None:
            changed["f:" + name] = inner.changed
        if inner.removed is not None:
            removed["f:" + name] = inner.removed
    return Difference(changed or None, removed or None)


def _compared_elements(
    old: dict[str, list[Any]], new: dict[str, list[Any]], schema: Schema
) -> Difference:
    """Compare lists by key. Elements with a duplicate key are compared as a whole."""
    if not (old or new):
        return _LEAF
    changed: FieldSet = {}
    removed: FieldSet = {key: {} for key in old if key not in new}
    inner = schema.items or _ANY
    for key, after in new.items():
        before = old.get(key)
        if before == after:
            continue
        if len(after) > 1:
            changed[key] = {}
            if before is not None and len(before) == 1:
                removed[key] = {}  # its parts are no longer owned separately
        elif before is None or len(before) > 1:
            changed[key] = created(after[0], inner) or {}
            if before is not None:
                removed[key] = {}
        else:
            part = difference(before[0], after[0], inner)
            if part.changed is not None:
                changed[key] = part.changed
            if part.removed is not None:
                removed[key] = part.removed
    return Difference(changed or None, removed or None)


def union(left: FieldSet | None, right: FieldSet | None) -> FieldSet | None:
    """Return the union of two sets."""
    if left is None or right is None:
        return left if right is None else right
    if left == right:
        return left
    merged = dict(left)
    for key, node in right.items():
        present = merged.get(key)
        merged[key] = node if present is None else union(present, node)
    if merged and (is_member(left) or is_member(right)):
        merged[MEMBER] = {}
    return merged


def union_of(sets: Iterable[FieldSet | None]) -> FieldSet | None:
    """Return the union of many sets in one pass, since pairwise unions would copy the earlier ones each time."""
    level = list(sets)
    while len(level) > 1:
        pairs = [union(*level[at : at + 2]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0] if level else None


def _node(member: bool, children: FieldSet) -> FieldSet | None:
    if not children:
        return {} if member else None
    return {MEMBER: {}, **children} if member else children


def intersection(left: FieldSet | None, right: FieldSet | None) -> FieldSet | None:
    """Return the intersection of two sets."""
    if left is None or right is None:
        return None
    children = {}
    for key, node in left.items():
        if key != MEMBER and (other := right.get(key)) is not None:
            part = intersection(node, other)
            if part is not None:
                children[key] = part
    return _node(is_member(left) and is_member(right), children)


def without(left: FieldSet | None, right: FieldSet | None) -> FieldSet | None:
    """Return the members of the left set that are not in the right, path by path."""
    if left is None or right is None:
        return left
    children = {}
    for key, node in left.items():
        if key == MEMBER:
            continue
        other = right.get(key)
        part = node if other is None else without(node, other)
        if part is not None:
            children[key] = part
    return _node(is_member(left) and not is_member(right), children)


def cut(fields: FieldSet | None, removed: FieldSet | None) -> FieldSet | None:
    """Return the set without the removed members and everything below them."""
    if fields is None or removed is None:
        return fields
    if not removed:
        return None
    children = {}
    for key, node in fields.items():
        if key == MEMBER:
            continue
        gone = removed.get(key)
        part = node if gone is None else cut(node, gone)
        if part is not None:
            children[key] = part
    return _node(is_member(fields), children)


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """Print the members of a set as dotted paths: ``.spec.containers[name="web"].image``."""
    for key in sorted(fields):
        if key == MEMBER:
            continue
        path = prefix + bracketed(key)
        if is_member(fields[key]):
            yield path
        yield from paths(fields[key], path)


def bracketed(key: str) -> str:
    """Print a path element: ``.name``, ``[name="web"]`` or ``[="x"]``."""
    kind, value = key[0], key[2:]
    if kind == "f":
        return "." + value
    if kind == "v":
        return f"[={value}]"
    if kind == "i":
        return f"[{value}]"
    try:
        keys: Mapping[str, Any] = _decode(value)
    except msgspec.DecodeError:
        return f"[{value}]"
    return f"[{','.join(f'{name}={_encode(keys[name]).decode()}' for name in sorted(keys))}]"


def count(fields: FieldSet) -> int:
    """Return how many members a set has."""
    members, pending = 0, [fields]
    while pending:
        for key, node in pending.pop().items():
            if key != MEMBER:
                members += is_member(node)
                pending.append(node)
    return members


def in_order(fields: FieldSet) -> FieldSet:
    """Return the set with its elements in Go's order, since clients compare the bytes.

    Fields come before elements by key, those before elements of sets, each by their values: port 80 before 443.
    """
    if len(fields) < 2:
        return {key: in_order(node) for key, node in fields.items()} if fields else fields
    typed = sum(key[0] in _TYPED for key in fields) > 1
    ordered = sorted(fields, key=_rank) if typed else sorted(fields)
    return {key: in_order(node) if (node := fields[key]) else node for key in ordered}


_TYPED = frozenset("kvi")  # path elements that are compared by their values
_KINDS = {".": 0, "f": 1, "k": 2, "v": 3, "i": 4}


def _rank(key: str) -> tuple[Any, ...]:
    """Rank a path element: by kind, then what its kind is compared by, before what cannot be read so."""
    kind = key[0]
    if kind not in _TYPED:
        return (_KINDS[kind], key)
    try:
        value = _decode(key[2:])
    except msgspec.DecodeError:
        return (_KINDS[kind], 2, key)
    if kind != "k":
        return (_KINDS[kind], 0, _value_rank(value))
    if not isinstance(value, dict):
        return (_KINDS[kind], 1, _value_rank(value))
    return (_KINDS[kind], 0, *((name, _value_rank(value[name])) for name in sorted(value)))


def _value_rank(value: Any) -> tuple[Any, ...]:
    """Return the sort key of structured-merge-diff: numbers, texts, booleans, the rest by their JSON."""
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    return (3, _encode(value))


def find_error(fields: Any, depth: int = 0) -> str:
    """Return what is malformed in a client's FieldsV1; "" if nothing is."""
    if not isinstance(fields, dict) or depth > 100:
        return "not a valid FieldsV1"
    for key, node in fields.items():
        if key != MEMBER and key[:2] not in ("f:", "k:", "v:", "i:"):
            return f"unknown path element {cut_text(key)}"
        if wrong := find_error(node, depth + 1):
            return wrong
    return ""
