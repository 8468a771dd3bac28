"""Rules of the defaults in the schema of a custom resource: each must be pruned and valid under its own schema.

Source: apiextensions-apiserver's validation of defaults. A default within the metadata of an embedded resource is put
into an object of its own, which must be a valid API object then. Defaults below additionalProperties are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.errors import BadRequest, Cause
from kubelite.api.machinery import causes
from kubelite.api.machinery.paths import FieldPath
from kubelite.api.machinery.schema_walk import has_defaults, has_rules, nested_schemas
from kubelite.api.machinery.shaping.blame import Blame, structural_causes
from kubelite.api.machinery.shaping.compile_openapi import EMBEDDED, INT_OR_STRING
from kubelite.api.machinery.shaping.constraints import (
    Compiler,
    TooManyAlternatives,
    satisfies,
    work,
)
from kubelite.api.machinery.shaping.pruning import drop_unknown, shape_embedded
from kubelite.api.registry.rules.embedded_metadata import embedded_metadata
from kubelite.api.registry.rules.values import Out

if TYPE_CHECKING:
    from kubelite.api.machinery.expressions.evaluating import Findings

JSON = dict[str, Any]
Surround = Callable[[Any], JSON]  # puts a value into the embedded resource around it

_JUNCTORS = frozenset(("allOf", "anyOf", "oneOf", "not"))
_META = frozenset(("metadata", "apiVersion", "kind"))
_TYPE = {"apiVersion": "validation/v1", "kind": "Validation"}
_NOWHERE = "<nil>"
_decode, _encode = msgspec.json.decode, msgspec.json.encode


class _Place(Struct, frozen=True):
    """The part of a schema that the walk is in."""

    resource: JSON  # the schema of the embedded resource around it
    surround: Surround
    in_meta: bool = False


def default_causes(path: str, schema: Mapping[str, Any], *, pruned: bool = True) -> Out:
    """Return what is wrong with the defaults of a structural schema.

    With `pruned` False they may have unknown fields, as those of the old object of an update have.

    Raises:
        TooManyCauses: More than one answer takes.
    """
    out = Out()
    if not has_defaults(schema):
        return out
    work.start()
    try:
        _Walk(out, pruned).root(path, schema)
    except TooManyAlternatives:
        out.append(causes.unchecked())
    except RecursionError:
        out.append(causes.invalid(path, "", "exceeded max depth"))
    return out


class _Walk:
    """One walk over a schema."""

    def __init__(self, out: Out, pruned: bool) -> None:
        self._out = out
        self._pruned = pruned
        self._compiler = Compiler(embedded_metadata)
        self._findings: Findings | None = None  # of rules, whose cost counts together
        self._alternatives: dict[
            int, int
        ] = {}  # by identity of a node: how many are in it and below

    def root(self, path: str, schema: Mapping[str, Any]) -> None:
        """Walk the schema of a resource."""
        root = self._without_unions(schema)
        root[EMBEDDED] = True
        self._schema(path, root, _Place(root, dict))

    def _without_unions(self, schema: Mapping[str, Any]) -> JSON:
        """Return a schema without ``x-kubernetes-int-or-string``: of defaults Kubernetes does not check it."""
        changed = {name: value for name, value in schema.items() if name != INT_OR_STRING}
        inner = []
        for name in ("items", "additionalProperties"):
            if isinstance(node := schema.get(name), dict):
                changed[name] = self._without_unions(node)
                inner.append(changed[name])
        if "properties" in schema:
            fields = changed["properties"] = dict(schema["properties"])
            for name, node in fields.items():
                fields[name] = self._without_unions(node)
                inner.append(fields[name])
        count = sum(self._alternatives[id(node)] for node in inner)
        for name in _JUNCTORS & schema.keys():
            listed = schema[name] if isinstance(schema[name], list) else [schema[name]]
            count += sum(1 for each in listed for _ in nested_schemas(each))
        self._alternatives[id(changed)] = count
        return changed

    def _schema(self, path: str, schema: JSON, place: _Place) -> None:
        is_resource = schema.get(EMBEDDED) is True
        if is_resource:
            place = _Place(schema, dict)
        if "default" in schema:
            self._default(f"{path}.default", schema, place)
        if (within := schema.get("items")) is not None:
            inside = replace(place, surround=lambda value: place.surround([value]))
            self._schema(f"{path}.items", within, inside)
        for name, field in (schema.get("properties") or {}).items():
            # Most fields have no default and nothing below.
            if "default" not in field and field.keys().isdisjoint(("properties", "items")):
                continue
            inside = _inside(place, name, is_resource)
            self._schema(f"{path}.properties[{name}]", field, inside)

    def _default(self, path: str, schema: JSON, place: _Place) -> None:
        value = schema["default"]
        # An alternative looks at the whole value, however few of its parts the alternative names.
        if count := self._alternatives[id(schema)]:
            work.charge(count * _size(value))
        if place.in_meta:
            problem = _metadata_problem(place.resource, {**_TYPE, **place.surround(value)})
            if problem:
                detail = f"must result in valid metadata: {problem}"
                self._out.append(causes.invalid(path, value, detail))
                return
        else:
            if self._pruned and drop_unknown(schema, _copy(value)):
                self._out.append(causes.invalid(path, value, "must not have unknown fields"))
            if wrong := _embedded_causes(schema, value):
                self._out.extend(_moved(cause, path) for cause in wrong)
                return
        if not satisfies(self._compiler.table(schema), value):
            found = Blame(self._compiler).of(schema, value, None, None).causes
            self._out.extend(_placed(cause, path) for cause in found)
        elif has_rules(schema):
            self._rules(path, schema, value)

    def _rules(self, path: str, schema: JSON, value: Any) -> None:
        """Evaluate the rules on a default that stays, and on one that comes to be."""
        from kubelite.api.machinery.expressions.evaluating import Findings, RuleSet

        if self._findings is None:
            self._findings = Findings()
        rules = RuleSet(schema, is_resource=schema.get(EMBEDDED) is True)
        for old in (value, None):
            rules.evaluate(
                value,
                old,
                Blame(self._compiler),
                findings=self._findings,
                path=FieldPath(None, path),
                ratchets=False,
            )
            if self._findings.causes:
                self._out.extend(self._findings.causes)
                self._findings.causes.clear()
                return


def _inside(place: _Place, name: str, is_resource: bool) -> _Place:
    return replace(
        place,
        surround=lambda value: place.surround({name: value}),
        in_meta=place.in_meta or (is_resource and name in _META),
    )


def _size(value: Any) -> int:
    """Return how many values are in a value, itself included."""
    count, pending = 0, [value]
    while pending:
        inner = pending.pop()
        count += 1
        if isinstance(inner, dict):
            pending += inner.values()
        elif isinstance(inner, list):
            pending += inner
    return count


def _copy(value: Any) -> Any:
    return _decode(_encode(value)) if isinstance(value, dict | list) else value


def _embedded_causes(schema: JSON, value: Any) -> list[Cause]:
    """Return why embedded resources in a default are none, with paths that begin with ``default``."""
    if not isinstance(value, dict | list):
        return []
    try:
        shape_embedded({"properties": {"default": schema}}, {"default": _copy(value)})
    except BadRequest as error:
        path, _, text = error.message.partition(": ")
        return [Cause(path, "FieldValueInvalid", text)]
    return list(structural_causes(schema, value, FieldPath(None, "default"), embedded_metadata))


def _metadata_problem(schema: JSON, resource: JSON) -> str:
    """Return why an embedded resource is none; "" if it is one."""
    inner = {"properties": {"x": schema}}
    try:
        shape_embedded(inner, {"x": _copy(resource)})
    except BadRequest as error:
        return error.message.removeprefix("x.")
    found = structural_causes(schema, resource, FieldPath(None, "x"), embedded_metadata)
    return _joined(f"{cause.path.removeprefix('x.')}: {cause.message}" for cause in found)


def _joined(texts: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(texts))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]" if distinct else ""


def _moved(cause: Cause, path: str) -> Cause:
    return Cause(path + cause.path.removeprefix("default"), cause.reason, cause.message)


def _placed(cause: Cause, path: str) -> Cause:
    at = path if cause.path == _NOWHERE else f"{path}.{cause.path}"
    return Cause(at, cause.reason, cause.message)
