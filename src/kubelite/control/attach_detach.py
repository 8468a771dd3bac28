"""Attaches CSI volumes to the nodes whose pods use them, and detaches them once they are unmounted.

A VolumeAttachment is the request; the external-attacher of the driver fulfils it. The protocol with the node is
upstream's: the node lists a volume in `status.volumesInUse` before it mounts it, and mounts it only while
`status.volumesAttached` has it. So a volume leaves `volumesAttached` first, in a write that fails if the node's status
changed meanwhile, and its VolumeAttachment is deleted afterwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import AlreadyExists, NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.storage import (
    CSIDriver,
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
)
from kubelite.api.machinery.csi_volumes import (
    MANAGED_ATTACH,
    attachment_name,
    is_attached_once,
    needs_attachment,
    unique_name,
)
from kubelite.api.machinery.pod_claims import claim_names, foreign_claim
from kubelite.control.node_taints import OUT_OF_SERVICE, is_node_ready
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.volume_matching import is_for
from kubelite.control.volume_protection import CLAIM_INDEX, claims_of_pod

# After which a volume is detached from a node that is not ready, though the node may have it mounted.
UNMOUNT_WAIT = timedelta(minutes=6)
NODE_INDEX = "node"
POD_NODE_INDEX = "node of a pod with claims"
VOLUME_INDEX = "volume"


class Wanted(Struct, frozen=True):
    """A volume that pods of a node use."""

    volume: PersistentVolume
    driver: str
    handle: str
    pods: tuple[Pod, ...]

    @property
    def unique_name(self) -> str:
        """The name in the Node's status."""
        return unique_name(self.driver, self.handle)


class Present(Struct, frozen=True):
    """A VolumeAttachment of a node, with the unique name of its volume."""

    attachment: VolumeAttachment
    unique_name: str


class Plan(Struct, frozen=True):
    """The writes for one node. `wait_seconds` is until a volume in use may be detached by force."""

    attach: tuple[Wanted, ...] = ()
    blocked: tuple[Wanted, ...] = ()  # attached elsewhere, and to one node only
    detach: tuple[str, ...] = ()  # names of VolumeAttachments
    reported: tuple[str, ...] = ()  # unique names, for `status.volumesAttached`
    wait_seconds: float | None = None


def plan(
    node: Node | None,
    wanted: Mapping[str, Wanted],
    present: Mapping[str, Present],
    elsewhere: frozenset[str],
    since: Mapping[str, datetime],
    now: datetime,
) -> Plan:
    """Decide what to attach to and detach from a node; None for a node that does not exist.

    `wanted` and `present` are by the name of the VolumeAttachment, as is `since`, when a volume was first not wanted.
    `elsewhere` has the unique names of the volumes that are attached to other nodes.
    """
    missing = [wanted[name] for name in sorted(wanted) if name not in present]
    blocked = [
        one for one in missing if is_attached_once(one.volume) and one.unique_name in elsewhere
    ]
    detach: list[str] = []
    reported: set[str] = set()
    waits: list[float] = []
    for name, one in sorted(present.items()):
        if one.attachment.metadata.deletionTimestamp is not None:
            continue
        wait_seconds = 0.0 if name not in wanted else None
        if name not in wanted and node is not None:
            wait_seconds = _seconds_until_detach(node, one.unique_name, since.get(name, now), now)
        if wait_seconds == 0:
            detach.append(name)
            continue
        if wait_seconds is not None:
            waits.append(wait_seconds)
        if one.attachment.status.attached:
            reported.add(one.unique_name)
    return Plan(
        tuple(one for one in missing if one not in blocked),
        tuple(blocked),
        tuple(detach),
        tuple(sorted(reported)),
        min(waits, default=None),
    )


def _seconds_until_detach(node: Node, volume: str, since: datetime, now: datetime) -> float | None:
    """Return when an unwanted volume may be detached: 0 at once, None only after a change of the node.

    A node that is not ready cannot say that it unmounted the volume, so that is assumed after UNMOUNT_WAIT, and of a
    node that an administrator declared out of service at once.
    """
    if volume not in node.status.volumesInUse:
        return 0
    if any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints):
        return 0
    if is_node_ready(node):
        return None
    return max((since + UNMOUNT_WAIT - now).total_seconds(), 0.0)


def multi_attach_message(pod: Pod, volume: str, users: Sequence[Pod]) -> str:
    """Return the message for a pod whose volume the pods `users` of other nodes have; upstream's words.

    Pods of other namespaces are counted but not named.
    """
    namespace = pod.metadata.namespace
    near = [user.metadata.name for user in users if user.metadata.namespace == namespace]
    others = len(users) - len(near)
    if not users:
        what = "Volume is already exclusively attached to one node and can't be attached to another"
    elif near:
        what = f"Volume is already used by pod(s) {', '.join(near)}"
        what += f" and {others} pod(s) in different namespaces" if others else ""
    else:
        what = f"Volume is already used by {others} pod(s) in different namespaces"
    return f'Multi-Attach error for volume "{volume}" {what}'


