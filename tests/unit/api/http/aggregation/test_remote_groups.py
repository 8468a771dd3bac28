"""What other API servers say of their resources."""

import json
from typing import Any

import msgspec
import pytest

from kubelite.api.http.aggregation.remote_groups import (
    Unreadable,
    is_aggregated,
    read_aggregated,
    read_legacy,
    stale,
)
from kubelite.limits import AGGREGATED_DISCOVERY

TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def legacy(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "singularName": "", "namespaced": True, "kind": "Thing", **more}


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        ([], None),
        (
            [
                legacy(
                    "things",
                    singularName="thing",
                    verbs=["get"],
                    shortNames=["th"],
                    categories=["a"],
                )
            ],
            [
                {
                    "resource": "things",
                    "responseKind": {"group": "", "version": "", "kind": "Thing"},
                    "scope": "Namespaced",
                    "singularResource": "thing",
                    "verbs": ["get"],
                    "shortNames": ["th"],
                    "categories": ["a"],
                }
            ],
        ),
        (
            [
                legacy("things/status", verbs=["get"]),
                legacy("things", kind="", verbs=None),
                legacy("things/scale", group="autoscaling", version="v1", kind="Scale"),
                legacy("things/x/y", kind=""),
            ],
            [
                {
                    "resource": "things",
                    "responseKind": {"group": "", "version": "", "kind": ""},
                    "scope": "Namespaced",
                    "singularResource": "",
                    "verbs": [],
                    "subresources": [
                        {
                            "subresource": "status",
                            "responseKind": {"group": "", "version": "", "kind": "Thing"},
                            "verbs": ["get"],
                        },
                        {
                            "subresource": "scale",
                            "responseKind": {
                                "group": "autoscaling",
                                "version": "v1",
                                "kind": "Scale",
                            },
                            "verbs": [],
                        },
                        {
                            "subresource": "x/y",
                            "responseKind": {"group": "", "version": "", "kind": ""},
                            "verbs": [],
                        },
                    ],
                }
            ],
        ),
        (
            [legacy("orphans/status", namespaced=False, verbs=["get"])],
            [
                {
                    "resource": "orphans",
                    "responseKind": {"group": "", "version": "", "kind": ""},
                    "scope": "Cluster",
                    "singularResource": "",
                    "verbs": [],
                    "subresources": [
                        {
                            "subresource": "status",
                            "responseKind": {"group": "", "version": "", "kind": "Thing"},
                            "verbs": ["get"],
                        }
                    ],
                }
            ],
        ),
    ],
)
def test_the_legacy_form_is_converted(listed: list[Any], shown: list[Any] | None) -> None:
    body = json.dumps({"kind": "APIResourceList", "resources": listed}).encode()
    expected = {"version": "v1"} | ({"resources": shown} if shown else {})
    assert json.loads(read_legacy(body, "v1")) == expected | {"freshness": "Current"}


def test_a_subresource_of_another_scope_is_no_discovery() -> None:
    listed = [legacy("things"), legacy("things/status", namespaced=False)]
    with pytest.raises(Unreadable, match="scope do not match"):
        read_legacy(json.dumps({"resources": listed}).encode(), "v1")


def test_only_the_wanted_versions_are_read_and_only_what_is_known_of_them() -> None:
    resource = {
        "resource": "things",
        "scope": "Namespaced",
        "verbs": None,
        "unknown": {"deep": [1]},
        "responseKind": None,
        "subresources": [
            {"subresource": "bind", "acceptedTypes": [{"group": "g", "version": "v", "kind": "B"}]}
        ],
    }
    document = {
        "items": [
            {"metadata": {"name": "a"}, "versions": [{"version": "v1", "resources": [resource]}]},
            {"metadata": {"name": "a"}, "versions": [{"version": "v2"}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [{}]}]},
            {"metadata": None, "versions": None},
        ]
    }
    found = read_aggregated(json.dumps(document).encode(), [("a", "v1"), ("a", "v3")])
    assert found.keys() == {("a", "v1")}
    none = {"group": "", "version": "", "kind": ""}
    assert json.loads(found["a", "v1"])["resources"] == [
        {
            "resource": "things",
            "responseKind": none,
            "scope": "Namespaced",
            "singularResource": "",
            "verbs": [],
            "subresources": [
                {
                    "subresource": "bind",
                    "responseKind": none,
                    "verbs": [],
                    "acceptedTypes": [{"group": "g", "version": "v", "kind": "B"}],
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"items":{}}',
        b'{"items":[{"metadata":{"name":1}}]}',
        b'{"items":[{"versions":[{"version":"v1","resources":["a"]}]}]}',
        b'{"items":' + b"[" * 100_000,
        b'{"items":[{"metadata":{"name":"\xff"}}]}',
        b'{"items":[' + b"{}," * 700_000 + b"{}]}",  # memory
    ],
)
def test_what_is_no_discovery_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_aggregated(body, [("a", "v1")])


def test_what_is_small_when_it_comes_is_not_large_when_it_is_shown() -> None:
    resources: list[dict[str, str]] = [{} for _ in range(AGGREGATED_DISCOVERY.value // 60)]
    version = {"version": "v1", "resources": resources}
    body = msgspec.json.encode({"items": [{"metadata": {"name": "a"}, "versions": [version]}]})
    before = AGGREGATED_DISCOVERY.times_reached
    with pytest.raises(Unreadable, match="the resources take more than"):
        read_aggregated(body, [("a", "v1")])
    assert AGGREGATED_DISCOVERY.times_reached == before + 1


@pytest.mark.parametrize(
    ("content_type", "is_it"),
    [
        (TYPE, True),
        (TYPE.replace("v=v2", "v=v2beta1"), True),
        ("application/json", False),
        (TYPE.replace("v=v2", "v=v9"), False),
        (TYPE.replace("application/json", "application/yaml"), False),
    ],
)
def test_the_aggregated_form_is_known_by_its_type(content_type: str, is_it: bool) -> None:
    assert is_aggregated(content_type) is is_it


def test_of_a_stale_version_nothing_is_said() -> None:
    assert stale("v1") == b'{"version":"v1","freshness":"Stale"}'
