"""The names of built-in kinds are those that are served."""

from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.kinds.resource_names import (
    _KINDS,
    ResourceName,
    built_in,
    built_in_resources,
    plural_of,
)
from kubelite.api.registry.builtin import RESOURCES


def test_every_served_kind_is_known_as_it_is_served() -> None:
    served = {row.kind: ResourceName(row.group, row.version, row.plural) for row in RESOURCES}
    assert {kind: built_in(kind) for kind in served} == served
    assert sum(len(kinds.split()) for kinds in _KINDS.values()) == len(served)


def test_resources_are_named_without_a_version() -> None:
    assert built_in_resources() == {(row.group, row.plural) for row in RESOURCES}


def test_other_kinds_are_not_known() -> None:
    assert built_in(GroupVersionKind("example.com", "v1", "Pod")) is None
    assert built_in(GroupVersionKind("", "v1", "Widget")) is None
    assert built_in(GroupVersionKind("", "v1", "")) is None


def test_paths_and_plurals() -> None:
    assert ResourceName("", "v1", "pods").path == "/api/v1/pods"
    assert ResourceName("apps", "v1", "deployments").path == "/apis/apps/v1/deployments"
    kinds = ("Endpoints", "NetworkPolicy", "IngressClass", "Pod")
    assert [plural_of(kind) for kind in kinds] == [
        "endpoints",
        "networkpolicies",
        "ingressclasses",
        "pods",
    ]
