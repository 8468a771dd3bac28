"""Writes the objects of one file: applies those that it has, deletes those that it no longer has.

One object that the API refuses keeps none of the others from being applied. The file wins over other managers of a
field, since what it says is what the administrator wants.
"""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from kubelite.addons.applyset import NAMESPACE, PART_OF, Scope, set_id
from kubelite.addons.manifests import (
    Manifest,
    ObjectKey,
    Resolved,
    Rows,
    rank,
    resolve,
    with_label,
)
from kubelite.api.client.protocol import Client, Object, ResourceClient, ServedResource
from kubelite.api.errors import APIError, NotFound

# The API deletes none of them. A file that has one of them applies labels to it and takes them back.
LASTING = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


class Plan(Struct, frozen=True):
    """What is to be applied, in order, and what cannot be."""

    resolved: tuple[Resolved, ...] = ()
    unserved: tuple[Manifest, ...] = ()  # their kinds may still be defined
    problems: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[ObjectKey]:
        """The objects that are applied."""
        return frozenset(one.key for one in self.resolved)


class Applied(Struct, frozen=True):
    """What came of a plan: how many objects are as wanted (None: not known), and what went wrong."""

    objects: int | None
    problems: tuple[str, ...]


def plan(manifests: Iterable[Manifest], rows: Rows, owners: Mapping[ObjectKey, str]) -> Plan:
    """Decide what to apply; `owners` are the files that have objects already."""
    resolved: dict[ObjectKey, Resolved] = {}
    unserved, problems = [], []
    for manifest in manifests:
        one = resolve(manifest, rows)
        if one is None:
            unserved.append(manifest)
        elif one.key in resolved:
            problems.append(f"{manifest}: the file has this object twice")
        elif one.key in owners:
            problems.append(f"{manifest}: the file {owners[one.key]} has this object")
        else:
            resolved[one.key] = one
    ordered = sorted(resolved.values(), key=lambda one: rank(one.manifest.kind))
    return Plan(tuple(ordered), tuple(unserved), tuple(problems))


async def apply(client: Client, wanted: Plan, set_name: str) -> Applied:
    """Apply the objects of a plan as members of a set."""
    problems = list(wanted.problems)
    done = 0
    for one in wanted.resolved:
        try:
            await _apply(client, one, set_name)
        except APIError as error:
            problems.append(f"{one.manifest}: {error.message}")
        else:
            done += 1
    return Applied(done, tuple(problems))


async def _apply(client: Client, one: Resolved, set_name: str) -> None:
    manifest, row = one.manifest, one.row
    resource = client.resource(manifest.group, manifest.version, row.resource)
    body = with_label(manifest, one.key.namespace, PART_OF, set_name)
    await resource.patch(manifest.name, body, one.key.namespace, patch_type="apply", force=True)


class Pruned(Struct, frozen=True):
    """What was deleted, and what could not be."""

    objects: tuple[str, ...]
    problems: tuple[str, ...]


async def prune(
    client: Client, parent: str, scope: Scope, rows: Rows, kept: Collection[ObjectKey]
) -> Pruned:
    """Delete the members of a set that no file has any more; kinds that are not served any more have none."""
    deleted: list[str] = []
    problems: list[str] = []
    for group, kind in sorted(scope.kinds, key=lambda pair: (-rank(pair[1]), pair)):
        row = rows.get((group, kind))
        if row is None:
            continue
        resource = client.resource(row.group, row.version, row.resource)
        namespaces = sorted({NAMESPACE, *scope.namespaces}) if row.namespaced else [""]
        for namespace in namespaces:
            try:
                members = await resource.list(
                    namespace, label_selector=f"{PART_OF}={set_id(parent)}"
                )
            except APIError as error:
                problems.append(f"cannot list {kind} to prune: {error.message}")
                continue
            for item in members:
                key = _key(row, item)
                if key in kept or _is_of_a_controller(item):
                    continue
                try:
                    if await _remove(resource, key, item):
                        deleted.append(_shown(key))
                except NotFound:
                    continue
                except APIError as error:
                    problems.append(f"cannot prune {_shown(key)}: {error.message}")
    return Pruned(tuple(deleted), tuple(problems))


def _key(row: ServedResource, item: Object) -> ObjectKey:
    metadata = item["metadata"]
    return ObjectKey(row.group, row.kind, metadata.get("namespace", ""), metadata["name"])


def _is_of_a_controller(item: Object) -> bool:
    """Return whether a controller made an object: such copy labels, as those of a Service to its EndpointSlices."""
    owners = item["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") for owner in owners)


async def _remove(resource: ResourceClient, key: ObjectKey, item: Object) -> bool:
    """Delete a member; return whether it was there to be deleted."""
    metadata = item["metadata"]
    if metadata.get("deletionTimestamp"):
        return False
    if key.kind == "Namespace" and not key.group and key.name in LASTING:
        await resource.patch(key.name, {"metadata": {"labels": {PART_OF: None}}})
        return False
    await resource.delete(key.name, key.namespace, uid=metadata["uid"], propagation="Background")
    return True


def _shown(key: ObjectKey) -> str:
    place = f"{key.namespace}/" if key.namespace else ""
    return f"{key.kind} {place}{key.name}"
