"""The removal of unused images, over a simulated engine."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from fakes.fake_client import FakeClient

from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.events import Event
from kubelite.node.image_archive import image_archive
from kubelite.node.images.archives import LocalImages
from kubelite.node.images.collection import CollectionPolicy
from kubelite.node.images.collector import COLLECTION_SECONDS, ImageCollector
from kubelite.node.images.records import Access, PullRecords
from kubelite.node.images.settings import ImageSettings
from kubelite.node.runtime import ContainerSpec, ImageInUse, RuntimeFailure, SandboxSpec
from kubelite.node.simulated.runtime import Behaviour, SimulatedRuntime
from kubelite.node.usage_files import Filesystem
from kubelite.randomness import SeededRandomness
from unit.node.cluster import VirtualClock, run_virtually

IMAGE_BYTES = 10_000_000  # of a simulated image
CAPACITY = 1000 * IMAGE_BYTES


class Engine(SimulatedRuntime):
    """An engine that refuses to remove some images."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock, SeededRandomness(1), Behaviour(pull_seconds=(0, 0)))
        self.used_by_others: set[str] = set()
        self.broken: set[str] = set()

    async def remove_image(self, image_id: str) -> None:
        if image_id in self.used_by_others:
            raise ImageInUse("conflict")
        if image_id in self.broken:
            raise RuntimeFailure("read-only file system")
        await super().remove_image(image_id)


class Bed:
    """A collector whose disk has as much room as is said."""

    def __init__(self, policy: CollectionPolicy | None = None) -> None:
        self.clock, self.client = VirtualClock(), FakeClient()
        self.engine = Engine(self.clock)
        self.records = PullRecords(self.clock)
        self.events = EventRecorder(
            self.client, self.clock, SeededRandomness(2), component="kubelet"
        )
        self.wanted: set[str] = set()
        self.available = CAPACITY
        self.capacity = CAPACITY
        self.collector = ImageCollector(
            "node-1",
            self.engine,
            self.records,
            self.clock,
            self.events,
            wanted=lambda: self.wanted,
            disk=self.disk,
            settings=ImageSettings(collection=policy or CollectionPolicy()),
        )

    async def disk(self) -> Filesystem | None:
        used = self.capacity - self.available
        return Filesystem(self.capacity, self.available, used, 1000, 500)

    async def pull(self, *names: str, is_own: bool = True) -> list[str]:
        found = []
        for name in names:
            image = await self.engine.pull(f"r.io/{name}:1", None)
            if is_own:
                access = Access(node_pods_accessible=True)
                await self.records.add(f"r.io/{name}", image.id, access)
            found.append(image.id)
        return found

    async def container(self, image_id: str) -> None:
        sandbox = await self.engine.run_sandbox(SandboxSpec("u", "p", "n", 0, "p"))
        await self.engine.create(ContainerSpec("u", "p", "n", "app", 0, sandbox.id, image_id))

    async def left(self) -> list[str]:
        names = [name for image in await self.engine.images() for name in image.names]
        return sorted(name.removeprefix("r.io/").removesuffix(":1") for name in names)

    async def run(self, rounds: int) -> None:
        """Let the collector work for so many rounds."""
        task = asyncio.create_task(self.collector.run())
        await asyncio.sleep(COLLECTION_SECONDS * (rounds - 0.5))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def told(self) -> Iterable[str]:
        await self.events.close()
        events = await self.client.list(Event)
        assert all(event.involvedObject.kind == "Node" for event in events)
        assert all(event.involvedObject.name == "node-1" for event in events)
        return [f"{event.reason}: {event.message}" for event in events]


def test_images_of_the_nodes_folder_stay_also_if_they_were_pulled(tmp_path: Path) -> None:
    (tmp_path / "kept.tar").write_bytes(
        image_archive("r.io/kept:1", {}, architecture="amd64", entrypoint=["/a"])
    )
    (tmp_path / "broken.tar").write_bytes(b"no archive")
    kept = LocalImages(tmp_path, Engine(VirtualClock()))
    asyncio.run(kept.load())  # files take threads, which a virtual clock does not wait for

    async def main() -> None:
        bed = Bed()
        bed.collector.is_kept = kept.has
        await bed.pull("kept", "other")
        await bed.run(2)
        bed.available = 0
        await bed.run(1)
        assert await bed.left() == ["kept"]
        await bed.collector.reclaim()
        assert await bed.left() == ["kept"]

    run_virtually(main())


def test_room_is_made_by_the_longest_unused_images_and_no_more_than_needed() -> None:
    async def main() -> None:
        bed = Bed()
        await bed.run(1)
        (a,) = await bed.pull("a")
        await bed.pull("b", "c", "d")
        bed.wanted = {a}
        await bed.run(2)  # all are seen, a is used
        bed.wanted = set()
        bed.available = CAPACITY // 5 - 2 * IMAGE_BYTES  # 81 %: nothing to do
        await bed.run(1)
        assert await bed.left() == ["a", "b", "c", "d"]
        bed.collector._policy = CollectionPolicy(80, 80)
        await bed.run(1)
        assert await bed.left() == ["a", "d"]

    run_virtually(main())


