"""Deletes the content of terminating namespaces, pods first, then removes their finalizer."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.protocol import Mirror, ServedResource
from kubelite.api.errors import APIError, Conflict, MethodNotAllowed, NotFound
from kubelite.api.kinds.core.namespaces import Namespace, NamespaceCondition, NamespaceStatus
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.api.machinery.times import format_time
from kubelite.control import conditions
from kubelite.control.runtime import Context, Key, Watch
from kubelite.tasks import together

FINALIZER = "kubernetes"
PODS = ("", "pods")
EVENTS = frozenset({("", "events"), ("events.k8s.io", "events")})
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

Content = Mapping[ServedResource, Sequence[ObjectMetadata]]


class Plan(Struct, frozen=True):
    """The objects to delete now; `finalize` once nothing is left."""

    delete: tuple[tuple[ServedResource, ObjectMetadata], ...] = ()
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
        self._ends: dict[ServedResource, Callable[[], None]] = {}
        context.ends.append(context.resources.subscribe(self._resources_changed))

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
            self._release_content(key.name)
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
        content: dict[ServedResource, Sequence[ObjectMetadata]] = {}
        for resource in self._context.resources.resources():
            if not resource.namespaced or _name(resource) in EVENTS:
                continue  # a mirror of all events takes too much memory for the few in a namespace
            try:
                mirror = self._mirror(resource)
            except NotFound:
                continue  # it is no longer served, and its objects have gone with it
            await mirror.synced()
            content[resource] = mirror.list(namespace)
        return content

    def _mirror(self, resource: ServedResource) -> Mirror[ObjectMetadata]:
        if resource not in self._ends:
            mirror = self._context.metadata_mirror(resource)
            self._context.wanted[resource] = mirror
            self._ends[resource] = mirror.subscribe(self._content_changed)
        return self._context.wanted[resource]

    async def _forget_events(self, namespace: str) -> list[str]:
        """Delete the events, last of all: earlier deletions caused some, and none can be created from now on."""
        failures: list[str] = []
        for resource in self._context.resources.resources():
            if _name(resource) not in EVENTS:
                continue
            try:
                await self._context.client_of(resource).delete_collection(namespace)
            except (NotFound, MethodNotAllowed):
                continue
            except APIError as error:
                failures.append(error.message)
        return failures

    def _resources_changed(self) -> None:
        """Let go of what is no longer served, and look again at the namespaces that it may have kept."""
        served = frozenset(self._context.resources.resources())
        self._release([one for one in self._ends if one not in served])
        for namespace in self._namespaces.list():
            if _is_leaving(namespace):
                self._context.queue.add(Key("", namespace.metadata.name))

    def _release_content(self, finished: str) -> None:
        """Let go of all content, unless another namespace than the finished one waits for it."""
        waiting = (
            one.metadata.name != finished and FINALIZER in one.spec.finalizers
            for one in self._namespaces.list()
            if _is_leaving(one)
        )
        if not any(waiting):
            self._release(tuple(self._ends))

    def _release(self, resources: Sequence[ServedResource]) -> None:
        for resource in resources:
            self._ends.pop(resource)()
            self._context.wanted.pop(resource).close()

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
        self, namespace: str, resource: ServedResource, item: ObjectMetadata
    ) -> str:
        try:
            await self._context.client_of(resource).delete(
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


def _name(resource: ServedResource) -> tuple[str, str]:
    return resource.group, resource.resource
