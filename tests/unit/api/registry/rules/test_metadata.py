"""Rules of metadata."""

from typing import Any

import pytest
from fakes.rule_samples import lines

from kubelite.api.machinery import names
from kubelite.api.registry.rules.metadata import (
    ANNOTATIONS_LIMIT_BYTES,
    finalizer_names,
    metadata,
    metadata_update,
)
from kubelite.api.registry.rules.values import Out

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}


def found(namespaced: bool = True, **fields: Any) -> list[str]:
    """Check metadata of these fields."""
    out = Out()
    meta = {"name": "web", "namespace": "shop", **fields}
    metadata(out, {"metadata": meta}, names.dns_subdomain, namespaced=namespaced)
    return lines(out)


def test_good_metadata_passes() -> None:
    assert found(labels={"a": "b"}, annotations={"x.io/y": "z"}, ownerReferences=[OWNER]) == []
    assert found(namespaced=False, namespace="") == []


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"namespace": ""}, "metadata.namespace: Required value"),
        (
            {"finalizers": ["orphan", "foregroundDeletion"]},
            (
                'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
                "finalizer orphan and foregroundDeletion cannot be both set"
            ),
        ),
        (
            {"annotations": {"a": "x" * ANNOTATIONS_LIMIT_BYTES}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            {"ownerReferences": [{**OWNER, "uid": ""}]},
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        ),
        (
            {"managedFields": [{"operation": "Guess"}]},
            'metadata.managedFields[0].operation: Invalid value: "Guess": must be `Apply` or `Update`',
        ),
    ],
)
def test_wrong_metadata_is_named(fields: dict[str, Any], line: str) -> None:
    assert found(**fields) == [line]


def test_two_controllers_are_refused() -> None:
    (line,) = found(ownerReferences=[OWNER, {**OWNER, "name": "s"}])
    assert line.endswith("for ReplicaSet/r and ReplicaSet/s")


def test_cluster_scoped_objects_have_no_namespace() -> None:
    assert found(namespaced=False) == ["metadata.namespace: Forbidden: not allowed on this type"]


def test_what_cannot_change() -> None:
    old = {"metadata": {"name": "a", "uid": "1", "generation": 2, "deletionTimestamp": "now"}}
    new = {"metadata": {**old["metadata"], "uid": "2", "generation": 1, "finalizers": ["x/y"]}}
    out = Out()
    metadata_update(out, new, old)
    assert lines(out) == [
        (
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
            'found new finalizers []string{"x/y"}'
        ),
        "metadata.generation: Invalid value: 1: must not be decremented",
        'metadata.uid: Invalid value: "2": field is immutable',
    ]


def test_finalizers_belong_to_a_domain_unless_they_are_known() -> None:
    out = Out()
    finalizer_names(out, {"metadata": {"finalizers": ["kubernetes", "a.b/c", "mine"]}}, None)
    [line] = lines(out)
    assert line == (
        'metadata.finalizers[2]: Invalid value: "mine": name is neither a standard finalizer name '
        "nor is it fully qualified"
    )


def test_finalizers_of_old_stay_whatever_they_are_called() -> None:
    out, old = Out(), {"metadata": {"finalizers": ["mine"]}}
    finalizer_names(out, old, old)
    assert lines(out) == []
