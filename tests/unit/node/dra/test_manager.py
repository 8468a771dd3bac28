"""Drivers prepare the claims of pods, over real sockets, and unprepare them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import Server
from testbed.dra_driver import DRADriver

from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.resource import ResourceClaim, ResourceSlice
from kubelite.grpc.client import GrpcClient
from kubelite.limits import DRA_CLAIM_DEVICES
from kubelite.node.devices.protocol import CLAIMS_FILE, AllocationFailed, DevicesBusy
from kubelite.node.dra.manager import ClaimManager
from kubelite.node.dra.messages import V1, V1BETA1, Device
from kubelite.node.dra.metrics import CALLS, CLAIMS_IN_USE, OPERATIONS, PREPARE, UNPREPARE
from kubelite.node.plugins.messages import PluginInfo
from kubelite.node.plugins.registry import Refused

GPU, NIC = "gpu.example.com", "nic.example.com"


async def until(look: Callable[[], Any]) -> None:
    """Give way to the loop until something is so."""
    async with asyncio.timeout(30):
        while not look():
            await asyncio.sleep(0.005)


def device(name: str, *requests: str, cdi: str = "") -> Device:
    return Device(
        pool_name="pool",
        device_name=name,
        request_names=list(requests),
        cdi_device_ids=[cdi or f"example.com/gpu={name}"],
    )


def pod(uid: str = "p1", claim: str = "gpu", request: str = "") -> Pod:
    wish = {"name": "wish", "request": request}
    body = {
        "metadata": {"name": uid, "namespace": "default", "uid": uid},
        "spec": {
            "containers": [{"name": "app", "resources": {"claims": [wish]}}, {"name": "other"}],
            "resourceClaims": [{"name": "wish", "resourceClaimName": claim}],
        },
    }
    return msgspec.convert(body, Pod)


class World:
    """An API with claims, and the kubelet's folder of one node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server()
        self.client = self.server.client
        self.driver = DRADriver(folder)
        self.driver.devices["gpu"] = [device("0")]
        self.woken: list[str] = []
        self.retried: list[str] = []

    async def claim(
        self, name: str = "gpu", drivers: tuple[str, ...] = (GPU,), pods: tuple[str, ...] = ("p1",)
    ) -> ResourceClaim:
        """Create a claim that is allocated and reserved."""
        meta = {"name": name, "namespace": "default"}
        requests = [
            {"name": f"r{i}", "exactly": {"deviceClassName": "x"}} for i in range(len(drivers))
        ]
        body = {"metadata": meta, "spec": {"devices": {"requests": requests}}}
        await self.client.create(msgspec.convert(body, ResourceClaim))
        results = [
            {"driver": one, "pool": "pool", "device": "0", "request": f"r{i}"}
            for i, one in enumerate(drivers)
        ]
        reserved = [{"resource": "pods", "name": uid, "uid": uid} for uid in pods]
        status = {"allocation": {"devices": {"results": results}}, "reservedFor": reserved}
        return await self.client.patch(
            ResourceClaim, name, {"status": status}, "default", subresource="status"
        )

    @asynccontextmanager
    async def manager(self, **options: Any) -> AsyncIterator[ClaimManager]:
        """Run the node's part, as after a start."""
        made = ClaimManager(
            self.folder,
            "node-1",
            self.client,
            GrpcClient,
            self.woken.append,
            self.retried.append,
            **options,
        )
        await made.restore()
        try:
            yield made
        finally:
            await made.close()

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[ClaimManager]:
        """Run the node's part with the driver."""
        await self.driver.serve()
        try:
            async with self.manager(**options) as made:
                await made.drivers.register(self.driver.info, self.driver.endpoint)
                yield made
        finally:
            await self.driver.stop()

    async def slices(self) -> list[str]:
        return [one.metadata.name for one in await self.client.list(ResourceSlice)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    # Not pytest's folder: the path of a socket has no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="dra-", dir="/tmp") as folder:
        made = World(Path(folder))
        await made.client.create(Namespace(metadata=ObjectMeta(name="default")))
        yield made


async def failure(work: Any, kind: type[Exception] = AllocationFailed) -> str:
    with pytest.raises(kind) as failed:
        await work
    return str(failed.value)


async def test_containers_get_the_devices_of_the_claims_that_they_name(world: World) -> None:
    await world.claim()
    world.driver.devices["gpu"] = [device("0", "r0"), device("1", "r1"), device("2")]
    async with world.running() as manager:
        for request, names in (("", "012"), ("r0", "02"), ("r1", "12")):
            asks = pod(request=request)
            await manager.prepare(asks)
            app, other = asks.spec.containers
            found = await manager.injection(asks, app)
            assert found.cdi_devices == tuple(f"example.com/gpu={name}" for name in names)
            assert (await manager.injection(asks, other)).cdi_devices == ()
        assert world.driver.calls == ["prepare gpu"]
        await manager.unprepare("p1")
        assert world.driver.calls == ["prepare gpu", "unprepare gpu"]
        await manager.unprepare("p1")
        assert len(world.driver.calls) == 2
    assert not (world.folder / CLAIMS_FILE).exists()


async def test_a_shared_claim_is_unprepared_with_its_last_pod(world: World) -> None:
    await world.claim(pods=("p1", "p2"))
    async with world.running() as manager:
        world.driver.hold.clear()
        both = [asyncio.create_task(manager.prepare(pod(uid))) for uid in ("p1", "p2")]
        await until(lambda: world.driver.calls)
        world.driver.hold.set()
        await asyncio.gather(*both)
        assert world.driver.calls == ["prepare gpu"]
        await manager.unprepare("p1")
        assert world.driver.calls == ["prepare gpu"]
        await manager.unprepare("p2")
        assert world.driver.calls == ["prepare gpu", "unprepare gpu"]


async def test_each_driver_of_a_claim_prepares_its_part(world: World) -> None:
    await world.claim(drivers=(GPU, NIC))
    nic = DRADriver(world.folder, NIC, service=V1BETA1, versions=("v1beta1.DRAPlugin",))
    nic.devices["gpu"] = [device("n", cdi="example.com/nic=n")]
    async with world.running() as manager:
        asks = pod()
        assert await failure(manager.prepare(asks)) == (
            "prepare dynamic resources: DRA driver nic.example.com is not registered"
        )
        assert world.driver.calls == []
        assert world.retried == []
        await nic.serve()
        await manager.drivers.register(nic.info, nic.endpoint)
        assert world.retried == ["p1"]
        await manager.prepare(asks)
        found = await manager.injection(asks, asks.spec.containers[0])
        assert found.cdi_devices == ("example.com/gpu=0", "example.com/nic=n")
        await nic.stop()
        text = await failure(manager.unprepare("p1"), DevicesBusy)
        assert text.startswith("unprepare dynamic resources: NodeUnprepareResources: rpc error")
        await nic.serve()
        await manager.unprepare("p1")
        assert nic.calls == ["prepare gpu", "unprepare gpu"]
        await nic.stop()


async def test_a_claim_that_may_not_be_used_is_not_prepared(world: World) -> None:
    async with world.running() as manager:
        assert await failure(manager.prepare(pod())) == (
            "prepare dynamic resources: fetch ResourceClaim gpu: "
            'resourceclaims.resource.k8s.io "gpu" not found'
        )
        claim = await world.claim(pods=("p2",))
        assert await failure(manager.prepare(pod())) == (
            "prepare dynamic resources: pod p1 (p1) is not allowed to use ResourceClaim gpu "
            f"({claim.metadata.uid})"
        )
        assert (manager.holders(), world.driver.calls) == (set(), [])


async def test_failures_of_claims_are_told_and_tried_again(world: World) -> None:
    await world.claim()
    driver = world.driver
    async with world.running() as manager:
        asks = pod()
        driver.errors["gpu"] = "it is broken"
        method = "NodePrepareResources"
        assert await failure(manager.prepare(asks)) == (
            f"prepare dynamic resources: {method} failed for ResourceClaim gpu: it is broken"
        )
        driver.errors.clear()
        driver.skips.add("gpu")
        text = f"prepare dynamic resources: {method} skipped 1 ResourceClaims"
        assert await failure(manager.prepare(asks)) == text
        driver.skips.clear()
        driver.failure = "no"
        assert await failure(manager.prepare(asks)) == (
            f"prepare dynamic resources: {method}: rpc error: code = Unknown desc = no"
        )
        driver.failure = ""
        await manager.prepare(asks)
        driver.errors["gpu"] = "it is in use"
        assert await failure(manager.unprepare("p1"), DevicesBusy) == (
            "unprepare dynamic resources: NodeUnprepareResources failed for ResourceClaim gpu: "
            "it is in use"
        )
        driver.errors.clear()
        await manager.unprepare("p1")


async def test_what_was_tried_is_undone(world: World) -> None:
    """A driver that failed to prepare may have made half of it."""
    await world.claim()
    async with world.running() as manager:
        world.driver.errors["gpu"] = "it is broken"
        await failure(manager.prepare(pod()))
        world.driver.errors.clear()
        await manager.unprepare("p1")
        assert world.driver.calls == ["prepare gpu", "unprepare gpu"]


async def test_a_claim_made_anew_waits_for_the_old_one(world: World) -> None:
    old = await world.claim()
    async with world.running() as manager:
        await manager.prepare(pod())
        await world.client.delete(ResourceClaim, "gpu", "default")
        gone = await world.client.list(ResourceClaim, "default")
        for claim in gone:  # the finalizer is the controllers' to remove
            patch = {"metadata": {"finalizers": None}}
            await world.client.patch(ResourceClaim, claim.metadata.name, patch, "default")
        await world.claim(pods=("p2",))
        assert await failure(manager.prepare(pod("p2"))) == (
            "prepare dynamic resources: old ResourceClaim with same name gpu and different UID "
            f"{old.metadata.uid} still exists (previous pod force-deleted?!)"
        )
        await manager.unprepare("p1")
        await manager.prepare(pod("p2"))


async def test_a_restart_forgets_nothing_that_has_to_be_undone(world: World) -> None:
    await world.claim(pods=("p1", "p2"))
    async with world.running() as manager:
        await manager.prepare(pod())
    async with world.manager() as manager:
        assert manager.holders() == {"p1"}
        asks = pod()
        found = await manager.injection(asks, asks.spec.containers[0])
        assert found.cdi_devices == ("example.com/gpu=0",)
        text = "unprepare dynamic resources: DRA driver gpu.example.com is not registered"
        assert await failure(manager.unprepare("p1"), DevicesBusy) == text
        await world.driver.serve()
        await manager.drivers.register(world.driver.info, world.driver.endpoint)
        assert world.retried == ["p1"]
        world.driver.devices["gpu"] = [device("1")]
        await manager.prepare(pod("p2"))
        assert world.driver.calls == ["prepare gpu", "prepare gpu"]
        found = await manager.injection(asks, asks.spec.containers[0])
        assert found.cdi_devices == ("example.com/gpu=1",)
        await manager.unprepare("p1")
        await manager.unprepare("p2")
        assert world.driver.calls[2:] == ["unprepare gpu"]
        await world.driver.stop()


async def test_claims_are_prepared_again_where_their_file_was_lost(world: World) -> None:
    await world.claim()
    async with world.running() as manager:
        await manager.prepare(pod())
    (world.folder / CLAIMS_FILE).write_bytes(b"damage")
    async with world.running() as manager:
        assert (world.folder / f"{CLAIMS_FILE}.unusable").read_bytes() == b"damage"
        asks = pod()
        found = await manager.injection(asks, asks.spec.containers[0])
        assert found.cdi_devices == ("example.com/gpu=0",)
        assert manager.holders() == {"p1"}


async def test_nothing_is_prepared_that_is_not_on_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    await world.claim()
    async with world.running() as manager:
        with monkeypatch.context() as patch:
            patch.setattr("kubelite.node.devices.durable_file.write_durable", full)
            assert await failure(manager.prepare(pod())) == (
                "prepare dynamic resources: checkpoint ResourceClaim state: No space left on device"
            )
        assert world.driver.calls == []
        await manager.prepare(pod())


async def test_devices_of_a_claim_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DRA_CLAIM_DEVICES, "value", 3)
    await world.claim()
    async with world.running() as manager:
        world.driver.devices["gpu"] = [device("0"), device("1")]
        assert await failure(manager.prepare(pod())) == (
            "prepare dynamic resources: NodePrepareResources returned too many devices for "
            "ResourceClaim gpu"
        )


