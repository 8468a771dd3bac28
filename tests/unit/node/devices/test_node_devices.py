"""The devices of plugins and of claims as one, and who asks for them through the pod resources API."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import Server
from testbed.device_plugin import DevicePlugin
from testbed.dra_driver import DRADriver

from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.resource import ResourceClaim, ResourceSlice
from kubelite.grpc.client import GrpcClient
from kubelite.grpc.method import Method
from kubelite.grpc.status import GrpcError
from kubelite.node.devices.node_devices import NodeDevices
from kubelite.node.devices.protocol import CLAIMS_FILE
from kubelite.node.dra.messages import Device
from kubelite.node.pod_resources.lister import BURST_CALLS, as_told
from kubelite.node.pod_resources.messages import (
    ALLOCATABLE,
    GET,
    LIST,
    ContainerDevices,
    Empty,
    GetRequest,
)
from kubelite.tasks import TaskSet

GPU, DRIVER = "vendor.com/gpu", "gpu.example.com"


async def until(look: Callable[[], Any]) -> None:
    """Give way to the loop until something is so."""
    async with asyncio.timeout(30):
        while not look():
            await asyncio.sleep(0.005)


def pod(**status: Any) -> Pod:
    containers = [
        {
            "name": "app",
            "resources": {"limits": {GPU: "1"}, "claims": [{"name": "wish"}]},
        },
        {"name": "other"},
    ]
    body = {
        "metadata": {"name": "pod", "namespace": "default", "uid": "p1"},
        "spec": {
            "containers": containers,
            "initContainers": [{"name": "first"}, {"name": "side", "restartPolicy": "Always"}],
            "resourceClaims": [{"name": "wish", "resourceClaimName": "claim"}],
        },
        "status": status,
    }
    return msgspec.convert(body, Pod)


def plain() -> Pod:
    body = {"metadata": {"name": "plain", "namespace": "default", "uid": "p2"}}
    return msgspec.convert({**body, "spec": {"containers": [{"name": "app"}]}}, Pod)


class World:
    """A node's devices, over an API with one claim."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = Server().client
        self.devices = NodeDevices(folder, "node-1", self.client)
        self.tasks = TaskSet()

    @property
    def socket(self) -> Path:
        return self.folder / "pod-resources" / "kubelet.sock"

    async def start(self) -> None:
        await self.devices.restore()
        self.tasks.start(self.devices.run(), name="devices")
        await until((self.folder / "device-plugins" / "kubelet.sock").exists)

    async def claim(self) -> None:
        await self.client.create(Namespace(metadata=ObjectMeta(name="default")))
        requests = [{"name": "r", "exactly": {"deviceClassName": "x"}}]
        meta = {"name": "claim", "namespace": "default"}
        body = {"metadata": meta, "spec": {"devices": {"requests": requests}}}
        await self.client.create(msgspec.convert(body, ResourceClaim))
        result = {"driver": DRIVER, "pool": "pool", "device": "0", "request": "r"}
        status = {
            "allocation": {"devices": {"results": [result]}},
            "reservedFor": [{"resource": "pods", "name": "pod", "uid": "p1"}],
        }
        await self.client.patch(
            ResourceClaim, "claim", {"status": status}, "default", subresource="status"
        )

    async def ask(self, method: Method[Any, Any], request: Any) -> Any:
        client = GrpcClient(self.socket)
        try:
            return await client.unary(method, request, timeout_seconds=30)
        finally:
            await client.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    # Not pytest's folder: the path of a socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="dev-", dir="/tmp") as folder:
        made = World(Path(folder))
        await made.start()
        yield made
        await made.tasks.stop()


@asynccontextmanager
async def equipped(world: World) -> AsyncIterator[tuple[DevicePlugin, DRADriver]]:
    """Give the node a device plugin, a DRA driver, and a pod that has a device of each."""
    plugin = DevicePlugin(world.folder / "device-plugins", GPU)
    driver = DRADriver(world.folder)
    driver.devices["claim"] = [
        Device(pool_name="pool", device_name="0", cdi_device_ids=["example.com/gpu=0"])
    ]
    await world.claim()
    await plugin.start()
    await driver.serve()
    try:
        await until(lambda: GPU in world.devices.plugins.capacity[1])
        await world.devices.register(driver.info, driver.endpoint)
        await world.devices.allocate(pod())
        await world.devices.prepare(pod())
        yield plugin, driver
    finally:
        await driver.stop()
        await plugin.stop()


