"""Discovery, compared with what Kubernetes 1.36 serves."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import pytest
from fakes.custom_resources import custom_resource
from fakes.recorded_offload import RecordedOffload
from reference import published_resources, reference_json

from kubelite.api.http.discovery import (
    Discovery,
    aggregated_version,
    storage_version_hash,
)
from kubelite.api.http.respond import Reply
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.table import ResourceTable
from kubelite.limits import INLINE_WORK

T = TypeVar("T")

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
    old = ask(discovery, "/api", AGGREGATED.replace("v=v2", "v=v2beta1"))
    assert read(old)["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


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


VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]


def discs() -> Iterator[Resource]:
    """Yield the versions of a resource in the order in which their definition has them."""
    names: Any = {"short_names": ("di", "dsc"), "categories": ("all", "music")}
    group = "disco.example.com"
    yield custom_resource("discos", group=group, **names)
    for version in ("v1beta2", "v2alpha1", "foo", "v10"):
        yield custom_resource("discos", group=group, version=version, subresources=(), **names)


def with_discs() -> Discovery:
    table = builtin_table()
    rows = list(discs())
    table.replace("zoo.example.com", [custom_resource("cats", group="zoo.example.com")])
    for group in {row.group for row in rows}:
        table.replace(group, [row for row in rows if row.group == group])
    return Discovery(table, lambda: "")


def test_custom_groups_follow_by_name_with_their_versions_by_priority() -> None:
    discovery = with_discs()
    for accept in ("", AGGREGATED):
        shown = read(ask(discovery, "/apis", accept))
        names = [
            item["name"] if "name" in item else item["metadata"]["name"]
            for item in shown.get("groups") or shown["items"]
        ]
        assert names[0] == "apiregistration.k8s.io"
        assert names[-2:] == ["disco.example.com", "zoo.example.com"]
    versions = ["v10", "v1", "v1beta2", "v2alpha1", "foo"]
    group = read(ask(discovery, "/apis/disco.example.com"))
    assert [one["version"] for one in group["versions"]] == versions
    assert group["preferredVersion"]["groupVersion"] == "disco.example.com/v10"
    item = read(ask(discovery, "/apis", AGGREGATED))["items"][-2]
    assert [one["version"] for one in item["versions"]] == versions
    assert item["metadata"] == {"name": "disco.example.com"}


def test_the_entries_of_custom_resources_are_those_of_kubernetes() -> None:
    discovery = with_discs()
    disc = {
        "name": "discos",
        "singularName": "disco",
        "namespaced": True,
        "kind": "Disco",
        "verbs": VERBS,
        "shortNames": ["di", "dsc"],
        "categories": ["all", "music"],
        "storageVersionHash": "r3KqRGV+IIQ=",
    }
    below = {"singularName": "", "namespaced": True, "verbs": ["get", "patch", "update"]}
    shown = read(ask(discovery, "/apis/disco.example.com/v1"))["resources"]
    assert shown == [
        disc,
        {**below, "name": "discos/status", "kind": "Disco"},
        {
            **below,
            "name": "discos/scale",
            "kind": "Scale",
            "group": "autoscaling",
            "version": "v1",
        },
    ]
    assert read(ask(discovery, "/apis/disco.example.com/foo"))["resources"] == [disc]
    item = read(ask(discovery, "/apis", AGGREGATED))["items"][-2]
    (resource,) = item["versions"][1]["resources"]
    assert [one["subresource"] for one in resource["subresources"]] == ["status", "scale"]
    assert resource["subresources"][1]["responseKind"]["group"] == "autoscaling"
    assert resource["verbs"] == VERBS


def test_a_definition_that_is_deleted_takes_no_new_objects() -> None:
    row = custom_resource(
        "cats", listed_verbs=("delete", "deletecollection", "get", "list", "watch")
    )
    discovery = Discovery(ResourceTable([row]), lambda: "")
    shown = read(ask(discovery, "/apis/example.com/v1"))["resources"]
    assert shown[0]["verbs"] == ["delete", "deletecollection", "get", "list", "watch"]
    assert shown[0]["storageVersionHash"] == storage_version_hash("example.com", "v1", "Cat")


def test_a_storage_version_that_is_not_served_has_no_hash() -> None:
    row = custom_resource("cats", version="v1beta1")
    shown = read(ask(Discovery(ResourceTable([row]), lambda: ""), "/apis/example.com/v1beta1"))
    assert "storageVersionHash" not in shown["resources"][0]


@pytest.mark.parametrize("path", ["/apis", "/api", "/apis/apps", "/apis/none", "/api/v1", "/"])
def test_pages_that_are_not_of_a_custom_group(path: str) -> None:
    assert not with_discs().is_custom(path)


def test_pages_of_a_custom_group() -> None:
    discovery = with_discs()
    assert discovery.is_custom("/apis/disco.example.com")
    assert discovery.is_custom("/apis/disco.example.com/v3/")


async def test_many_groups_are_encoded_off_the_loop_and_once() -> None:
    rows = [custom_resource("cats", group=f"g{number}.example.com") for number in range(1000)]
    table = ResourceTable(rows)
    offload = RecordedOffload()
    discovery = Discovery(table, lambda: "", offload)
    await discovery.prepare("/apis", AGGREGATED)
    assert offload.leaves_the_loop
    before = ask(discovery, "/apis", AGGREGATED)
    assert len(read(before)["items"]) == 1000
    await discovery.prepare("/apis", AGGREGATED)
    assert len(offload.costs) == 1, "the document is known"
    table.replace("g7.example.com", [custom_resource("dogs", group="g7.example.com")])
    await discovery.prepare("/apis", AGGREGATED)
    assert offload.costs[1] <= INLINE_WORK.value / 10, "the two rows of one group"
    after = ask(discovery, "/apis", AGGREGATED)
    assert after.headers != before.headers
    seven = next(item for item in read(after)["items"] if "g7" in item["metadata"]["name"])
    assert [one["resource"] for one in seven["versions"][0]["resources"]] == ["cats", "dogs"]


async def test_a_group_of_many_kinds_is_listed_off_the_loop() -> None:
    offload = RecordedOffload()
    table = ResourceTable(custom_resource(f"cats{number}") for number in range(1000))
    discovery = Discovery(table, lambda: "", offload)
    await discovery.prepare("/apis/example.com/v1", "")
    assert offload.leaves_the_loop
    assert discovery.answer("/apis/example.com/v1", "", "") is not None
    await discovery.prepare("/apis/example.com/v2", "")
    assert discovery.answer("/apis/example.com/v2", "", "") is None


async def test_what_changed_meanwhile_is_not_kept() -> None:
    table = ResourceTable([custom_resource("cats")])

    class ChangingTable(RecordedOffload):
        async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
            table.replace("example.com", [custom_resource("dogs")])
            return await super().run(cost_bytes, work)

    discovery = Discovery(table, lambda: "", ChangingTable())
    await discovery.prepare("/apis/example.com/v1", "")
    shown = read(ask(discovery, "/apis/example.com/v1"))["resources"]
    assert {one["name"] for one in shown} >= {"cats", "dogs"}
