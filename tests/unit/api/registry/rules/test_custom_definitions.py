"""Rules of new custom resource definitions."""

from typing import Any

import pytest
from fakes.rule_samples import changed, definition, lines, root_schema

from kubelite.api.machinery.api_approval import APPROVED_ANNOTATION
from kubelite.api.machinery.causes import TooManyCauses
from kubelite.api.registry.rules.custom_definitions import custom_definition
from kubelite.limits import DEFINITION_PATTERNS

GOOD = definition()
LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
NO_SCHEMA = "Required value"
OPENAPI = "spec.validation.openAPIV3Schema"
VERSION = "spec.versions.0"
COLUMN = {"name": "A", "type": "string", "jsonPath": ".spec.a"}
SCALE = {"specReplicasPath": ".spec.a", "statusReplicasPath": ".status.a"}
SELECTABLE = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings "
    "with formats are allowed."
)


def found(path: str, value: Any) -> list[str]:
    return lines(custom_definition(changed(GOOD, path, value)))


def two_versions(**second: Any) -> dict[str, Any]:
    (first,) = definition()["spec"]["versions"]
    other = {**first, "name": "v2", "storage": False, **second}
    return changed(GOOD, "spec.versions", [first, other])


@pytest.mark.parametrize(
    "version",
    [
        {},
        {"additionalPrinterColumns": [COLUMN, {**COLUMN, "format": "date-time", "priority": 3}]},
        {"subresources": {"status": {}, "scale": {**SCALE, "labelSelectorPath": ".spec.a[0]"}}},
        {"selectableFields": [{"jsonPath": ".spec.a"}]},
        {"deprecated": True, "deprecationWarning": "é" * 128},
        {"served": False},
    ],
)
def test_good_definitions_pass(version: dict[str, Any]) -> None:
    assert lines(custom_definition(definition(**version))) == []


