"""Volumes that show the files of an image, on a real engine."""

import io
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integration.node_host import (
    RealNode,
    container,
    engine_folder,
    is_ready,
    needs_engine,
    running_node,
)
from kubelite.node.volumes.tmpfs import mounts_below

pytestmark = [*needs_engine, pytest.mark.timeout(180)]

ONE, LAYERED = "kubelite.local/files:1", "kubelite.local/layers:1"
SLEEPS = "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RealNode]:
    async with running_node(folder) as made:
        await _import(made, ONE, {"data.txt": "first", "etc/name": "image", "bin/run": "#!/bin/sh"})
        yield made


async def _import(node: RealNode, name: str, files: Mapping[str, str]) -> None:
    """Make an image of one layer."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    layer = node.folder / "layer.tar"
    layer.write_bytes(archive.getvalue())
    node.engine.docker("import", str(layer), name)


def _spec(reference: str, *, sub_path: str = "", policy: str = "IfNotPresent") -> dict[str, Any]:
    mount = {"name": "files", "mountPath": "/files"} | ({"subPath": sub_path} if sub_path else {})
    image = {"reference": reference, "pullPolicy": policy}
    return {
        "containers": [container(script=SLEEPS, volumeMounts=[mount])],
        "volumes": [{"name": "files", "image": image}],
    }


async def test_a_container_sees_the_files_of_an_image_and_changes_none(node: RealNode) -> None:
    await node.create(_spec(ONE))
    pod = await node.until(is_ready)
    assert (await node.exec(pod, "cat", "/files/data.txt", "/files/etc/name"))[1] == "firstimage"
    code, said = await node.exec(pod, "sh", "-c", "echo x > /files/data.txt")
    assert (code, "Read-only file system" in said) == (1, True), said
    code, said = await node.exec(pod, "/files/bin/run")
    assert code != 0
    assert "ermission denied" in said


async def test_a_sub_path_shows_a_part_and_a_missing_one_keeps_the_container_away(
    node: RealNode,
) -> None:
    await node.create(_spec(ONE, sub_path="etc"))
    pod = await node.until(is_ready)
    assert (await node.exec(pod, "ls", "/files"))[1] == "name\n"
    await node.create(_spec(ONE, sub_path="none/such"), name="missing")
    waiting = await node.until(_reason("CreateContainerError"), "missing")
    assert "Read-only file system" in _message(waiting)


async def test_an_image_of_several_layers_is_seen_whole(node: RealNode) -> None:
    names = [f"file-{number}" for number in range(60)]
    _build(node, LAYERED, names)
    await node.create(_spec(LAYERED))
    pod = await node.until(is_ready)
    shown = (await node.exec(pod, "ls", "/files"))[1].split()
    assert set(names) <= set(shown)


async def test_a_missing_image_is_the_containers_trouble_in_the_usual_words(node: RealNode) -> None:
    await node.create(_spec("kubelite.local/absent:1", policy="Never"))
    waiting = await node.until(_reason("ErrImageNeverPull"))
    assert "kubelite.local/absent:1" in _message(waiting)
    assert not (waiting.status.containerStatuses[0].state.running)


async def test_the_mounts_go_with_the_pod_and_stay_over_a_restart_of_the_agent(
    node: RealNode,
) -> None:
    await node.create(_spec(ONE))
    await node.until(is_ready)
    assert [point for point in mounts_below(node.folder) if "kubernetes.io~image" in str(point)]
    await node.restart()
    pod = await node.until(is_ready)
    assert (await node.exec(pod, "cat", "/files/data.txt"))[1] == "first"
    await node.client.delete(type(pod), "pod", "default")
    await node.until_gone()
    assert not [point for point in mounts_below(node.folder) if "kubernetes.io~image" in str(point)]
    assert node.engine.docker("image", "inspect", "-f", "{{.Id}}", ONE)


def _build(node: RealNode, name: str, files: list[str]) -> None:
    """Make an image with a layer for each file, by committing containers."""
    node.engine.docker("tag", ONE, name)
    for file in files:
        made = node.engine.docker("create", name, "/none")
        path = node.folder / file
        path.write_text(file)
        node.engine.docker("cp", str(path), f"{made}:/{file}")
        node.engine.docker("commit", made, name)
        node.engine.docker("rm", made)
        path.unlink()


def _reason(wanted: str) -> Any:
    def look(pod: Any) -> bool:
        statuses = pod.status.containerStatuses
        waiting = statuses[0].state.waiting if statuses else None
        return waiting is not None and waiting.reason == wanted

    return look


def _message(pod: Any) -> str:
    return msgspec.json.encode(pod.status.containerStatuses[0].state.waiting).decode()