async def test_the_status_has_the_health_that_the_driver_tells(world: World) -> None:
    await world.claim()
    nameless = Device(pool_name="pool", device_name="1")
    world.driver.devices["gpu"] = [device("0"), nameless]
    async with world.running() as manager:
        asks = pod()
        await manager.prepare(asks)

        def health() -> list[tuple[str, str, str | None]]:
            (status,) = manager.statuses(asks)["app"]
            assert status.name == "claim:wish"
            return [(one.resourceID, one.health, one.message) for one in status.resources]

        nameless_id = "gpu.example.com/pool/1"
        assert health() == [
            ("example.com/gpu=0", "Unknown", None),
            (nameless_id, "Unknown", None),
        ]
        world.driver.tell(**{"0": (1, ""), "1": (2, "too hot")})
        await until(lambda: "p1" in world.woken)
        assert health() == [
            ("example.com/gpu=0", "Healthy", None),
            (nameless_id, "Unhealthy", "too hot"),
        ]
        world.woken.clear()
        await world.driver.stop()
        await until(lambda: "p1" in world.woken)
        assert [one[1] for one in health()] == ["Unknown", "Unknown"]


def slice_of(name: str, driver: str, node: str = "node-1") -> ResourceSlice:
    spec = {
        "driver": driver,
        "nodeName": node,
        "pool": {"name": "pool", "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": "0"}],
    }
    return msgspec.convert({"metadata": {"name": name}, "spec": spec}, ResourceSlice)


