"""Rules of what versions of a custom resource have beside their schema."""

from typing import Any

import pytest
from fakes.rule_samples import definition, lines, root_schema

from kubelite.api.registry.rules.custom_definitions import custom_definition
from kubelite.api.registry.rules.custom_versions import (
    columns,
    deprecation,
    scale_paths,
    selectable,
)
from kubelite.api.registry.rules.values import Out

SCHEMA = {"openAPIV3Schema": root_schema({"type": "string"})}
COLOR = [{"jsonPath": ".spec.a"}]


def test_only_deprecated_versions_have_a_warning() -> None:
    out = Out()
    deprecation(out, "v", {"deprecated": True, "deprecationWarning": "use v2"})
    deprecation(out, "v", {"deprecated": True})
    assert out == []
    deprecation(out, "v", {"deprecationWarning": ""})
    assert lines(out) == [
        'v.deprecationWarning: Invalid value: "": can only be set for deprecated versions'
    ]


@pytest.mark.parametrize("path", [".", ".a", ".a[0].b", ".a[", ".metadata.labels['x']"])
def test_paths_of_columns_begin_with_a_dot(path: str) -> None:
    out = Out()
    columns(
        out, "c", {"additionalPrinterColumns": [{"name": "A", "type": "date", "jsonPath": path}]}
    )
    assert out == []


def test_a_scale_without_a_selector_is_enough() -> None:
    out = Out()
    scale = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}
    scale_paths(out, "s", {"subresources": {"scale": scale}})
    scale_paths(out, "s", {"subresources": {"scale": {**scale, "labelSelectorPath": ""}}})
    scale_paths(out, "s", {})
    assert out == []


def test_selectable_fields_stand_beside_their_schema() -> None:
    out = Out()
    version = {"schema": SCHEMA, "selectableFields": COLOR}
    selectable(out, "v", version, given=True, top=False, may_be_many=False)
    assert out == []
    selectable(out, "v", version, given=False, top=False, may_be_many=False)
    selectable(out, "spec", version, given=False, top=True, may_be_many=False)
    assert lines(out) == [
        (
            'v.selectableFields: Invalid value: "": '
            "may only be set when `version.schema.openAPIV3Schema` is not included"
        ),
        (
            'spec.selectableFields: Invalid value: "": '
            "may only be set when validations.schema is included"
        ),
    ]


def test_versions_that_share_fields_but_no_schema_are_refused_as_upstream() -> None:
    thing: dict[str, Any] = definition(selectableFields=COLOR)
    (first,) = thing["spec"]["versions"]
    other = {"openAPIV3Schema": root_schema({"type": "string", "maxLength": 3})}
    second = {**first, "name": "v2", "storage": False, "schema": other}
    thing["spec"]["versions"].append(second)
    assert lines(custom_definition(thing)) == [
        (
            'spec.selectableFields: Invalid value: "": '
            "may only be set when validations.schema is included"
        )
    ]
