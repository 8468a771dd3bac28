"""JSON patch (RFC 6902) as Kubernetes applies it, in place.

Kubernetes' library (evanphx/json-patch, version 4) differs from the RFC: negative indexes count from the end, a replace
adds a missing field, a missing field equals null in a test, an absent value is null, and only a replace reaches the
root. The answer to a patch that cannot be applied does not say why, as upstream.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kubelite.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.document_size import Meter, json_cost
from kubelite.api.machinery.json_reading import is_too_deep
from kubelite.api.machinery.mismatch import value_name
from kubelite.api.machinery.paths import FieldPath, Notes
from kubelite.limits import DUPLICATE_FIELDS, PATCH_COPIES, PATCH_OPERATIONS, PATCH_WORK

JSON = dict[str, Any]

_MEMBERS = {"op", "path", "from", "value"}
_REJECTED = "the server rejected our request due to an error in our request"
_MISSING = "missing value"
_INDEX_DIGITS_MAX = 18
_MOVED_AT_ONCE = 256  # how much cheaper it is to move an element than to visit it
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class PatchFails(Exception):
    """An operation cannot be applied."""


def json_patch(document: JSON, operations: Any) -> JSON:
    """Apply a JSON patch and return the result, of which the changed `document` and the operations may become parts.

    Raises what `apply_operations` raises, but Invalid, which does not say why, for an operation that cannot be applied.
    """
    try:
        return apply_operations(document, operations)
    except PatchFails as error:
        raise Invalid(_REJECTED) from error


def apply_operations(document: JSON, operations: Any) -> JSON:
    """Apply a JSON patch as `json_patch` does.

    Raises:
        BadRequest: The patch is no list of operations.
        RequestEntityTooLarge: The patch has too many operations, moves too much, or its copies grow too large.
        PatchFails: An operation cannot be applied, or a test failed.
    """
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise BadRequest(f"error decoding patch: {_not_operations(operations)}")
    if len(operations) > PATCH_OPERATIONS.value:
        PATCH_OPERATIONS.reached()
        raise RequestEntityTooLarge(
            "Request entity is too large: The allowed maximum operations in a JSON patch is "
            f"{PATCH_OPERATIONS.value}, got {len(operations)}"
        )
    patcher = _Patcher(document)
    try:
        for operation in operations:
            patcher.apply(operation)
        too_deep = is_too_deep(patcher.document)
    except RecursionError as error:
        raise PatchFails("exceeded max depth") from error
    if too_deep:
        raise PatchFails("exceeded max depth")
    if not isinstance(patcher.document, dict):
        raise PatchFails("the patch leaves no object")
    return patcher.document


def _not_operations(value: Any) -> str:
    found, wanted = value, "[]handlers.jsonPatchOp"
    if isinstance(value, list):
        found = next(each for each in value if not isinstance(each, dict))
        wanted = wanted.removeprefix("[]")
    return f"json: cannot unmarshal {value_name(found)} into Go value of type {wanted}"


def json_patch_cost(document_bytes: int, operations: Any) -> int:
    """Return the cost of applying a patch to a document, in bytes touched, for the offload.

    That is each byte twice, plus a share of the document for each operation that may move the elements of a list.
    """
    if not isinstance(operations, list):
        return 0
    moving = sum(_may_move(each) for each in operations)
    return 2 * document_bytes + moving * (document_bytes // _MOVED_AT_ONCE) + 64 * len(operations)


def _may_move(operation: Any) -> bool:
    paths = (
        (operation.get(member) for member in ("path", "from"))
        if operation.__class__ is dict
        else ()
    )
    return any(path.__class__ is str and path[-1:].isdigit() for path in paths)


def unknown_members(operations: Any) -> list[str]:
    """Return a sentence for each member that no operation has, which strict validation reports."""
    if not isinstance(operations, list):
        return []
    found = Notes(DUPLICATE_FIELDS)
    for index, operation in enumerate(operations):
        if isinstance(operation, dict):
            for name in operation.keys() - _MEMBERS:
                found.add('unknown field "{}"', FieldPath(FieldPath(None, index), name))
    return sorted(found.texts)


class _Patcher:
    """A document, and what its patch has cost so far."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.steps = 0
        self._copied = 0
        self._meter = Meter()

    def apply(self, operation: JSON) -> None:
        """Apply one operation; raises PatchFails."""
        name = operation.get("op")
        handler = _HANDLERS.get(name) if isinstance(name, str) else None
        if handler is None:
            shown = cut(name) if isinstance(name, str) else "unknown"
            raise PatchFails(f"Unexpected kind: {shown}")
        handler(self, operation)

    def add(self, operation: JSON) -> None:
        """Add a field, or insert an element."""
        path = _pointer("add", operation, "path")
        container, key = self._find(path, "add operation does not apply: doc is missing path")
        self._add(container, key, operation.get("value"), f"error in add for path: '{path}'")

    def remove(self, operation: JSON) -> None:
        """Remove a field or an element."""
        path = _pointer("remove", operation, "path")
        container, key = self._find(path, "remove operation does not apply: doc is missing path")
        self._remove(container, key, f"error in remove for path: '{path}'")

    def replace(self, operation: JSON) -> None:
        """Set a field or an element, or the whole document."""
        path = _pointer("replace", operation, "path")
        value = operation.get("value")
        if path == "":
            if not isinstance(value, dict | list):
                raise PatchFails("replace operation value must be object or array")
            self.document = value
            return
        container, key = self._find(path, "replace operation does not apply: doc is missing path")
        if isinstance(container, dict):
            container[key] = value
        else:
            wrong = f"replace operation does not apply: doc is missing key: {path}"
            container[_position(container, key, wrong)] = value

    def move(self, operation: JSON) -> None:
        """Move a value from one path to another."""
        source = _pointer("move", operation, "from")
        container, key = self._find(
            source, "move operation does not apply: doc is missing from path"
        )
        wrong = f"error in move for path: '{key}'"
        value = _get(container, key, wrong)
        self._remove(container, key, wrong)
        path = _pointer("move", operation, "path")
        text = "move operation does not apply: doc is missing destination path"
        container, key = self._find(path, text)
        self._add(container, key, value, f"error in move for path: '{path}'")

    def copy(self, operation: JSON) -> None:
        """Copy a value to another path."""
        source = _pointer("copy", operation, "from")
        container, key = self._find(
            source, "copy operation does not apply: doc is missing from path"
        )
        value = _get(container, key, f"error in copy for from: '{source}'")
        path = _pointer("copy", operation, "path")
        text = "copy operation does not apply: doc is missing destination path"
        container, key = self._find(path, text)
        self._add(container, key, self._copy(value), "error while adding value during copy")

    def test(self, operation: JSON) -> None:
        """Compare a value; an absent value equals null."""
        path = _pointer("test", operation, "path")
        value = operation.get("value")
        if path == "":
            present = self.document
        else:
            container, key = self._find(path, "test operation does not apply: is missing path")
            present = _get(container, key, f"error in test for path: '{path}'")
        if not _are_equal(present, value):
            raise PatchFails(f"testing value {path} failed: test failed")

    def _find(self, path: str, wrong: str) -> tuple[Any, str]:
        """Return the container of the value at a path, and the last step."""
        steps = path.split("/")[1:]  # text before the first slash is ignored
        self._charge(len(steps))
        container = self.document
        for index, step in enumerate(steps):
            if not isinstance(container, dict | list):
                break
            key = step.replace("~1", "/").replace("~0", "~")
            if index == len(steps) - 1:
                return container, key
            try:
                container = _get(container, key, "")
            except PatchFails:
                break
        raise PatchFails(f'{wrong}: "{path}": {_MISSING}')

    def _add(self, container: Any, key: str, value: Any, wrong: str) -> None:
        if isinstance(container, dict):
            container[key] = value
        elif key == "-":
            container.append(value)
        else:
            position = _index(key, wrong)
            size = len(container) + 1
            if not -size <= position < size:
                raise _out_of_bounds(position, wrong)
            position %= size
            self._charge(size - position)
            container.insert(position, value)

    def _remove(self, container: Any, key: str, wrong: str) -> None:
        if isinstance(container, list):
            position = _position(container, key, wrong)
            self._charge(len(container) - position)
            del container[position]
        elif key in container:
            del container[key]
        else:
            raise PatchFails(f"{wrong}: Unable to remove nonexistent key: {key}: {_MISSING}")

    def _copy(self, value: Any) -> Any:
        if value is None:
            return None
        text = _encode(value)
        self._charge(len(text))
        self._copied += len(text)
        if self._copied > PATCH_COPIES.value:
            PATCH_COPIES.reached()
            raise RequestEntityTooLarge(
                "Request entity is too large: Unable to complete the copy, the accumulated size "
                f"increase of copy is {self._copied}, exceeding the limit {PATCH_COPIES.value}"
            )
        self._meter.charge(json_cost(text), nodes=0)
        return _decode(text)

    def _charge(self, steps: int) -> None:
        self.steps += steps
        if self.steps > PATCH_WORK.value:
            PATCH_WORK.reached()
            raise RequestEntityTooLarge(
                "Request entity is too large: the JSON patch moves too many elements of lists"
            )


