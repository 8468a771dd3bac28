"""Turns what a mutation's expression evaluated to into a changed object.

A list of JSONPatch becomes the operations of a JSON patch. An Object is an apply configuration: it is merged into the
object by the list types of its schema, and may not name what is replaced as a whole, since that would drop what others
put there. Nobody becomes the owner of the fields.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from kubelite.api.machinery.apply import merge_config
from kubelite.api.machinery.apply_typing import find_atomics, find_mistyped
from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.document_size import Meter, text_size
from kubelite.api.machinery.field_sets import KeyMissing
from kubelite.api.machinery.json_patch import PatchFails, PatchTestFails, apply_operations
from kubelite.api.machinery.mutation_types import ObjectValue, find_misnamed
from kubelite.api.machinery.schema import Schema
from kubelite.cel.conversions import duration_to_string, timestamp_to_string
from kubelite.cel.libraries.jsonpatch import JSONPatch
from kubelite.cel.values import Duration, Timestamp, Value, type_of

JSON = dict[str, Any]
_EXACT: Final = 1 << 53  # integers past this are texts in the values of JSON patches
_WHOLE_MAX: Final = 1e21  # doubles from here on are written with an exponent


class PatchFailed(Exception):
    """A mutation has no result; its text is worded as Kubernetes does."""


def json_patched(item: JSON, patch: Sequence[Value]) -> JSON | None:
    """Return an object with a JSON patch applied, of which it may become a part; None if a test compared unequal.

    Raises:
        PatchFailed: An operation cannot be applied, or its value is none in JSON.
        RequestEntityTooLarge: The patch is too large or does too much.
    """
    try:
        return apply_operations(item, operations_of(patch))
    except PatchTestFails:
        return None
    except PatchFails as error:
        raise PatchFailed(f"JSON Patch: {cut(str(error))}") from error


def operations_of(patch: Sequence[Value]) -> list[JSON]:
    """Return the operations of a patch that an expression evaluated to; raises as `json_patched`."""
    meter = Meter()
    return [_operation(each, meter) for each in patch]


def _operation(patch: Value, meter: Meter) -> JSON:
    if not isinstance(patch, JSONPatch):
        raise PatchFailed(
            "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, "
            f"got element of {type_of(patch).name}"
        )
    operation: JSON = {"op": patch.get("op"), "path": patch.get("path")}
    if patch.has("from"):
        operation["from"] = patch.get("from")
    meter.charge(sum(map(text_size, operation.values())), nodes=len(operation))
    if patch.has("value"):
        value = patch.get("value")
        try:
            operation["value"] = _json_of(value, meter, is_patch=True)
        except (PatchFailed, RecursionError) as error:
            raise PatchFailed(
                "JSONPath valueExpression evaluated to a type that could not marshal to JSON: "
                f"{error}"
            ) from error
        _check_names(value)  # after it was metered
    return operation


def applied(schema: Schema, item: JSON, config: Value) -> JSON:
    """Return an object with an apply configuration merged into it; parts of both become parts of the result.

    Raises:
        PatchFailed: The configuration does not fit the schema, or changes what is replaced as a whole.
        RequestEntityTooLarge: The configuration is too large.
    """
    if not isinstance(config, ObjectValue):
        raise PatchFailed(
            f"unsupported return type from ApplyConfiguration expression: {type_of(config).name}"
        )
    try:
        wanted = _json_of(config, Meter(), is_patch=False)
        _check_names(config)  # after it was metered: expressions share parts of values
        return _merged(schema, item, wanted)
    except RecursionError as error:
        raise PatchFailed("invalid return type: exceeded max depth") from error


def _merged(schema: Schema, item: JSON, wanted: JSON) -> JSON:
    for name in ("apiVersion", "kind"):
        if name in item:
            wanted[name] = item[name]
    if wrong := find_mistyped(schema, wanted):
        text = wrong[0] if len(wrong) == 1 else "errors:\n  " + "\n  ".join(wrong)
        raise _inapplicable(f"failed to convert patch object to typed object: {text}")
    if atomics := find_atomics(schema, wanted):
        paths = ", ".join(atomics)
        raise _inapplicable(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: " + paths
        )
    try:
        merged: JSON = merge_config(item, wanted, schema)
    except KeyMissing as error:
        raise _inapplicable(
            f"failed to convert original object to typed object: {error}"
        ) from error
    return merged


def _inapplicable(text: str) -> PatchFailed:
    return PatchFailed(f"error applying patch: {text}")


def _check_names(value: Value) -> None:
    """Raise PatchFailed if objects in an object are not named after their places."""
    if misnamed := find_misnamed(value):
        raise PatchFailed("type mismatch: " + "\n".join(misnamed))


def _json_of(value: Value, meter: Meter, *, is_patch: bool) -> Any:
    """Return a value as JSON; a value of a patch becomes what protobuf makes of it, texts of times included."""
    if isinstance(value, str):
        meter.charge(text_size(value))
        return value
    meter.charge(0)
    if isinstance(value, dict):
        return _object_of(value, meter, is_patch=is_patch)
    if isinstance(value, list):
        return [_json_of(each, meter, is_patch=is_patch) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        whole = int(value)
        return str(whole) if is_patch and not -_EXACT < whole < _EXACT else whole
    if isinstance(value, float):
        return _number_of(value, is_patch=is_patch)
    return _text_of(value, meter, is_patch=is_patch)


def _object_of(value: dict[Value, Value], meter: Meter, *, is_patch: bool) -> JSON:
    found: JSON = {}
    for name, child in value.items():
        if not isinstance(name, str):
            raise PatchFailed(f'map key "{name}" is of type {type_of(name).name}, not string')
        meter.charge(text_size(name))
        found[name] = _json_of(child, meter, is_patch=is_patch)
    return found


def _number_of(number: float, *, is_patch: bool) -> int | float:
    if not math.isfinite(number):
        raise PatchFailed("google.protobuf.Value cannot have NaN or Infinity")
    if is_patch and number.is_integer() and abs(number) < _WHOLE_MAX:
        return int(number)
    return number


def _text_of(value: Value, meter: Meter, *, is_patch: bool) -> str:
    text = None
    if is_patch:
        if isinstance(value, bytes):
            text = b64encode(value).decode()
        elif isinstance(value, Timestamp):
            text = timestamp_to_string(value)
        elif isinstance(value, Duration):
            text = duration_to_string(value)
    if text is None:
        raise PatchFailed(f"unsupported type {type_of(value).name}")
    meter.charge(len(text), nodes=0)
    return text