async def test_a_container_gets_the_devices_of_plugins_and_of_claims(world: World) -> None:
    async with equipped(world) as (_, driver):
        app, other = pod().spec.containers
        found = await world.devices.injection(pod(), app)
        assert found.environment == {"DEVICES": "a"}
        assert found.cdi_devices == ("example.com/gpu=0",)
        assert (await world.devices.injection(pod(), other)).cdi_devices == ()
        statuses = world.devices.statuses(pod())
        assert [one.name for one in statuses["app"]] == [GPU, "claim:wish"]
        assert set(world.devices.leftovers()) == {"p1"}
        await world.devices.release("p1")
        assert driver.calls == ["prepare claim", "unprepare claim"]
        assert not world.devices.leftovers()


async def test_agents_are_told_the_devices_of_containers(world: World) -> None:
    async with equipped(world):
        world.devices.pods = lambda: [pod(), plain()]
        found = await world.ask(LIST, Empty())
        first, second = found.pod_resources
        assert (second.name, [one.name for one in second.containers]) == ("plain", ["app"])
        assert [one.name for one in first.containers] == ["side", "app", "other"]
        app = first.containers[1]
        assert app.devices == [ContainerDevices(resource_name=GPU, device_ids=["a"])]
        (dynamic,) = app.dynamic_resources
        assert (dynamic.claim_namespace, dynamic.claim_name) == ("default", "claim")
        (device,) = dynamic.claim_resources
        assert (device.driver_name, device.pool_name, device.device_name) == (DRIVER, "pool", "0")
        assert [one.name for one in device.cdi_devices] == ["example.com/gpu=0"]
        assert first.containers[2].dynamic_resources == []

        one = await world.ask(GET, GetRequest(pod_name="pod", pod_namespace="default"))
        assert one.pod_resources == first
        with pytest.raises(GrpcError) as failed:
            await world.ask(GET, GetRequest(pod_name="pod", pod_namespace="other"))
        assert failed.value.message == "pod pod in namespace other not found"

        all_devices = await world.ask(ALLOCATABLE, Empty())
        assert [one.device_ids for one in all_devices.devices] == [["a"], ["b"]]


def test_devices_are_told_once_for_each_numa_node() -> None:
    told = as_told({GPU: {"a": (0, 1), "b": (-1,)}})
    assert [
        (one.device_ids, [node.ID for node in one.topology.nodes] if one.topology else [])
        for one in told
    ] == [(["a"], [0]), (["a"], [1]), (["b"], [])]


async def test_only_the_node_itself_may_ask_and_not_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.socket.stat().st_mode & 0o777 == 0o600
    assert world.socket.parent.stat().st_mode & 0o007 == 0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
    client = GrpcClient(world.socket)
    for _ in range(int(BURST_CALLS)):
        await client.unary(LIST, Empty(), timeout_seconds=30)
    with pytest.raises(GrpcError, match="rejected by rate limit"):
        await client.unary(LIST, Empty(), timeout_seconds=30)
    await client.close()


async def test_at_the_start_the_node_takes_back_what_drivers_offered() -> None:
    with tempfile.TemporaryDirectory(prefix="dev-", dir="/tmp") as folder:
        made = World(Path(folder))
        for node in ("node-1", "node-2"):
            spec = {
                "driver": DRIVER,
                "nodeName": node,
                "pool": {"name": "pool", "generation": 1, "resourceSliceCount": 1},
            }
            body = {"metadata": {"name": f"of-{node}"}, "spec": spec}
            await made.client.create(msgspec.convert(body, ResourceSlice))
        await made.start()
        async with asyncio.timeout(30):
            while len(await made.client.list(ResourceSlice)) > 1:
                await asyncio.sleep(0.005)
        (left,) = await made.client.list(ResourceSlice)
        assert left.metadata.name == "of-node-2"
        await made.tasks.stop()


async def test_claims_of_the_last_run_are_known_at_the_start(world: World) -> None:
    async with equipped(world):
        await until((world.folder / CLAIMS_FILE).exists)
        again = NodeDevices(world.folder, "node-1", world.client)
        await again.restore()
        assert set(again.leftovers()) == {"p1"}


def test_a_node_without_drivers_and_claims_does_not_import_them() -> None:
    program = """
import asyncio, sys, tempfile
from pathlib import Path
import msgspec
import kubelite.worker
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.devices.node_devices import NodeDevices

async def main():
    devices = NodeDevices(Path(tempfile.mkdtemp()), "node", None)
    await devices.restore()
    pod = msgspec.convert({"spec": {"containers": [{"name": "app"}]}}, Pod)
    await devices.prepare(pod)
    await devices.injection(pod, pod.spec.containers[0])
    devices.statuses(pod)
    await devices.release("u")

asyncio.run(main())
print(*sorted(name for name in sys.modules if name.startswith(("kubelite.node.dra", "kubelite.node.pod_resources"))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
