"""The CSI drivers of a node: registered here, and told to the cluster in the node's CSINode, labels and annotation.

The objects are upstream's (pkg/volume/csi/nodeinfomanager). They are written before a registration succeeds, and again
when the Node is created anew.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from kubelite.api.client.protocol import Client
from kubelite.api.errors import AlreadyExists, APIError, Conflict, NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.storage import (
    CSIDriver,
    CSINode,
    CSINodeDriver,
    CSINodeSpec,
    VolumeNodeResources,
)
from kubelite.api.machinery.csi_volumes import NODE_ID
from kubelite.backoff import backoff_seconds
from kubelite.grpc.status import GrpcError
from kubelite.limits import CSI_TOPOLOGY
from kubelite.node.csi.driver import Driver
from kubelite.node.csi.messages import NodeGetInfoResponse
from kubelite.node.plugins.channel import Connect
from kubelite.node.plugins.messages import PluginInfo
from kubelite.node.plugins.registry import Refused
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

# As the API takes it in a CSIDriver, and as one step of a path.
NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,61}[A-Za-z0-9])?", re.ASCII)
COUNT_MAX = (1 << 31) - 1
WRITE_ATTEMPTS = 5
RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 1.0, 60.0


def refusal(info: PluginInfo) -> str:
    """Return why a driver cannot be registered; "" if it can."""
    if NAME.fullmatch(info.name) is None:
        return f"invalid CSI driver name {info.name[:100]!r}"
    if not any(re.fullmatch(r"v?1\.\d+\.\d+", version) for version in info.supported_versions):
        listed = " ".join(info.supported_versions[:5])
        return f"none of the CSI versions reported by this driver are supported: [{listed}]"
    return ""


def node_driver(name: str, info: NodeGetInfoResponse) -> CSINodeDriver:
    """Return how a driver is listed in the node's CSINode."""
    topology = info.accessible_topology
    count = min(info.max_volumes_per_node, COUNT_MAX)
    return CSINodeDriver(
        name=name,
        nodeID=info.node_id,
        topologyKeys=sorted(topology.segments) if topology is not None else [],
        allocatable=VolumeNodeResources(count=count) if count > 0 else None,
    )


def node_patch(
    node: Node, drivers: Mapping[str, NodeGetInfoResponse], gone: str = ""
) -> dict[str, Any]:
    """Return the patch of a Node's metadata for its drivers; empty if nothing changes. Raises Refused.

    Drivers that are listed already stay, but for `gone`: they may just not have registered since the agent started.
    """
    labels: dict[str, str] = {}
    for name, info in sorted(drivers.items()):
        segments = info.accessible_topology.segments if info.accessible_topology else {}
        if len(segments) > CSI_TOPOLOGY.value:
            CSI_TOPOLOGY.reached()
            raise Refused(f"driver {name} reports too many topology segments")
        for key, value in segments.items():
            existing = node.metadata.labels.get(key, labels.get(key, value))
            if existing != value:
                raise Refused(
                    f'detected topology value collision: driver reported "{key}":"{value}" but '
                    f'existing label is "{key}":"{existing}"'
                )
            labels[key] = value
    missing = {key: text for key, text in labels.items() if key not in node.metadata.labels}
    before = node.metadata.annotations.get(NODE_ID)
    ids = {**_listed_ids(before or ""), **{name: info.node_id for name, info in drivers.items()}}
    ids.pop(gone, None)
    after = json.dumps(ids, separators=(",", ":"), sort_keys=True) if ids else None
    patch: dict[str, Any] = {"labels": missing} if missing else {}
    if before != after:
        patch["annotations"] = {NODE_ID: after}
    return patch