async def test_slices_of_a_driver_that_stays_away_are_deleted(world: World) -> None:
    for made in (
        slice_of("a", GPU),
        slice_of("b", NIC),
        slice_of("c", GPU, "node-2"),
    ):
        await world.client.create(made)
    async with world.running(away_seconds=0.05) as manager:
        await until(lambda: manager.drivers.get(GPU).is_up)
        await asyncio.sleep(0.1)  # longer than the grace period, which does not run
        assert await world.slices() == ["a", "b", "c"]
        await world.driver.stop()
        async with asyncio.timeout(30):
            while await world.slices() != ["b", "c"]:
                await asyncio.sleep(0.005)


async def test_a_driver_that_is_back_in_time_keeps_its_slices(world: World) -> None:
    await world.client.create(slice_of("a", GPU))
    async with world.running(away_seconds=3600) as manager:
        await until(lambda: manager.drivers.get(GPU).is_up)
        await world.driver.stop()
        await until(lambda: GPU in manager.drivers._wipes)
        await world.driver.serve()
        await manager.drivers.register(world.driver.info, world.driver.endpoint)
        await until(lambda: manager.drivers.get(GPU).is_up)
        assert manager.drivers._wipes == {}
        assert await world.slices() == ["a"]


async def test_the_last_registration_that_answers_is_used(world: World) -> None:
    async with world.running() as manager:
        await until(lambda: manager.drivers.get(GPU).is_up)
        newer = DRADriver(world.folder / "newer")
        (world.folder / "newer").mkdir()
        await manager.drivers.register(newer.info, newer.endpoint)
        assert manager.drivers.get(GPU).endpoint == world.driver.endpoint
        await newer.serve()
        await manager.drivers.register(newer.info, newer.endpoint)
        await until(lambda: manager.drivers.get(GPU).endpoint == newer.endpoint)
        await manager.drivers.unregister(GPU, newer.endpoint)
        assert manager.drivers.get(GPU).endpoint == world.driver.endpoint
        await newer.stop()


