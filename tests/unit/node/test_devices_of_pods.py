"""Pods on a node with devices: admission, specs of containers, status and release."""

import asyncio
from collections.abc import Collection, Mapping

from kubelite.api.kinds.core.container_status import ResourceHealth, ResourceStatus
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.devices.protocol import AllocationFailed, DevicesBusy, Injection, NoDevices
from kubelite.node.pods import AnyContainer
from kubelite.node.runtime import HostDevice, Mount
from kubelite.node.simulated.node import SimulatedNode
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually

GPU = "vendor.com/gpu"


class FakeDevices(NoDevices):
    def __init__(self) -> None:
        self.refusal = ""
        self.missing = ""  # a driver
        self.pods: set[str] = set()
        self.released: list[str] = []
        self.health = "Healthy"
        self.given = Injection()

    async def allocate(self, pod: Pod) -> None:
        if self.refusal:
            raise AllocationFailed(self.refusal)
        self.pods.add(pod.metadata.uid)

    async def prepare(self, pod: Pod) -> None:
        if self.missing:
            raise AllocationFailed(f"DRA driver {self.missing} is not registered")

    async def injection(self, pod: Pod, container: AnyContainer) -> Injection:
        return self.given

    def statuses(self, pod: Pod) -> Mapping[str, list[ResourceStatus]]:
        if pod.metadata.uid not in self.pods:
            return {}
        health = ResourceHealth(resourceID="a", health=self.health)
        return {"app": [ResourceStatus(name=GPU, resources=[health])]}

    async def release(self, pod_uid: str) -> None:
        self.pods.discard(pod_uid)
        self.released.append(pod_uid)


class DeviceCluster(Cluster):
    """A cluster whose node has devices."""

    def __init__(self) -> None:
        self.devices = FakeDevices()
        super().__init__()

    def new_node(self, name: str = "node-1") -> SimulatedNode:
        return SimulatedNode(
            name, self.client, self.clock, SeededRandomness(3), devices=self.devices
        )


def test_a_pod_whose_devices_cannot_be_allocated_is_rejected() -> None:
    async def main() -> None:
        async with DeviceCluster() as cluster:
            cluster.devices.refusal = f"cannot allocate unregistered device {GPU}"
            await cluster.create({"containers": [container()]})
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed")
            assert pod.status.reason == "UnexpectedAdmissionError"
            assert pod.status.message == (
                "Pod was rejected: Allocate failed due to cannot allocate unregistered device "
                "vendor.com/gpu, which is unexpected"
            )
            assert set(cluster.devices.released) == {pod.metadata.uid}

    run_virtually(main())


def test_a_container_gets_what_its_devices_bring_but_keeps_what_is_its_own() -> None:
    async def main() -> None:
        async with DeviceCluster() as cluster:
            cluster.devices.given = Injection(
                {"GPUS": "0", "MODE": "plugin"},
                (Mount("/tmp", "/opt/gpu", read_only=True), Mount("/tmp", "/etc/hosts")),
                (HostDevice("/dev/null", "/dev/gpu", "rw"),),
                {"vendor.com/note": "x"},
                ("vendor.com/gpu=0",),
            )
            env = [{"name": "MODE", "value": "own"}]
            await cluster.create({"containers": [container(env=env)]})
            pod = await cluster.until(is_ready)
            (status,) = pod.status.containerStatuses
            spec = cluster.node.runtime.spec(status.containerID.removeprefix("docker://"))
            assert dict(spec.environment)["GPUS"] == "0"
            assert dict(spec.environment)["MODE"] == "own"
            assert spec.devices == (HostDevice("/dev/null", "/dev/gpu", "rw"),)
            assert spec.cdi_devices == ("vendor.com/gpu=0",)
            assert spec.annotations == {"vendor.com/note": "x"}
            assert [one for one in spec.mounts if one.target == "/opt/gpu"] == [
                Mount("/tmp", "/opt/gpu", read_only=True)
            ]

    run_virtually(main())


def test_the_status_shows_the_health_of_devices() -> None:
    async def main() -> None:
        async with DeviceCluster() as cluster:
            await cluster.create({"containers": [container()]})
            pod = await cluster.until(is_ready)
            cluster.devices.health = "Unhealthy"
            assert cluster.node.kubelet is not None
            cluster.node.kubelet.wake(pod.metadata.uid)
            pod = await cluster.until(
                lambda pod: (
                    [
                        (one.resourceID, one.health)
                        for status in pod.status.containerStatuses[0].allocatedResourcesStatus
                        for one in status.resources
                    ]
                    == [("a", "Unhealthy")]
                )
            )

    run_virtually(main())


def test_a_deleted_pod_releases_its_devices() -> None:
    async def main() -> None:
        async with DeviceCluster() as cluster:
            await cluster.create({"containers": [container()], "terminationGracePeriodSeconds": 1})
            pod = await cluster.until(is_ready)
            await cluster.client.delete(Pod, "pod", "default", uid=pod.metadata.uid)
            while await cluster.client.list(Pod, "default"):
                await asyncio.sleep(0.1)
            assert set(cluster.devices.released) == {pod.metadata.uid}

    run_virtually(main())