def test_images_of_containers_pods_and_others_stay() -> None:
    async def main() -> None:
        bed = Bed()
        ended, waiting, foreign, _ = await bed.pull("ended", "waiting", "foreign", "idle")
        await bed.pull("loaded", is_own=False)
        await bed.container(ended)
        bed.wanted = {waiting}
        bed.engine.used_by_others = {foreign}
        await bed.run(1)
        assert await bed.collector.reclaim() == IMAGE_BYTES
        assert await bed.left() == ["ended", "foreign", "loaded", "waiting"]
        assert await bed.collector.reclaim() == 0

    run_virtually(main())


def test_an_image_that_was_just_pulled_stays() -> None:
    async def main() -> None:
        bed = Bed()
        await bed.run(1)
        await bed.pull("new")
        assert await bed.collector.reclaim() == 0
        await asyncio.sleep(121)
        assert await bed.collector.reclaim() == IMAGE_BYTES

    run_virtually(main())


def test_an_image_that_a_pod_asks_for_meanwhile_stays() -> None:
    async def main() -> None:
        bed = Bed()
        first, second = await bed.pull("a", "b")
        await bed.run(1)
        remove = bed.engine.remove_image

        async def remove_and_ask(image_id: str) -> None:
            await remove(image_id)
            bed.wanted = {first, second} - {image_id}

        bed.engine.remove_image = remove_and_ask  # type: ignore[method-assign]  # a pod comes in between
        assert await bed.collector.reclaim() == IMAGE_BYTES
        assert len(await bed.left()) == 1

    run_virtually(main())


def test_what_is_unused_for_long_goes_however_much_room_there_is() -> None:
    async def main() -> None:
        bed = Bed(CollectionPolicy(max_age=CollectionPolicy().min_age * 10))  # 20 minutes
        (used,) = await bed.pull("used")
        await bed.pull("idle")
        bed.wanted = {used}
        await bed.run(4)
        assert await bed.left() == ["idle", "used"]  # as long has not passed since the start
        await bed.run(3)
        assert await bed.left() == ["used"]
        bed.wanted = set()
        await bed.run(6)
        assert await bed.left() == []

    run_virtually(main())


def test_a_disk_that_stays_full_is_told_and_again_when_it_lasts() -> None:
    async def main() -> None:
        bed = Bed()
        await bed.pull("a")
        await bed.run(1)
        bed.available = 0
        await bed.run(1)
        told = await bed.told()
        assert await bed.left() == []
        assert any(
            line.startswith("FreeDiskSpaceFailed: Insufficient free disk space") for line in told
        )
        assert f"(freed {IMAGE_BYTES} bytes)" in "".join(told)
        assert not any(line.startswith("ImageGCFailed") for line in told)

    run_virtually(main())


def test_the_second_failure_in_a_row_is_an_event() -> None:
    async def main() -> None:
        bed = Bed()
        bed.engine.broken = set(await bed.pull("a"))
        await bed.run(1)
        bed.available = 0
        await bed.run(2)
        assert (
            f"ImageGCFailed: wanted to free {CAPACITY // 5} bytes, but freed 0 bytes space with errors "
            "in image deletion: read-only file system"
        ) in await bed.told()

    run_virtually(main())


def test_a_disk_without_size_is_an_event() -> None:
    async def main() -> None:
        bed = Bed()
        bed.capacity = bed.available = 0
        await bed.run(1)
        assert "InvalidDiskCapacity: invalid capacity 0 on image filesystem" in await bed.told()

    run_virtually(main())


def test_an_engine_that_is_away_is_borne() -> None:
    async def main() -> None:
        bed = Bed()
        await bed.pull("a")
        bed.engine.go_away()
        bed.available = 0
        await bed.run(3)
        bed.engine.come_back()
        await bed.run(2)
        assert await bed.left() == []
        assert any(line.startswith("ImageGCFailed: the simulated") for line in await bed.told())

    run_virtually(main())


def test_records_go_with_their_images() -> None:
    async def main() -> None:
        bed = Bed()
        (image_id,) = await bed.pull("a")
        await bed.run(1)
        await bed.engine.remove_image(image_id)  # by somebody else
        await bed.run(1)
        assert bed.records.record(image_id) is None

    run_virtually(main())


def test_nothing_is_collected_when_it_is_off() -> None:
    async def main() -> None:
        bed = Bed(CollectionPolicy(100, 80))
        await bed.pull("a")
        bed.available = 0
        await bed.collector.run()
        assert await bed.left() == ["a"]

    run_virtually(main())


def test_nothing_is_collected_before_the_records_are_read() -> None:
    async def main() -> None:
        bed = Bed()
        bed.records.loaded.clear()  # as at a start with a folder
        await bed.pull("a")
        bed.available = 0
        await asyncio.sleep(200)
        await bed.run(2)
        assert await bed.left() == ["a"]
        await bed.records.load([])
        await bed.run(2)
        assert await bed.left() == []

    run_virtually(main())
