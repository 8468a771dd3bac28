"""Makes the node known to the API and keeps its Node and Lease objects true.

The status is written when it changed, and every five minutes so that it is known to be true; the lease tells every ten
seconds that the node lives.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import (
    AlreadyExists,
    APIError,
    Conflict,
    NotFound,
    Timeout,
    failure_kind,
    is_no_answer,
)
from kubelite.api.kinds.coordination import Lease, LeaseSpec
from kubelite.api.kinds.core.nodes import (
    ContainerImage,
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeFeatures,
    NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures,
    NodeSpec,
    NodeStatus,
    NodeSwapStatus,
    NodeSystemInfo,
)
from kubelite.api.kinds.core.scheduling import Taint
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.machinery.extended_resources import is_extended
from kubelite.api.machinery.load_balancing import announcer_of
from kubelite.api.machinery.local_volumes import STORAGE_ROOM
from kubelite.api.machinery.quantity import canonical_quantity
from kubelite.api.machinery.times import format_micro_time, format_time
from kubelite.clock import Clock
from kubelite.log import Complaint
from kubelite.node.allocatable import DEFAULT_RESERVATIONS, Reservations, left_for_pods
from kubelite.node.eviction.conditions import pressure_conditions
from kubelite.node.machine import Machine
from kubelite.node.pods import as_dict
from kubelite.node.runtime import Handler, Image, Version

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
LEASE_DURATION_SECONDS = 40
LEASE_RENEW_SECONDS = 10.0
# Of a node that answers for addresses of load balancers: after three it is replaced, see control.load_balancers.
ANNOUNCER_RENEW_SECONDS = 2.0
STATUS_REPORT = timedelta(minutes=5)
RENEW_TIMEOUT_SECONDS = 10.0
REPORT_TIMEOUT_SECONDS = (
    20.0  # with the engine's answer; with a renewal less than the lease's duration
)
RETRY_SECONDS = 1.0
IMAGES_LIMIT = 50
IMAGE_NAMES_LIMIT = 5  # of one image; as the kubelet
KUBELET_VERSION = "v1.36.2+kubelite"
PODS_LIMIT = 110


DeviceCapacity = tuple[Mapping[str, str], Mapping[str, str]]  # capacity, allocatable
NO_DEVICES: DeviceCapacity = ({}, {})


class NodeIdentity(Struct, frozen=True):
    """The name, addresses and labels under which the node registers."""

    name: str
    addresses: tuple[str, ...]  # the primary one first
    kubelet_port: int
    labels: Mapping[
        str, str
    ] = {}  # those of the flags; set when the Node is created, then the API's
    taints: tuple[Taint, ...] = ()  # as `labels`
    annotations: Mapping[str, str] = {}  # kept true at each registration
    external_addresses: tuple[str, ...] = ()
    pods_limit: int = PODS_LIMIT
    reservations: Reservations = DEFAULT_RESERVATIONS


def node_labels(identity: NodeIdentity, machine: Machine) -> dict[str, str]:
    """Return the labels of a new Node: those every node has, and its own, which win."""
    return {**default_labels(identity, machine), **identity.labels}


def default_labels(identity: NodeIdentity, machine: Machine) -> dict[str, str]:
    """Return the labels every node has, which it keeps true unless its own have others instead."""
    labels = {
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine.architecture,
        "node.kubernetes.io/instance-type": "kubelite",
        "beta.kubernetes.io/instance-type": "kubelite",
    }
    return {key: text for key, text in labels.items() if key not in identity.labels}


def capacity_of(machine: Machine, pods_limit: int) -> dict[str, str]:
    """Return the machine's resources in the API's canonical form, so that equal ones compare equal."""
    return {
        "cpu": str(machine.cpus),
        "memory": canonical_quantity(f"{machine.memory_bytes // 1024}Ki"),
        "ephemeral-storage": canonical_quantity(f"{machine.disk_bytes // 1024}Ki"),
        "pods": str(pods_limit),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    }


def allocatable_of(
    machine: Machine, pods_limit: int, reservations: Reservations = DEFAULT_RESERVATIONS
) -> dict[str, str]:
    """Return the resources that pods may request."""
    return {**capacity_of(machine, pods_limit), **left_for_pods(reservations, machine)}


def extended_resources(capacity: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a node's capacity that other programs have advertised.

    Such a program patches the capacity alone, so the node adds the same amount to allocatable (the Kubernetes
    task "Advertise Extended Resources for a Node").
    """
    return {name: amount for name, amount in capacity.items() if is_extended(name)}


