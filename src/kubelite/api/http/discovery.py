"""Discovery: which groups, versions and resources are served, as legacy and as aggregated documents.

Documents are made from the resource table, kept until the table changes, and named by a hash of their bytes, so that a
client that knows the current one gets 304.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from kubelite.api.http.negotiation import JSON, parse_accept
from kubelite.api.http.respond import Reply
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.table import ResourceTable

AGGREGATED_GROUP = "apidiscovery.k8s.io"
AGGREGATED_VERSIONS = ("v2", "v2beta1")
NOT_MODIFIED = 304


class Document(msgspec.Struct, frozen=True):
    """An encoded document, immutable for one generation of the resource table."""

    body: bytes
    etag: str
    content_type: str = JSON


class Discovery:
    """Serves /api and /apis down to ``/apis/{group}/{version}``."""

    def __init__(self, resources: ResourceTable, address: Callable[[], str]) -> None:
        self._resources = resources
        self._address = address  # host and port under which clients reach the server
        self._documents: dict[tuple[str, ...], Document | None] = {}
        self._generation = -1

    def answer(self, path: str, accept: str, if_none_match: str) -> Reply | None:
        """Answer a discovery path, with 304 if the entity tag matches; None for an unknown group or version."""
        parts = tuple(part for part in path.split("/") if part)
        if len(parts) == 1 and (version := aggregated_version(accept)):
            document = self._document("aggregated", version, *parts)
        else:
            document = self._document(*parts)
        if document is None:
            return None
        headers = {"Vary": "Accept", "ETag": document.etag}
        if if_none_match == document.etag:
            return Reply(
                body=b"", status=NOT_MODIFIED, content_type=document.content_type, headers=headers
            )
        return Reply(body=document.body, content_type=document.content_type, headers=headers)

    def _document(self, *key: str) -> Document | None:
        if self._generation != self._resources.generation:
            self._documents.clear()
            self._generation = self._resources.generation
        if key not in self._documents:
            made = self._make(key)
            if made is None:
                return None  # not cached: callers choose the key
            self._documents[key] = made
        return self._documents[key]

    def _make(self, key: tuple[str, ...]) -> Document | None:
        rows = self._resources.all()
        match key:
            case ("aggregated", version, root):
                wanted = [row for row in rows if (row.group == "") == (root == "api")]
                return _document(
                    aggregated(wanted, version),
                    f"{JSON};g={AGGREGATED_GROUP};v={version};as=APIGroupDiscoveryList",
                )
            case ("api",):
                return _document(self._api_versions())
            case ("apis",):
                names = dict.fromkeys(row.group for row in rows if row.group)
                groups = [_group(name, rows) for name in names]
                return _document({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            case ("apis", name) if any(row.group == name for row in rows):
                group = _group(name, rows)
                return _document({"kind": "APIGroup", "apiVersion": "v1", **group})
            case ("api", version):
                return self._resource_list("", version)
            case ("apis", name, version):
                return self._resource_list(name, version)
            case _:
                return None

    def _api_versions(self) -> dict[str, Any]:
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": self._address()}
            ],
        }

    def _resource_list(self, group: str, version: str) -> Document | None:
        rows = [
            row for row in self._resources.all() if (row.group, row.version) == (group, version)
        ]
        if not rows:
            return None
        listed = []
        for row in sorted(rows, key=lambda row: row.plural):
            listed += _legacy_entries(row, self._stored_kind(row))
        return _document(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{group}/{version}" if group else version,
                "resources": listed,
            }
        )

    def _stored_kind(self, row: Resource) -> Resource:
        return row.canonical


def aggregated_version(accept: str) -> str:
    """Return the version of aggregated discovery that the Accept header prefers; "" for the legacy form."""
    for media_type, parameters in parse_accept(accept):
        if parameters.get("g") == AGGREGATED_GROUP:
            version = parameters.get("v", "")
            if (
                media_type == JSON
                and version in AGGREGATED_VERSIONS
                and parameters.get("as") == "APIGroupDiscoveryList"
            ):
                return version
        elif media_type in (JSON, "*/*", "application/*"):
            return ""
    return ""


def aggregated(rows: Iterable[Resource], version: str) -> dict[str, Any]:
    """Return the APIGroupDiscoveryList of the rows."""
    groups: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        groups.setdefault(row.group, {}).setdefault(row.version, []).append(_aggregated_entry(row))
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{AGGREGATED_GROUP}/{version}",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": name, "creationTimestamp": None},
                "versions": [
                    {
                        "version": group_version,
                        "resources": sorted(entries, key=lambda entry: str(entry["resource"])),
                        "freshness": "Current",
                    }
                    for group_version, entries in versions.items()
                ],
            }
            for name, versions in groups.items()
        ],
    }


def _aggregated_entry(row: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": row.plural,
        "responseKind": row.kind._asdict(),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if row.subresources:
        entry["subresources"] = [
            {
                "subresource": one.name,
                "responseKind": one.kind._asdict(),
                "verbs": list(one.verbs),
            }
            for one in sorted(row.subresources.values(), key=lambda one: one.name)
        ]
    return entry


def _legacy_entries(row: Resource, stored: Resource) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind.kind,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if "get" in row.verbs and "create" in row.verbs:
        entry["storageVersionHash"] = storage_version_hash(*stored.kind)
    entries = [entry] if row.verbs else []
    for one in sorted(row.subresources.values(), key=lambda one: one.name):
        below: dict[str, Any] = {
            "name": f"{row.plural}/{one.name}",
            "singularName": "",
            "namespaced": row.namespaced,
        }
        if (one.kind.group, one.kind.version) != (row.group, row.version):
            below |= {"group": one.kind.group, "version": one.kind.version}
        entries.append(below | {"kind": one.kind.kind, "verbs": list(one.verbs)})
    return entries


def storage_version_hash(group: str, version: str, kind: str) -> str:
    """Return the hash by which clients notice a change of the storage version."""
    digest = hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()
    return b64encode(digest[:8]).decode()


def _group(name: str, rows: Iterable[Resource]) -> dict[str, Any]:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for version in dict.fromkeys(row.version for row in rows if row.group == name)
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _document(value: dict[str, Any], content_type: str = JSON) -> Document:
    body = msgspec.json.encode(value)
    return Document(body=body, etag=etag_of(body), content_type=content_type)


def etag_of(body: bytes) -> str:
    """Return the entity tag of a document: its quoted SHA-256 digest, in upper-case hex."""
    return '"' + hashlib.sha256(body).hexdigest().upper() + '"'
