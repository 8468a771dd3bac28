"""Archives of images in a folder of the node: loaded once, and again into an engine that lost images."""

import asyncio
import gzip
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from kubelite.node.images.archives import LocalImages
from kubelite.node.runtime import EngineUnavailable
from kubelite.node.simulated_runtime import Behaviour, SimulatedRuntime
from kubelite.randomness import SeededRandomness
from unit.node.cluster import VirtualClock


class Loads(SimulatedRuntime):
    """An engine in which each archive brings the image of its name."""

    def __init__(self) -> None:
        behaviour = Behaviour(pull_seconds=(0.0, 0.0))
        super().__init__(VirtualClock(), SeededRandomness(1), behaviour)
        self.loads: list[str] = []
        self.contents: list[bytes] = []
        self.is_away = False
        self.changed = asyncio.Event()

    async def load(self, archive: Path) -> None:
        if self.is_away:
            raise EngineUnavailable("it is away")
        name = archive.name.lstrip(".").partition(".")[0]
        self.loads.append(name)
        self.contents.append(archive.read_bytes())
        await self.pull(name, None)
        self.changed.set()

    async def until(self, loads: list[str]) -> None:
        async with asyncio.timeout(10):
            while self.loads != loads:
                self.changed.clear()
                await self.changed.wait()


async def test_archives_are_loaded_once_and_again_into_an_engine_that_lost_images(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.tar").touch()
    engine = Loads()
    images = LocalImages(tmp_path, engine)
    await images.load()
    await images.load()
    assert engine.loads == ["one", "two"]
    await engine.pull("other", None)
    await images.load()
    assert engine.loads == ["one", "two"]
    one = await engine.image("one")
    assert one is not None
    await engine.remove_image(one.id)
    await images.load()
    assert engine.loads == ["one", "two", "one", "two"]


def following(path: Path, work: Callable[[Loads, LocalImages], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        engine = Loads()
        images = LocalImages(path, engine)
        task = asyncio.create_task(images.run())
        try:
            await images.load()
            while not path.is_dir():
                await asyncio.sleep(0)
            await work(engine, images)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert [one.name for one in path.iterdir() if one.name.startswith(".")] == []


def test_an_archive_that_is_put_there_is_loaded_once_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "images"

    async def work(engine: Loads, images: LocalImages) -> None:
        with (folder / "one.tar").open("wb") as file:
            file.write(b"half")
            file.flush()
            (folder / "two.tar").write_bytes(b"two")
            await engine.until(["two"])
            file.write(b" and half")
        await engine.until(["two", "one"])
        assert engine.contents == [b"two", b"half and half"]
        (folder / "two.tar").unlink()
        (folder / ".hidden.tar").write_bytes(b"")
        (folder / "README").write_bytes(b"")
        (folder / "three.tar").write_bytes(b"")
        await engine.until(["two", "one", "three"])
        assert await engine.image("two") is not None, "a removed file leaves its image"
        (folder / ".hidden.tar").unlink()
        await images.load()
        assert engine.loads == ["two", "one", "three"]

    following(folder, work)


def test_compressed_archives(tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("there is no zstd")

    async def work(engine: Loads, _: LocalImages) -> None:
        packed = gzip.compress(b"content")
        (tmp_path / "a.tar.gz").write_bytes(packed)
        await engine.until(["a"])
        (tmp_path / "b.tgz").write_bytes(packed)
        await engine.until(["a", "b"])
        zstd = subprocess.run(["zstd"], input=b"content", capture_output=True, check=True).stdout
        (tmp_path / "c.tar.zst").write_bytes(zstd)
        await engine.until(["a", "b", "c"])
        assert engine.contents == [b"content"] * 3

    following(tmp_path, work)


def test_what_cannot_be_uncompressed_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(b"content" * 1000)[:-20])
    (tmp_path / "b.tar.gz").write_bytes(b"content")
    (tmp_path / "c.tar.zst").write_bytes(b"content")
    monkeypatch.setenv("PATH", str(tmp_path))

    async def work(engine: Loads, _: LocalImages) -> None:
        (tmp_path / "d.tar").write_bytes(b"")
        await engine.until(["d"])

    following(tmp_path, work)
    reasons = [getattr(record, "reason", "") for record in caplog.records]
    assert reasons[0].startswith("it is no whole gzip file: ")
    assert reasons[1].startswith("it is no whole gzip file: ")
    assert reasons[2] == "the program zstd is not installed; install it, or use gzip"


def test_an_engine_that_is_away_gets_the_archive_when_it_is_back(tmp_path: Path) -> None:
    async def work(engine: Loads, images: LocalImages) -> None:
        engine.is_away = True
        (tmp_path / "a.tar").write_bytes(b"")
        (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b""))
        await images.load()
        assert engine.loads == []
        engine.is_away = False
        await images.load()
        assert sorted(engine.loads) == ["a", "b"]

    following(tmp_path, work)
