"""Checks that a schema of a custom resource is structural: it states the type of every field outside of all junctors.

Source: apiextensions-apiserver's structural schemas. Junctors (allOf, anyOf, oneOf, not) may only restrict values: they
set no types, defaults or extensions, with one exception for what is an integer or a string. The metadata of the object
itself may be restricted by name and generateName alone.
"""

from typing import Any

from kubelite.api.errors import Cause
from kubelite.api.machinery import causes
from kubelite.api.machinery.schema_patterns import SchemaPatterns
from kubelite.api.machinery.schema_walk import JSON

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_MISSING_TYPE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
# Fields of which nothing has to be checked where the type is stated.
_PLAIN = frozenset(
    (
        "type",
        "description",
        "title",
        "format",
        "default",
        "example",
        "externalDocs",
        "nullable",
        "enum",
        "required",
        "uniqueItems",
        "multipleOf",
        *(
            f"{bound}{size}"
            for bound in ("max", "min")
            for size in ("Length", "Items", "Properties", "imum")
        ),
        "exclusiveMaximum",
        "exclusiveMinimum",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
    )
)
# Fields that junctors may not set, with the rule that they break.
_FORBIDDEN_NESTED = {
    "type": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}


class _Found(causes.Causes):
    """The causes of one schema, and the patterns of its definition."""

    def __init__(self, patterns: SchemaPatterns) -> None:
        super().__init__()
        self.patterns = patterns


def structural_causes(
    path: str, schema: JSON, patterns: SchemaPatterns | None = None
) -> list[Cause]:
    """Return why a schema is not structural, sorted by their text; the schema has a structural form (`schema_walk`).

    The schemas of one definition share `patterns`.

    Raises:
        TooManyCauses: More than one answer takes.
    """
    out = _Found(patterns or SchemaPatterns())
    _schema(out, schema, "root", path)
    return sorted(out, key=lambda cause: f"{cause.path}: {cause.message}")


def _schema(out: _Found, schema: JSON, level: str, path: str) -> None:
    """Check one schema outside of junctors; `level`: root, item or field."""
    kind = schema.get("type")
    if kind and kind != "array" and level != "root" and schema.keys() <= _PLAIN:
        return
    if kind == "array" and "items" not in schema:
        out.append(causes.required(f"{path}.items", "must be specified"))
    if "items" in schema:
        _schema(out, schema["items"], "item", f"{path}.items")
    properties = schema.get("properties") or {}
    for name, field in properties.items():
        _schema(out, field, "field", f"{path}.properties[{name}]")
    additional = schema.get("additionalProperties")
    if additional is not None and level == "root":
        detail = "must not be used at the root"
        out.append(causes.forbidden(f"{path}.additionalProperties", detail))
    if isinstance(additional, dict):
        _schema(out, additional, "field", f"{path}.additionalProperties")
    _junctors(out, schema, path)
    _extensions(out, schema, path)
    _type(out, schema, level, path)
    _metadata(out, schema, properties, level, path)


def _extensions(out: _Found, schema: JSON, path: str) -> None:
    is_embedded = schema.get("x-kubernetes-embedded-resource", False)
    keeps_unknown = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if schema.get("x-kubernetes-int-or-string"):
        detail = "must be false if x-kubernetes-int-or-string is true"
        if keeps_unknown:
            at = f"{path}.x-kubernetes-preserve-unknown-fields"
            out.append(causes.invalid(at, True, detail))
        if is_embedded:
            out.append(causes.invalid(f"{path}.x-kubernetes-embedded-resource", True, detail))
    if not is_embedded:
        return
    if schema.get("additionalProperties") is not None:
        detail = "must not be used if x-kubernetes-embedded-resource is set"
        out.append(causes.forbidden(f"{path}.additionalProperties", detail))
    if not keeps_unknown and not schema.get("properties"):
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields"
        )
        out.append(causes.required(f"{path}.properties", detail))


def _type(out: _Found, schema: JSON, level: str, path: str) -> None:
    kind, at = schema.get("type", ""), f"{path}.type"
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        out.append(causes.invalid(at, kind, detail) if kind else causes.required(at, detail))
    elif not (
        kind
        or schema.get("x-kubernetes-int-or-string")
        or schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        out.append(causes.required(at, _MISSING_TYPE[level]))
    if level == "root" and kind not in {"", "object"}:
        out.append(causes.invalid(at, kind, "must be object at the root"))


def _metadata(out: _Found, schema: JSON, properties: JSON, level: str, path: str) -> None:
    is_object = level == "root" or bool(schema.get("x-kubernetes-embedded-resource"))
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        if is_object and name in properties:
            kind = properties[name].get("type", "")
            if kind != wanted:
                at = f"{path}.properties[{name}].type"
                out.append(causes.invalid(at, kind, f"must be {wanted}"))
    if level == "root" and "metadata" in properties:
        metadata = properties["metadata"]
        rest = metadata.keys() - {"type", "default"}
        if (metadata.get("properties") or {}).keys() <= {"name", "generateName"}:
            rest -= {"properties"}
        if rest:
            detail = (
                "must not specify anything other than name and generateName, "
                "but metadata is implicitly specified"
            )
            out.append(causes.forbidden(f"{path}.properties[metadata]", detail))


def _junctors(
    out: _Found, schema: JSON, path: str, *, skip_any: bool | None = None, skip_first: bool = True
) -> None:
    """Check what restricts values. An anyOf of integer and string may state these types, as may the first of allOf."""
    if skip_any is None:
        skip_any = schema.get("anyOf") == _INT_OR_STRING
    if not skip_any:
        for index, each in enumerate(schema.get("anyOf") or ()):
            _nested(out, each, f"{path}.anyOf[{index}]")
    for index, each in enumerate(schema.get("allOf") or ()):
        skip = skip_first and index == 0 and each.get("anyOf") == _INT_OR_STRING
        _nested(out, each, f"{path}.allOf[{index}]", skip_any=skip)
    for index, each in enumerate(schema.get("oneOf") or ()):
        _nested(out, each, f"{path}.oneOf[{index}]")
    if (negated := schema.get("not")) is not None:
        _nested(out, negated, f"{path}.not")
    if (pattern := schema.get("pattern")) and (problem := out.patterns.find_problem(pattern)):
        detail = f"must be a valid regular expression, but isn't: {problem}"
        out.append(causes.invalid(f"{path}.pattern", pattern, detail))


def _nested(out: _Found, schema: JSON, path: str, *, skip_any: bool = False) -> None:
    """Check one schema within a junctor."""
    _junctors(out, schema, path, skip_any=skip_any, skip_first=False)
    if "items" in schema:
        _nested(out, schema["items"], f"{path}.items")
    properties = schema.get("properties") or {}
    for name, field in properties.items():
        _nested(out, field, f"{path}.properties[{name}]")
    additional: Any = schema.get("additionalProperties")
    if additional or isinstance(additional, dict):
        detail = "must be undefined to be structural"
        out.append(causes.forbidden(f"{path}.additionalProperties", detail))
    for field in _FORBIDDEN_NESTED.keys() & schema.keys():
        if schema[field] or field == "default":
            out.append(causes.forbidden(f"{path}.{field}", _FORBIDDEN_NESTED[field]))
    if "metadata" in properties:
        detail = "must not be specified in a nested context"
        out.append(causes.forbidden(f"{path}.properties[metadata]", detail))
