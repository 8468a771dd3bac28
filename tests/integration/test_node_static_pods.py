"""Static pods on a real engine, from a real folder; and pods that ask for what the engine cannot do."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

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
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.registry.manifests import complete_pod
from kubelite.clock import SystemClock
from kubelite.node.kubelet import Kubelet
from kubelite.node.manifest_folder import ManifestFolder
from kubelite.offload import AtOnce

pytestmark = [*needs_engine, pytest.mark.timeout(180)]
NAME = "web-node-1"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealNode]:
    """Run a node with a manifest folder, which is below its own."""
    made: list[RealNode] = []
    before = Kubelet.__init__

    def with_manifests(self: Kubelet, facts: object, parts: object) -> None:
        path = made[0].folder / "manifests"
        static = ManifestFolder(path, "node-1", complete_pod, SystemClock(), AtOnce())
        before(self, facts, parts, static=static)  # type: ignore[arg-type]  # passed on

    async with running_node(folder) as real:
        made.append(real)
        await real.client.create(Node(metadata=ObjectMeta(name="node-1")))
        await real.stop()
        monkeypatch.setattr(Kubelet, "__init__", with_manifests)
        await real.start()
        yield real
        for manifest in (real.folder / "manifests").glob("*"):
            manifest.unlink()
        await mirror_is_gone(real)


async def mirror(node: RealNode) -> Pod:
    """Wait until the mirror pod is there and ready."""
    async with asyncio.timeout(60):
        while True:
            try:
                await node.client.get(Pod, NAME, "default")
            except NotFound:
                await asyncio.sleep(0.02)
            else:
                return await node.until(is_ready, NAME)


async def mirror_is_gone(node: RealNode) -> None:
    await node.until_gone(NAME)


def write(node: RealNode, **fields: str) -> None:
    spec = {"containers": [container(**fields)], "terminationGracePeriodSeconds": 1}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    folder = node.folder / "manifests"
    folder.mkdir(exist_ok=True)  # the node makes it too, soon after its start
    (folder / "web.yaml").write_bytes(msgspec.yaml.encode(body))


async def test_a_manifest_runs_changes_and_goes(node: RealNode) -> None:
    write(node)
    first = await mirror(node)
    assert first.status.podIP
    container_id = first.status.containerStatuses[0].containerID
    await node.restart()
    await node.client.delete(Pod, NAME, "default", grace_seconds=0)
    again = await mirror(node)
    assert again.status.containerStatuses[0].containerID == container_id
    write(node, script="sleep 1000")
    changed = await node.until(
        lambda pod: is_ready(pod) and pod.spec.containers[0].command != [], NAME
    )
    assert changed.status.containerStatuses[0].containerID != container_id
    records = [
        one for one in await node.runtime.records() if one.pod_name == NAME and one.is_running
    ]
    assert len(records) == 2  # the sandbox and its container, of the new pod alone
    (node.folder / "manifests" / "web.yaml").unlink()
    await mirror_is_gone(node)
    assert [one for one in await node.runtime.records() if one.pod_name == NAME] == []


async def test_a_user_namespace_that_the_engine_cannot_make_is_refused(node: RealNode) -> None:
    await node.create({"containers": [container()], "hostUsers": False})
    async with asyncio.timeout(60):
        while not any("does not support user namespaces" in one for one in await node.events()):
            await asyncio.sleep(0.05)
    assert not [one for one in await node.runtime.records() if one.pod_name == "pod"]
