"""Archives of images in a folder of the node: loaded once, and again into an engine that lost images."""

from pathlib import Path

from kubelite.node.images.archives import LocalImages
from kubelite.node.simulated.runtime import Behaviour, SimulatedRuntime
from kubelite.randomness import SeededRandomness
from unit.node.cluster import VirtualClock


class Loads(SimulatedRuntime):
    """An engine in which each archive brings the image of its name."""

    def __init__(self) -> None:
        behaviour = Behaviour(pull_seconds=(0.0, 0.0))
        super().__init__(VirtualClock(), SeededRandomness(1), behaviour)
        self.loads: list[str] = []

    async def load(self, archive: Path) -> None:
        self.loads.append(archive.stem)
        await self.pull(archive.stem, None)


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
