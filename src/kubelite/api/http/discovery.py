"""Discovery: which groups, versions and resources are served, as legacy and as aggregated documents.

Documents are made from the resource table, kept until the table changes, and named by a hash of their bytes, so that a
client that knows the current one gets 304. What a group contributes is encoded once, until a row of the group changes.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from kubelite.api.http.delegation import Delegation
from kubelite.api.http.negotiation import JSON, parse_accept
from kubelite.api.http.respond import Reply
from kubelite.api.machinery.versions import version_priority
from kubelite.api.registry.resource import Resource, Subresource
from kubelite.api.registry.table import ResourceTable
from kubelite.limits import KIB
from kubelite.offload import AtOnce, Offload

AGGREGATED_GROUP = "apidiscovery.k8s.io"
AGGREGATED_VERSIONS = ("v2", "v2beta1")
NOT_MODIFIED = 304
ROW_COST_BYTES = KIB  # to encode the entries of a row, for the offload
# In the order in which apiextensions-apiserver lists them.
_CUSTOM_VERBS = (
    *("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"),
)


class Document(msgspec.Struct, frozen=True):
    """An encoded document, immutable for one generation of the resource table."""

    body: bytes
    etag: str
    content_type: str = JSON


_Key = tuple[
    str, ...
]  # the parts of a path; of the aggregated form with that word and the version in front


class Discovery:
    """Serves /api and /apis down to ``/apis/{group}/{version}``."""

    def __init__(
        self,
        resources: ResourceTable,
        address: Callable[[], str],
        offload: Offload | None = None,
        delegation: Delegation | None = None,
    ) -> None:
        """`delegation` knows the order of groups and versions, and what other servers answer for."""
        self._resources = resources
        self._delegation = delegation or Delegation()
        self._address = address  # host and port under which clients reach the server
        self._offload = offload or AtOnce()
        self._documents: dict[_Key, Document] = {}
        self._groups: dict[str, Group] = {}
        self._generation = (-1, -1)

    async def prepare(self, path: str, accept: str) -> None:
        """Encode in the offload what the answer to a request lacks, so that `answer` need not do it."""
        key = _key(path, accept)
        groups = self._current()
        if key in self._documents:
            return
        rows = sum(len(group.rows) for group in _needed(key, groups) if not group.has(key))
        generation = self._generation
        document = await self._offload.run(ROW_COST_BYTES * rows, lambda: self._make(key, groups))
        if document is not None and generation == self._generation:
            self._documents[key] = document

    def answer(self, path: str, accept: str, if_none_match: str) -> Reply | None:
        """Answer a discovery path, with 304 if the entity tag matches; None for an unknown group or version."""
        document = self._document(_key(path, accept))
        if document is None:
            return None
        headers = {"Vary": "Accept", "ETag": document.etag}
        if if_none_match == document.etag:
            return Reply(
                body=b"", status=NOT_MODIFIED, content_type=document.content_type, headers=headers
            )
        return Reply(body=document.body, content_type=document.content_type, headers=headers)

    def is_custom(self, path: str) -> bool:
        """Return whether a path is of a group of custom resources, whose pages answer every method."""
        key = _key(path, "")
        group = self._current().get(key[1]) if key[:1] == ("apis",) and len(key) > 1 else None
        return group is not None and group.custom

    def _document(self, key: _Key) -> Document | None:
        groups = self._current()
        if key not in self._documents:
            made = self._make(key, groups)
            if made is None:
                return None  # not cached: callers choose the key
            self._documents[key] = made
        return self._documents[key]

    def _current(self) -> Mapping[str, "Group"]:
        """Return the groups by name, in the order of discovery; keeps those whose rows did not change."""
        generation = self._resources.generation, self._delegation.generation
        if self._generation != generation:
            self._documents.clear()
            self._generation = generation
            self._groups = self._grouped()
        return self._groups

    def _grouped(self) -> "dict[str, Group]":
        rows: dict[str, list[Resource]] = {}
        for row in self._resources.all():
            rows.setdefault(row.group, []).append(row)
        for name in self._delegation.groups():
            rows.setdefault(name, [])
        groups = []
        for name, of_group in rows.items():
            known = self._groups.get(name)
            versions = self._versions(name)
            # Rows are compared by identity.
            if known is None or known.rows != of_group or known.registered != versions:
                stored = {row.storage: self._stored(row) for row in of_group}
                known = Group(name, of_group, stored, versions)
            groups.append(known)
        keys = self._delegation.priorities(
            [(group.name, group.custom) for group in groups if group.rows]
        )
        groups.sort(key=lambda group: keys[group.name])
        return {group.name: group for group in groups}

    def _versions(self, group: str) -> Sequence["RegisteredVersion"]:
        """Return the versions of a group that have an APIService, in the order of discovery."""
        aggregation = self._delegation.aggregation
        return [
            RegisteredVersion(
                one.version,
                aggregation.discovery.entry(group, one.version)
                if aggregation is not None and one.service is not None
                else None,
            )
            for one in self._delegation.registered(group)
        ]

    def _stored(self, row: Resource) -> Resource | None:
        """Return the row of the storage version; None if it is not served."""
        stored = row.canonical
        return self._resources.find(stored.group, stored.version, stored.plural)

    def _make(self, key: _Key, groups: Mapping[str, "Group"]) -> Document | None:
        match key:
            case ("aggregated", version, _):
                items = [group.aggregated for group in _needed(key, groups)]
                return _encoded(
                    aggregated(items, version),
                    f"{JSON};g={AGGREGATED_GROUP};v={version};as=APIGroupDiscoveryList",
                )
            case ("api",):
                return _encoded(msgspec.json.encode(self._api_versions()))
            case ("apis",):
                entries = b",".join(group.entry for group in _needed(key, groups))
                return _encoded(
                    b'{"kind":"APIGroupList","apiVersion":"v1","groups":[%b]}' % entries
                )
            case ("apis", name) if name in groups:
                return _encoded(
                    msgspec.json.encode(
                        {"kind": "APIGroup", "apiVersion": "v1", **groups[name].description}
                    )
                )
            case ("api", version) if "" in groups:
                return groups[""].resource_list(version)
            case ("apis", name, version) if name in groups:
                return groups[name].resource_list(version)
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


def _key(path: str, accept: str) -> _Key:
    parts = tuple(part for part in path.split("/") if part)
    if len(parts) == 1 and (version := aggregated_version(accept)):
        return "aggregated", version, *parts
    return parts


def _needed(key: _Key, groups: Mapping[str, "Group"]) -> "list[Group]":
    """Return the groups that a document is made of."""
    match key:
        case ("aggregated", _, root):
            return [
                group
                for group in groups.values()
                if (group.name == "") == (root == "api") and group.has_resources
            ]
        case ("apis",):
            return [group for group in groups.values() if group.name]
        case ("apis", name, *_) if name in groups:
            return [groups[name]]
        case _:
            return []


class RegisteredVersion(msgspec.Struct, frozen=True):
    """A version with an APIService."""

    version: str
    entry: bytes | None = (
        None  # of another server, encoded in the aggregated form; None: this server answers
    )


class Group:
    """A group as discovery shows it. What is made of its rows is encoded on first use; thread-safe."""

    def __init__(
        self,
        name: str,
        rows: Sequence[Resource],
        stored: Mapping[str, Resource | None],
        registered: Sequence[RegisteredVersion] = (),
    ) -> None:
        """`stored` has the row of the storage version of each storage."""
        self.name = name
        self.rows = rows
        self.registered = registered
        self.custom = bool(rows) and all(row.type is None for row in rows)
        self._stored = stored

    @property
    def has_resources(self) -> bool:
        """Whether a version has resources; an APIService may register one that nobody serves."""
        return bool(self.rows) or any(one.entry is not None for one in self.registered)

    @cached_property
    def _versions(self) -> dict[str, list[Resource]]:
        """The rows of each version, by priority and name."""
        versions: dict[str, list[Resource]] = {}
        for row in sorted(self.rows, key=lambda row: (version_priority(row.version), row.plural)):
            versions.setdefault(row.version, []).append(row)
        return versions

    @cached_property
    def _listed(self) -> dict[str, bytes | None]:
        """All versions in the order of discovery, with the entries of those that other servers answer for."""
        listed = {one.version: one.entry for one in self.registered}
        return listed | {version: None for version in self._versions if version not in listed}

    @cached_property
    def description(self) -> dict[str, Any]:
        """The group in the legacy form, without kind and version."""
        versions = [
            {"groupVersion": f"{self.name}/{version}", "version": version}
            for version in self._listed
        ]
        return {"name": self.name, "versions": versions, "preferredVersion": versions[0]}

    @cached_property
    def entry(self) -> bytes:
        """The encoded group in the legacy list of groups."""
        return msgspec.json.encode(self.description)

    def has(self, key: _Key) -> bool:
        """Return whether what the group contributes to a document is encoded already."""
        return key[0] == "aggregated" and "aggregated" in self.__dict__

    @cached_property
    def aggregated(self) -> bytes:
        """The encoded group in the aggregated form."""
        versions = []
        for version, entry in self._listed.items():
            if entry is not None:
                versions.append(entry)
            elif rows := self._versions.get(version):
                resources = [_aggregated_entry(row) for row in rows]
                shown = {"version": version, "resources": resources, "freshness": "Current"}
                versions.append(msgspec.json.encode(shown))
        metadata = msgspec.json.encode({"name": self.name})
        return b'{"metadata":%b,"versions":[%b]}' % (metadata, b",".join(versions))

    def resource_list(self, version: str) -> Document | None:
        """Return the legacy list of a version's resources; None if the version is not served."""
        if version not in self._versions:
            return None
        listed = []
        for row in self._versions[version]:
            listed += _legacy_entries(row, self._stored[row.storage])
        return _encoded(
            msgspec.json.encode(
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": f"{self.name}/{version}" if self.name else version,
                    "resources": listed,
                }
            )
        )


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


