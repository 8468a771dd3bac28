"""Grows the file systems of CSI volumes after the control plane grew the volumes, also under running pods.

An external-resizer raises the capacity of the PersistentVolume; a claim whose status has less is what is left to the
node. The claims of mounted volumes are watched, so that nothing is asked again and again.
"""

import logging
from collections.abc import Callable
from typing import Any

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.grpc.status import GrpcError
from kubelite.limits import FOLLOWED_OBJECTS
from kubelite.node.csi.driver import Driver
from kubelite.node.csi.messages import Capability, CapacityRange, NodeExpandVolumeRequest
from kubelite.node.csi.requests import CSISource
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.pods import as_dict, reference_to

log = logging.getLogger(__name__)

RESIZING = frozenset({"Resizing", "FileSystemResizePending"})
ClaimName = tuple[str, str]  # namespace and name


def grown(claim: PersistentVolumeClaim, size: str) -> dict[str, Any]:
    """Return the patch of a claim's status after its file system grew to `size`."""
    conditions = [as_dict(one) for one in claim.status.conditions if one.type not in RESIZING]
    status: dict[str, Any] = {"capacity": {"storage": size}, "conditions": conditions}
    if claim.status.allocatedResourceStatuses:
        status["allocatedResourceStatuses"] = None
    return {"status": status}


class Expansion:
    """The growth of the volumes of one node."""

    def __init__(
        self, client: Client, events: EventRecorder, changed: Callable[[str], None]
    ) -> None:
        """`changed` is called with the uid of each pod whose claim changed."""
        self._client = client
        self._events = events
        self._changed = changed
        self._pods: dict[ClaimName, set[str]] = {}
        self._ends: dict[ClaimName, Callable[[], None]] = {}

    def is_due(
        self,
        source: CSISource,
        driver: Driver,
        claim: PersistentVolumeClaim,
        volume: PersistentVolume,
    ) -> bool:
        """Return whether a volume is larger than its claim's status says, so that its file system has to grow."""
        if not _can_grow(source, driver):
            return False
        has = claim.status.capacity.get("storage")
        size = volume.spec.capacity.get("storage")
        if not has or not size:
            return False
        return parse_quantity(has) < parse_quantity(size)

    async def grow(
        self,
        pod: Pod,
        driver: Driver,
        claim: PersistentVolumeClaim,
        volume: PersistentVolume,
        request: NodeExpandVolumeRequest,
    ) -> None:
        """Grow a mounted volume, and report it in its claim's status. Raises ConfigUnavailable and APIError."""
        size = volume.spec.capacity["storage"]
        request.capacity_range = CapacityRange(required_bytes=int(parse_quantity(size).value()))
        try:
            await driver.expand(request)
        except GrpcError as error:
            text = f'NodeExpandVolume failed for volume "{volume.metadata.name}" : {error}'
            self._events.event(claim, WARNING, "VolumeResizeFailed", text)
            raise ConfigUnavailable(text) from error
        name, namespace = claim.metadata.name, claim.metadata.namespace
        await self._client.patch(
            PersistentVolumeClaim, name, grown(claim, size), namespace, subresource="status"
        )
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{volume.metadata.name}"'
        for about in (reference_to(pod), claim):
            self._events.event(about, NORMAL, "FileSystemResizeSuccessful", text)

    def follow(
        self, pod: Pod, source: CSISource, driver: Driver, claim: PersistentVolumeClaim
    ) -> None:
        """Watch the claim of a volume that the node may have to grow. Raises Forbidden."""
        if not _can_grow(source, driver):
            return
        name = (claim.metadata.namespace, claim.metadata.name)
        if name not in self._ends:
            if len(self._ends) >= FOLLOWED_OBJECTS.value:
                FOLLOWED_OBJECTS.reached()
                return

            def changed() -> None:
                for uid in sorted(self._pods.get(name, ())):
                    self._changed(uid)

            self._ends[name] = self._client.follow(PersistentVolumeClaim, name[1], name[0], changed)
        self._pods.setdefault(name, set()).add(pod.metadata.uid)

    def forget(self, pod_uid: str) -> None:
        """End the watches that only this pod needed."""
        for name, pods in list(self._pods.items()):
            pods.discard(pod_uid)
            if not pods:
                del self._pods[name]
                self._ends.pop(name)()

    def close(self) -> None:
        """End all watches."""
        while self._ends:
            self._ends.popitem()[1]()
        self._pods.clear()


def _can_grow(source: CSISource, driver: Driver) -> bool:
    return Capability.EXPAND_VOLUME in driver.capabilities and not source.read_only