def conditions_of(
    engine_error: str,
    before: Sequence[NodeCondition],
    now: datetime,
    network_error: str = "",
    shutdown_error: str = "",
    pressure: Sequence[str] = (),
) -> list[NodeCondition]:
    """Compute the node's conditions; one that has not changed keeps its date of transition.

    `pressure` names the conditions of pressure that hold.
    """
    errors = []
    if engine_error:
        errors.append(f"container runtime is down: ContainerRuntimeNotReady: {engine_error}")
    elif network_error:
        errors.append(
            "container runtime network not ready: NetworkReady=false "
            f"reason:NetworkPluginNotReady message:{network_error}"
        )
    if shutdown_error:
        errors.append(shutdown_error)
    if errors:
        message = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
        ready = NodeCondition(
            type="Ready", status="False", reason="KubeletNotReady", message=message
        )
    else:
        ready = NodeCondition(
            type="Ready",
            status="True",
            reason="KubeletReady",
            message="kubelet is posting ready status",
        )
    wanted = [*pressure_conditions(pressure), ready]
    known = {condition.type: condition for condition in before}
    date = format_time(now)
    dated = []
    for condition in wanted:
        last = known.get(condition.type)
        since = date
        if last is not None and last.status == condition.status and last.lastTransitionTime:
            since = last.lastTransitionTime
        dated.append(
            msgspec.structs.replace(condition, lastHeartbeatTime=date, lastTransitionTime=since)
        )
    return dated


def status_of_node(
    identity: NodeIdentity,
    machine: Machine,
    version: Version | None,
    images: Sequence[Image],
    conditions: list[NodeCondition],
    handlers: Sequence[Handler] = (),
    before: NodeStatus | None = None,
    devices: DeviceCapacity = NO_DEVICES,
) -> NodeStatus:
    """Compute the node's status; `before` is the one that the API has, `devices` what device plugins offer."""
    extended = extended_resources(before.capacity if before is not None else {})
    offered, healthy = devices
    runtime = f"{version.name}://{version.version}" if version is not None else "docker://unknown"
    external = [
        NodeAddress(type="ExternalIP", address=address) for address in identity.external_addresses
    ]
    largest = sorted(images, key=lambda image: (-image.size_bytes, image.id))[:IMAGES_LIMIT]
    return NodeStatus(
        addresses=[
            *(NodeAddress(type="InternalIP", address=address) for address in identity.addresses),
            *external,
            NodeAddress(type="Hostname", address=identity.name),
        ],
        capacity={**capacity_of(machine, identity.pods_limit), **extended, **offered},
        allocatable={
            **allocatable_of(machine, identity.pods_limit, identity.reservations),
            **extended,
            **healthy,
        },
        conditions=conditions,
        daemonEndpoints=NodeDaemonEndpoints(
            kubeletEndpoint=DaemonEndpoint(Port=identity.kubelet_port)
        ),
        images=[
            ContainerImage(names=list(image.names[:IMAGE_NAMES_LIMIT]), sizeBytes=image.size_bytes)
            for image in largest
            if image.names
        ],
        nodeInfo=NodeSystemInfo(
            machineID=machine.machine_id,
            systemUUID=machine.system_uuid,
            bootID=machine.boot_id,
            kernelVersion=machine.kernel,
            osImage=machine.os_image,
            containerRuntimeVersion=runtime,
            kubeletVersion=KUBELET_VERSION,
            kubeProxyVersion=KUBELET_VERSION,
            operatingSystem="linux",
            architecture=machine.architecture,
            swap=NodeSwapStatus(capacity=machine.swap_bytes) if machine.swap_bytes else None,
        ),
        runtimeHandlers=[
            NodeRuntimeHandler(
                name=handler.name,
                features=NodeRuntimeHandlerFeatures(
                    recursiveReadOnlyMounts=machine.recursive_read_only,
                    userNamespaces=handler.user_namespaces,
                ),
            )
            for handler in handlers
        ],
        features=NodeFeatures(supplementalGroupsPolicy=False),
    )


class EngineView(Struct, frozen=True):
    """The state of the container engine that the Node's status reports."""

    error: str = ""  # empty while it answers
    version: Version | None = None
    images: tuple[Image, ...] = ()
    handlers: tuple[Handler, ...] = ()
    network_error: str = ""  # why pods cannot be given addresses; empty: they can


