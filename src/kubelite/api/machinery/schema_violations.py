"""Tells of a stored CustomResourceDefinition why its schemas are not structural."""

from kubelite.api.errors import Cause
from kubelite.api.machinery import causes
from kubelite.api.machinery.schema_patterns import SchemaPatterns
from kubelite.api.machinery.schema_walk import JSON, conversion_error, version_schemas
from kubelite.api.machinery.structural_schemas import structural_causes


def structural_violations(definition: JSON) -> str:
    """Return the message of the condition NonStructuralSchema; "" if all schemas are structural.

    No such definition can be created any more. Source: apiextensions-apiserver's condition controller.
    """
    spec = definition.get("spec") or {}
    found = causes.Causes()
    if spec.get("preserveUnknownFields"):
        found.append(causes.invalid("spec.preserveUnknownFields", True, "must be false"))
    patterns = SchemaPatterns()
    for index, schema in version_schemas(definition):
        name = spec["versions"][index].get("name", "")
        if why := conversion_error(schema):
            return f"failed to check validation schema for version {name}: {why}"
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        try:
            found.extend(structural_causes(path, schema, patterns))
        except causes.TooManyCauses as error:
            return _message([*found, *error.found])
    return _message(found)


def _message(found: list[Cause]) -> str:
    lines = list(dict.fromkeys(f"{cause.path}: {cause.message}" for cause in found))
    text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]" if lines else ""
    return causes.cut(text)
