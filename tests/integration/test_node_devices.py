"""A device plugin on a real Docker engine: what it hands out is in the container, and stays its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from testbed.device_plugin import DevicePlugin
from testbed.dra_driver import DRADriver

from integration.node_host import (
    TERM,
    RealNode,
    container,
    engine_folder,
    is_ready,
    needs_engine,
    running_node,
)
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim
from kubelite.grpc.client import GrpcClient
from kubelite.node.devices.messages import (
    CDIDevice,
    ContainerAllocation,
    DeviceSpec,
    PluginMount,
)
from kubelite.node.dra.messages import Device
from kubelite.node.pod_resources.messages import GET, GetRequest

pytestmark = [*needs_engine, pytest.mark.timeout(180)]
GPU = "vendor.com/gpu"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RealNode]:
    async with running_node(folder) as made:
        yield made


def wants(amount: int, **fields: Any) -> dict[str, Any]:
    resources = {"limits": {GPU: str(amount)}, "requests": {GPU: str(amount)}}
    return container(script=TERM, resources=resources, **fields)


async def offered(node: RealNode, plugin: DevicePlugin) -> None:
    folder = node.folder / "device-plugins"
    async with asyncio.timeout(30):
        while not (folder / "kubelet.sock").exists():
            await asyncio.sleep(0.05)
        await plugin.start()
        while node.devices.capacity[1].get(GPU) != str(len(plugin.devices)):
            await asyncio.sleep(0.05)


async def test_a_container_has_the_devices_of_its_plugin_also_after_restarts(
    node: RealNode,
) -> None:
    library = node.folder / "library"
    library.mkdir(exist_ok=True)
    library.joinpath("version").write_text("7")

    def answer(devices: list[str]) -> ContainerAllocation:
        return ContainerAllocation(
            envs={"GPUS": ",".join(devices)},
            mounts=[PluginMount(container_path="/opt/gpu", host_path=str(library), read_only=True)],
            devices=[
                DeviceSpec(
                    container_path=f"/dev/gpu-{name}", host_path="/dev/zero", permissions="r"
                )
                for name in devices
            ],
        )

    plugin = DevicePlugin(node.folder / "device-plugins", GPU, answer=answer)
    await offered(node, plugin)
    try:
        await node.create({"containers": [wants(1)]})
        pod = await node.until(is_ready)
        look = "echo $GPUS; cat /opt/gpu/version; echo; head -c 3 /dev/gpu-a | od -An -tx1"
        code, output = await node.exec(pod, "sh", "-c", look)
        assert (code, output.split()) == (0, ["a", "7", "00", "00", "00"])
        container_id = pod.status.containerStatuses[0].containerID.partition("//")[2]
        permissions = "{{(index .HostConfig.Devices 0).CgroupPermissions}}"
        assert node.engine.docker("inspect", "-f", permissions, container_id) == "r"
        (status,) = pod.status.containerStatuses[0].allocatedResourcesStatus
        assert [(one.resourceID, one.health) for one in status.resources] == [("a", "Healthy")]

        await plugin.stop()
        await node.restart()
        plugin = DevicePlugin(node.folder / "device-plugins", GPU, answer=answer)
        await offered(node, plugin)
        await node.create({"containers": [wants(1)]}, "second")
        second = await node.until(is_ready, "second")
        assert (await node.exec(second, "sh", "-c", "echo $GPUS"))[1].split() == ["b"]

        await node.create({"containers": [wants(1)]}, "third")
        third = await node.until(lambda pod: pod.status.phase == "Failed", "third")
        assert third.status.reason == "UnexpectedAdmissionError"

        plugin.change({"a": "Unhealthy", "b": "Healthy"})
        await node.until(
            lambda pod: (
                pod.status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health
                == "Unhealthy"
            )
        )
        await node.client.delete(Pod, "second", "default")
        await node.until_gone("second")
        await node.create({"containers": [wants(1)]}, "fourth")
        await node.until(is_ready, "fourth")
        assert plugin.allocations == [["b"], ["b"]]
    finally:
        await plugin.stop()


@pytest.fixture
def cdi(tmp_path: Path) -> Iterator[str]:
    """A device of the Container Device Interface, as a driver writes its spec."""
    tmp_path.joinpath("note").write_text("hello")
    mount = {"hostPath": str(tmp_path), "containerPath": "/opt/cdi", "options": ["ro", "bind"]}
    path = Path("/var/run/cdi/kubelite-test.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    node = {"path": "/dev/cdi-null", "hostPath": "/dev/null"}
    edits = {"env": ["CDI=yes"], "deviceNodes": [node], "mounts": [mount]}
    device = {"name": "zero", "containerEdits": edits}
    spec = {"cdiVersion": "0.6.0", "kind": "kubelite.test/device", "devices": [device]}
    path.write_text(json.dumps(spec))
    try:
        yield "kubelite.test/device=zero"
    finally:
        path.unlink()


@pytest.mark.parametrize("knows_cdi", [True, False])
async def test_a_plugin_may_name_devices_of_cdi(
    node: RealNode, cdi: str, knows_cdi: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not knows_cdi:
        ask = node.runtime._json

        async def older(path: str, *args: Any, **options: Any) -> Any:
            found = await ask(path, *args, **options)
            return {**found, "CDISpecDirs": None} if path == "info" else found

        monkeypatch.setattr(node.runtime, "_json", older)
    plugin = DevicePlugin(
        node.folder / "device-plugins",
        GPU,
        answer=lambda _: ContainerAllocation(cdi_devices=[CDIDevice(name=cdi)]),
    )
    await offered(node, plugin)
    try:
        await node.create({"containers": [wants(1)]})
        pod = await node.until(is_ready)
        look = "echo $CDI; test -c /dev/cdi-null && echo there"
        assert (await node.exec(pod, "sh", "-c", look))[1].split() == ["yes", "there"]
    finally:
        await plugin.stop()


DRIVER = "gpu.kubelite.test"


async def allocated_claim(node: RealNode, name: str, *pods: Pod) -> None:
    """Create a claim as the scheduler leaves it, allocated and reserved for pods."""
    requests = [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]
    body = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"devices": {"requests": requests}},
    }
    await node.client.create(msgspec.convert(body, ResourceClaim))
    result = {"driver": DRIVER, "pool": "pool", "device": "zero", "request": "gpu"}
    reserved = [
        {"resource": "pods", "name": pod.metadata.name, "uid": pod.metadata.uid} for pod in pods
    ]
    status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": reserved}
    await node.client.patch(
        ResourceClaim, name, {"status": status}, "default", subresource="status"
    )


async def called(driver: DRADriver, *calls: str) -> None:
    async with asyncio.timeout(30):
        while driver.calls != list(calls):
            await asyncio.sleep(0.02)


async def test_a_driver_prepares_the_claims_of_pods_and_gives_them_back(
    node: RealNode, cdi: str
) -> None:
    driver = DRADriver(node.folder, DRIVER)
    driver.devices["claim"] = [
        Device(pool_name="pool", device_name="zero", cdi_device_ids=[cdi], request_names=["gpu"])
    ]
    driver.tell(zero=(1, ""))
    claims = [{"name": "wish", "resourceClaimName": "claim"}]
    wanting = container(script=TERM, resources={"claims": [{"name": "wish", "request": "gpu"}]})
    spec = {"containers": [wanting, container("plain", script=TERM)], "resourceClaims": claims}
    pod = await node.create(spec)
    await allocated_claim(node, "claim", pod)
    message = (
        "Warning FailedPrepareDynamicResources Failed to prepare dynamic resources: prepare "
        f"dynamic resources: DRA driver {DRIVER} is not registered"
    )
    async with asyncio.timeout(30):
        while message not in await node.events():
            await asyncio.sleep(0.05)
    await driver.start()
    try:
        pod = await node.until(is_ready)
        look = "echo $CDI; test -c /dev/cdi-null && echo there; cat /opt/cdi/note"
        assert (await node.exec(pod, "sh", "-c", look))[1].split() == ["yes", "there", "hello"]
        plain = next(one for one in pod.status.containerStatuses if one.name == "plain")
        code, output = await node.exec_in(plain, "sh", "-c", "echo none$CDI; test -e /opt/cdi")
        assert (code, output.split()) == (1, ["none"])
        await node.until(lambda pod: dra_health(pod) == [(cdi, "Healthy")])

        agent = GrpcClient(node.folder / "pod-resources" / "kubelet.sock")
        found = await agent.unary(
            GET, GetRequest(pod_name="pod", pod_namespace="default"), timeout_seconds=10
        )
        await agent.close()
        assert found.pod_resources is not None
        (dynamic,) = found.pod_resources.containers[0].dynamic_resources
        assert dynamic.claim_name == "claim"
        assert dynamic.claim_resources[0].cdi_devices == [CDIDevice(name=cdi)]

        await driver.stop()
        await node.restart()
        await node.client.delete(Pod, "pod", "default")
        await node.until(lambda pod: not any(c.ready for c in pod.status.containerStatuses))
        assert driver.calls == ["prepare claim"]
        await driver.start()
        await node.until_gone()
        assert driver.calls == ["prepare claim", "unprepare claim"]

        # The pod is gone, with its object, while the agent was away.
        pod = await node.create({**spec, "terminationGracePeriodSeconds": 0}, "second")
        await allocated_claim_for(node, pod)
        await node.until(is_ready, "second")
        await node.stop()
        await node.client.delete(Pod, "second", "default", grace_seconds=0)
        await node.restart()
        await called(driver, "prepare claim", "unprepare claim", "prepare claim", "unprepare claim")
    finally:
        await driver.stop()


def dra_health(pod: Pod) -> list[tuple[str, str]]:
    (status,) = [one for one in pod.status.containerStatuses if one.name == "app"]
    return [
        (health.resourceID, health.health)
        for one in status.allocatedResourcesStatus
        for health in one.resources
        if one.name == "claim:wish/gpu"
    ]


async def allocated_claim_for(node: RealNode, pod: Pod) -> None:
    """Reserve the claim for another pod, as the controller and the scheduler do."""
    reserved = [{"resource": "pods", "name": pod.metadata.name, "uid": pod.metadata.uid}]
    patch = {"status": {"reservedFor": reserved}}
    await node.client.patch(ResourceClaim, "claim", patch, "default", subresource="status")
