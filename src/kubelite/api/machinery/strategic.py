"""Strategic merge patch: a merge patch whose lists merge by the keys that the schema names.

Directives follow Kubernetes: ``$patch`` (replace, delete), ``$retainKeys``, ``$setElementOrder/<list>`` and
``$deleteFromPrimitiveList/<list>``. The original and the patch may both be changed and become part of the result, so
pass copies.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from kubelite.api.errors import BadRequest, Cause, Invalid
from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.schema import Schema

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
ORDER_PREFIX = "$setElementOrder/"
DELETE_PREFIX = "$deleteFromPrimitiveList/"

JSON = dict[str, Any]
Items = list[Any]

_BAD_LIST = "invalid patch format of primitive list"
_BAD_KEYS = "invalid patch format of retainKeys"
NAMES_SHOWN = 20  # fields of an object that an error names
_BAD_ORDER = "invalid patch format of setElementOrder list"


def strategic_merge(schema: Schema, original: JSON, patch: Any) -> JSON:
    """Apply a strategic merge patch to an object of the schema.

    Raises:
        BadRequest: The patch or one of its directives is malformed, or an element lacks its merge key.
        Invalid: The patch sets a field that its own $retainKeys leave out, or merges lists of lists.
    """
    if not isinstance(patch, dict):
        raise BadRequest("invalid JSON document")
    return _merge_map(original, patch, schema)


def _field(schema: Schema | None, name: str) -> Schema | None:
    if schema is None:
        return None
    return schema.fields.get(name) or schema.items


def _merge_map(original: JSON, patch: JSON, schema: Schema | None) -> JSON:
    if DIRECTIVE in patch:
        return _directed(patch)
    if RETAIN_KEYS in patch:
        _retain_keys(original, patch)
    for key in [key for key in patch if key.startswith(ORDER_PREFIX)]:
        _merge_in_order(original, patch, key, schema)
    for key, value in patch.items():
        if key.startswith(DELETE_PREFIX):
            _delete_scalars(original, key.removeprefix(DELETE_PREFIX), value)
        elif value is None:
            original.pop(key, None)
        else:
            original[key] = _merged(original.get(key), value, _field(schema, key))
    return original


def _merged(present: Any, value: Any, schema: Schema | None) -> Any:
    is_replaced = schema is not None and schema.patch_replaces
    if isinstance(value, dict) and isinstance(present, dict) and not is_replaced:
        return _merge_map(present, value, schema)
    if isinstance(value, list) and isinstance(present, list):
        return _merge_list(present, value, schema)
    return _without_directives(value)


def _directed(patch: JSON) -> JSON:
    directive = patch.pop(DIRECTIVE)
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    raise BadRequest(_unknown(directive, patch))


def _unknown(directive: Any, value: JSON) -> str:
    named = cut(directive) if isinstance(directive, str) else "..."
    return f"unknown patch type: {named} in map: {go_map(value)}"


def go_map(value: JSON) -> str:
    """Print the names of an object's fields; not the values, as Kubernetes does, since they may be secret."""
    names = " ".join(f"{cut(key)}:..." for key in sorted(value)[:NAMES_SHOWN])
    return f"map[{names}{' ...' if len(value) > NAMES_SHOWN else ''}]"


def _retain_keys(original: JSON, patch: JSON) -> None:
    keys = patch.pop(RETAIN_KEYS)
    if not isinstance(keys, list):
        raise BadRequest(_BAD_KEYS)
    kept = {key for key in keys if isinstance(key, str)}
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in kept:
            raise _rejected(cut(key), "patch content doesn't match retainKeys list")
    for key in original.keys() - kept:
        del original[key]


def _rejected(field: str, problem: str) -> Invalid:
    return Invalid(
        "the server rejected our request due to an error in our request",
        causes=[Cause(field, "FieldValueInvalid", problem)],
    )