def aggregated(items: Iterable[bytes], version: str) -> bytes:
    """Return the APIGroupDiscoveryList of encoded groups."""
    head = f'{{"kind":"APIGroupDiscoveryList","apiVersion":"{AGGREGATED_GROUP}/{version}",'
    return b'%b"metadata":{},"items":[%b]}' % (head.encode(), b",".join(items))


def _aggregated_entry(row: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": row.plural,
        "responseKind": row.kind._asdict(),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": _verbs(row),
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
            for one in _subresources(row)
        ]
    return entry


def _verbs(row: Resource) -> list[str]:
    if row.type is not None:
        return list(row.verbs)
    return [verb for verb in _CUSTOM_VERBS if verb in (row.listed_verbs or row.verbs)]


def _subresources(row: Resource) -> Sequence[Subresource]:
    if row.type is None:
        return tuple(row.subresources.values())
    return sorted(row.subresources.values(), key=lambda one: one.name)


def _legacy_entries(row: Resource, stored: Resource | None) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind.kind,
        "verbs": _verbs(row),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    # Those of built-in kinds that are not stored have none, nor has a custom one whose storage version is not served.
    is_stored = row.computed is None and (row.type is None or {"get", "create"} <= set(row.verbs))
    if is_stored and stored is not None:
        entry["storageVersionHash"] = storage_version_hash(*stored.kind)
    entries = [entry] if row.verbs else []
    for one in _subresources(row):
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


def _encoded(body: bytes, content_type: str = JSON) -> Document:
    return Document(body=body, etag=etag_of(body), content_type=content_type)


def etag_of(body: bytes) -> str:
    """Return the entity tag of a document: its quoted SHA-256 digest, in upper-case hex."""
    return '"' + hashlib.sha256(body).hexdigest().upper() + '"'