@pytest.mark.parametrize(
    ("name", "versions", "message"),
    [
        (GPU, [], "empty list of supported gRPC services (aka supported versions)"),
        (
            GPU,
            ["v1alpha3.Node", "1.0.0"],
            (
                'none of services supported by the plugin (["v1alpha3.Node" "1.0.0"]) are '
                'supported by the kubelet (["v1.DRAPlugin" "v1beta1.DRAPlugin"])'
            ),
        ),
        ("../x", ["v1.DRAPlugin"], "invalid DRA driver name '../x'"),
        ("", ["v1.DRAPlugin"], "invalid DRA driver name ''"),
        ("a" * 64, ["v1.DRAPlugin"], "invalid DRA driver name"),
    ],
)
async def test_drivers_are_refused(
    world: World, name: str, versions: list[str], message: str
) -> None:
    async with world.manager() as manager:
        info = PluginInfo(type="DRAPlugin", name=name, supported_versions=versions)
        assert message in await failure(manager.drivers.register(info, Path("/x")), Refused)


async def test_a_pod_that_is_gone_waits_for_no_driver(world: World) -> None:
    await world.claim()
    async with world.manager() as manager:
        await failure(manager.prepare(pod()))
        await manager.unprepare("p1")
        await world.driver.serve()
        await manager.drivers.register(world.driver.info, world.driver.endpoint)
        assert world.retried == []
        await world.driver.stop()