@pytest.mark.parametrize(
    ("path", "value", "wrong"),
    [
        (
            "metadata.name",
            "x.example.com",
            [
                (
                    'metadata.name: Invalid value: "x.example.com": '
                    'must be spec.names.plural+"."+spec.group'
                )
            ],
        ),
        (
            "metadata.generateName",
            "gizmos-",
            [
                (
                    'metadata.generateName: Invalid value: "gizmos-": '
                    'must be spec.names.plural+"."+spec.group'
                )
            ],
        ),
        ("spec.scope", None, ["spec.scope: Required value"]),
        (
            "spec.scope",
            "Galaxy",
            ['spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'],
        ),
        ("spec.names.singular", None, ["spec.names.singular: Required value"]),
        ("spec.names.kind", None, ["spec.names.kind: Required value"]),
        ("spec.names.listKind", None, ["spec.names.listKind: Required value"]),
        (
            "spec.names.singular",
            "Gizmo",
            [f'spec.names.singular: Invalid value: "Gizmo": {LABEL}'],
        ),
        (
            "spec.names.kind",
            "Giz_mo",
            [
                (
                    'spec.names.kind: Invalid value: "Giz_mo": may have mixed case, but should '
                    f"otherwise match: {LABEL}"
                )
            ],
        ),
        (
            "spec.names.listKind",
            "Gizmo",
            ['spec.names.listKind: Invalid value: "Gizmo": kind and listKind may not be the same'],
        ),
        (
            "spec.names.shortNames",
            ["gi", "Gi"],
            [f'spec.names.shortNames[1]: Invalid value: "Gi": {LABEL}'],
        ),
        (
            "spec.names.categories",
            ["1"],
            [f'spec.names.categories[0]: Invalid value: "1": {LABEL}'],
        ),
        (
            "status.acceptedNames",
            {"plural": "Gizmos"},
            [f'status.acceptedNames.plural: Invalid value: "Gizmos": {LABEL}'],
        ),
        (
            "spec.preserveUnknownFields",
            True,
            [
                (
                    "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
                    "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
                )
            ],
        ),
        (
            f"{VERSION}.schema",
            None,
            ["spec.versions[0].schema.openAPIV3Schema: Required value"],
        ),
        (
            f"{VERSION}.name",
            "V1",
            [
                f'spec.versions[0].name: Invalid value: "V1": {LABEL}',
                f'spec.version: Invalid value: "V1": {LABEL}',
                'status.storedVersions: Invalid value: ["v1"]: must have the storage version V1',
                (
                    'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was '
                    "previously a storage version, and must remain in spec.versions until a storage "
                    "migration ensures no data remains persisted in v1 and removes v1 from "
                    "status.storedVersions"
                ),
            ],
        ),
        (
            f"{VERSION}.storage",
            False,
            [
                (
                    'spec.versions: Invalid value: [{"Name":"v1","Served":true,"Storage":false,'
                    '"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,'
                    '"AdditionalPrinterColumns":null,"SelectableFields":null}]: '
                    "must have exactly one version marked as storage version"
                )
            ],
        ),
        (
            "status.storedVersions",
            [],
            ["status.storedVersions: Invalid value: null: must have at least one stored version"],
        ),
        (
            f"{VERSION}.deprecationWarning",
            "x",
            [
                (
                    'spec.versions[0].deprecationWarning: Invalid value: "x": '
                    "can only be set for deprecated versions"
                )
            ],
        ),
        (
            f"{VERSION}.subresources",
            {"scale": {**SCALE, "specReplicasPath": "spec.a", "labelSelectorPath": ".metadata.a"}},
            [
                (
                    'spec.subresources.scale.specReplicasPath: Invalid value: "spec.a": '
                    "must be a simple json path starting with ."
                ),
                (
                    'spec.subresources.scale.labelSelectorPath: Invalid value: ".metadata.a": '
                    "should be a json path under either .spec or .status"
                ),
            ],
        ),
        (
            f"{VERSION}.subresources",
            {"scale": {"specReplicasPath": ".status.a"}},
            [
                (
                    'spec.subresources.scale.specReplicasPath: Invalid value: ".status.a": '
                    "should be a json path under .spec"
                ),
                "spec.subresources.scale.statusReplicasPath: Required value",
            ],
        ),
        (
            f"{VERSION}.additionalPrinterColumns",
            [{"format": "int16", "jsonPath": "{.a}"}, {**COLUMN, "type": "float", "jsonPath": ""}],
            [
                "spec.additionalPrinterColumns[0].name: Required value",
                (
                    "spec.additionalPrinterColumns[0].type: Required value: "
                    "must be one of boolean,date,integer,number,string"
                ),
                (
                    'spec.additionalPrinterColumns[0].format: Invalid value: "int16": '
                    "must be one of byte,date,date-time,double,float,int32,int64,password"
                ),
                (
                    'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "{.a}": '
                    "must be a simple json path starting with ."
                ),
                (
                    'spec.additionalPrinterColumns[1].type: Invalid value: "float": '
                    "must be one of boolean,date,integer,number,string"
                ),
                "spec.additionalPrinterColumns[1].JSONPath: Required value",
            ],
        ),
        (
            f"{VERSION}.selectableFields",
            [
                {"jsonPath": ".spec.a"},
                {"jsonPath": ".spec.a"},
                {"jsonPath": ".spec"},
                {"jsonPath": ".status"},
                {"jsonPath": ".spec['a']"},
                {},
            ],
            [
                'spec.selectableFields[1].jsonPath: Duplicate value: ".spec.a"',
                f'spec.selectableFields[2].jsonPath: Invalid value: ".spec": {SELECTABLE}',
                (
                    'spec.selectableFields[3].jsonPath: Invalid value: ".status": '
                    "is an invalid path: does not refer to a valid field"
                ),
                (
                    "spec.selectableFields[4].jsonPath: Invalid value: \".spec['a']\": "
                    "is an invalid path: array notation is not allowed"
                ),
                "spec.selectableFields[5].jsonPath: Required value",
            ],
        ),
        (
            f"{VERSION}.schema.openAPIV3Schema.nullable",
            True,
            [f"{OPENAPI}.nullable: Forbidden: nullable cannot be true at the root"],
        ),
        (
            f"{VERSION}.schema.openAPIV3Schema.$schema",
            "http://json-schema.org",
            [f"{OPENAPI}: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported"],
        ),
        (
            f"{VERSION}.schema.openAPIV3Schema.type",
            "array",
            [
                f"{OPENAPI}.items: Required value: must be specified",
                f'{OPENAPI}.type: Invalid value: "array": must be object at the root',
            ],
        ),
    ],
)
def test_wrong_definitions_are_named(path: str, value: Any, wrong: list[str]) -> None:
    assert found(path, value) == wrong


@pytest.mark.parametrize(
    ("group", "wrong"),
    [
        ("", "Required value"),
        ("example", 'Invalid value: "example": should be a domain with at least one dot'),
    ],
)
def test_the_group_is_a_domain(group: str, wrong: str) -> None:
    thing = changed(GOOD, "spec.group", group)
    assert lines(custom_definition(changed(thing, "metadata.name", f"gizmos.{group}"))) == [
        f"spec.group: {wrong}"
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "must not be an empty string"),
        ("x" * 257, "must be <= 256 characters long"),
        (
            "é\n",
            "must only contain printable UTF-8 characters; non-printable character found at index 2",
        ),
    ],
)
def test_deprecation_warnings_are_printable(text: str, wrong: str) -> None:
    (line,) = lines(custom_definition(definition(deprecated=True, deprecationWarning=text)))
    assert line.endswith(f": {wrong}")


