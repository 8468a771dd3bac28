"""Discovery, compared with what Kubernetes 1.36 serves where that is at hand."""

from typing import Any

import msgspec
import pytest
from reference import REFERENCE

from kubelite.api.http.discovery import (
    Discovery,
    aggregated,
    aggregated_version,
    storage_version_hash,
)
from kubelite.api.http.respond import Reply
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.resources import ResourceTable

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture
def discovery() -> Discovery:
    return Discovery(builtin_table(), lambda: "10.0.0.1:6443")


def ask(discovery: Discovery, path: str, accept: str = "", known: str = "") -> Reply:
    reply = discovery.answer(path, accept, known)
    assert reply is not None
    return reply


def read(reply: Reply) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(reply.body)
    return decoded


def reference() -> dict[str, Any]:
    file = REFERENCE / "discovery-1.36.json"
    if not file.exists():
        pytest.skip("there is no reference data")
    decoded: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    return decoded


def test_the_old_form(discovery: Discovery) -> None:
    versions = read(ask(discovery, "/api"))
    assert versions["versions"] == ["v1"]
    assert versions["serverAddressByClientCIDRs"][0]["serverAddress"] == "10.0.0.1:6443"
    groups = {group["name"]: group for group in read(ask(discovery, "/apis"))["groups"]}
    assert groups["autoscaling"]["preferredVersion"]["version"] == "v2"
    apps = read(ask(discovery, "/apis/apps"))
    assert (apps["kind"], apps["name"]) == ("APIGroup", "apps")
    listed = {entry["name"]: entry for entry in read(ask(discovery, "/apis/apps/v1"))["resources"]}
    assert listed["deployments"]["shortNames"] == ["deploy"]
    assert listed["deployments/scale"]["group"] == "autoscaling"


def test_the_core_list_is_that_of_kubernetes(discovery: Discovery) -> None:
    wanted = {entry["name"]: entry for entry in reference()["core"]["resources"]}
    served = {entry["name"]: entry for entry in read(ask(discovery, "/api/v1"))["resources"]}
    assert served == wanted


def test_groups_are_those_of_kubernetes(discovery: Discovery) -> None:
    groups = reference()["groups"]
    items = groups["items"] if isinstance(groups, dict) else groups
    served = {
        item["metadata"]["name"]: {one["version"]: one for one in item["versions"]}
        for item in read(ask(discovery, "/apis", AGGREGATED))["items"]
    }
    for item in items:
        for version in item["versions"]:
            found = served[item["metadata"]["name"]][version["version"]]
            wanted = {one["resource"]: one for one in version["resources"]}
            shown = {one["resource"]: one for one in found["resources"]}
            for name, resource in wanted.items():
                assert _comparable(shown[name]) == _comparable(resource), name


def _comparable(resource: dict[str, Any]) -> dict[str, Any]:
    def key(one: dict[str, Any]) -> str:
        return str(one["subresource"])

    kind = resource["responseKind"]
    subresources = [
        {
            **one,
            "responseKind": {k: v for k, v in one["responseKind"].items() if v},
            "verbs": sorted(one["verbs"]),
        }
        for one in sorted(resource.get("subresources", ()), key=key)
    ]
    for one in subresources:
        one.pop("acceptedTypes", None)
        one["responseKind"] = one["responseKind"]["kind"]
    return {
        **resource,
        "responseKind": kind["kind"],
        "verbs": sorted(resource["verbs"]),
        "subresources": subresources,
    }


def test_the_aggregated_form_names_its_type(discovery: Discovery) -> None:
    core = ask(discovery, "/api", AGGREGATED)
    assert core.content_type == AGGREGATED
    assert [item["metadata"]["name"] for item in read(core)["items"]] == [""]
    old = aggregated(builtin_table().all()[:1], "v2beta1")
    assert old["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


def test_who_knows_a_document_is_not_sent_it_again(discovery: Discovery) -> None:
    first = ask(discovery, "/apis", AGGREGATED)
    assert first.headers is not None
    again = ask(discovery, "/apis", AGGREGATED, first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


def test_documents_follow_the_table() -> None:
    rows = builtin_table().all()
    table = ResourceTable(row for row in rows if row.group == "")
    discovery = Discovery(table, lambda: "")
    assert discovery.answer("/apis/apps/v1", "", "") is None
    table.add(next(row for row in rows if row.plural == "deployments"))
    assert [one["name"] for one in read(ask(discovery, "/apis/apps/v1"))["resources"]][:1] == [
        "deployments"
    ]


@pytest.mark.parametrize("path", ["/api/v2", "/apis/none", "/apis/apps/v9", "/apis/apps/v1/x/y"])
def test_what_is_not_there(discovery: Discovery, path: str) -> None:
    assert discovery.answer(path, "", "") is None


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        ("", ""),
        ("application/json", ""),
        (f"{AGGREGATED},application/json", "v2"),
        (f"application/json,{AGGREGATED}", ""),
        (AGGREGATED.replace("v=v2", "v=v2beta1"), "v2beta1"),
        (AGGREGATED.replace("v=v2", "v=v3") + ",application/json", ""),
        (AGGREGATED.replace("application/json", "application/cbor"), ""),
    ],
)
def test_the_form_a_client_prefers(accept: str, version: str) -> None:
    assert aggregated_version(accept) == version


def test_storage_version_hash() -> None:
    assert storage_version_hash("", "v1", "ConfigMap") == "qFsyl6wFWjQ="
