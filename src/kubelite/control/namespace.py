"""Deletes the content of terminating namespaces, pods first, then removes their finalizer."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.errors import APIError, Conflict, MethodNotAllowed, NotFound
from kubelite.api.kinds.core.namespaces import Namespace, NamespaceCondition, NamespaceStatus
from kubelite.api.kinds.meta import PartialObjectMetadata
from kubelite.api.machinery.times import format_time
from kubelite.control import conditions
from kubelite.control.dynamic import metadata_kind
from kubelite.control.options import Resource
from kubelite.control.runtime import Context, Key, Watch
from kubelite.tasks import together

FINALIZER = "kubernetes"
PODS = ("", "pods")
EVENTS = ("", "events")
AGAIN_SECONDS = 15.0
BATCH = 100  # deletions in flight
OBJECT_COST_BYTES = 2  # cost of a remaining object, for the offload: below a microsecond
WELL = {
    "NamespaceDeletionDiscoveryFailure": (
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": (
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}

Content = Mapping[Resource, Sequence[PartialObjectMetadata]]


class Plan(Struct, frozen=True):
    """The objects to delete now; `finalize` once nothing is left."""

    delete: tuple[tuple[Resource, PartialObjectMetadata], ...] = ()
    finalize: bool = False


def plan(content: Content) -> Plan:
    """Decide what to delete next: all pods; the rest once no pod is left, since a pod may need it."""
    left = {resource: items for resource, items in content.items() if items}
    if not left:
        return Plan(finalize=True)
    pods = {resource: items for resource, items in left.items() if _name(resource) == PODS}
    return Plan(
        delete=tuple(
            (resource, item)
            for resource, items in (pods or left).items()
            for item in items
            if item.metadata.deletionTimestamp is None
        )
    )


def status_of(
    status: NamespaceStatus, content: Content, failures: Sequence[str], now: datetime
) -> NamespaceStatus:
    """Return the status with the conditions that say what keeps the namespace.

    `failures` are messages of deletions that failed.
    """
    bad: dict[str, tuple[str, str]] = {}
    if failures:
        text = ", ".join(sorted(failures))
        bad["NamespaceDeletionContentFailure"] = (
            "ContentDeletionFailed",
            f"Failed to delete all resource types, {len(failures)} remaining: {text}",
        )
    remaining = sorted(
        f"{resource.resource}.{resource.group} has {len(items)} resource instances"
        for resource, items in content.items()
        if items
    )
    if remaining:
        bad["NamespaceContentRemaining"] = (
            "SomeResourcesRemain",
            f"Some resources are remaining: {', '.join(remaining)}",
        )
    holders = Counter(
        finalizer
        for items in content.values()
        for item in items
        for finalizer in item.metadata.finalizers
    )
    if holders:
        text = ", ".join(
            f"{name} in {holders[name]} resource instances" for name in sorted(holders)
        )
        bad["NamespaceFinalizersRemaining"] = (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {text}",
        )
    found: Sequence[NamespaceCondition] = status.conditions
    for name, well in WELL.items():
        reason, message = bad.get(name, well)
        fresh = NamespaceCondition(
            type=name,
            status="True" if name in bad else "False",
            reason=reason,
            message=message,
            lastTransitionTime=format_time(now),
        )
        current = conditions.find(found, name)
        if current is not None and current.status == fresh.status:
            if current.message == message:
                continue
            fresh = replace(fresh, lastTransitionTime=current.lastTransitionTime)
        found = [*conditions.without(found, name), fresh]
    return replace(status, phase="Terminating", conditions=list(found))


class NamespaceController:
    """Reconciles terminating namespaces."""

    name = "namespace-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._namespaces = context.mirror(Namespace)
        self._ends: dict[Resource, Callable[[], None]] = {}

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch namespaces; mirrors of their content start with the first deletion of a namespace."""
        return (Watch(Namespace, where=lambda _, after: after is not None and _is_leaving(after)),)

    async def reconcile(self, key: Key) -> float | None:
        """Delete what can be deleted now and write the status; each object that goes requeues the namespace."""
        namespace = self._namespaces.get(key.name)
        if namespace is None or not _is_leaving(namespace):
            return None
        if FINALIZER not in namespace.spec.finalizers:
            await self._let_go(namespace)
            return None
        failures: list[str] = []
        # Where all pods go at once the second turn deletes the rest in the same reconcile.
        for _ in range(2):
            content = await self._content(key.name)
            decided = await self._context.offload.run(_cost_bytes(content), partial(plan, content))
            failures += await self._delete(key.name, decided)
        content = await self._content(key.name)
        is_empty = not any(content.values())
        now, said = self._context.clock.now(), namespace.status
        status = await self._context.offload.run(
            _cost_bytes(content), lambda: status_of(said, content, failures, now)
        )
        if status != namespace.status:
            namespace = await self._client.update(replace(namespace, status=status), "status")
        if is_empty and not failures:
            failures = await self._forget_events(key.name)
        if is_empty and not failures:
            rest = [name for name in namespace.spec.finalizers if name != FINALIZER]
            spec = replace(namespace.spec, finalizers=rest)
            await self._client.update(replace(namespace, spec=spec), "finalize")
            return None
        # Each deleted object requeues the namespace when it is gone; the delay is for objects that could not be
        # deleted.
        return AGAIN_SECONDS

    async def _let_go(self, namespace: Namespace) -> None:
        if namespace.spec.finalizers or namespace.metadata.finalizers:
            return
        try:
            await self._client.delete(
                Namespace, namespace.metadata.name, uid=namespace.metadata.uid
            )
        except (NotFound, Conflict):
            return

    async def _content(self, namespace: str) -> Content:
        content: dict[Resource, Sequence[PartialObjectMetadata]] = {}
        for resource in self._context.options.resources.resources():
            if not resource.namespaced or resource.resource == EVENTS[1]:
                continue  # a mirror of all events takes too much memory for the few in a namespace
            mirror = self._context.dynamic_mirror(
                resource.group, resource.version, resource.resource
            )
            if resource not in self._ends:
                await mirror.synced()
                self._ends[resource] = mirror.subscribe(self._content_changed)
            content[resource] = mirror.list(namespace)
        return content

    async def _forget_events(self, namespace: str) -> list[str]:
        """Delete the events, last of all: earlier deletions caused some, and none can be created from now on."""
        failures: list[str] = []
        for resource in self._context.options.resources.resources():
            if (resource.group, resource.resource) == EVENTS:
                found = await self._client.list(metadata_kind(resource), namespace)
                decided = Plan(delete=tuple((resource, item) for item in found))
                failures += await self._delete(namespace, decided)
        return failures

    def _content_changed(self, before: Any, after: Any) -> None:
        """Requeue a terminating namespace when an object of it is gone."""
        if after is None and before is not None:
            namespace = self._namespaces.get(before.metadata.namespace)
            if namespace is not None and _is_leaving(namespace):
                self._context.queue.add(Key("", namespace.metadata.name))

    async def _delete(self, namespace: str, decided: Plan) -> list[str]:
        failures: list[str] = []
        for start in range(0, len(decided.delete), BATCH):
            batch = decided.delete[start : start + BATCH]
            answers: list[str] = await together(
                *(self._delete_one(namespace, resource, item) for resource, item in batch)
            )
            failures += filter(None, answers)
        return sorted(set(failures))

    async def _delete_one(
        self, namespace: str, resource: Resource, item: PartialObjectMetadata
    ) -> str:
        try:
            await self._client.delete(
                metadata_kind(resource),
                item.metadata.name,
                namespace,
                uid=item.metadata.uid,
                propagation="Background",
            )
        except (NotFound, Conflict, MethodNotAllowed):
            return ""
        except APIError as error:
            return error.message
        return ""


def _cost_bytes(content: Content) -> int:
    return OBJECT_COST_BYTES * sum(map(len, content.values()))


def _is_leaving(namespace: Namespace) -> bool:
    return namespace.metadata.deletionTimestamp is not None


def _name(resource: Resource) -> tuple[str, str]:
    return resource.group, resource.resource
