"""CSI volumes as devices: upstream's paths, what a driver may publish, and that nothing is left."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_client import FakeClient
from testbed.csi_driver import HostPathDriver
from testbed.loops import needs_loop_devices

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.storage import CSIDriver
from kubelite.grpc.protobuf import Message
from kubelite.grpc.status import Code, GrpcError
from kubelite.node.csi import messages
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.volumes.loop_devices import attached, detach
from kubelite.node.volumes.plugins import VolumeBusy
from kubelite.node.volumes.tmpfs import unmount_below
from unit.node.csi.test_volumes import (
    BACK,
    DRIVER,
    HANDLE,
    ORDER,
    Place,
    claim,
    client,
    driver_object,
    pod,
    running,
    volume,
)

__all__ = ["client"]  # a fixture
pytestmark = needs_loop_devices
TOP = "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices"


class LinkDriver(HostPathDriver):
    """Publishes a link to its device instead of the device itself."""

    async def _publish(self, request: messages.NodePublishVolumeRequest) -> Message:
        self.paths(request.target_path).symlink_to(self.device(request.volume_id))
        return messages.Empty()


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> type[HostPathDriver]:
    return getattr(request, "param", HostPathDriver)


@pytest.fixture
async def place(
    tmp_path: Path,
    client: FakeClient,
    kind: type[HostPathDriver],
) -> AsyncIterator[Place]:
    made = Place(tmp_path, client, kind(tmp_path / "disks"))
    await made.register()
    try:
        yield made
    finally:
        unmount_below(made.folders.root)
        detach(made.driver.mark(HANDLE))


def block(**spec: Any) -> PersistentVolume:
    return volume(volumeMode="Block", **spec)


async def mount(place: Place, uid: str = "u", **spec: Any) -> None:
    item = pod(uid)
    await place.volumes.set_up(item, item.spec.volumes[0], claim(), block(**spec))


def left(place: Place) -> list[str]:
    root = place.folders.root
    found = [*place.folders.devices.glob("*/*"), *place.folders.pods.glob("*/*/*/*")]
    return sorted(str(path.relative_to(root)) for path in found)


def number_of(path: Path) -> int:
    state = path.lstat()
    assert stat.S_ISBLK(state.st_mode)
    return state.st_rdev


async def test_a_device_is_staged_once_and_published_for_each_pod(place: Place) -> None:
    async with running(place):
        await mount(place, "u")
        await mount(place, "v")
        await mount(place, "u")
        assert place.driver.names == [*ORDER, *ORDER]
        staged = place.driver.requests("NodeStageVolume")[0]
        published = place.driver.requests("NodePublishVolume")[0]
        assert staged.staging_target_path == f"{TOP}/staging/pv-1"
        assert published.staging_target_path == f"{TOP}/staging/pv-1"
        assert published.target_path == f"{TOP}/publish/pv-1/u"
        for request in (staged, published):
            assert request.volume_capability.block is not None
            assert request.volume_capability.mount is None
        source = pod("u").spec.volumes[0]
        device = await place.volumes.device("u", source, block())
        assert device == place.folders.devices / "pv-1/dev/u"
        assert number_of(device) == number_of(place.driver.device(HANDLE))
        link = place.folders.pods / "u/volumeDevices/kubernetes.io~csi/pv-1"
        assert link.readlink() == device
        assert (place.folders.devices / "pv-1/data/vol_data.json").is_file()
        await place.volumes.tear_down("u")
        assert place.driver.names[4:] == ["NodeUnpublishVolume"]
        assert not link.is_symlink()
        await place.volumes.tear_down("v")

        async def is_unstaged() -> bool:
            return "NodeUnstageVolume" in place.driver.names and not left(place)

        await place.until(is_unstaged)
        assert place.driver.names[4:] == ["NodeUnpublishVolume", *BACK]
    assert place.driver.mark(HANDLE) not in {one.mark for one in attached()}


async def test_a_driver_without_staging_is_asked_for_neither_stage_nor_unstage(
    place: Place,
) -> None:
    place.driver.capabilities = ()
    await place.register()
    async with running(place):
        await mount(place)
        await place.volumes.tear_down("u")

        async def is_cleared() -> bool:
            return not left(place)

        await place.until(is_cleared)
    assert place.driver.names == ["NodePublishVolume", "NodeUnpublishVolume"]
    assert place.driver.requests("NodePublishVolume")[0].staging_target_path == ""


@pytest.mark.parametrize("kind", [LinkDriver], indirect=True)
async def test_what_is_no_device_is_not_given_to_a_pod(place: Place) -> None:
    """A link could be led to a disk of the host after it was looked at."""
    async with running(place):
        with pytest.raises(ConfigUnavailable, match="the driver published no device at"):
            await mount(place)
        with pytest.raises(ConfigUnavailable, match="is not mapped"):
            await place.volumes.device("u", pod().spec.volumes[0], block())
        await place.volumes.tear_down("u")

        async def is_cleared() -> bool:
            return not left(place)

        await place.until(is_cleared)


async def test_what_is_put_in_place_of_a_published_device_changes_nothing(place: Place) -> None:
    async with running(place):
        await mount(place)
        published = place.folders.device_published("u", "pv-1")
        number = number_of(published)
        unmount_below(published.parent)
        published.unlink()
        published.symlink_to("/dev/loop-control")
        await mount(place)
        device = await place.volumes.device("u", pod().spec.volumes[0], block())
        assert number_of(device) == number
        await place.volumes.tear_down("u")
        assert Path("/dev/loop-control").exists()


async def test_a_restart_finds_a_device_and_gives_it_up_without_its_driver(
    place: Place,
    tmp_path: Path,
    client: FakeClient,
) -> None:
    async with running(place):
        await mount(place)
    again = Place(tmp_path, client, place.driver)
    place.driver.calls.clear()
    async with running(again):
        item = pod()
        await again.volumes.set_up(item, item.spec.volumes[0], claim(), block())
        assert place.driver.calls == []
        await again.volumes.device("u", item.spec.volumes[0], block())
        await again.volumes.tear_down("u")
        assert not again.folders.device_published("u", "pv-1").exists()
        assert not again.folders.device_pinned("u", "pv-1").exists()
        await again.register()

        async def is_settled() -> bool:
            return place.driver.names == BACK and not left(again)

        await again.until(is_settled)


async def test_a_crash_before_a_device_is_published_leaves_nothing(
    place: Place,
    tmp_path: Path,
    client: FakeClient,
) -> None:
    place.driver.failures["NodePublishVolume"] = [GrpcError(Code.INTERNAL, "no")]
    async with running(place):
        with pytest.raises(ConfigUnavailable, match="no"):
            await mount(place)
    again = Place(tmp_path, client, place.driver)
    await again.register()
    async with running(again):
        await again.volumes.tear_down("u")

        async def is_cleared() -> bool:
            return not left(again) and place.driver.names[-2:] == BACK

        await again.until(is_cleared)


async def test_a_driver_that_does_not_let_go_keeps_the_pod(place: Place) -> None:
    place.driver.failures["NodeUnpublishVolume"] = [GrpcError(Code.INTERNAL, "busy")]
    async with running(place):
        await mount(place)
        with pytest.raises(VolumeBusy, match="busy"):
            await place.volumes.tear_down("u")
        assert place.folders.device_published("u", "pv-1").exists()
        await place.volumes.tear_down("u")
        assert not place.folders.device_published("u", "pv-1").exists()


async def test_two_volumes_of_one_name_do_not_meet(place: Place) -> None:
    async with running(place):
        await mount(place)
        with pytest.raises(ConfigUnavailable, match='with the name "pv-1" is still staged'):
            await mount(place, "v", csi={"volumeHandle": "vol-2"})
        await place.volumes.tear_down("v")
        await place.volumes.tear_down("u")

        async def is_cleared() -> bool:
            return not left(place)

        await place.until(is_cleared)


@pytest.mark.parametrize("name", ["publish", "staging"])
async def test_a_name_that_is_a_folder_of_others_is_refused(place: Place, name: str) -> None:
    item, taken = pod(), block()
    taken = type(taken)(metadata=type(taken.metadata)(name=name), spec=taken.spec)
    async with running(place):
        with pytest.raises(ConfigUnavailable, match="cannot have the name"):
            await place.volumes.set_up(item, item.spec.volumes[0], claim(), taken)


async def test_a_device_is_not_published_again_and_again(place: Place) -> None:
    await place.client.delete(CSIDriver, DRIVER)
    await place.client.create(driver_object(requiresRepublish=True))
    await place.register()
    async with running(place):
        item = pod()
        for _ in range(2):
            due = await place.volumes.set_up(item, item.spec.volumes[0], claim(), block())
            assert due is None
            place.client.clock.advance(3600)
        assert place.driver.names == ORDER
        await place.volumes.tear_down("u")


async def test_the_device_grows_at_its_own_paths(place: Place) -> None:
    async with running(place):
        small = claim()
        await place.client.create(small)
        item = pod()
        larger = block(capacity={"storage": "2Gi"})
        await place.volumes.set_up(item, item.spec.volumes[0], small, larger)
        request = place.driver.requests("NodeExpandVolume")[0]
        assert request.volume_path == f"{TOP}/publish/pv-1/u"
        assert request.staging_target_path == f"{TOP}/staging/pv-1"
        assert request.volume_capability.block is not None
        await place.volumes.tear_down("u")
