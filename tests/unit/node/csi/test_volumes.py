"""CSI volumes of pods: the order of the calls to a driver, also across failures and restarts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_client import FakeClient
from msgspec import convert
from testbed.csi_driver import DirectChannel, HostPathDriver

from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.storage import CSIDriver, CSINode, VolumeAttachment
from kubelite.api.machinery.csi_volumes import NODE_ID, attachment_name, unique_name
from kubelite.grpc.status import Code, GrpcError
from kubelite.node.csi.driver import Driver
from kubelite.node.csi.drivers import Drivers
from kubelite.node.csi.expansion import Expansion
from kubelite.node.csi.paths import KubeletFolders
from kubelite.node.csi.statistics import Statistics
from kubelite.node.csi.volumes import CSIVolumes, PodFiles
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.plugins.messages import PluginInfo
from kubelite.node.volumes.plugins import VolumeBusy
from kubelite.node.volumes.sources import VolumeContent
from kubelite.randomness import SeededRandomness

DRIVER, HANDLE = "hostpath.example.com", "vol-1"
UNIQUE = unique_name(DRIVER, HANDLE)
ORDER = ["NodeStageVolume", "NodePublishVolume"]
BACK = ["NodeUnpublishVolume", "NodeUnstageVolume"]


def volume(**spec: Any) -> PersistentVolume:
    csi = {"driver": DRIVER, "volumeHandle": HANDLE, **spec.pop("csi", {})}
    fields = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "csi": csi,
        **spec,
    }
    return convert({"metadata": {"name": "pv-1"}, "spec": fields}, PersistentVolume)


def claim(size: str = "1Gi") -> PersistentVolumeClaim:
    return convert(
        {
            "metadata": {"name": "data", "namespace": "shop"},
            "spec": {"volumeName": "pv-1"},
            "status": {"phase": "Bound", "capacity": {"storage": size}},
        },
        PersistentVolumeClaim,
    )


def pod(uid: str = "u", **spec: Any) -> Pod:
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    return convert(
        {
            "metadata": {"name": f"web-{uid}", "namespace": "shop", "uid": uid},
            "spec": {"volumes": [source], "serviceAccountName": "default", **spec},
        },
        Pod,
    )


def inline_pod(**csi: Any) -> Pod:
    source = {"name": "data", "csi": {"driver": DRIVER, **csi}}
    return pod(volumes=[source])


def driver_object(**spec: Any) -> CSIDriver:
    fields = {"attachRequired": False, **spec}
    return convert({"metadata": {"name": DRIVER}, "spec": fields}, CSIDriver)


class Place:
    """A node with one driver, over a fake API and a folder."""

    def __init__(self, folder: Path, client: FakeClient, driver: HostPathDriver) -> None:
        self.client = client
        self.driver = driver
        self.channel = DirectChannel(driver.handlers())
        self.folders = KubeletFolders(folder / "agent", Path("/var/lib/kubelet"))
        driver.paths = lambda text: self.folders.root / text.removeprefix("/var/lib/kubelet/")
        self.changed: list[str] = []
        self.given: list[tuple[Path, int, str]] = []
        events = EventRecorder(client, client.clock, SeededRandomness(1), component="kubelet")
        self.drivers = Drivers("one", client, lambda _: self.channel)
        self.expansion = Expansion(client, events, self.changed.append)
        self.told: list[tuple[str, str]] = []
        self.statistics = Statistics(
            self.drivers.get, lambda _, reason, message: self.told.append((reason, message))
        )
        self.volumes = CSIVolumes(
            "one",
            self.folders,
            client,
            client.clock,
            self.drivers,
            PodFiles(VolumeContent(client, client.clock), self.give, self.statistics),
            self.expansion,
            self.changed.append,
        )

    async def give(self, item: Pod, place: Path, group: int, policy: str) -> None:
        del item
        self.given.append((place, group, policy))

    async def register(self) -> None:
        info = PluginInfo(type="CSIPlugin", name=DRIVER, supported_versions=["1.0.0"])
        await self.drivers.register(info, Path("/csi.sock"))

    async def mount(self, item: Pod | None = None, **spec: Any) -> Any:
        found = item or pod()
        return await self.volumes.set_up(found, found.spec.volumes[0], claim(), volume(**spec))

    async def mount_inline(self, item: Pod) -> Any:
        return await self.volumes.set_up(item, item.spec.volumes[0], None, None)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        for _ in range(2000):
            if await holds():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it does not come to pass")

    async def in_use(self) -> list[str]:
        return (await self.client.get(Node, "one")).status.volumesInUse

    def files(self) -> list[str]:
        """Return all files and folders of volumes that are left."""
        tops = (self.folders.volumes, *self.folders.pods.glob("*/volumes/*"))
        return sorted(str(p.relative_to(self.folders.root)) for t in tops for p in t.glob("*/*"))


@asynccontextmanager
async def running(place: Place) -> AsyncIterator[Place]:
    await place.volumes.restore()
    task = asyncio.create_task(place.volumes.run())
    await asyncio.sleep(0.001)  # so that it follows the Node
    try:
        yield place
    finally:
        task.cancel()
        await asyncio.wait([task])
        place.expansion.close()
        await place.statistics.stop()


@pytest.fixture
async def client() -> FakeClient:
    made = FakeClient()
    await made.create(convert({"metadata": {"name": "one", "uid": "n"}}, Node))
    await made.create(driver_object())
    return made


@pytest.fixture
def driver(tmp_path: Path) -> HostPathDriver:
    return HostPathDriver(tmp_path / "disks", mounts=False)


@pytest.fixture
async def place(tmp_path: Path, client: FakeClient, driver: HostPathDriver) -> Place:
    made = Place(tmp_path, client, driver)
    await made.register()
    return made


async def test_a_volume_is_staged_once_and_published_for_each_pod(place: Place) -> None:
    async with running(place):
        await place.mount(pod("u"))
        await place.mount(pod("v"))
        assert place.driver.names == [*ORDER, *ORDER]
        await place.mount(pod("u"))
        assert place.driver.names == [*ORDER, *ORDER]
        (published, _) = place.driver.requests("NodePublishVolume")
        staged = place.driver.requests("NodeStageVolume")[0].staging_target_path
        assert published.staging_target_path == staged
        assert published.target_path == (
            "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv-1/mount"
        )
        assert place.volumes.path("u", pod().spec.volumes[0], volume()) == (
            place.folders.pods / "u/volumes/kubernetes.io~csi/pv-1/mount"
        )
        await place.volumes.tear_down("u")
        assert place.driver.names[4:] == ["NodeUnpublishVolume"]
        await place.volumes.tear_down("v")

        async def is_unstaged() -> bool:
            return "NodeUnstageVolume" in place.driver.names and not place.files()

        await place.until(is_unstaged)
        assert place.driver.names[4:] == ["NodeUnpublishVolume", *BACK]


@pytest.mark.parametrize(
    ("policy", "context", "given"),
    [
        ("File", {"fsGroup": 4242}, ["Always"]),
        ("File", {"fsGroup": 4242, "fsGroupChangePolicy": "OnRootMismatch"}, ["OnRootMismatch"]),
        ("File", {}, []),
        ("None", {"fsGroup": 4242}, []),
    ],
)
async def test_files_are_given_to_the_group_of_the_pod_if_the_driver_leaves_it_to_the_node(
    place: Place, policy: str, context: dict[str, Any], given: list[str]
) -> None:
    await place.client.delete(CSIDriver, DRIVER)
    await place.client.create(driver_object(fsGroupPolicy=policy))
    await place.register()
    async with running(place):
        await place.mount(pod(securityContext=context))
    assert [(group, how) for _, group, how in place.given] == [(4242, how) for how in given]
    assert all(mount.name == "mount" for mount, _, _ in place.given)


async def test_a_driver_without_staging_is_not_asked_for_it(place: Place) -> None:
    place.driver.capabilities = ()
    await place.register()
    async with running(place):
        await place.mount()
        assert place.driver.names == ["NodePublishVolume"]
        assert place.driver.requests("NodePublishVolume")[0].staging_target_path == ""
        await place.volumes.tear_down("u")
        assert place.driver.names == ["NodePublishVolume", "NodeUnpublishVolume"]


async def test_a_volume_to_attach_waits_for_its_attachment(
    tmp_path: Path, driver: HostPathDriver
) -> None:
    client = FakeClient()
    await client.create(convert({"metadata": {"name": "one", "uid": "n"}}, Node))
    async with running(Place(tmp_path, client, driver)) as place:
        await place.register()
        with pytest.raises(ConfigUnavailable, match="has not been attached to node one yet"):
            await place.mount()
        assert await place.in_use() == [UNIQUE]
        assert place.driver.names == []
        name = attachment_name(DRIVER, HANDLE, "one")
        attachment = {
            "metadata": {"name": name},
            "spec": {"attacher": DRIVER, "nodeName": "one", "source": {}},
            "status": {"attached": True, "attachmentMetadata": {"disk": "sda"}},
        }
        await client.create(convert(attachment, VolumeAttachment))
        attached = {"status": {"volumesAttached": [{"name": UNIQUE, "devicePath": ""}]}}
        await client.patch(Node, "one", attached, subresource="status")
        assert place.changed == ["u"]
        await place.mount()
        assert place.driver.requests("NodeStageVolume")[0].publish_context == {"disk": "sda"}
        assert place.driver.requests("NodePublishVolume")[0].publish_context == {"disk": "sda"}
        await place.volumes.tear_down("u")

        async def is_released() -> bool:
            return await place.in_use() == []

        await place.until(is_released)
        assert place.driver.names == [*ORDER, *BACK]


async def test_a_pod_deleted_before_its_volume_was_attached_gives_it_back(
    tmp_path: Path, driver: HostPathDriver
) -> None:
    client = FakeClient()
    await client.create(convert({"metadata": {"name": "one", "uid": "n"}}, Node))
    async with running(Place(tmp_path, client, driver)) as place:
        await place.register()
        with pytest.raises(ConfigUnavailable):
            await place.mount()
        await place.volumes.tear_down("u")

        async def is_released() -> bool:
            return await place.in_use() == []

        await place.until(is_released)


async def test_volumes_in_use_are_listed_again_when_the_node_lost_them(
    tmp_path: Path, driver: HostPathDriver
) -> None:
    client = FakeClient()
    await client.create(convert({"metadata": {"name": "one", "uid": "n"}}, Node))
    async with running(Place(tmp_path, client, driver)) as place:
        await place.register()
        with pytest.raises(ConfigUnavailable):
            await place.mount()
        lost: dict[str, Any] = {"status": {"volumesInUse": []}}
        await client.patch(Node, "one", lost, subresource="status")

        async def is_listed() -> bool:
            return await place.in_use() == [UNIQUE]

        await place.until(is_listed)


async def test_a_pod_that_waits_for_a_driver_is_told_of_it(
    tmp_path: Path, client: FakeClient, driver: HostPathDriver
) -> None:
    async with running(Place(tmp_path, client, driver)) as place:
        with pytest.raises(ConfigUnavailable, match="not found in the list of registered CSI"):
            await place.mount()
        await place.register()
        assert place.changed == ["u"]
        await place.mount()


async def test_a_restart_finds_what_was_mounted_and_undoes_it(
    tmp_path: Path, client: FakeClient, driver: HostPathDriver, place: Place
) -> None:
    async with running(place):
        await place.mount(pod("u"))
        await place.mount(pod("gone"))
    driver.calls.clear()
    async with running(Place(tmp_path, client, driver)) as again:
        assert await again.in_use() in ([], [UNIQUE])
        await again.register()
        await again.volumes.tear_down("gone")
        assert driver.names == ["NodeUnpublishVolume"]
        await again.volumes.tear_down("u")

        async def is_unstaged() -> bool:
            return "NodeUnstageVolume" in driver.names and not again.files()

        await again.until(is_unstaged)


async def test_a_crash_after_the_call_leaves_a_record_of_it(place: Place) -> None:
    place.driver.failures["NodePublishVolume"] = [GrpcError(Code.DEADLINE_EXCEEDED, "slow")]
    async with running(place):
        with pytest.raises(ConfigUnavailable, match="DeadlineExceeded desc = slow"):
            await place.mount()
        await place.volumes.tear_down("u")

        async def is_unstaged() -> bool:
            return place.driver.names == [*ORDER, *BACK] and not place.files()

        await place.until(is_unstaged)


async def test_a_pod_ends_although_its_driver_is_away_and_the_driver_is_told_later(
    tmp_path: Path, client: FakeClient, driver: HostPathDriver, place: Place
) -> None:
    async with running(place):
        await place.mount()
        place.channel.is_away = True
        await place.volumes.tear_down("u")
        assert not list(place.folders.pods.glob("u/volumes/*/*"))
        assert list(place.folders.owed.glob("*.json"))
    driver.calls.clear()
    async with running(Place(tmp_path, client, driver)) as again:
        await again.register()

        async def is_settled() -> bool:
            return driver.names == BACK and not again.files()

        await again.until(is_settled)
        assert not list(again.folders.owed.glob("*.json"))
        (request,) = driver.requests("NodeUnpublishVolume")
        assert request.target_path.endswith("pods/u/volumes/kubernetes.io~csi/pv-1/mount")


async def test_a_driver_that_refuses_keeps_the_pod(place: Place) -> None:
    place.driver.failures["NodeUnpublishVolume"] = [GrpcError(Code.INTERNAL, "device busy")]
    async with running(place):
        await place.mount()
        text = 'UnmountVolume.TearDown failed for volume "pv-1" : rpc error: code = Internal'
        with pytest.raises(VolumeBusy, match=text):
            await place.volumes.tear_down("u")
        await place.volumes.tear_down("u")
        assert place.driver.names.count("NodeUnpublishVolume") == 2


async def test_an_unstage_that_fails_is_tried_again(place: Place) -> None:
    place.driver.failures["NodeUnstageVolume"] = [GrpcError(Code.INTERNAL, "busy")] * 2
    async with running(place):
        await place.mount()
        await place.volumes.tear_down("u")

        async def is_unstaged() -> bool:
            return place.driver.names.count("NodeUnstageVolume") == 3 and not place.files()

        await place.until(is_unstaged)


async def test_data_in_a_mount_point_is_never_removed(place: Place) -> None:
    async with running(place):
        await place.mount()
        target = place.folders.published("u", "pv-1") / "mount"
        place.driver.paths = Path  # so that the driver does not find it
        (target / "precious").write_text("data")
        with pytest.raises(OSError, match="not empty"):
            await place.volumes.tear_down("u")
        assert (target / "precious").read_text() == "data"


async def test_a_pod_tells_its_driver_what_it_wants_to_know(place: Place) -> None:
    spec = {"podInfoOnMount": True, "tokenRequests": [{"audience": "vault"}]}
    await place.client.patch(CSIDriver, DRIVER, {"spec": spec})
    account = convert({"metadata": {"name": "default", "namespace": "shop"}}, ServiceAccount)
    await place.client.create(account)
    secret = {"metadata": {"name": "s", "namespace": "keys"}, "data": {"user": "YW5uYQ=="}}
    await place.client.create(convert(secret, Secret))
    tokens = []

    async def post(_kind: Any, name: str, subresource: str, body: Any, _space: str) -> Any:
        tokens.append((name, subresource, body.spec.audiences))
        return {"status": {"token": "t", "expirationTimestamp": "2030-01-01T00:00:00Z"}}

    place.client.post = post  # type: ignore[method-assign,assignment]  # the fake has no tokens
    ref = {"namespace": "keys", "name": "s"}
    csi = {"nodePublishSecretRef": ref, "volumeAttributes": {"kind": "fast"}, "fsType": "ext4"}
    async with running(place):
        await place.mount(csi=csi, mountOptions=["noatime"])
        (request,) = place.driver.requests("NodePublishVolume")
        assert request.secrets == {"user": "anna"}
        assert request.volume_context == {
            "kind": "fast",
            "csi.storage.k8s.io/pod.name": "web-u",
            "csi.storage.k8s.io/pod.namespace": "shop",
            "csi.storage.k8s.io/pod.uid": "u",
            "csi.storage.k8s.io/serviceAccount.name": "default",
            "csi.storage.k8s.io/ephemeral": "false",
            "csi.storage.k8s.io/serviceAccount.tokens": (
                '{"vault":{"token":"t","expirationTimestamp":"2030-01-01T00:00:00Z"}}'
            ),
        }
        assert tokens == [("default", "token", ["vault"])]
        mount = request.volume_capability.mount
        assert (mount.fs_type, mount.mount_flags) == ("ext4", ["noatime"])


async def test_a_volume_of_the_pod_alone_needs_a_driver_that_says_so(place: Place) -> None:
    async with running(place):
        with pytest.raises(ConfigUnavailable, match=r'only supports \["Persistent"\]'):
            await place.mount_inline(inline_pod())
        modes = {"spec": {"volumeLifecycleModes": ["Ephemeral"], "attachRequired": True}}
        await place.client.patch(CSIDriver, DRIVER, modes)
        await place.mount_inline(inline_pod(volumeAttributes={"size": "1"}, readOnly=True))
        assert place.driver.names == ["NodePublishVolume"]
        (request,) = place.driver.requests("NodePublishVolume")
        assert request.volume_id.startswith("csi-")
        assert (request.readonly, request.volume_context) == (True, {"size": "1"})
        await place.volumes.tear_down("u")
        assert await place.in_use() == []


async def test_a_volume_is_published_again_where_its_driver_asks_for_it(place: Place) -> None:
    await place.client.patch(CSIDriver, DRIVER, {"spec": {"requiresRepublish": True}})
    async with running(place):
        due = await place.mount()
        assert due is not None
        assert await place.mount() == due
        assert place.driver.names == ORDER
        place.client.clock.advance((due - place.client.clock.now()).total_seconds())
        assert await place.mount() > due
        assert place.driver.names == [*ORDER, "NodePublishVolume"]


async def test_a_grown_volume_grows_on_the_node_and_its_claim_says_so(place: Place) -> None:
    async with running(place):
        small, large = claim("1Gi"), volume(capacity={"storage": "2Gi"})
        small = await place.client.create(small)
        await place.volumes.set_up(pod(), pod().spec.volumes[0], small, large)
        (request,) = place.driver.requests("NodeExpandVolume")
        assert request.capacity_range.required_bytes == 2 << 30
        assert request.volume_path.endswith("/pv-1/mount")
        assert request.staging_target_path.endswith("/globalmount")
        after = await place.client.get(PersistentVolumeClaim, "data", "shop")
        assert after.status.capacity == {"storage": "2Gi"}
        await place.volumes.set_up(pod(), pod().spec.volumes[0], after, large)
        assert len(place.driver.requests("NodeExpandVolume")) == 1
        # Its growth is heard of while the pod runs.
        place.changed.clear()
        change = {"metadata": {"labels": {"a": "b"}}}
        await place.client.patch(PersistentVolumeClaim, "data", change, "shop")
        assert place.changed == ["u"]
        await place.volumes.tear_down("u")


async def test_a_failed_growth_is_told_and_tried_again(place: Place) -> None:
    place.driver.failures["NodeExpandVolume"] = [GrpcError(Code.INTERNAL, "no space")]
    async with running(place):
        small, large = claim("1Gi"), volume(capacity={"storage": "2Gi"})
        await place.client.create(small)
        volume_of_pod = pod().spec.volumes[0]
        with pytest.raises(ConfigUnavailable, match="NodeExpandVolume failed"):
            await place.volumes.set_up(pod(), volume_of_pod, small, large)
        await place.volumes.set_up(pod(), volume_of_pod, small, large)
        await asyncio.sleep(0)
        reasons = {event.reason for event in place.client.all(Event)}
        assert "VolumeResizeFailed" in reasons


async def test_the_cluster_knows_the_drivers_of_a_node(tmp_path: Path, client: FakeClient) -> None:
    topology = {"topology.example.com/node": "one"}
    driver = HostPathDriver(tmp_path, topology=topology, volumes_max=7, mounts=False)
    place = Place(tmp_path, client, driver)
    await place.register()
    node = await client.get(Node, "one")
    assert node.metadata.annotations[NODE_ID] == f'{{"{DRIVER}":"node-1"}}'
    assert node.metadata.labels == topology
    (listed,) = (await client.get(CSINode, "one")).spec.drivers
    assert (listed.name, listed.nodeID) == (DRIVER, "node-1")
    assert listed.topologyKeys == ["topology.example.com/node"]
    assert listed.allocatable is not None
    assert listed.allocatable.count == 7
    known = place.drivers.get(DRIVER)
    assert isinstance(known, Driver)
    await place.drivers.unregister(DRIVER, Path("/csi.sock"))

    async def is_gone() -> bool:
        return (await client.get(CSINode, "one")).spec.drivers == []

    await place.until(is_gone)
    assert NODE_ID not in (await client.get(Node, "one")).metadata.annotations
