"""Compares the table with what Kubernetes 1.36 tells in discovery, where that is at hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from reference import REFERENCE

from kubelite.api.registry.builtin import RESOURCES, builtin_table
from kubelite.api.registry.resources import Resource


def test_every_row_finds_its_canonical_row() -> None:
    table = builtin_table()
    for row in RESOURCES:
        assert table.canonical(row).view is None
        assert table.find(row.group, row.version, row.plural) is row


def test_the_head_of_a_row_ends_where_the_version_begins() -> None:
    head = next(row for row in RESOURCES if row.plural == "deployments").head
    assert head == b'{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"resourceVersion":"'


def find_reference() -> Path:
    path = REFERENCE / "discovery-1.36.json"
    if not path.exists():
        pytest.skip("reference data is not at hand")
    return path


def expected_core(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    resources = json.loads(path.read_text())["core"]["resources"]
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in resources:
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


def expected_groups(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = {}
    for group in json.loads(path.read_text())["groups"]["items"]:
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
        "subresources": {sub.name: (sorted(sub.verbs), sub.kind.kind) for sub in row.subresources},
    }


def test_the_table_is_that_of_kubernetes() -> None:
    path = find_reference()
    expected = expected_core(path) | expected_groups(path)
    assert {(row.group, row.version, row.plural): shown(row) for row in RESOURCES} == expected
