"""Discovery, compared with what Kubernetes 1.36 serves."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from reference import published_resources, reference_json

from kubelite.api.http.discovery import (
    Discovery,
    aggregated,
    aggregated_version,
    storage_version_hash,
)
from kubelite.api.http.respond import Reply
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.table import ResourceTable

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


# What a source says about the resources and subresources of each group version, by name.
Said = dict[str, dict[str, dict[str, Any]]]


def published() -> Said:
    """Return the entries of an APIResourceList as the project's facts have them."""
    lists: Said = {}
    for name, row in published_resources().items():
        group_version, _, plural = name.rpartition("/")
        entries = lists.setdefault(group_version, {})
        words = {"shortNames": row["short"], "categories": row["categories"]}
        entries[plural] = {
            "name": plural,
            "namespaced": row["namespaced"],
            "kind": row["kind"],
            "singularName": row["kind"].lower(),
            "verbs": row["verbs"],
            **{word: names for word, names in words.items() if names},
        }
        for subresource, said in row["subresources"].items():
            group, _, version = said["of"].rpartition("/")
            entries[f"{plural}/{subresource}"] = {
                "name": f"{plural}/{subresource}",
                "namespaced": row["namespaced"],
                "kind": said["kind"],
                "singularName": "",
                "verbs": said["verbs"],
                **({"group": group, "version": version} if said["of"] != group_version else {}),
            }
    return lists


def test_every_list_is_that_of_kubernetes(discovery: Discovery) -> None:
    documents = reference_json("discovery-1.36.json")
    for source in (published(), *({"v1": listed(it["core"]["resources"])} for it in documents)):
        for group_version, wanted in source.items():
            path = f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"
            assert listed(read(ask(discovery, path))["resources"]) == wanted


def listed(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return entries by name, without the hash of the storage version; each stored resource has one."""
    for entry in entries:
        assert ("storageVersionHash" in entry) == ("watch" in entry["verbs"])
        entry.pop("storageVersionHash", "")
    return {entry["name"]: entry for entry in entries}


def test_the_aggregated_form_says_the_same(discovery: Discovery) -> None:
    served = aggregated_entries(read(ask(discovery, "/api", AGGREGATED))["items"])
    assert served.keys() == {"v1"}
    served |= aggregated_entries(read(ask(discovery, "/apis", AGGREGATED))["items"])
    assert served == {
        group_version: {name: common(entry) for name, entry in entries.items()}
        for group_version, entries in published().items()
    }
    for document in reference_json("discovery-1.36.json"):
        wanted = aggregated_entries(document["groups"]["items"])
        assert served == {**wanted, "v1": served["v1"]}


def aggregated_entries(items: list[dict[str, Any]]) -> Said:
    """Return what an APIGroupDiscoveryList says, in the form of `common`."""
    return {
        f"{item['metadata'].get('name', '')}/{version['version']}".strip("/"): dict(
            entry for resource in version["resources"] for entry in entries_of(resource)
        )
        for item in items
        for version in item["versions"]
    }


def entries_of(resource: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a resource and its subresources by name."""
    entry = {**resource, "namespaced": resource["scope"] == "Namespaced"}
    singular = {"singularName": resource["singularResource"]}
    yield resource["resource"], common({**entry, "kind": entry["responseKind"]["kind"], **singular})
    for one in resource.get("subresources", ()):
        said = {"kind": one["responseKind"]["kind"], "verbs": one["verbs"], "singularName": ""}
        yield (
            f"{resource['resource']}/{one['subresource']}",
            common({"namespaced": entry["namespaced"], **said}),
        )


def common(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what both forms of discovery say about a resource."""
    return {
        **{word: entry[word] for word in ("namespaced", "kind", "singularName")},
        **{word: entry.get(word, []) for word in ("shortNames", "categories")},
        "verbs": sorted(entry["verbs"]),
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
    table.replace("apps", [row for row in rows if row.plural == "deployments"])
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
