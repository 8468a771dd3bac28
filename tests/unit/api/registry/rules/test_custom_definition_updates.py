"""Rules of changed custom resource definitions."""

from typing import Any

import pytest
from fakes.rule_samples import changed, definition, lines, root_schema

from kubelite.api.machinery.api_approval import APPROVED_ANNOTATION
from kubelite.api.registry.rules.custom_definition_updates import (
    custom_definition_status_update,
    custom_definition_update,
)

GOOD = definition()
ESTABLISHED = changed(GOOD, "status.conditions", [{"type": "Established", "status": "True"}])
SCHEMA = "spec.versions.0.schema"
HOOK = {
    "strategy": "Webhook",
    "webhook": {
        "clientConfig": {"url": "https://x.example", "caBundle": "YmFk"},
        "conversionReviewVersions": ["v1"],
    },
}


def found(old: dict[str, Any], path: str, value: Any) -> list[str]:
    return lines(custom_definition_update(changed(old, path, value), old))


@pytest.mark.parametrize(
    ("path", "value"),
    [("spec.scope", "Cluster"), ("spec.names.kind", "Other")],
)
def test_what_is_stored_is_immutable_once_established(path: str, value: str) -> None:
    assert found(GOOD, path, value) == []
    assert found(ESTABLISHED, path, value) == [
        f'{path}: Invalid value: "{value}": field is immutable'
    ]


@pytest.mark.parametrize(
    ("path", "value"), [("spec.group", "other.com"), ("spec.names.plural", "others")]
)
def test_the_name_is_always_immutable(path: str, value: str) -> None:
    assert found(GOOD, path, value) == [f'{path}: Invalid value: "{value}": field is immutable']


def test_other_names_may_change() -> None:
    for path, value in (("shortNames", ["g"]), ("singular", "giz"), ("listKind", "Gizmos")):
        assert found(ESTABLISHED, f"spec.names.{path}", value) == []


def test_stored_versions_stay() -> None:
    new = changed(GOOD, "spec.versions.0.name", "v2")
    new["status"]["storedVersions"] = ["v1", "v2"]
    assert lines(custom_definition_update(new, GOOD)) == [
        (
            'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was '
            "previously a storage version, and must remain in spec.versions until a storage migration "
            "ensures no data remains persisted in v1 and removes v1 from status.storedVersions"
        )
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}},
        {
            "type": "array",
            "items": {"type": "string", "nullable": True},
            "x-kubernetes-list-type": "set",
        },
        {"type": "object", "default": {"unknown": 1}},
    ],
)
def test_what_was_wrong_before_is_not_blamed_again(schema: dict[str, Any]) -> None:
    old = definition(schema)
    new = changed(old, "metadata.labels", {"a": "b"})
    assert lines(custom_definition_update(new, old)) == []
    assert lines(custom_definition_update(new, GOOD))


def test_an_old_definition_without_structure_may_lack_it_while_it_keeps_unknown_fields() -> None:
    old = changed(definition({}), "spec.preserveUnknownFields", True)
    assert found(old, "metadata.labels", {"a": "b"}) == []
    (line,) = found(old, "spec.preserveUnknownFields", None)
    assert line.endswith("must not be empty for specified object fields")
    (default, kept) = found(old, SCHEMA, {"openAPIV3Schema": root_schema({"default": 1})})
    assert default.startswith("spec.preserveUnknownFields: Invalid value: true: must be false")
    assert kept.endswith("must not be empty for specified object fields")


def test_unknown_fields_cannot_be_kept_anew() -> None:
    (line,) = found(GOOD, "spec.preserveUnknownFields", True)
    assert line.startswith("spec.preserveUnknownFields: Invalid value: true: cannot set to true")


def test_an_old_definition_without_schemas_may_lack_those_of_versions_that_are_not_served() -> None:
    old = changed(GOOD, SCHEMA, None)
    assert found(old, "spec.versions.0.served", False) == []
    assert found(old, "metadata.labels", {"a": "b"}) == [
        (
            "spec.versions[0].schema.openAPIV3Schema: Required value: "
            "because otherwise all fields are pruned"
        )
    ]


def test_a_bad_ca_bundle_may_stay_but_not_come() -> None:
    hooked = changed(ESTABLISHED, "spec.conversion", HOOK)
    assert found(hooked, "metadata.labels", {"a": "b"}) == []
    assert found(GOOD, "spec.conversion", HOOK) == []
    assert found(ESTABLISHED, "spec.conversion", HOOK) == [
        (
            'spec.conversion.webhookClientConfig.caBundle: Invalid value: "YmFk": '
            "unable to load root certificates: unable to parse bytes as PEM block"
        )
    ]


def test_unknown_review_versions_may_stay_but_not_come() -> None:
    hook = changed(HOOK, "webhook.conversionReviewVersions", ["v9"])
    old = changed(GOOD, "spec.conversion", hook)
    assert found(old, "metadata.labels", {"a": "b"}) == []
    (line,) = found(GOOD, "spec.conversion", hook)
    assert line.endswith('Invalid value: ["v9"]: must include at least one of v1, v1beta1')


def test_too_many_selectable_fields_may_stay_unchanged() -> None:
    fields = {f"f{index}": {"type": "string"} for index in range(10)}
    schema = {"openAPIV3Schema": {"type": "object", "properties": fields}}
    old = definition(schema=schema, selectableFields=[{"jsonPath": f".{name}"} for name in fields])
    assert found(old, "metadata.labels", {"a": "b"}) == []
    nine = old["spec"]["versions"][0]["selectableFields"][:9]
    assert found(old, "spec.versions.0.selectableFields", nine) == [
        "spec.selectableFields: Too many: 9: must have at most 8 items"
    ]


def test_a_missing_approval_may_stay_missing() -> None:
    old = changed(GOOD, "spec.group", "x.k8s.io")
    assert found(old, "metadata.labels", {"a": "b"}) == []
    (line,) = found(old, "metadata.annotations", {APPROVED_ANNOTATION: "perhaps"})
    assert line.startswith(f'metadata.annotations[{APPROVED_ANNOTATION}]: Invalid value: "perhaps"')


def test_a_status_is_checked_for_its_names_alone() -> None:
    new = changed(GOOD, "status.storedVersions", ["v9"])
    assert lines(custom_definition_status_update(new, GOOD)) == []
    (line,) = lines(
        custom_definition_status_update(changed(new, "status.acceptedNames.kind", "A b"), GOOD)
    )
    assert line.startswith('status.acceptedNames.kind: Invalid value: "A b": may have mixed case')
