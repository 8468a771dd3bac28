"""Deletes the objects of a CustomResourceDefinition that is being deleted, then removes the finalizer that held it.

Source: apiextensions-apiserver's finalizer controller. The definition stays served until its last object is gone, and
the server refuses new ones meanwhile. Nothing is kept between two reconciles but a mirror of the objects' metadata, so
a restart continues where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubelite.api.client.protocol import ResourceClient
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.api.kinds.resource_names import built_in_resources
from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.definition_status import (
    CLEANUP_FINALIZER,
    ESTABLISHED,
    TERMINATING,
    condition,
    find_condition,
    is_condition_true,
    with_condition,
)
from kubelite.control.definitions import Definition, conditions_of, status_patch
from kubelite.control.runtime import Context, Key, Watch
from kubelite.tasks import together

OBJECT_COST_BYTES = 1  # cost of looking at one remaining object, for the offload
IN_FLIGHT = 10  # namespaces whose objects are deleted at once
AGAIN_SECONDS = 1.0  # after the server knew of objects that the mirror did not

_IN_PROGRESS = condition(
    TERMINATING, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"
)
_COMPLETED = condition(TERMINATING, "False", "InstanceDeletionCompleted", "removed all instances")
_NEVER_ESTABLISHED = condition(
    TERMINATING, "False", "NeverEstablished", "resource was never established"
)
_OVERLAPPING = condition(
    TERMINATING,
    "False",
    "OverlappingBuiltInResource",
    "instances overlap with built-in resources in storage",
)
_BEGUN = ("InstanceDeletionInProgress", "InstanceDeletionFailed")
_LISTING = "could not list instances"


def failed(message: str) -> dict[str, Any]:
    """Return the condition that says why objects could not be deleted."""
    return condition(TERMINATING, "True", "InstanceDeletionFailed", cut(message))


def nothing_to_delete(definition: Definition) -> dict[str, Any] | None:
    """Return the condition of a definition whose objects are not deleted; None if they are.

    One that was never established has none. One named as a built-in resource would delete the objects of that.
    """
    if (definition.spec.group, definition.spec.names.plural) in built_in_resources():
        return _OVERLAPPING
    if not is_condition_true(conditions_of(definition), ESTABLISHED):
        return _NEVER_ESTABLISHED
    return None


def version_to_delete(definition: Definition) -> str:
    """Return the version at which objects are deleted: the storage version, or one that is served if it is not."""
    versions = definition.spec.versions
    served = [version for version in versions if version.served]
    stored = [version for version in versions if version.storage]
    ranked = [*(version for version in served if version.storage), *served, *stored]
    return ranked[0].name if ranked else ""


def namespaces_to_delete(objects: Sequence[ObjectMetadata]) -> list[str]:
    """Return the namespaces that have objects of which the deletion has not begun; "" for objects outside of any."""
    return sorted(
        {each.metadata.namespace for each in objects if each.metadata.deletionTimestamp is None}
    )


class _StepFailed(Exception):
    """A step of the deletion failed; the text says which and why."""

    def __init__(self, step: str, error: APIError) -> None:
        super().__init__(f"{step}: {error.message}")
        self.error = error


class _Objects:
    """The objects of one definition, as a mirror of their metadata sees them."""

    def __init__(
        self, client: ResourceClient, uid: str, version: str, gone: Callable[[], None]
    ) -> None:
        """`gone` is called when the last object is gone. Raises NotFound if the resource is not served."""
        self.client = client
        self.identity = (uid, version)
        self.remaining = 0
        self.mirror = client.metadata_mirror()
        self._gone = gone
        self._end = self.mirror.subscribe(self._changed)

    def _changed(self, before: ObjectMetadata | None, after: ObjectMetadata | None) -> None:
        self.remaining += (after is not None) - (before is not None)
        if not self.remaining and before is not None:
            self._gone()

    def close(self) -> None:
        """Let the mirror go."""
        self._end()
        self.mirror.close()


class DefinitionCleanupController:
    """Reconciles CustomResourceDefinitions that are being deleted."""

    name = "customresourcedefinition-cleanup-controller"
    identity = "system:apiserver"  # upstream does it in the API server
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._definitions = context.mirror(Definition)
        self._followed: dict[str, _Objects] = {}

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch definitions that are being deleted; mirrors of their objects start with the first reconcile."""
        return (Watch(Definition, where=_is_concerned),)

    async def reconcile(self, key: Key) -> float | None:
        """Delete the objects, and remove the finalizer once none is left; the last to go enqueues the definition."""
        definition = self._definitions.get(key.name)
        if definition is None or not _is_held(definition):
            self._unfollow(key.name)
            return None
        if (reason := nothing_to_delete(definition)) is not None:
            await self._release(definition, reason)
            return None
        told = find_condition(conditions_of(definition), TERMINATING)
        if told is None or told.get("reason") not in _BEGUN:
            definition = await self._tell(definition, _IN_PROGRESS)
        try:
            objects = await self._follow(definition)
            await self._delete(objects)
            left = await self._left(objects)
        except _StepFailed as failure:
            await self._tell(definition, failed(str(failure)))
            raise failure.error from failure
        if not left:
            await self._release(definition, _COMPLETED)
        return AGAIN_SECONDS if left and not objects.remaining else None

    async def _follow(self, definition: Definition) -> _Objects:
        metadata, version = definition.metadata, version_to_delete(definition)
        objects = self._followed.get(metadata.name)
        if objects is None or objects.identity != (metadata.uid, version):
            self._unfollow(metadata.name)
            names = (definition.spec.group, version, definition.spec.names.plural)
            key = Key("", metadata.name)
            try:
                objects = _Objects(
                    self._client.resource(*names),
                    metadata.uid,
                    version,
                    lambda: self._context.queue.add(key),
                )
            except APIError as error:
                raise _StepFailed(_LISTING, error) from error
            self._followed[metadata.name] = objects
        await objects.mirror.synced()
        return objects

    async def _delete(self, objects: _Objects) -> None:
        """Begin the deletion of all objects, which all admission plugins see."""
        listed = objects.mirror.list()
        cost_bytes = OBJECT_COST_BYTES * len(listed)
        namespaces = await self._context.offload.run(
            cost_bytes, lambda: namespaces_to_delete(listed)
        )
        for start in range(0, len(namespaces), IN_FLIGHT):
            batch = namespaces[start : start + IN_FLIGHT]
            try:
                await together(*map(objects.client.delete_collection, batch))
            except APIError as error:
                raise _StepFailed("could not issue all deletes", error) from error

    async def _left(self, objects: _Objects) -> bool:
        """Return whether objects are left; the server is asked, since a mirror of what is not served is empty too."""
        if objects.remaining:
            return True
        try:
            return bool(await objects.client.list())
        except APIError as error:
            raise _StepFailed(_LISTING, error) from error

    def _unfollow(self, name: str) -> None:
        objects = self._followed.pop(name, None)
        if objects is not None:
            objects.close()

    async def _tell(self, definition: Definition, told: Mapping[str, Any]) -> Definition:
        """Write a condition unless it is there; return the definition as it is then."""
        before = conditions_of(definition)
        after = with_condition(before, told, self._context.clock.now())
        if list(before) == after:
            return definition
        patch = status_patch(definition, conditions=after)
        name = definition.metadata.name
        return await self._client.patch(Definition, name, patch, subresource="status")

    async def _release(self, definition: Definition, reason: Mapping[str, Any]) -> None:
        try:
            metadata = (await self._tell(definition, reason)).metadata
            rest = [name for name in metadata.finalizers if name != CLEANUP_FINALIZER]
            version = {"uid": metadata.uid, "resourceVersion": metadata.resourceVersion}
            patch = {"metadata": {**version, "finalizers": rest}}
            # By its status, as upstream: what is invalid elsewhere in the definition cannot keep it.
            await self._client.patch(Definition, metadata.name, patch, subresource="status")
        except NotFound:
            return
        finally:
            self._unfollow(definition.metadata.name)


def _is_held(definition: Definition) -> bool:
    metadata = definition.metadata
    return metadata.deletionTimestamp is not None and CLEANUP_FINALIZER in metadata.finalizers


def _is_concerned(before: Definition | None, after: Definition | None) -> bool:
    """Return whether a definition is held, or was and is gone, so that its mirror has to be closed."""
    known = after or before
    return known is not None and known.metadata.deletionTimestamp is not None
