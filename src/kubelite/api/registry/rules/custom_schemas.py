"""Rules of the schemas in a CustomResourceDefinition that hold whether or not a schema is structural.

Source: apiextensions-apiserver's validation of OpenAPI schemas, its wording and its choice of quoted values included.
"""

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.enums import RULE_REASONS
from kubelite.api.machinery import causes
from kubelite.api.machinery.schema_paths import InvalidPath, resolve_path
from kubelite.api.registry.rules.custom_expressions import ExpressionRules
from kubelite.api.registry.rules.custom_expressions import Place as RulePlace
from kubelite.api.registry.rules.custom_schema_values import internal_items
from kubelite.api.registry.rules.values import JSON, Out

TYPES = ("array", "boolean", "integer", "number", "object", "string")
_META = frozenset(("metadata", "kind", "apiVersion"))
_LINE_END = re.compile("[\n\r]").search
_REASONS = tuple(sorted(RULE_REASONS.enum))
_CHECKED = frozenset(
    (
        "$ref",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "definitions",
        "dependencies",
        "id",
        "items",
        "not",
        "oneOf",
        "patternProperties",
        "properties",
        "uniqueItems",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
)


class Strictness(Struct, frozen=True):
    """Which rules apply. Those that the old object of an update already broke do not."""

    types: bool = True  # of values must be known
    atomic_sets: bool = True  # items of sets must be atomic
    pruned_defaults: bool = True  # defaults must not have unknown fields
    list_keys: bool = True  # keys must be required or have a default, and no item be nullable


class _Place(Struct, frozen=True):
    """The part of a schema that a walk is in."""

    strictness: Strictness
    no_defaults: str | None = None  # why defaults are forbidden here; None: they are allowed
    in_meta: bool = False  # within the metadata of the object or of an embedded one
    checks_paths: bool = True  # paths of expression rules must lead to a field
    rules: ExpressionRules | None = None  # compiles the rules; None: they are not compiled here
    of_rules: RulePlace = RulePlace(is_resource=True)


def openapi_causes(
    path: str,
    schema: JSON,
    strictness: Strictness,
    *,
    checks_paths: bool = True,
    rules: ExpressionRules | None = None,
) -> Out:
    """Return what is wrong with a schema and those within it; causes of expression rules are left in `rules`.

    `checks_paths` is False for a schema without a structural form, in which no path leads anywhere.

    Raises:
        TooManyCauses: More than one answer takes.
    """
    out = Out()
    place = _Place(strictness, checks_paths=checks_paths, rules=rules)
    _schema(out, path, schema, place, is_root=True)
    return out


def _schema(out: Out, path: str, schema: JSON, place: _Place, *, is_root: bool = False) -> None:
    kind = schema.get("type", "")
    if place.strictness.types and kind and kind not in TYPES:
        out.append(causes.unsupported(f"{path}.type", kind, TYPES))
    if kind == "null":
        detail = "type cannot be set to null, use nullable as an alternative"
        out.append(causes.forbidden(f"{path}.type", detail))
    if place.no_defaults is not None and "default" in schema:
        out.append(causes.forbidden(f"{path}.default", f"must not be set {place.no_defaults}"))
    if _CHECKED.isdisjoint(schema):
        return
    before = len(out)
    _unsupported(out, path, schema, place)
    _fields(out, path, schema, place, is_root)
    _junctors(out, path, schema, place)
    _list_items(out, path, schema, place)
    _extensions(out, path, schema, place.strictness)
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        at = f"{path}.x-kubernetes-validations[{index}]"
        _expression_rule(out, at, rule, schema if place.checks_paths else None)
    if schema.get("x-kubernetes-validations") and place.rules is not None and len(out) == before:
        place.rules.check(path, schema, place.of_rules)


def _within(place: _Place, path: str, schema: JSON, inner: Any) -> _Place:
    """Return the place of an item, a value or a property of a schema."""
    if place.rules is None:
        return place
    is_resource = bool(inner.get("x-kubernetes-embedded-resource"))
    return replace(place, of_rules=place.of_rules.inside(path, schema, is_resource=is_resource))


def _unsupported(out: Out, path: str, schema: JSON, place: _Place) -> None:
    for field in ("id", "patternProperties", "definitions"):
        if schema.get(field):
            out.append(causes.forbidden(f"{path}.{field}", f"{field} is not supported"))
    for field in ("additionalItems", "dependencies", "$ref"):
        if schema.get(field) is not None:
            out.append(causes.forbidden(f"{path}.{field}", f"{field} is not supported"))
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        out.append(causes.forbidden(f"{path}.uniqueItems", detail))
    if place.in_meta and schema.get("x-kubernetes-embedded-resource"):
        at = f"{path}.x-kubernetes-embedded-resource"
        out.append(causes.forbidden(at, "must not be used inside of resource meta"))


def _fields(out: Out, path: str, schema: JSON, place: _Place, is_root: bool) -> None:
    properties = schema.get("properties") or {}
    additional: Any = schema.get("additionalProperties")
    if additional is not None and additional is not True and properties:
        detail = "additionalProperties and properties are mutual exclusive"
        out.append(causes.forbidden(f"{path}.additionalProperties", detail))
    if isinstance(additional, dict):
        inside = _within(place, path, schema, additional)
        if place.in_meta:
            reason = "inside additionalProperties applying to object metadata"
            inside = replace(inside, no_defaults=reason)
        _schema(out, f"{path}.additionalProperties", additional, inside)
    has_meta = is_root or bool(schema.get("x-kubernetes-embedded-resource"))
    for name, field in properties.items():
        inside = _within(place, path, schema, field)
        if has_meta and name in _META:
            inside = replace(inside, in_meta=True)
            if is_root:
                inside = replace(inside, no_defaults=f"in top-level {name}")
        _schema(out, f"{path}.properties[{name}]", field, inside)


def _junctors(out: Out, path: str, schema: JSON, place: _Place) -> None:
    place = replace(
        place, rules=None
    )  # rules of alternatives are compiled where they are evaluated
    if (negated := schema.get("not")) is not None:
        _schema(out, f"{path}.not", negated, place)
    for field in ("allOf", "oneOf", "anyOf"):
        for index, each in enumerate(schema.get(field) or ()):
            _schema(out, f"{path}.{field}[{index}]", each, place)
    for field in ("definitions", "dependencies"):
        for name, each in (schema.get(field) or {}).items():
            if isinstance(each, dict):
                _schema(out, f"{path}.{field}[{name}]", each, place)


def _list_items(out: Out, path: str, schema: JSON, place: _Place) -> None:
    within: Any = schema.get("items")
    if isinstance(within, dict):
        _schema(out, f"{path}.items", within, _within(place, path, schema, within))
    elif within:
        detail = "items must be a schema object and not an array"
        out.append(causes.forbidden(f"{path}.items", detail))
        for index, each in enumerate(within):
            _schema(out, f"{path}.items[{index}]", each, place)


def _extensions(out: Out, path: str, schema: JSON, strictness: Strictness) -> None:
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        at = f"{path}.x-kubernetes-preserve-unknown-fields"
        out.append(causes.invalid(at, False, "must be true or undefined"))
    if (map_type := schema.get("x-kubernetes-map-type")) is not None:
        _typed(out, path, schema, "object", "x-kubernetes-map-type")
        if map_type not in {"atomic", "granular"}:
            at = f"{path}.x-kubernetes-map-type"
            out.append(causes.unsupported(at, map_type, ("atomic", "granular")))
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    at = f"{path}.x-kubernetes-list-type"
    if list_type is not None:
        _list_type(out, path, schema, list_type, strictness)
        if list_type not in {"atomic", "set", "map"}:
            out.append(causes.unsupported(at, list_type, ("atomic", "set", "map")))
    if keys and list_type != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        missing = list_type is None
        out.append(
            causes.required(at, detail) if missing else causes.invalid(at, list_type, detail)
        )
    if list_type == "map":
        _list_map(out, path, schema, keys or [])
    if strictness.list_keys and list_type in {"set", "map"}:
        for cause in list_key_causes(path, schema):
            out.append(cause)


def _typed(out: Out, path: str, schema: JSON, wanted: str, field: str) -> None:
    kind, at = schema.get("type", ""), f"{path}.type"
    if kind != wanted:
        detail = f"must be {wanted} if {field} is specified"
        out.append(causes.invalid(at, kind, detail) if kind else causes.required(at, detail))


def _list_type(out: Out, path: str, schema: JSON, list_type: str, strictness: Strictness) -> None:
    _typed(out, path, schema, "array", "x-kubernetes-list-type")
    if schema.get("type") == "array" and strictness.atomic_sets and list_type == "set":
        wrong = wrong_set_items(schema)
        if wrong is not None:
            # Kubernetes quotes the list type of the items for both.
            shown = schema["items"].get("x-kubernetes-list-type")
            detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
            out.append(causes.invalid(f"{path}.items.{wrong}", shown, detail))


def wrong_set_items(schema: JSON) -> str | None:
    """Return the field that keeps the items of a set from being atomic; None if they are."""
    within: Any = schema.get("items")
    if schema.get("x-kubernetes-list-type") != "set" or not isinstance(within, dict):
        return None
    if within.get("type") == "array":
        is_atomic = within.get("x-kubernetes-list-type") in {None, "atomic"}
        return None if is_atomic else "x-kubernetes-list-type"
    if within.get("type") == "object":
        is_atomic = within.get("x-kubernetes-map-type") == "atomic"
        return None if is_atomic else "x-kubernetes-map-type"
    return None


def _list_map(out: Out, path: str, schema: JSON, keys: list[str]) -> None:
    at = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        out.append(causes.required(at, "must not be empty if x-kubernetes-list-type is map"))
    within: Any = schema.get("items")
    if within is None:
        detail = "must have a schema if x-kubernetes-list-type is map"
        out.append(causes.required(f"{path}.items", detail))
        return
    if not isinstance(within, dict):
        detail = "must only have a single schema if x-kubernetes-list-type is map"
        out.append(causes.invalid(f"{path}.items", internal_items(within), detail))
        return
    kind = within.get("type", "")
    if kind != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        out.append(causes.invalid(f"{path}.items.type", kind, detail))
        return
    seen: set[str] = set()
    for key in keys:
        field = (within.get("properties") or {}).get(key)
        if field is None:
            out.append(causes.invalid(at, keys, "entries must all be names of item properties"))
        elif field.get("type") in {"array", "object"}:
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            out.append(causes.invalid(f"{path}.items.properties[{key}].type", kind, detail))
        if key in seen:
            out.append(causes.invalid(at, keys, "must not contain duplicate entries"))
        seen.add(key)


def list_key_causes(path: str, schema: JSON) -> Out:
    """Return what is wrong with the keys of a list map, and with nullable items of a list map or set."""
    out = Out()
    within: Any = schema.get("items")
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in {"set", "map"} or not isinstance(within, dict):
        return out
    if within.get("nullable"):
        detail = f"cannot be nullable when x-kubernetes-list-type is {list_type}"
        out.append(causes.forbidden(f"{path}.items.nullable", detail))
    if list_type == "set":
        return out
    required = set(within.get("required") or ())
    for key in schema.get("x-kubernetes-list-map-keys") or ():
        field = (within.get("properties") or {}).get(key)
        if field is None:
            continue
        at = f"{path}.items.properties[{key}]"
        why = "this property is in x-kubernetes-list-map-keys, so it"
        if key not in required and "default" not in field:
            detail = f"{why} must have a default or be a required property"
            out.append(causes.required(f"{at}.default", detail))
        if field.get("nullable"):
            out.append(causes.forbidden(f"{at}.nullable", f"{why} cannot be nullable"))
    return out


def _expression_rule(out: Out, path: str, rule: JSON, schema: JSON | None) -> None:
    """Check all of a rule but its expressions, which are compiled with the types of a schema that has no cause."""
    text, message = rule.get("rule", ""), rule.get("message", "")
    if not text.strip():
        out.append(causes.required(f"{path}.rule", "rule is not specified"))
    elif message and not message.strip():
        out.append(causes.invalid(f"{path}.message", message, "must be non-empty if specified"))
    elif _LINE_END(message.strip()):
        out.append(causes.invalid(f"{path}.message", message, "must not contain line breaks"))
    elif _LINE_END(text.strip()) and not message.strip():
        detail = "message must be specified if rule contains line breaks"
        out.append(causes.required(f"{path}.message", detail))
    expression = rule.get("messageExpression", "")
    if expression and not expression.strip():
        detail = "messageExpression must be non-empty if specified"
        out.append(causes.required(f"{path}.messageExpression", detail))
    if (reason := rule.get("reason")) is not None and reason not in _REASONS:
        out.append(causes.unsupported(f"{path}.reason", reason, _REASONS))
    if field := rule.get("fieldPath", ""):
        _field_path(out, f"{path}.fieldPath", field, schema)


def _field_path(out: Out, path: str, field: str, schema: JSON | None) -> None:
    if not field.strip():
        out.append(causes.invalid(path, field, "must be non-empty if specified"))
    if _LINE_END(field):
        out.append(causes.invalid(path, field, "must not contain line breaks"))
    if schema is None:
        return
    try:
        resolve_path(field, schema)
    except InvalidPath:
        out.append(causes.invalid(path, field, "must be a valid path"))