def test_what_all_versions_share_stands_in_the_spec() -> None:
    bad = {"schema": {"openAPIV3Schema": root_schema({})}, "additionalPrinterColumns": [{}]}
    same = two_versions(**bad)
    same["spec"]["versions"][0] |= bad
    assert [cause.path for cause in custom_definition(same)] == [
        f"{OPENAPI}.properties[spec].properties[a].type",
        "spec.additionalPrinterColumns[0].name",
        "spec.additionalPrinterColumns[0].type",
        "spec.additionalPrinterColumns[0].JSONPath",
    ]


def test_what_differs_stands_in_its_version() -> None:
    other = two_versions(
        schema={"openAPIV3Schema": root_schema({})},
        subresources={"scale": SCALE | {"specReplicasPath": ""}},
        additionalPrinterColumns=[COLUMN | {"name": ""}],
        selectableFields=[{}],
    )
    assert lines(custom_definition(other)) == [
        (
            "spec.versions[1].schema.openAPIV3Schema.properties[spec].properties[a].type: "
            "Required value: must not be empty for specified object fields"
        ),
        "spec.versions[1].subresources.scale.specReplicasPath: Required value",
        "spec.versions[1].additionalPrinterColumns[0].name: Required value",
        "spec.versions[1].selectableFields[0].jsonPath: Required value",
    ]


def test_numbers_and_booleans_are_told_apart() -> None:
    one, true = (
        {"openAPIV3Schema": root_schema({"type": "x", "enum": [each]})} for each in (1, True)
    )
    other = two_versions(schema=true)
    other["spec"]["versions"][0]["schema"] = one
    paths = [cause.path for cause in custom_definition(other)]
    assert [path.split(".schema")[0] for path in paths] == ["spec.versions[0]", "spec.versions[1]"]


def test_defaults_are_checked_once_the_schema_is_structural() -> None:
    bad_default = {"type": "string", "default": 1}
    (line,) = lines(custom_definition(definition(bad_default)))
    assert line.startswith(f"{OPENAPI}.properties[spec].properties[a].default: ")
    both = {"type": "object", "properties": {"b": {}, "c": bad_default}}
    (line,) = lines(custom_definition(definition(both)))
    assert line.startswith(f"{OPENAPI}.properties[spec].properties[a].properties[b].type: ")


def test_versions_share_the_bound_of_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFINITION_PATTERNS, "value", 150)
    first, second = ({"type": "string", "pattern": letter * 10} for letter in "ab")
    thing = two_versions(schema={"openAPIV3Schema": root_schema(second)})
    thing["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": root_schema(first)}
    (line,) = lines(custom_definition(thing))
    assert line.startswith("spec.versions[1].schema.openAPIV3Schema.")
    assert line.endswith("the patterns of one definition are too large together")


def test_versions_have_names_of_their_own() -> None:
    (line,) = lines(custom_definition(two_versions(name="v1")))
    assert line.startswith('spec.versions: Invalid value: [{"Name":"v1",')
    assert line.endswith("]: must contain unique version names")


def test_a_status_subresource_restricts_the_root() -> None:
    schema = root_schema({"type": "string"}, maxProperties=3)
    version: dict[str, Any] = {
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    (line,) = lines(custom_definition(definition(**version)))
    assert line.startswith(f'{OPENAPI}: Invalid value: {{"ID":"","Schema":"","Ref":null,')
    assert line.endswith(
        "XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the "
        "status subresource is enabled"
    )


def test_at_most_eight_fields_are_selectable() -> None:
    fields = {f"f{index}": {"type": "string"} for index in range(9)}
    schema = {"type": "object", "properties": fields}
    selectable = [{"jsonPath": f".{name}"} for name in fields]
    version: dict[str, Any] = {
        "selectableFields": selectable,
        "schema": {"openAPIV3Schema": schema},
    }
    assert lines(custom_definition(definition(**version))) == [
        "spec.selectableFields: Too many: 9: must have at most 8 items"
    ]


@pytest.mark.parametrize(
    ("annotation", "wrong"),
    [
        ("https://github.com/kubernetes/kubernetes/pull/1", None),
        ("unapproved, testing", None),
        ("", "Required value: protected groups must have approval annotation"),
        ("maybe", 'Invalid value: "maybe": protected groups must have approval annotation'),
    ],
)
def test_groups_of_kubernetes_name_their_approval(annotation: str, wrong: str | None) -> None:
    thing = changed(changed(GOOD, "spec.group", "x.k8s.io"), "metadata.name", "gizmos.x.k8s.io")
    thing["metadata"]["annotations"] = {APPROVED_ANNOTATION: annotation}
    causes = lines(custom_definition(thing))
    assert len(causes) == (wrong is not None)
    assert not causes or causes[0].startswith(
        f"metadata.annotations[{APPROVED_ANNOTATION}]: {wrong}"
    )


def test_a_thousand_wrong_versions_end_at_the_bound() -> None:
    versions = [{"name": f"V{index}", "storage": False} for index in range(5000)]
    with pytest.raises(TooManyCauses):
        custom_definition(changed(GOOD, "spec.versions", versions))
