"""A CSI driver on a real socket, with real mounts: registration, a pod's volume, restarts, and what is left behind."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.server import Server
from msgspec import convert
from testbed.csi_driver import HostPathDriver

from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.storage import CSIDriver, CSINode
from kubelite.grpc.client import GrpcClient
from kubelite.grpc.server import GrpcServer
from kubelite.node.csi.service import CSIService
from kubelite.node.environment import ConfigUnavailable, Surroundings
from kubelite.node.kubelet_folders import prepare
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.plugins.registry import PluginRegistry
from kubelite.node.volumes.host import HostVolumes
from kubelite.node.volumes.tmpfs import mounts_below, unmount_below
from kubelite.randomness import SeededRandomness

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts"),
    pytest.mark.timeout(120),
]
DRIVER = "hostpath.example.com"
AROUND = Surroundings(("10.42.0.2",), ("192.0.2.1",), {})
WORLD: tuple[tuple[type[Any], dict[str, Any]], ...] = (
    (Namespace, {"metadata": {"name": "default"}}),
    (Node, {"metadata": {"name": "one"}}),
    (
        CSIDriver,
        {
            "metadata": {"name": DRIVER},
            "spec": {
                "attachRequired": False,
                "podInfoOnMount": False,
                "storageCapacity": False,
                "fsGroupPolicy": "File",
                "volumeLifecycleModes": ["Persistent", "Ephemeral"],
            },
        },
    ),
    (
        PersistentVolumeClaim,
        {
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "resources": {"requests": {"storage": "1Gi"}},
                "volumeName": "pv-1",
            },
        },
    ),
)


def pod(uid: str, **source: Any) -> Pod:
    volume = source or {"persistentVolumeClaim": {"claimName": "data"}}
    mounts = [
        {"name": "data", "mountPath": "/data"},
        {"name": "data", "mountPath": "/part", "subPath": "part"},
    ]
    return convert(
        {
            "metadata": {"name": f"web-{uid}", "namespace": "default", "uid": uid},
            "spec": {
                "containers": [{"name": "app", "image": "a:1", "volumeMounts": mounts}],
                "volumes": [{"name": "data", **volume}],
                "securityContext": {"fsGroup": 4242},
            },
        },
        Pod,
    )


class Host:
    """A node's folders, an API, and a driver that registers over sockets."""

    def __init__(self, folder: Path) -> None:
        self.server = Server()
        self.data, self.root = folder / "agent", folder / "kubelet"
        self.driver = HostPathDriver(
            folder / "disks",
            endpoint=str(self.root / "plugins" / DRIVER / "csi.sock"),
            topology={"topology.example.com/node": "one"},
            volumes_max=3,
        )

    async def fill(self) -> None:
        client = self.server.client
        for kind, item in WORLD:
            await client.create(convert(item, kind))
        claim = await client.get(PersistentVolumeClaim, "data", "default")
        volume = {
            "metadata": {"name": "pv-1"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "csi": {"driver": DRIVER, "volumeHandle": "vol-1", "fsType": "ext4"},
                "claimRef": {
                    "namespace": "default",
                    "name": "data",
                    "uid": claim.metadata.uid,
                },
            },
        }
        await client.create(convert(volume, PersistentVolume))
        bound = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        await client.patch(PersistentVolumeClaim, "data", bound, "default", subresource="status")

    @asynccontextmanager
    async def node(self) -> AsyncIterator[HostVolumes]:
        """Run the node's side of CSI, as after a start."""
        server = self.server
        folders = await asyncio.to_thread(prepare, self.data, self.root)
        volumes = HostVolumes(
            self.data,
            server.client,
            server.clock,
            SeededRandomness(1),
            DNSSettings(("10.43.0.10",)),
        )
        events = EventRecorder(
            server.client, server.clock, SeededRandomness(2), component="kubelet"
        )
        csi = CSIService("one", folders, server.client, server.clock, events, volumes, GrpcClient)
        await csi.restore()
        registry = PluginRegistry(folders.registry, {"CSIPlugin": csi.drivers}, GrpcClient)
        tasks = [asyncio.create_task(run()) for run in (csi.run, registry.run)]
        try:
            yield volumes
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            volumes.close()
            await events.close()

    @asynccontextmanager
    async def registered(self) -> AsyncIterator[None]:
        """Run the driver with the two sockets that real drivers have, until the node has taken it."""
        registration = self.data / "plugins_registry" / f"{DRIVER}-reg.sock"
        endpoint = self.data / "plugins" / DRIVER / "csi.sock"
        endpoint.parent.mkdir(parents=True, exist_ok=True)
        registration.parent.mkdir(parents=True, exist_ok=True)
        handlers = self.driver.handlers()
        servers = [GrpcServer(place, handlers) for place in (endpoint, registration)]
        self.driver.registered.clear()
        for server in servers:
            await server.start()

        async def is_registered() -> bool:
            return self.driver.registered == [(True, "")]

        try:
            await until(is_registered)
            yield
        finally:
            for server in reversed(servers):
                await server.stop()

    def mounts(self) -> list[str]:
        return [str(place) for place in mounts_below(self.data) if "kubernetes.io" in str(place)]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():
            await asyncio.sleep(0.01)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    # Not pytest's folder: the path of a socket has no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="csi-", dir="/tmp"))
    made = Host(folder)
    await made.fill()
    try:
        yield made
    finally:
        unmount_below(made.data)
        shutil.rmtree(folder)