def _delete_scalars(original: JSON, name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise BadRequest(_BAD_LIST)
    present = original.get(name)
    if isinstance(present, list):
        gone = {_hashable(value) for value in values}
        original[name] = [item for item in present if _hashable(item) not in gone]


def _merge_in_order(original: JSON, patch: JSON, directive: str, schema: Schema | None) -> None:
    """Merge a list and sort it by the patch's $setElementOrder directive."""
    order = patch.pop(directive)
    name = directive.removeprefix(ORDER_PREFIX)
    if not isinstance(order, list):
        raise BadRequest(_BAD_ORDER)
    node = _field(schema, name)
    present, value = original.get(name), patch.pop(name, None)
    if not isinstance(present, list) and not isinstance(value, list):
        if value is not None:
            patch[name] = value
        return
    identity = _identity(node)
    if isinstance(value, list):
        _check_order(value, order, identity)
    if not isinstance(value, list):
        merged = list(present or [])
    elif not isinstance(present, list):
        merged = _without_directives(value)
    else:
        merged = _merge_list(list(present), value, node)
    original[name] = _ordered(merged, order, present or [], identity)


Identity = Callable[[Any], Any]


def _identity(schema: Schema | None) -> Identity:
    """Return a function that identifies list elements: by the value of the merge key, or by the element itself."""
    key = schema.merge_key if schema is not None else ""
    if not key or key == "-":
        return _itself
    return lambda item: item.get(key) if isinstance(item, dict) else item


def _itself(item: Any) -> Any:
    return item


def _check_order(patch: Items, order: Items, identity: Identity) -> None:
    wanted = [
        identity(item) for item in patch if not (isinstance(item, dict) and DIRECTIVE in item)
    ]
    given = iter([identity(item) for item in order])
    # The wanted elements must be a subsequence of the given order.
    if not all(any(each == item for each in given) for item in wanted):
        raise BadRequest("The order in patch list doesn't match $setElementOrder list")


def _merge_list(original: Items, patch: Items, schema: Schema | None) -> Items:
    key = schema.merge_key if schema is not None else ""
    if not key:
        return [_without_directives(item) for item in patch]
    if not original and not patch:
        return original
    if not any(isinstance(item, dict) for item in (*original, *patch)):
        if any(isinstance(item, list) for item in (*original, *patch)):
            raise _rejected(key, "lists of lists are not supported")
        return _ordered(list(dict.fromkeys((*original, *patch))), patch, original, _itself)
    if key == "-" or not all(isinstance(item, dict) for item in (*original, *patch)):
        raise BadRequest("list element types are not identical")
    original, patch = _apply_element_directives(original, patch, key)
    merged = _merge_elements(original, patch, key, schema)
    return _ordered(merged, patch, original, lambda item: item.get(key))


def _key_of(element: JSON, key: str) -> Any:
    if key not in element:
        raise BadRequest(f"map: {go_map(element)} does not contain declared merge key: {key}")
    return element[key]


def _apply_element_directives(original: Items, patch: Items, key: str) -> tuple[Items, Items]:
    """Apply the elements with a $patch directive; return the original and the patch's other elements.

    A replace discards the original: the patch's other elements take its place.
    """
    plain: Items = []
    gone: set[Any] = set()
    replaces = False
    for element in patch:
        directive = element.get(DIRECTIVE)
        if directive is None:
            plain.append(element)
        elif directive == "delete":
            gone.add(_hashable(_key_of(element, key)))
        elif directive == "replace":
            replaces = True
        elif directive == "merge":
            raise BadRequest("merging lists cannot yet be specified in the patch")
        else:
            raise BadRequest(_unknown(directive, element))
    if gone:
        original = [each for each in original if _hashable(each.get(key)) not in gone]
    return (plain, []) if replaces else (original, plain)


def _merge_elements(original: Items, patch: Items, key: str, schema: Schema | None) -> Items:
    merged = list(original)
    element_schema = schema.items if schema is not None else None
    positions = {_hashable(item.get(key)): index for index, item in reversed([*enumerate(merged)])}
    for element in patch:
        value = _hashable(_key_of(element, key))
        position = positions.get(value)
        if position is None:
            positions[value] = len(merged)
            merged.append(_without_directives(element))
        else:
            merged[position] = _merge_map(merged[position], element, element_schema)
    return merged


def _hashable(value: Any) -> Any:
    return repr(value) if isinstance(value, dict | list) else value


def _ordered(merged: Items, order: Items, present: Items, identity: Identity) -> Items:
    """Sort the elements that the order names, and interleave the others by their original positions."""
    wanted = _positions(order, identity)
    stood = _positions(present, identity)
    last = len(stood)
    named: list[tuple[int, int, Any]] = []  # place in the order, original position, the element
    others: list[tuple[int, int, Any]] = []
    for item in merged:
        name = _hashable(identity(item))
        before = stood.get(name, -1)
        if (place := wanted.get(name)) is not None:
            named.append((place, before, item))
        else:
            others.append((before if before >= 0 else last, before, item))
    named.sort(key=itemgetter(0))
    others.sort(key=itemgetter(0))
    return _woven(others, named)


def _positions(items: Items, identity: Identity) -> dict[Any, int]:
    """Return by identity the first position of each element."""
    return {_hashable(identity(item)): index for index, item in reversed([*enumerate(items)])}


def _woven(left: Sequence[tuple[int, int, Any]], right: Sequence[tuple[int, int, Any]]) -> Items:
    """Merge two ordered lists; an element of the left goes first only if it is known to have been first."""
    woven: Items = []
    at_left = at_right = 0
    while at_left < len(left) and at_right < len(right):
        if 0 <= left[at_left][1] < right[at_right][1]:
            woven.append(left[at_left][2])
            at_left += 1
        else:
            woven.append(right[at_right][2])
            at_right += 1
    woven.extend(item for _, _, item in left[at_left:])
    woven.extend(item for _, _, item in right[at_right:])
    return woven


def _without_directives(value: Any) -> Any:
    """Return the patch of an absent value as the new value: without nulls and directives."""
    if isinstance(value, list):
        kept = [
            item
            for item in value
            if not (isinstance(item, dict) and item.get(DIRECTIVE) == "delete")
        ]
        return [
            _without_directives(item)
            for item in kept
            if not (isinstance(item, dict) and set(item) == {DIRECTIVE})
        ]
    if not isinstance(value, dict):
        return value
    if value.get(DIRECTIVE) == "delete":
        return {}
    return {
        key: _without_directives(item)
        for key, item in value.items()
        if item is not None and not _is_directive(key)
    }


def _is_directive(key: str) -> bool:
    return key in (DIRECTIVE, RETAIN_KEYS) or key.startswith((ORDER_PREFIX, DELETE_PREFIX))