def test_a_pod_that_ended_is_no_longer_active() -> None:
    async def main() -> None:
        async with DeviceCluster() as cluster:
            await cluster.create({"containers": [container()], "activeDeadlineSeconds": 30})
            pod = await cluster.until(is_ready)
            assert cluster.node.kubelet is not None
            assert cluster.node.kubelet.active_pods() == {pod.metadata.uid}
            await cluster.until(lambda pod: pod.status.phase == "Failed", seconds=300)
            await asyncio.sleep(60)
            assert cluster.node.kubelet.active_pods() == set()

    run_virtually(main())


class FakeClaims(FakeDevices):
    """Has claims, each of which is prepared and given back in one step."""

    def __init__(self, cluster: "ClaimCluster") -> None:
        super().__init__()
        self.cluster = cluster
        self.trouble = ""
        self.busy = ""
        self.prepared: list[str] = []
        self.phases: list[str] = []  # of the pod in the API when its claims were given back
        self.left: set[str] = set()

    async def prepare(self, pod: Pod) -> None:
        if self.trouble:
            raise AllocationFailed(self.trouble)
        self.prepared.append(pod.metadata.name)
        self.left.add(pod.metadata.uid)

    async def unprepare(self, pod_uid: str) -> None:
        if pod_uid in self.left:
            if self.busy:
                raise DevicesBusy(self.busy)
            self.left.discard(pod_uid)
            found = await self.cluster.client.list(Pod, "default")
            self.phases += [pod.status.phase for pod in found if pod.metadata.uid == pod_uid]

    async def release(self, pod_uid: str) -> None:
        await self.unprepare(pod_uid)

    def leftovers(self) -> Collection[str]:
        return self.left


class ClaimCluster(Cluster):
    """A cluster whose node prepares claims."""

    def __init__(self) -> None:
        self.claims = FakeClaims(self)
        super().__init__()

    def new_node(self, name: str = "node-1") -> SimulatedNode:
        return SimulatedNode(
            name, self.client, self.clock, SeededRandomness(3), devices=self.claims
        )


async def messages(cluster: Cluster) -> list[str]:
    found = await cluster.client.list(Event, "default")
    return [event.message for event in found if event.reason == "FailedPrepareDynamicResources"]


def test_a_pod_waits_until_its_claims_are_prepared() -> None:
    async def main() -> None:
        async with ClaimCluster() as cluster:
            cluster.claims.trouble = "prepare dynamic resources: DRA driver x is not registered"
            await cluster.create({"containers": [container()]})
            message = f"Failed to prepare dynamic resources: {cluster.claims.trouble}"
            while message not in await messages(cluster):
                await asyncio.sleep(0.1)
            assert (await cluster.pod()).status.phase == "Pending"
            cluster.claims.trouble = ""
            await cluster.until(is_ready)
            assert cluster.claims.prepared == ["pod"]

    run_virtually(main())


def test_claims_are_given_back_before_the_api_hears_of_the_end() -> None:
    async def main() -> None:
        async with ClaimCluster() as cluster:
            await cluster.create({"containers": [container()], "restartPolicy": "Never"})
            pod = await cluster.until(is_ready)
            cluster.claims.busy = "DRA driver x is not registered"
            container_id = pod.status.containerStatuses[0].containerID.removeprefix("docker://")
            cluster.node.runtime.end(container_id)
            await asyncio.sleep(300)
            waiting = (await cluster.pod()).status
            assert waiting.phase == "Running"
            assert waiting.containerStatuses[0].state.terminated is not None
            cluster.claims.busy = ""
            await cluster.until(lambda pod: pod.status.phase == "Succeeded")
            assert cluster.claims.phases == ["Running"]

    run_virtually(main())


def test_a_deleted_pod_stays_until_its_claims_are_given_back() -> None:
    async def main() -> None:
        async with ClaimCluster() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            cluster.claims.busy = "DRA driver x is not registered"
            await cluster.client.delete(Pod, "pod", "default")
            await asyncio.sleep(300)
            assert (await cluster.pod()).status.phase == "Running"
            cluster.claims.busy = ""
            while await cluster.client.list(Pod, "default"):
                await asyncio.sleep(1)
            assert cluster.claims.phases == ["Running"]

    run_virtually(main())


def test_claims_of_pods_that_are_gone_are_given_back_after_a_restart() -> None:
    async def main() -> None:
        async with ClaimCluster() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            cluster.claims.left.add("of-a-pod-that-is-gone")
            await cluster.node.stop()
            await cluster.node.start()
            while len(cluster.claims.left) > 1:
                await asyncio.sleep(1)

    run_virtually(main())


def test_a_pod_that_waits_for_its_driver_goes_on_as_soon_as_it_is_there() -> None:
    async def main() -> None:
        async with DeviceCluster() as cluster:
            cluster.devices.missing = "gpu.example.com"
            await cluster.create({"containers": [container()]})
            for _ in range(6):  # long enough for a back-off of minutes
                await asyncio.sleep(60)
            events = await cluster.client.list(Event, "default")
            assert {event.reason for event in events} >= {"FailedPrepareDynamicResources"}
            cluster.devices.missing = ""
            pod = await cluster.pod()
            assert cluster.node.kubelet is not None
            cluster.node.kubelet.retry(pod.metadata.uid)
            loop = asyncio.get_running_loop()
            started = loop.time()
            await cluster.until(is_ready)
            assert loop.time() - started < 2.0  # of the simulation's own steps
            cluster.node.kubelet.retry("unknown")

    run_virtually(main())