_HANDLERS: dict[str, Callable[[_Patcher, JSON], None]] = {
    "add": _Patcher.add,
    "remove": _Patcher.remove,
    "replace": _Patcher.replace,
    "move": _Patcher.move,
    "copy": _Patcher.copy,
    "test": _Patcher.test,
}


def _pointer(name: str, operation: JSON, member: str) -> str:
    path = operation.get(member)
    if not isinstance(path, str):
        raise PatchFails(f"{name} operation failed to decode {member}: {_MISSING}")
    return path


def _index(key: str, wrong: str) -> int:
    digits = key[1:] if key[:1] in ("+", "-") else key
    if not (digits.isascii() and digits.isdigit()):
        raise PatchFails(f'{wrong}: strconv.Atoi: parsing "{key}": invalid syntax')
    if len(digits.lstrip("0")) > _INDEX_DIGITS_MAX:
        raise PatchFails(f'{wrong}: strconv.Atoi: parsing "{key}": value out of range')
    number = int(digits[-_INDEX_DIGITS_MAX:])
    return -number if key[0] == "-" else number


def _position(items: list[Any], key: str, wrong: str) -> int:
    position = _index(key, wrong)
    if not -len(items) <= position < len(items):
        raise _out_of_bounds(position, wrong)
    return position % len(items)


def _out_of_bounds(position: int, wrong: str) -> PatchFails:
    return PatchFails(
        f"{wrong}: Unable to access invalid index: {position}: invalid index referenced"
    )


def _get(container: Any, key: str, wrong: str) -> Any:
    """Return the value of a key; None for an absent field of an object."""
    if isinstance(container, dict):
        return container.get(key)
    return container[_position(container, key, wrong)]


def _are_equal(one: Any, other: Any) -> bool:
    """Compare as JSON: true is not 1, and 1 is not 1.0. Time is bounded by the size of the smaller."""
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            name in other and _are_equal(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    return bool(one == other)
