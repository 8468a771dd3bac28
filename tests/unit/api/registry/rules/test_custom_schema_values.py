"""Schemas and versions as errors quote them."""

from typing import Any

from kubelite.api.machinery.causes import shown
from kubelite.api.registry.rules.custom_schema_values import (
    internal_items,
    internal_rule,
    internal_schema,
    internal_version,
)
from kubelite.limits import SHOWN_VALUE


def test_every_field_is_printed_under_its_name_in_go() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"b": {"type": "string"}, "a": {}},
        "additionalProperties": {"type": "string"},
        "additionalItems": False,
        "items": [{}],
        "allOf": [{}],
        "not": {},
        "dependencies": {"x": ["y"], "z": {}},
        "externalDocs": {"url": "u"},
        "x-kubernetes-validations": [{"rule": "true"}],
        "default": {"x": 1},
    }
    printed = internal_schema(schema)
    assert printed is not None
    assert list(printed)[:5] == ["ID", "Schema", "Ref", "Description", "Type"]
    assert list(printed["Properties"]) == ["a", "b"]
    assert printed["Properties"]["b"]["Type"] == "string"
    assert printed["AdditionalProperties"]["Allows"] is True
    assert printed["AdditionalProperties"]["Schema"]["Type"] == "string"
    assert printed["AdditionalItems"] == {"Allows": False, "Schema": None}
    assert printed["Items"]["Schema"] is None
    assert len(printed["Items"]["JSONSchemas"]) == 1
    assert printed["AllOf"][0]["Not"] is None
    assert printed["Not"]["Nullable"] is False
    assert printed["Dependencies"]["x"] == {"Schema": None, "Property": ["y"]}
    assert printed["Dependencies"]["z"]["Property"] is None
    assert printed["ExternalDocs"] == {"Description": "", "URL": "u"}
    assert printed["XValidations"] == [internal_rule({"rule": "true"})]
    assert printed["Default"] == {"x": 1}


def test_no_more_is_made_than_an_error_quotes() -> None:
    many: dict[str, Any] = {"properties": {f"{index:06}": {} for index in range(100_000)}}
    printed = internal_schema(many)
    assert printed is not None
    assert len(printed["Properties"]) < 100
    assert len(shown(printed)) > SHOWN_VALUE.value
    assert internal_items([{}] * 100_000)["JSONSchemas"][-1] is None


def test_a_version() -> None:
    assert internal_version({"name": "v1", "served": True, "schema": {}})["Schema"] == {
        "OpenAPIV3Schema": None
    }
    printed = internal_version(
        {
            "deprecationWarning": "old",
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.a"}},
            "additionalPrinterColumns": [{"name": "A", "jsonPath": ".a"}],
            "selectableFields": [{"jsonPath": ".b"}],
        }
    )
    assert printed["DeprecationWarning"] == "old"
    assert printed["Subresources"] == {
        "Status": {},
        "Scale": {
            "SpecReplicasPath": ".spec.a",
            "StatusReplicasPath": "",
            "LabelSelectorPath": None,
        },
    }
    assert printed["AdditionalPrinterColumns"][0]["JSONPath"] == ".a"
    assert printed["SelectableFields"] == [{"JSONPath": ".b"}]
