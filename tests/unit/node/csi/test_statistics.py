"""How full CSI volumes are: asked of drivers, and never waited for long."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_client import FakeClient
from testbed.csi_driver import ALL, HostPathDriver

from kubelite.grpc.status import Code, GrpcError
from kubelite.node.csi import statistics
from kubelite.node.csi.messages import (
    Capability,
    NodeGetVolumeStatsRequest,
    NodeGetVolumeStatsResponse,
    Unit,
    VolumeCondition,
    VolumeUsage,
)
from kubelite.node.csi.statistics import files_of
from kubelite.node.eviction.observations import DiskUse
from kubelite.node.usage_files import Filesystem
from unit.node.csi.test_volumes import HANDLE, Place, client, running

__all__ = ["client"]  # a fixture
TELLS = (*ALL, Capability.GET_VOLUME_STATS, Capability.VOLUME_CONDITION)
SPACE = VolumeUsage(available=60, total=100, used=40, unit=Unit.BYTES)
INODES = VolumeUsage(available=7, total=10, used=3, unit=Unit.INODES)


@pytest.fixture
async def place(tmp_path: Path, client: FakeClient) -> Place:
    driver = HostPathDriver(tmp_path / "disks", mounts=False, capabilities=TELLS)
    driver.usage = NodeGetVolumeStatsResponse(usage=[SPACE, INODES])
    made = Place(tmp_path, client, driver)
    await made.register()
    return made


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ([SPACE, INODES], (40, 3, 100, 60, 10, 7)),
        ([SPACE], (40, 0, 100, 60, 0, 0)),
        ([], (0, 0, 0, 0, 0, 0)),
        ([VolumeUsage(available=-1, total=-2, used=-3, unit=Unit.BYTES)], (0, 0, 0, 0, 0, 0)),
        ([VolumeUsage(available=1, total=2, used=3)], (0, 0, 0, 0, 0, 0)),
    ],
)
def test_an_answer_becomes_figures(usage: list[VolumeUsage], expected: tuple[int, ...]) -> None:
    used, inodes_used, capacity, available, inodes, inodes_free = expected
    found = files_of("data", "claim", NodeGetVolumeStatsResponse(usage=usage), has_condition=True)
    assert found.use == DiskUse(used, inodes_used)
    assert found.filesystem == Filesystem(capacity, available, used, inodes, inodes_free)
    assert (found.name, found.claim, found.is_abnormal) == ("data", "claim", None)


@pytest.mark.parametrize(("has_condition", "expected"), [(True, True), (False, None)])
def test_a_condition_counts_if_the_driver_says_that_it_tells_it(
    has_condition: bool, expected: bool | None
) -> None:
    answer = NodeGetVolumeStatsResponse(volume_condition=VolumeCondition(abnormal=True))
    found = files_of("data", "", answer, has_condition=has_condition)
    assert found.is_abnormal is expected


async def test_a_mounted_volume_is_asked_about_at_its_paths_until_its_pod_ends(
    place: Place,
) -> None:
    async with running(place):
        assert await place.statistics.of("u") == ()
        await place.mount()
        (found,) = await place.statistics.of("u")
        assert (found.name, found.claim, found.use) == ("data", "data", DiskUse(40, 3))
        (request,) = place.driver.requests("NodeGetVolumeStats")
        published = place.driver.requests("NodePublishVolume")[0]
        assert request == NodeGetVolumeStatsRequest(
            volume_id=HANDLE,
            volume_path=published.target_path,
            staging_target_path=published.staging_target_path,
        )
        await place.volumes.tear_down("u")
        assert await place.statistics.of("u") == ()


async def test_a_driver_that_cannot_tell_is_not_asked(place: Place) -> None:
    place.driver.capabilities = ALL
    await place.register()
    async with running(place):
        await place.mount()
        assert await place.statistics.of("u") == ()
        assert place.driver.requests("NodeGetVolumeStats") == []


async def test_a_driver_that_fails_leaves_the_volume_out(place: Place) -> None:
    place.driver.failures["NodeGetVolumeStats"] = [GrpcError(Code.INTERNAL, "no")]
    async with running(place):
        await place.mount()
        assert await place.statistics.of("u") == ()
        assert len(await place.statistics.of("u")) == 1


async def test_a_driver_that_hangs_is_asked_once_and_its_answer_counts_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "SOON_SECONDS", 0.01)
    answer = asyncio.Event()
    usage = place.driver._usage

    async def hangs(request: Any) -> Any:
        await answer.wait()
        return await usage(request)

    monkeypatch.setattr(place.driver, "_usage", hangs)
    place.channel._handlers = place.driver.handlers()
    async with running(place):
        await place.mount()
        assert await place.statistics.of("u") == ()
        assert await place.statistics.of("u") == ()
        assert len(place.driver.requests("NodeGetVolumeStats")) == 1
        answer.set()
        assert len(await place.statistics.of("u")) == 1
        assert len(place.driver.requests("NodeGetVolumeStats")) == 1


async def test_what_is_wrong_with_a_volume_is_told_once(place: Place) -> None:
    def says(text: str, *, abnormal: bool = True) -> None:
        condition = VolumeCondition(abnormal=abnormal, message=text)
        place.driver.usage = NodeGetVolumeStatsResponse(usage=[SPACE], volume_condition=condition)

    async with running(place):
        await place.mount()
        says("disk\nfails" + "x" * 10_000)
        for _ in range(2):
            (found,) = await place.statistics.of("u")
            assert found.is_abnormal is True
        ((reason, message),) = place.told
        assert reason == "VolumeConditionAbnormal"
        assert message.startswith("Volume data: disk fails")
        assert len(message) < 1024
        says("", abnormal=False)
        (found,) = await place.statistics.of("u")
        assert found.is_abnormal is False
        says("again")
        await place.statistics.of("u")
        assert place.told[1:] == [("VolumeConditionAbnormal", "Volume data: again")]