async def source_of(volumes: HostVolumes, item: Pod, target: str) -> Path:
    found = await volumes.mounts(item, item.spec.containers[0], 0, AROUND, {})
    (source,) = [mount.source for mount in found if mount.target == target]
    return Path(source)


async def test_a_pod_writes_to_a_volume_of_a_driver_and_the_next_pod_reads_it(host: Host) -> None:
    async with host.node() as volumes, host.registered():
        listed = (await host.server.client.get(CSINode, "one")).spec.drivers
        assert [(one.name, one.nodeID) for one in listed] == [(DRIVER, "node-1")]
        labels = (await host.server.client.get(Node, "one")).metadata.labels
        assert labels["topology.example.com/node"] == "one"
        first, second = pod("u"), pod("v")
        await volumes.set_up(first, AROUND)
        place = await source_of(volumes, first, "/data")
        assert place.stat().st_gid == 4242
        (place / "file").write_text("hello")
        part = await source_of(volumes, first, "/part")
        (part / "inner").write_text("x")
        await volumes.set_up(second, AROUND)
        assert (await source_of(volumes, second, "/data") / "file").read_text() == "hello"
        disk = host.driver.root / "vol-1"
        assert (disk / "part" / "inner").read_text() == "x"
        await volumes.tear_down("u")
        assert (await source_of(volumes, second, "/data") / "file").read_text() == "hello"
        await volumes.tear_down("v")

        async def is_unmounted() -> bool:
            return not host.mounts() and host.driver.names[-1] == "NodeUnstageVolume"

        await until(is_unmounted)
        assert (disk / "file").read_text() == "hello"
        assert await volumes.leftovers() == []
    path = host.driver.requests("NodePublishVolume")[0].target_path
    assert path == f"{host.root}/pods/u/volumes/kubernetes.io~csi/pv-1/mount"


async def test_a_restart_keeps_a_mounted_volume_and_unmounts_it_without_its_driver(
    host: Host,
) -> None:
    item = pod("u")
    async with host.node() as volumes, host.registered():
        await volumes.set_up(item, AROUND)
        (await source_of(volumes, item, "/data") / "file").write_text("hello")
    before = host.mounts()
    host.driver.calls.clear()
    async with host.node() as volumes:
        await volumes.set_up(item, AROUND)  # the driver is away, and the pod runs on
        assert (await source_of(volumes, item, "/data") / "file").read_text() == "hello"
        assert host.mounts() == before
        await volumes.tear_down("u")
        assert await volumes.leftovers() == []
        async with host.registered():

            async def is_settled() -> bool:
                return host.driver.names == ["NodeUnpublishVolume", "NodeUnstageVolume"]

            await until(is_settled)
            await until(lambda: _is_empty(host))
    assert (host.driver.root / "vol-1" / "file").read_text() == "hello"


async def _is_empty(host: Host) -> bool:
    return not host.mounts()


async def test_a_volume_of_the_pod_alone(host: Host) -> None:
    item = pod("u", csi={"driver": DRIVER, "volumeAttributes": {"size": "1"}})
    async with host.node() as volumes:
        with pytest.raises(ConfigUnavailable, match="not found in the list of registered CSI"):
            await volumes.set_up(item, AROUND)
        async with host.registered():
            await volumes.set_up(item, AROUND)
            place = await source_of(volumes, item, "/data")
            (place / "file").write_text("x")
            assert len(host.mounts()) == 1
            await volumes.tear_down("u")
            assert host.mounts() == []
    assert host.driver.names == ["NodePublishVolume", "NodeUnpublishVolume"]