def _listed_ids(text: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def listed_drivers(
    before: Sequence[CSINodeDriver], drivers: Mapping[str, NodeGetInfoResponse], gone: str = ""
) -> list[CSINodeDriver]:
    """Return the drivers of a CSINode by name; those that are listed already stay, but for `gone`."""
    listed = {one.name: one for one in before}
    listed |= {name: node_driver(name, info) for name, info in drivers.items()}
    listed.pop(gone, None)
    return [listed[name] for name in sorted(listed)]


class Drivers:
    """The registered drivers of one node."""

    def __init__(self, node: str, client: Client, connect: Connect) -> None:
        self._node = node
        self._client = client
        self._connect = connect
        self._drivers: dict[str, tuple[Driver, Path]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._writing = asyncio.Lock()
        self._tasks = TaskSet()
        self._mirror = client.mirror(Node, field_selector=f"metadata.name={node}")

    def get(self, name: str) -> Driver | None:
        """Return a registered driver, or None."""
        known = self._drivers.get(name)
        return known[0] if known is not None else None

    def subscribe(self, registered: Callable[[str], None]) -> None:
        """Call `registered` with the name of each driver after it registered."""
        self._listeners.append(registered)

    async def object_of(self, name: str) -> CSIDriver | None:
        """Return the CSIDriver of a driver; None if nobody made one. Raises APIError."""
        try:
            return await self._client.get(CSIDriver, name)
        except NotFound:
            return None

    async def run(self) -> None:
        """Keep the node's CSINode: it is there even without drivers. Until cancelled."""
        created: asyncio.Queue[str] = asyncio.Queue(1)

        def seen(before: Node | None, after: Node | None) -> None:
            if after is None or (before is not None and before.metadata.uid == after.metadata.uid):
                return
            if created.empty():
                created.put_nowait(after.metadata.uid)

        unsubscribe = self._mirror.subscribe(seen)
        try:
            while True:
                await created.get()
                await self._write_again()
        finally:
            unsubscribe()
            await self._tasks.stop()
            for driver, _ in self._drivers.values():
                await driver.close()

    async def _write_again(self, gone: str = "") -> None:
        failures = 0
        while gone not in self._drivers:
            try:
                await self._write(self._infos(), gone)
            except (APIError, Refused) as error:
                log.warning("cannot write the CSINode: %s", error, extra={"node": self._node})
            else:
                return
            await asyncio.sleep(backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS))
            failures += 1

    async def register(self, info: PluginInfo, endpoint: Path) -> None:
        """Register a driver. Raises Refused."""
        if reason := refusal(info):
            raise Refused(reason)
        channel = self._connect(endpoint)
        try:
            driver = await Driver.meet(info.name, channel)
            if not driver.info.node_id:
                raise Refused("error adding CSI driver node info: nodeID is empty")
            await self._write({**self._infos(), info.name: driver.info})
        except (GrpcError, APIError) as error:
            await channel.close()
            raise Refused(
                f"RegisterPlugin error -- plugin registration failed with err: {error}"
            ) from error
        except BaseException:
            await channel.close()
            raise
        before = self._drivers.get(info.name)
        self._drivers[info.name] = (driver, endpoint)
        if before is not None:
            await before[0].close()
        for listener in self._listeners:
            listener(info.name)

    async def unregister(self, name: str, endpoint: Path) -> None:
        """Take a driver out of the node's objects, unless it registered through another socket meanwhile."""
        known = self._drivers.get(name)
        if known is None or known[1] != endpoint:
            return
        del self._drivers[name]
        await known[0].close()
        self._tasks.start(self._write_again(name), name=f"end of CSI driver {name}")

    def _infos(self) -> dict[str, NodeGetInfoResponse]:
        return {name: driver.info for name, (driver, _) in self._drivers.items()}

    async def _write(self, drivers: Mapping[str, NodeGetInfoResponse], gone: str = "") -> None:
        """Write Node and CSINode for these drivers, without `gone`. Raises APIError and Refused."""
        async with self._writing:
            node = await self._client.get(Node, self._node)
            if patch := node_patch(node, drivers, gone):
                await self._client.patch(Node, self._node, {"metadata": patch})
            for attempt in range(WRITE_ATTEMPTS):
                try:
                    await self._write_csi_node(node, drivers, gone)
                except (Conflict, AlreadyExists):
                    if attempt + 1 == WRITE_ATTEMPTS:
                        raise
                else:
                    return

    async def _write_csi_node(
        self, node: Node, drivers: Mapping[str, NodeGetInfoResponse], gone: str
    ) -> None:
        owner = OwnerReference(apiVersion="v1", kind="Node", name=self._node, uid=node.metadata.uid)
        try:
            found = await self._client.get(CSINode, self._node)
        except NotFound:
            meta = ObjectMeta(name=self._node, ownerReferences=[owner])
            spec = CSINodeSpec(drivers=listed_drivers((), drivers, gone))
            await self._client.create(CSINode(metadata=meta, spec=spec))
            return
        listed = listed_drivers(found.spec.drivers, drivers, gone)
        if found.spec.drivers != listed:
            await self._client.update(replace(found, spec=replace(found.spec, drivers=listed)))