def _node_of(pod: Pod) -> tuple[str, ...]:
    return (pod.spec.nodeName,) if pod.spec.nodeName and next(claim_names(pod), None) else ()


def _volume_of(attachment: VolumeAttachment) -> tuple[str, ...]:
    name = attachment.spec.source.persistentVolumeName
    return (name,) if name else ()


def _matters(before: Pod | None, after: Pod | None) -> bool:
    """Return whether a change of a pod may change which volumes its node needs."""
    if before is None or after is None or before.metadata.uid != after.metadata.uid:
        return True
    return (before.spec.nodeName, is_terminal(before)) != (after.spec.nodeName, is_terminal(after))


def _node_matters(before: Node | None, after: Node | None) -> bool:
    def facts(node: Node) -> tuple[Any, ...]:
        status = node.status
        managed = node.metadata.annotations.get(MANAGED_ATTACH)
        taints = [taint.key for taint in node.spec.taints]
        return managed, taints, status.volumesInUse, status.volumesAttached, is_node_ready(node)

    return before is None or after is None or facts(before) != facts(after)


class AttachDetachController:
    """Reconciles nodes."""

    name = "attachdetach-controller"
    workers = 1  # one at a time, so that no two nodes get a volume that may be attached to one only

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.events
        self._nodes = context.mirror(Node)
        self._claims = context.mirror(PersistentVolumeClaim)
        self._volumes = context.mirror(PersistentVolume)
        self._drivers = context.mirror(CSIDriver)
        self._pods = context.mirror(Pod)
        self._pods.add_index(CLAIM_INDEX, claims_of_pod)
        self._pods.add_index(POD_NODE_INDEX, _node_of)
        self._attachments = context.mirror(VolumeAttachment)
        self._attachments.add_index(NODE_INDEX, lambda one: (one.spec.nodeName,))
        self._attachments.add_index(VOLUME_INDEX, _volume_of)
        self._since: dict[str, dict[str, datetime]] = {}  # by node: when a volume became unwanted
        self._told: dict[str, set[tuple[str, str]]] = {}  # by node: events that pods were told

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch what decides which volumes a node needs, has, and uses."""
        return (
            Watch(Node, where=_node_matters),
            Watch(Pod, lambda pod: [Key("", name) for name in _node_of(pod)], where=_matters),
            Watch(VolumeAttachment, self._nodes_of_attachment),
            Watch(PersistentVolumeClaim, self._nodes_of_claim),
            Watch(PersistentVolume, self._nodes_of_volume),
            Watch(CSIDriver, lambda _: (Key("", n.metadata.name) for n in self._nodes.list())),
        )

    def _nodes_of_attachment(self, attachment: VolumeAttachment) -> Iterable[Key]:
        yield Key("", attachment.spec.nodeName)
        for name in _volume_of(attachment):
            volume = self._volumes.get(name)
            if volume is not None:
                yield from self._nodes_of_volume(volume)

    def _nodes_of_volume(self, volume: PersistentVolume) -> Iterable[Key]:
        reference = volume.spec.claimRef
        if volume.spec.csi is not None and reference is not None:
            yield from self._nodes_that_use(reference.namespace, reference.name)

    def _nodes_of_claim(self, claim: PersistentVolumeClaim) -> Iterable[Key]:
        return self._nodes_that_use(claim.metadata.namespace, claim.metadata.name)

    def _nodes_that_use(self, namespace: str, name: str) -> Iterable[Key]:
        for pod in self._pods.indexed(CLAIM_INDEX, f"{namespace}/{name}"):
            if pod.spec.nodeName:
                yield Key("", pod.spec.nodeName)

    async def reconcile(self, key: Key) -> float | None:
        """Attach and detach what the node's pods need and need no more; return when to look again."""
        node = self._nodes.get(key.name)
        if node is not None and node.metadata.annotations.get(MANAGED_ATTACH) != "true":
            return None
        wanted = self._wanted(key.name)
        present = self._present(key.name)
        decided = plan(
            node,
            wanted,
            present,
            self._elsewhere(key.name, wanted.values()),
            self._noted(key.name, wanted, present),
            self._clock.now(),
        )
        self._tell(key.name, wanted, present, decided)
        if node is not None:
            await self._report(node, decided.reported, wanted)
        for name in decided.detach:
            try:
                await self._client.delete(VolumeAttachment, name)
            except NotFound:
                continue
        for one in decided.attach:
            await self._attach(key.name, one)
        return decided.wait_seconds

    def _wanted(self, node: str) -> dict[str, Wanted]:
        """Return the CSI volumes that the node's pods use and that must be attached, by attachment."""
        wanted: dict[str, Wanted] = {}
        for pod in self._pods.indexed(POD_NODE_INDEX, node):
            for volume in self._volumes_of(pod) if not is_terminal(pod) else ():
                source = volume.spec.csi
                if source is None or not needs_attachment(self._drivers.get(source.driver)):
                    continue
                name = attachment_name(source.driver, source.volumeHandle, node)
                known = wanted.get(name)
                pods = (*(known.pods if known is not None else ()), pod)
                wanted[name] = Wanted(volume, source.driver, source.volumeHandle, pods)
        return wanted

    def _volumes_of(self, pod: Pod) -> Iterable[PersistentVolume]:
        for name, is_own in claim_names(pod):
            claim = self._claims.get(name, pod.metadata.namespace)
            if claim is None or (is_own and foreign_claim(pod, claim)):
                continue
            volume = self._volumes.get(claim.spec.volumeName) if claim.spec.volumeName else None
            if volume is not None and claim.status.phase == "Bound" and is_for(volume, claim):
                yield volume

    def _present(self, node: str) -> dict[str, Present]:
        """Return the node's attachments that have the name this controller gives them.

        Others belong to whoever made them, and so do those whose volume is gone: its handle is not known.
        """
        present: dict[str, Present] = {}
        for attachment in self._attachments.indexed(NODE_INDEX, node):
            for name in _volume_of(attachment):
                volume = self._volumes.get(name)
                source = volume.spec.csi if volume is not None else None
                if source is None:
                    continue
                own = attachment_name(source.driver, source.volumeHandle, node)
                if attachment.metadata.name == own:
                    unique = unique_name(source.driver, source.volumeHandle)
                    present[own] = Present(attachment, unique)
        return present

    def _elsewhere(self, node: str, wanted: Iterable[Wanted]) -> frozenset[str]:
        return frozenset(
            one.unique_name
            for one in wanted
            for attachment in self._attachments.indexed(VOLUME_INDEX, one.volume.metadata.name)
            if attachment.spec.nodeName != node
        )

    def _noted(
        self, node: str, wanted: Mapping[str, Wanted], present: Mapping[str, Present]
    ) -> Mapping[str, datetime]:
        """Return since when each present volume is not wanted, counted from the first time that it was seen so."""
        before, now = self._since.pop(node, {}), self._clock.now()
        since = {name: before.get(name, now) for name in present if name not in wanted}
        if since:
            self._since[node] = since
        return since

    async def _attach(self, node: str, one: Wanted) -> None:
        source = VolumeAttachmentSource(persistentVolumeName=one.volume.metadata.name)
        attachment = VolumeAttachment(
            metadata=ObjectMeta(name=attachment_name(one.driver, one.handle, node)),
            spec=VolumeAttachmentSpec(attacher=one.driver, nodeName=node, source=source),
        )
        try:
            await self._client.create(attachment)
        except AlreadyExists:
            return

    async def _report(self, node: Node, names: Sequence[str], wanted: Mapping[str, Wanted]) -> None:
        before = [one.name for one in node.status.volumesAttached]
        if before == list(names):
            return
        attached = [{"name": name, "devicePath": ""} for name in names]
        patch = {
            "metadata": {"resourceVersion": node.metadata.resourceVersion},
            "status": {"volumesAttached": attached},
        }
        await self._client.patch(Node, node.metadata.name, patch, subresource="status")
        for one in wanted.values():
            if one.unique_name in names and one.unique_name not in before:
                text = f'AttachVolume.Attach succeeded for volume "{one.volume.metadata.name}"'
                for pod in one.pods:
                    self._events.event(pod, NORMAL, "SuccessfulAttachVolume", text)

    def _tell(
        self,
        node: str,
        wanted: Mapping[str, Wanted],
        present: Mapping[str, Present],
        decided: Plan,
    ) -> None:
        """Record why volumes are not attached yet, each message once for each pod as long as it holds."""
        before = self._told.pop(node, set())
        told: set[tuple[str, str]] = set()

        def tell(pod: Pod, text: str) -> None:
            told.add((pod.metadata.uid, text))
            if (pod.metadata.uid, text) not in before:
                self._events.event(pod, WARNING, "FailedAttachVolume", text)

        for one in decided.blocked:
            users = self._users_elsewhere(node, one.volume)
            for pod in one.pods:
                tell(pod, multi_attach_message(pod, one.volume.metadata.name, users))
        for name in sorted(wanted.keys() & present.keys()):
            one, status = wanted[name], present[name].attachment.status
            if status.attachError is not None and not status.attached:
                volume = one.volume.metadata.name
                text = f'AttachVolume.Attach failed for volume "{volume}" : '
                for pod in one.pods:
                    tell(pod, text + status.attachError.message)
        if told:
            self._told[node] = told

    def _users_elsewhere(self, node: str, volume: PersistentVolume) -> list[Pod]:
        reference = volume.spec.claimRef
        if reference is None:
            return []
        pods = self._pods.indexed(CLAIM_INDEX, f"{reference.namespace}/{reference.name}")
        others = (pod for pod in pods if pod.spec.nodeName not in ("", node))
        return [pod for pod in others if not is_terminal(pod)]