async def test_operations_and_claims_are_counted(world: World) -> None:
    def counted() -> dict[tuple[str, str], int]:
        names, ends = (PREPARE, UNPREPARE), ("true", "false")
        return {(a, b): OPERATIONS.labelled(a, b).count for a in names for b in ends}

    before = counted()
    await world.claim(drivers=(GPU,))
    async with world.running() as manager:
        assert CLAIMS_IN_USE.sample().count == 2 + 1
        world.driver.errors["gpu"] = "no"
        await failure(manager.prepare(pod()))
        world.driver.errors.clear()
        await manager.prepare(pod())
        assert list(CLAIMS_IN_USE.sample().lines())[2:] == [
            'dra_resource_claims_in_use{driver_name="<any>"} 1',
            'dra_resource_claims_in_use{driver_name="gpu.example.com"} 1',
        ]
        await manager.unprepare("p1")
        await manager.unprepare("p1")  # which has none any more
    more = {key: count - before[key] for key, count in counted().items()}
    assert more == {
        (PREPARE, "true"): 1,
        (PREPARE, "false"): 1,
        (UNPREPARE, "true"): 0,
        (UNPREPARE, "false"): 1,
    }
    assert CLAIMS_IN_USE.read is None


async def test_calls_of_drivers_are_counted_by_their_status(world: World) -> None:
    def counted(method: str, status: str) -> int:
        return CALLS.labelled(GPU, f"/{V1}/{method}", status).count

    prepare, unprepare = "NodePrepareResources", "NodeUnprepareResources"
    asked = [(prepare, "OK"), (unprepare, "OK"), (prepare, "Unknown")]
    before = [counted(*one) for one in asked]
    await world.claim(drivers=(GPU,))
    async with world.running() as manager:
        await manager.prepare(pod())
        await manager.unprepare("p1")
        world.driver.failure = "broken"
        await failure(manager.prepare(pod()))
    assert [counted(*one) - known for one, known in zip(asked, before, strict=True)] == [1, 1, 1]
