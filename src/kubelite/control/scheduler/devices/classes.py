"""Which DeviceClass serves an extended resource. It exists from the first pod on that asks for one."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.resource import DeviceClass
from kubelite.api.machinery.extended_resources import CLASS_PREFIX

RESOURCE_INDEX: Final = "extended resource of a class"


class DeviceClasses:
    """The classes by the resources that they serve: one that they name, and one that is made of their name."""

    def __init__(self, mirrors: Client, wake: Callable[[], None]) -> None:
        """`wake` is called when a class serves other resources than before."""
        self._classes = mirrors.mirror(DeviceClass)
        self._classes.add_index(RESOURCE_INDEX, resources_of)
        self._wake = wake
        self._end: Callable[[], None] | None = None

    async def synced(self) -> None:
        """Wait for the classes, then follow them."""
        await self._classes.synced()
        if self._end is None:
            self._end = self._classes.subscribe(self._changed)

    def close(self) -> None:
        """Follow no more."""
        if self._end is not None:
            self._end()

    def serving(self, resources: Iterable[str]) -> dict[str, str]:
        """Return the names of the classes that serve resources; others are left out."""
        return {name: found for name in resources if (found := self._class_of(name))}

    def _class_of(self, resource: str) -> str:
        """Return the class that serves a resource: of several the newest, among equals the first by name."""
        found = self._classes.indexed(RESOURCE_INDEX, resource)
        newest = max((one.metadata.creationTimestamp or "" for one in found), default="")
        return min(
            (
                one.metadata.name
                for one in found
                if (one.metadata.creationTimestamp or "") == newest
            ),
            default="",
        )

    def _changed(self, before: DeviceClass | None, after: DeviceClass | None) -> None:
        if before is None or after is None or resources_of(before) != resources_of(after):
            self._wake()


def resources_of(one: DeviceClass) -> Sequence[str]:
    """Return the extended resources that a class serves."""
    implicit = CLASS_PREFIX + one.metadata.name
    named = one.spec.extendedResourceName
    return [implicit, named] if named else [implicit]
