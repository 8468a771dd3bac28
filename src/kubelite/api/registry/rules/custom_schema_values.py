"""Schemas and versions of a CustomResourceDefinition as Kubernetes quotes them in errors.

Its errors print the types that it uses inside: every field, under its name in Go.
"""

from collections.abc import Mapping
from typing import Any

from kubelite.limits import SHOWN_VALUE

JSON = Mapping[str, Any]

# Name in Go, name on the wire, value when it is absent; in the order in which they are printed.
_FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("ID", "id", ""),
    ("Schema", "$schema", ""),
    ("Ref", "$ref", None),
    ("Description", "description", ""),
    ("Type", "type", ""),
    ("Nullable", "nullable", False),
    ("Format", "format", ""),
    ("Title", "title", ""),
    ("Default", "default", None),
    ("Maximum", "maximum", None),
    ("ExclusiveMaximum", "exclusiveMaximum", False),
    ("Minimum", "minimum", None),
    ("ExclusiveMinimum", "exclusiveMinimum", False),
    ("MaxLength", "maxLength", None),
    ("MinLength", "minLength", None),
    ("Pattern", "pattern", ""),
    ("MaxItems", "maxItems", None),
    ("MinItems", "minItems", None),
    ("UniqueItems", "uniqueItems", False),
    ("MultipleOf", "multipleOf", None),
    ("Enum", "enum", None),
    ("MaxProperties", "maxProperties", None),
    ("MinProperties", "minProperties", None),
    ("Required", "required", None),
    ("Items", "items", None),
    ("AllOf", "allOf", None),
    ("OneOf", "oneOf", None),
    ("AnyOf", "anyOf", None),
    ("Not", "not", None),
    ("Properties", "properties", None),
    ("AdditionalProperties", "additionalProperties", None),
    ("PatternProperties", "patternProperties", None),
    ("Dependencies", "dependencies", None),
    ("AdditionalItems", "additionalItems", None),
    ("Definitions", "definitions", None),
    ("ExternalDocs", "externalDocs", None),
    ("Example", "example", None),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", None),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", False),
    ("XIntOrString", "x-kubernetes-int-or-string", False),
    ("XListMapKeys", "x-kubernetes-list-map-keys", None),
    ("XListType", "x-kubernetes-list-type", None),
    ("XMapType", "x-kubernetes-map-type", None),
    ("XValidations", "x-kubernetes-validations", None),
)
GO_NAMES = {wire: name for name, wire, _ in _FIELDS}
_LISTS = frozenset(("allOf", "oneOf", "anyOf"))
_MAPS = frozenset(("properties", "patternProperties", "definitions"))
_OR_BOOL = frozenset(("additionalProperties", "additionalItems"))
_PRINTED_SCHEMA = 700  # the fewest characters that one schema takes


class _Printing:
    """Counts schemas down: what is beyond the longest text that an error quotes need not be made."""

    def __init__(self) -> None:
        self._left = SHOWN_VALUE.value // _PRINTED_SCHEMA + 1

    def schema(self, schema: JSON) -> dict[str, Any] | None:
        self._left -= 1
        if self._left < 0:
            return None
        return {
            name: self._field(wire, schema[wire]) if wire in schema else absent
            for name, wire, absent in _FIELDS
        }

    def _field(self, wire: str, value: Any) -> Any:
        if wire in _LISTS:
            return [self.schema(each) for each in value[: self._left + 1]]
        if wire in _MAPS:
            return self._map(value)
        if wire in _OR_BOOL:
            is_schema = isinstance(value, dict)
            return {
                "Allows": is_schema or value,
                "Schema": self.schema(value) if is_schema else None,
            }
        match wire:
            case "not":
                return self.schema(value)
            case "items":
                return self.items(value)
            case "dependencies":
                return {
                    name: {
                        "Schema": self.schema(each) if isinstance(each, dict) else None,
                        "Property": each if isinstance(each, list) else None,
                    }
                    for name, each in sorted(value.items())
                }
            case "externalDocs":
                return {"Description": value.get("description", ""), "URL": value.get("url", "")}
            case "x-kubernetes-validations":
                return [internal_rule(each) for each in value]
            case _:
                return value

    def _map(self, value: JSON) -> dict[str, Any]:
        return {name: self.schema(value[name]) for name in sorted(value)[: self._left + 1]}

    def items(self, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return {"Schema": self.schema(value), "JSONSchemas": None}
        listed = [self.schema(each) for each in value[: self._left + 1]]
        return {"Schema": None, "JSONSchemas": listed}


def internal_schema(schema: JSON) -> dict[str, Any] | None:
    """Return a schema for `causes.invalid`."""
    return _Printing().schema(schema)


def internal_items(items: Any) -> dict[str, Any]:
    """Return the `items` of a schema for `causes.invalid`."""
    return _Printing().items(items)


def internal_rule(rule: JSON) -> dict[str, Any]:
    """Return one of the `x-kubernetes-validations` for `causes.invalid`."""
    return {
        "Rule": rule.get("rule", ""),
        "Message": rule.get("message", ""),
        "MessageExpression": rule.get("messageExpression", ""),
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath", ""),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }


def internal_version(version: JSON) -> dict[str, Any]:
    """Return a version for `causes.invalid`; fields that all versions share are not in it."""
    schema, subresources = version.get("schema"), version.get("subresources")
    return {
        "Name": version.get("name", ""),
        "Served": version.get("served", False),
        "Storage": version.get("storage", False),
        "Deprecated": version.get("deprecated", False),
        "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": None
        if schema is None
        else {
            "OpenAPIV3Schema": None
            if (openapi := schema.get("openAPIV3Schema")) is None
            else internal_schema(openapi)
        },
        "Subresources": None if subresources is None else _subresources(subresources),
        "AdditionalPrinterColumns": [
            {
                "Name": column.get("name", ""),
                "Type": column.get("type", ""),
                "Format": column.get("format", ""),
                "Description": column.get("description", ""),
                "Priority": column.get("priority", 0),
                "JSONPath": column.get("jsonPath", ""),
            }
            for column in version.get("additionalPrinterColumns") or ()
        ]
        or None,
        "SelectableFields": [
            {"JSONPath": field.get("jsonPath", "")}
            for field in version.get("selectableFields") or ()
        ]
        or None,
    }


def _subresources(subresources: JSON) -> dict[str, Any]:
    status, scale = subresources.get("status"), subresources.get("scale")
    return {
        "Status": None if status is None else {},
        "Scale": None
        if scale is None
        else {
            "SpecReplicasPath": scale.get("specReplicasPath", ""),
            "StatusReplicasPath": scale.get("statusReplicasPath", ""),
            "LabelSelectorPath": scale.get("labelSelectorPath"),
        },
    }
