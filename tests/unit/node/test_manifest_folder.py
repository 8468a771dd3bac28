"""The manifest folder on a real file system."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import StandingClock

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.registry.manifests import complete_pod
from kubelite.folder_watch import FolderWatch
from kubelite.limits import MANIFEST, MANIFESTS
from kubelite.node.manifest_folder import ManifestFolder
from kubelite.offload import AtOnce

TEXT = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec: {containers: [{name: app, image: IMAGE}]}
"""


def manifest(name: str = "web", image: str = "app:1") -> str:
    return TEXT.replace("NAME", name).replace("IMAGE", image)


class Followed:
    """A folder that is followed, with the changes it told."""

    def __init__(self, path: Path) -> None:
        self.folder = ManifestFolder(path, "node-1", complete_pod, StandingClock(), AtOnce())
        self.changes: list[tuple[Pod | None, Pod | None]] = []
        self.readings = 0
        self.news = asyncio.Event()

    def changed(self, before: Pod | None, after: Pod | None) -> None:
        self.changes.append((before, after))

    def read(self) -> None:
        self.readings += 1
        self.news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self.news.clear()
                await self.news.wait()

    def images(self) -> dict[str, str]:
        return {key: pod.spec.containers[0].image for key, pod in self.folder.pods.items()}


def follow(path: Path, work: Callable[[Followed], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        followed = Followed(path)
        task = asyncio.create_task(followed.folder.run(followed.changed, followed.read))
        try:
            await followed.until(lambda: followed.readings > 0)
            await work(followed)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_files_are_read_at_start_and_followed(tmp_path: Path) -> None:
    path = tmp_path / "made" / "manifests"

    async def work(followed: Followed) -> None:
        assert path.is_dir()
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "a.yaml").write_text(manifest())
        await followed.until(lambda: followed.images() == {"default/web-node-1": "app:1"})
        (first,) = followed.folder.pods.values()
        (path / ".swap").write_text(manifest(image="app:2"))
        (path / ".swap").rename(path / "a.yaml")
        await followed.until(lambda: followed.images() == {"default/web-node-1": "app:2"})
        assert followed.changes[-1][0] == first
        body = msgspec.json.encode(msgspec.yaml.decode(manifest("other")))
        (path / "b.json").write_bytes(body)
        await followed.until(lambda: len(followed.images()) == 2)
        (path / "a.yaml").unlink()
        await followed.until(lambda: list(followed.images()) == ["default/other-node-1"])
        assert [bool(after) for _, after in followed.changes] == [True, True, True, False]

    follow(path, work)


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    async def work(followed: Followed) -> None:
        with (tmp_path / "a.yaml").open("w") as file:
            file.write(manifest())  # a whole pod, of which more could come
            file.flush()
            (tmp_path / "b.yaml").write_text(manifest("b"))
            await followed.until(lambda: "default/b-node-1" in followed.images())
            assert list(followed.images()) == ["default/b-node-1"]
        await followed.until(lambda: len(followed.images()) == 2)

    follow(tmp_path, work)


def test_a_written_file_keeps_its_pod_until_it_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(manifest())

    async def work(followed: Followed) -> None:
        with (tmp_path / "a.yaml").open("w") as file:
            file.write("apiVersion: v1\nkind: Pod\n")
            file.flush()
            (tmp_path / "b.yaml").write_text(manifest("b"))
            await followed.until(lambda: "default/b-node-1" in followed.images())
            assert followed.images()["default/web-node-1"] == "app:1"
            file.seek(0)
            file.write(manifest(image="app:2"))
        await followed.until(lambda: followed.images().get("default/web-node-1") == "app:2")

    follow(tmp_path, work)


def test_links_count_and_what_is_no_manifest_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "manifests"
    path.mkdir()
    (tmp_path / "elsewhere.yaml").write_text(manifest("linked"))
    os.mkfifo(path / "fifo")
    (path / "folder").mkdir()
    (path / "broken.yaml").write_text("{")
    (path / "binary").write_bytes(b"\xff\x00" * 100)
    (path / ".hidden").write_text(manifest("hidden"))
    (path / "dangling").symlink_to("nowhere")
    (path / "large.yaml").write_text(manifest("large") + "#" * MANIFEST.value)
    (path / "bomb.yaml").write_text(
        "a: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)},' * 8}]\n" for n in range(12))
    )
    (path / "secret.yaml").write_text(
        manifest("secret").replace(
            "spec: {", "spec: {volumes: [{name: v, secret: {secretName: s}}], "
        )
    )
    (path / "account.yaml").write_text(
        manifest("account").replace("spec: {", "spec: {serviceAccountName: x, ")
    )
    (path / "invalid.yaml").write_text(manifest("UPPER"))

    async def work(followed: Followed) -> None:
        assert followed.images() == {}
        (path / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
        await followed.until(lambda: list(followed.images()) == ["default/linked-node-1"])

    follow(path, work)


def test_a_manifest_that_becomes_invalid_is_no_pod(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(manifest())

    async def work(followed: Followed) -> None:
        assert followed.images()
        (tmp_path / "a.yaml").write_text("nothing")
        await followed.until(lambda: not followed.images())

    follow(tmp_path, work)


def test_a_removed_folder_is_made_anew_and_followed(tmp_path: Path) -> None:
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "a.yaml").write_text(manifest())

    async def work(followed: Followed) -> None:
        (path / "a.yaml").unlink()
        path.rmdir()
        await followed.until(lambda: path.is_dir() and not followed.images())
        (path / "a.yaml").write_text(manifest(image="app:3"))
        await followed.until(lambda: followed.images() == {"default/web-node-1": "app:3"})

    follow(path, work)


def test_the_path_may_be_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(manifest())
    (tmp_path / "b.yaml").write_text(manifest("b"))

    async def work(followed: Followed) -> None:
        assert followed.images() == {"default/web-node-1": "app:1"}
        path.write_text(manifest(image="app:2"))
        await followed.until(lambda: followed.images() == {"default/web-node-1": "app:2"})

    follow(path, work)


def test_the_number_of_static_pods_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MANIFESTS, "value", 2)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(manifest(name))

    async def work(followed: Followed) -> None:
        assert sorted(followed.images()) == ["default/a-node-1", "default/b-node-1"]
        assert MANIFESTS.times_reached

    follow(tmp_path, work)


def test_a_watch_of_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def main() -> None:
        for name in ("file", "absent"):
            watch = FolderWatch(tmp_path / name, lambda: None)
            with pytest.raises(OSError, match=name):
                watch.open()
            assert not watch.is_open
            watch.close()

    asyncio.run(main())
