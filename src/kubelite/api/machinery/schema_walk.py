"""Walks the OpenAPI schemas of a CustomResourceDefinition in wire form, nested ones included.

Documents are at most `limits.DOCUMENT_DEPTH` levels deep, so walks may recurse.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

JSON = Mapping[str, Any]

RULES: Final = "x-kubernetes-validations"

_SINGLE = frozenset(("items", "additionalProperties", "additionalItems", "not"))
_LISTS = frozenset(("allOf", "anyOf", "oneOf"))
_MAPS = frozenset(("properties", "patternProperties", "definitions", "dependencies"))
_NESTING = _SINGLE | _LISTS | _MAPS
# Fields that a structural schema cannot have, by the word that names them in an error.
_UNSUPPORTED = {
    "id": "id",
    "$schema": "schema",
    "$ref": "$ref",
    "patternProperties": "patternProperties",
    "dependencies": "dependencies",
    "additionalItems": "additionalItems",
    "definitions": "definitions",
}
_EXTENSIONS = frozenset(
    (
        "x-kubernetes-embedded-resource",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    )
)


def nested_schemas(schema: JSON) -> Iterator[JSON]:
    """Yield a schema and all schemas within it, in no particular order."""
    pending = [schema]
    while pending:
        schema = pending.pop()
        yield schema
        for name in _NESTING & schema.keys():
            value = schema[name]
            if name in _MAPS:
                pending += [each for each in value.values() if isinstance(each, dict)]
            elif isinstance(value, list):
                pending += value
            elif isinstance(value, dict):
                pending.append(value)


def version_schemas(definition: JSON) -> Iterator[tuple[int, JSON]]:
    """Yield index and schema of the versions of a definition that have one."""
    for index, version in enumerate((definition.get("spec") or {}).get("versions") or ()):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is not None:
            yield index, schema


def has_defaults(schema: JSON) -> bool:
    """Return whether a schema or one within it has a default."""
    return any("default" in each for each in nested_schemas(schema))


def has_rules(schema: JSON) -> bool:
    """Return whether a schema has expression rules; those in alternatives do not count."""
    pending = [schema]
    while pending:
        one = pending.pop()
        if one.get(RULES):
            return True
        pending.extend((one.get("properties") or {}).values())
        inner = (one.get(name) for name in ("items", "additionalProperties"))
        pending.extend(each for each in inner if isinstance(each, dict))
    return False


def has_extensions(schema: JSON) -> bool:
    """Return whether a schema or one within it uses what only structural schemas may use."""
    return any(_EXTENSIONS & each.keys() for each in nested_schemas(schema))


def conversion_error(schema: JSON) -> str:
    """Return why a schema has no structural form at all; "" if it has one."""
    for each in nested_schemas(schema):
        for field in _UNSUPPORTED.keys() & each.keys():
            if each[field] or field == "additionalItems":
                return f"OpenAPIV3Schema '{_UNSUPPORTED[field]}' is not supported"
        if isinstance(each.get("items"), list):
            return "OpenAPIV3Schema 'items' must be a schema, but is an array"
        if each.get("x-kubernetes-preserve-unknown-fields") is False:
            return (
                "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
            )
    return ""