class NodeRegistration:
    """Keeps one node's objects in the API."""

    def __init__(
        self,
        identity: NodeIdentity,
        machine: Machine,
        client: Client,
        clock: Clock,
        engine: Callable[[], Awaitable[EngineView]],
        *,
        renew_seconds: float = LEASE_RENEW_SECONDS,
    ) -> None:
        self._identity = identity
        self._machine = machine
        self._client = client
        self._clock = clock
        self._engine = engine
        self._renew_seconds = renew_seconds
        # Returns the conditions of pressure that hold.
        self.pressure: Callable[[], Sequence[str]] = tuple
        self._changed = asyncio.Event()
        self._node: Node | None = None
        self._lease: Lease | None = None
        self._reported: datetime | None = None
        self._complaint = Complaint()
        self._mirror = client.mirror(Node, field_selector=f"metadata.name={identity.name}")
        self.shutdown_error: Callable[[], str] = lambda: ""  # why the node is about to end
        self._services = client.mirror(Service)
        self._announced: set[str] = set()  # uids of Services for whose addresses this node answers
        self.devices: Callable[[], DeviceCapacity] = lambda: NO_DEVICES
        self.storage_room: Callable[[], Awaitable[str | None]] | None = None

    def wake(self) -> None:
        """Compute the status now, and write it if it changed."""
        self._changed.set()

    def move(self, addresses: tuple[str, ...]) -> None:
        """Report new addresses of the node, the primary one first, at once."""
        if addresses != self._identity.addresses:
            self._identity = msgspec.structs.replace(self._identity, addresses=addresses)
            self.wake()

    async def run(self) -> None:
        """Register, then keep status and lease true until cancelled."""
        unsubscribe = self._mirror.subscribe(self._seen)
        unfollow = self._services.subscribe(self._service_seen)
        end = self._client.on_return(self.wake)  # the lease is renewed first of all
        try:
            await self._keep()
        finally:
            end()
            unfollow()
            unsubscribe()

    def _seen(self, before: Node | None, after: Node | None) -> None:
        """Store the Node as last seen; report again if it was deleted or its capacity was changed."""
        if after is None:
            if before is not None:
                self._node = None
                self.wake()
        elif self._node is not None and (
            _version(after) > _version(self._node) or _went_back(before, after)
        ):
            self._node = after
            if after.status.capacity != (before or after).status.capacity:
                self.wake()

    def _service_seen(self, before: Service | None, after: Service | None) -> None:
        """Renew the lease at once, and more often, when this node is chosen to answer for an address."""
        item = after or before
        assert item is not None
        uid = item.metadata.uid
        if after is None or announcer_of(after) != self._identity.name:
            self._announced.discard(uid)
        elif uid not in self._announced:
            self._announced.add(uid)
            self.wake()

    async def _keep(self) -> None:
        while True:
            seconds = self._renew_seconds
            if self._announced:
                seconds = min(seconds, ANNOUNCER_RENEW_SECONDS)
            try:
                # An answer that comes later than the next renewal is of no use: the server, or the way to it, hangs.
                async with asyncio.timeout(RENEW_TIMEOUT_SECONDS):
                    await self._renew_lease()
                async with asyncio.timeout(REPORT_TIMEOUT_SECONDS):
                    await self._report()
            except TimeoutError:
                self._complain(Timeout("no answer in time"))
                seconds = RETRY_SECONDS
            except APIError as error:
                self._complain(error)
                if not is_no_answer(error):  # what is remembered may be wrong
                    self._node = self._lease = None
                seconds = RETRY_SECONDS
            else:
                if self._complaint.ends():
                    log.info("node is reported again", extra={"node": self._identity.name})
            await self._pause(seconds)

    def _complain(self, error: APIError) -> None:
        """Log a failure, unless one of its kind was logged: a server may be away for hours."""
        if self._complaint.is_new(failure_kind(error)):
            log.warning("cannot report node: %s", error, extra={"node": self._identity.name})

    async def _pause(self, seconds: float) -> None:
        """Wait for the next renewal, or less if something changed."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        finally:
            self._changed.clear()

    async def _register(self) -> Node:
        """Create the node, or take over the one that is there.

        As with the kubelet, labels and taints of flags are set when the Node is created: later they are the
        administrator's, who may have changed them. The default labels are corrected.
        """
        identity = self._identity
        labels = node_labels(identity, self._machine)
        try:
            node = await self._client.get(Node, identity.name)
        except NotFound:
            try:
                node = await self._client.create(
                    Node(
                        metadata=ObjectMeta(
                            name=identity.name,
                            labels=labels,
                            annotations=dict(identity.annotations),
                        ),
                        spec=NodeSpec(taints=list(identity.taints)),
                    )
                )
            except AlreadyExists:
                node = await self._client.get(Node, identity.name)
        defaults = default_labels(identity, self._machine)
        missing = {
            key: text for key, text in defaults.items() if node.metadata.labels.get(key) != text
        }
        stale = {
            key: text
            for key, text in identity.annotations.items()
            if node.metadata.annotations.get(key) != text
        }
        if missing or stale:
            patch = {"metadata": {"labels": missing, "annotations": stale}}
            node = await self._client.patch(Node, identity.name, patch)
        return node

    async def _report(self) -> None:
        if self._node is None:
            self._node = await self._register()
        node = await self._with_room(self._node)
        now = self._clock.now()
        view = await self._engine()
        before = node.status
        status = status_of_node(
            self._identity,
            self._machine,
            view.version,
            view.images,
            conditions_of(
                view.error,
                before.conditions,
                now,
                view.network_error,
                self.shutdown_error(),
                self.pressure(),
            ),
            view.handlers,
            before,
            self.devices(),
        )
        # A report in the future is one of a clock that has been set back since.
        is_due = (
            self._reported is None or not self._reported <= now < self._reported + STATUS_REPORT
        )
        if not is_due and _without_dates(status) == _without_dates(before):
            return
        try:
            self._node = await self._client.patch(
                Node,
                self._identity.name,
                {"status": _patch(before, status)},
                patch_type="strategic",
                subresource="status",
            )
        except NotFound:
            # The Node was deleted, so register again.
            self._node = await self._register()
            self._changed.set()
            return
        self._reported = now

    async def _with_room(self, node: Node) -> Node:
        """Say how much room there is for new volumes, if that changed; return the node."""
        told = None if self.storage_room is None else await self.storage_room()
        if told is None or told == node.metadata.annotations.get(STORAGE_ROOM, ""):
            return node
        patch = {"metadata": {"annotations": {STORAGE_ROOM: told or None}}}
        with suppress(NotFound):  # which the report of the status will find as well
            node = self._node = await self._client.patch(Node, self._identity.name, patch)
        return node

    async def _renew_lease(self) -> None:
        now = format_micro_time(self._clock.now())
        if self._lease is None:
            self._lease = await self._find_lease(now)
        spec = {
            "renewTime": now,
            "holderIdentity": self._identity.name,
            "leaseDurationSeconds": LEASE_DURATION_SECONDS,
        }
        try:
            # A patch says what changes; 360 whole leases an hour would be most of what an idle node sends.
            self._lease = await self._client.patch(
                Lease, self._identity.name, {"spec": spec}, LEASE_NAMESPACE
            )
        except (Conflict, NotFound):
            self._lease = await self._find_lease(now)

    async def _find_lease(self, now: str) -> Lease:
        name = self._identity.name
        try:
            return await self._client.get(Lease, name, LEASE_NAMESPACE)
        except NotFound:
            pass
        if self._node is None:
            self._node = await self._register()
        owner = OwnerReference(apiVersion="v1", kind="Node", name=name, uid=self._node.metadata.uid)
        return await self._client.create(
            Lease(
                metadata=ObjectMeta(name=name, namespace=LEASE_NAMESPACE, ownerReferences=[owner]),
                spec=LeaseSpec(
                    holderIdentity=name,
                    leaseDurationSeconds=LEASE_DURATION_SECONDS,
                    renewTime=now,
                ),
            )
        )


def _without_dates(status: NodeStatus) -> dict[str, Any]:
    """Return the status that the node reports itself, without dates, which always differ."""
    fields = as_dict(status)
    for foreign in ("volumesAttached", "volumesInUse", "config", "phase"):
        fields.pop(foreign, None)
    ours = {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}
    fields["conditions"] = [
        {key: text for key, text in condition.items() if not key.startswith("last")}
        for condition in fields.get("conditions", [])
        if condition.get("type") in ours
    ]
    return fields


def _version(node: Node) -> int:
    text = node.metadata.resourceVersion
    return int(text) if text.isdecimal() else 0


def _went_back(before: Node | None, after: Node) -> bool:
    """Return whether the server has an older state than before, as from a snapshot."""
    return before is not None and _version(after) < _version(before)


def _patch(before: NodeStatus, after: NodeStatus) -> dict[str, Any]:
    old, new = as_dict(before), as_dict(after)
    patch = {field: new[field] for field in new if new[field] != old.get(field)}
    for field in ("capacity", "allocatable"):
        if field in patch:  # in a merge only null removes a key
            patch[field] = {**dict.fromkeys(old.get(field) or {}), **new[field]}
    patch["conditions"] = new["conditions"]
    if "addresses" in patch and old.get("addresses"):
        patch["addresses"] = [{"$patch": "replace"}, *new["addresses"]]
    return patch
