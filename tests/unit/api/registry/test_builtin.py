"""Compares the table with what Kubernetes 1.36 tells in discovery."""

from typing import Any

from reference import published_resources, reference_json

from kubelite.api.registry.builtin import RESOURCES, builtin_table
from kubelite.api.registry.resource import Resource


def test_every_row_finds_its_canonical_row() -> None:
    table = builtin_table()
    for row in RESOURCES:
        assert row.canonical.conversion is None
        assert row.canonical.storage == row.storage
        assert table.find(row.group, row.version, row.plural) is row


Table = dict[tuple[str, str, str], dict[str, Any]]


def expected() -> Table:
    made = {}
    for name, row in published_resources().items():
        group_version, _, plural = name.rpartition("/")
        group, _, version = group_version.rpartition("/")
        made[group, version, plural] = {
            "kind": row["kind"],
            "namespaced": row["namespaced"],
            "singular": row["kind"].lower(),
            "verbs": row["verbs"],
            "short": row["short"],
            "categories": row["categories"],
            "subresources": {
                sub: (said["verbs"], said["kind"]) for sub, said in row["subresources"].items()
            },
        }
    return made


def expected_core(document: dict[str, Any]) -> Table:
    found: Table = {}
    for one in document["core"]["resources"]:
        plural, _, subresource = one["name"].partition("/")
        if subresource:
            found["", "v1", plural]["subresources"][subresource] = (
                sorted(one["verbs"]),
                one["kind"],
            )
            continue
        found["", "v1", plural] = {
            "kind": one["kind"],
            "namespaced": one["namespaced"],
            "singular": one["singularName"],
            "verbs": sorted(one["verbs"]),
            "short": one.get("shortNames", []),
            "categories": one.get("categories", []),
            "subresources": {},
        }
    return found


def expected_groups(document: dict[str, Any]) -> Table:
    found = {}
    for group in document["groups"]["items"]:
        for version in group["versions"]:
            for one in version["resources"]:
                found[group["metadata"]["name"], version["version"], one["resource"]] = {
                    "kind": one["responseKind"]["kind"],
                    "namespaced": one["scope"] == "Namespaced",
                    "singular": one["singularResource"],
                    "verbs": sorted(one["verbs"]),
                    "short": one.get("shortNames", []),
                    "categories": one.get("categories", []),
                    "subresources": {
                        sub["subresource"]: (sorted(sub["verbs"]), sub["responseKind"]["kind"])
                        for sub in one.get("subresources", [])
                    },
                }
    return found


def shown(row: Resource) -> dict[str, Any]:
    return {
        "kind": row.kind.kind,
        "namespaced": row.namespaced,
        "singular": row.singular,
        "verbs": sorted(row.verbs),
        "short": list(row.short_names),
        "categories": list(row.categories),
        "subresources": {
            sub.name: (sorted(sub.verbs), sub.kind.kind) for sub in row.subresources.values()
        },
    }


def test_the_table_is_that_of_kubernetes() -> None:
    served = {(row.group, row.version, row.plural): shown(row) for row in RESOURCES}
    documents = reference_json("discovery-1.36.json")
    for wanted in (expected(), *(expected_core(it) | expected_groups(it) for it in documents)):
        assert served == wanted


def test_usage_is_served_where_it_is_wanted() -> None:
    wanted = {("metrics.k8s.io", "v1beta1", "nodes"), ("metrics.k8s.io", "v1beta1", "pods")}
    assert {row.place for row in builtin_table(metrics=True).all()} - {
        row.place for row in builtin_table().all()
    } == wanted
