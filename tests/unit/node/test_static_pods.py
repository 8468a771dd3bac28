"""Static pods and their mirrors: a real API and kubelet in virtual time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fakes.parted_client import PartedClient
from fakes.static_source import StaticManifests

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.runtime import ContainerRecord
from kubelite.node.simulated.network import SimulatedVolumes
from kubelite.node.simulated.node import SimulatedNode
from kubelite.node.static_pods import (
    HASH,
    MIRROR,
    SEEN,
    SOURCE,
    InvalidManifest,
    is_mirror,
    is_static,
    mark_static,
)
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually

SPEC = {"containers": [container()]}
NAME = "static-node-1"


class StaticCluster(Cluster):
    """A node with a manifest folder, whose server may be away."""

    def __init__(self) -> None:
        self.static = StaticManifests()
        super().__init__()
        self.parted = PartedClient(self.server)
        self.node._client = self.parted

    def new_node(self, name: str = "node-1") -> SimulatedNode:
        return SimulatedNode(name, self.client, self.clock, SeededRandomness(3), static=self.static)

    async def __aenter__(self) -> "StaticCluster":
        await super().__aenter__()
        return self

    def running(self, name: str = NAME) -> list[ContainerRecord]:
        records = self.node.runtime.all_records()
        found = [one for one in records if one.is_running and not one.is_sandbox]
        return [one for one in found if one.pod_name == name]

    async def waits(self, happened: Callable[[], Any], seconds: float = 60) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not happened():
            assert loop.time() < deadline
            await asyncio.sleep(0.1)

    async def until(
        self, look: Callable[[Pod], Any], name: str = "pod", seconds: float = 120
    ) -> Pod:
        """Wait as the base does, also for the pod itself."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            with suppress(NotFound):
                if look(pod := await self.pod(name)):
                    return pod
            assert loop.time() < deadline, name
            await asyncio.sleep(0.1)

    async def mirror_is_gone(self) -> None:
        for _ in range(600):
            try:
                await self.pod(NAME)
            except NotFound:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the mirror pod stays")


def test_a_static_pod_runs_and_is_shown_by_a_mirror() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            pod = cluster.static.put(SPEC, labels={"app": "x"})
            mirror = await cluster.until(is_ready, NAME)
            assert mirror.metadata.uid != pod.metadata.uid
            annotations = mirror.metadata.annotations
            assert annotations[MIRROR] == annotations[HASH] == pod.metadata.uid
            assert annotations[SOURCE] == "file"
            assert annotations[SEEN]
            (owner,) = mirror.metadata.ownerReferences
            assert (owner.kind, owner.name, owner.controller) == ("Node", "node-1", True)
            assert mirror.metadata.labels == {"app": "x"}
            assert mirror.spec.nodeName == "node-1"
            assert any(
                one.operator == "Exists" and one.effect == "NoExecute"
                for one in mirror.spec.tolerations
            )
            assert mirror.status.podIP
            (record,) = cluster.running()
            assert record.pod_uid == pod.metadata.uid

    run_virtually(main())


def test_a_deleted_mirror_comes_back_and_the_pod_runs_on() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            cluster.static.put(SPEC)
            first = await cluster.until(is_ready, NAME)
            (record,) = cluster.running()
            await cluster.client.delete(Pod, NAME, "default")
            again = await cluster.until(
                lambda pod: pod.metadata.uid != first.metadata.uid and is_ready(pod), NAME, 5
            )
            assert again.status.startTime == first.status.startTime
            assert [one.id for one in cluster.running()] == [record.id]

    run_virtually(main())


def test_a_changed_manifest_replaces_the_pod_once_the_old_one_has_ended() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            ports: dict[str, Any] = {"ports": [{"containerPort": 80, "hostPort": 8080}]}
            cluster.static.put({"containers": [container(**ports)]})
            first = await cluster.until(is_ready, NAME)
            (old,) = cluster.running()
            cluster.static.put({"containers": [container(**ports, command=["other"])]})
            seen = 0
            while not [one for one in cluster.running() if one.id != old.id]:
                seen = max(seen, len(cluster.running()))
                await asyncio.sleep(0.1)
            assert seen == 1
            assert len(cluster.running()) == 1
            mirror = await cluster.until(is_ready, NAME)
            assert mirror.metadata.uid != first.metadata.uid
            assert mirror.spec.containers[0].command == ["other"]
            assert mirror.status.reason == ""  # its host port was not taken by the old one

    run_virtually(main())


def test_a_removed_manifest_ends_pod_and_mirror() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            cluster.static.put(SPEC)
            await cluster.until(is_ready, NAME)
            cluster.static.remove()
            await cluster.mirror_is_gone()
            assert not cluster.running()
            assert cluster.node.kubelet is not None
            assert not cluster.node.kubelet.memories

    run_virtually(main())


def test_a_manifest_that_comes_back_unchanged_runs_again() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            cluster.static.put(SPEC)
            await cluster.until(is_ready, NAME)
            (old,) = cluster.running()
            cluster.static.remove()
            cluster.static.put(SPEC)
            await cluster.waits(lambda: [one for one in cluster.running() if one.id != old.id], 90)
            await cluster.until(is_ready, NAME)

    run_virtually(main())


def test_static_pods_run_without_the_server_and_others_are_left_alone() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            await cluster.create(SPEC)
            await cluster.until(is_ready)
            (other,) = cluster.running("pod")
            await cluster.node.stop()
            cluster.static.put(SPEC)
            cluster.parted.go("refusing")
            await cluster.node.start()
            await cluster.waits(cluster.running)
            await asyncio.sleep(3600)
            assert [one.id for one in cluster.running("pod")] == [other.id]
            (static,) = cluster.running()
            cluster.node.runtime.end(static.id, 1)
            await cluster.waits(lambda: [one for one in cluster.running() if one.id != static.id])
            cluster.parted.go("up")
            pod = await cluster.until(is_ready, NAME, 600)
            assert pod.status.containerStatuses[0].restartCount == 1
            assert [one.id for one in cluster.running("pod")] == [other.id]

    run_virtually(main())


def test_volumes_of_an_ended_pod_are_removed_once_the_api_tells_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, removed = list[str](), list[str]()

    async def leftovers(_: SimulatedVolumes) -> list[str]:
        return left

    async def tear_down(_: SimulatedVolumes, pod_uid: str) -> None:
        removed.append(pod_uid)

    async def main() -> None:
        async with StaticCluster() as cluster:
            uid = (await cluster.create({**SPEC, "restartPolicy": "Never"})).metadata.uid
            await cluster.until(is_ready)
            (record,) = cluster.running("pod")
            cluster.node.runtime.end(record.id)
            await cluster.until(lambda pod: pod.status.phase == "Succeeded")
            await cluster.node.stop()
            cluster.static.put(SPEC)
            left.append(uid)
            monkeypatch.setattr(SimulatedVolumes, "leftovers", leftovers)
            monkeypatch.setattr(SimulatedVolumes, "tear_down", tear_down)
            cluster.parted.go("refusing")
            await cluster.node.start()
            await cluster.waits(cluster.running)
            await asyncio.sleep(600)
            assert removed == []
            cluster.parted.go("up")
            await cluster.waits(lambda: removed == [uid], 600)

    run_virtually(main())


def test_a_mirror_without_manifest_is_deleted_at_start() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            cluster.static.put(SPEC)
            await cluster.until(is_ready, NAME)
            await cluster.node.stop()
            cluster.static.remove()
            await cluster.node.start()
            await cluster.mirror_is_gone()
            await cluster.waits(lambda: not cluster.running())

    run_virtually(main())


def test_a_restart_of_the_agent_keeps_the_containers() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            cluster.static.put(SPEC)
            before = await cluster.until(is_ready, NAME)
            (record,) = cluster.running()
            await cluster.node.stop()
            await cluster.node.start()
            await asyncio.sleep(60)
            assert [one.id for one in cluster.running()] == [record.id]
            after = await cluster.pod(NAME)
            assert after.metadata.uid == before.metadata.uid
            assert after.status.startTime == before.status.startTime

    run_virtually(main())


def test_a_pod_whose_mirror_had_failed_runs_after_a_boot() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            cluster.static.put(SPEC)
            await cluster.until(is_ready, NAME)
            await cluster.node.crash()
            status = {"status": {"phase": "Failed", "reason": "Terminated"}}
            await cluster.client.patch(Pod, NAME, status, "default", subresource="status")
            await cluster.node.start()
            await cluster.until(lambda pod: pod.status.phase == "Running", NAME)
            pod = await cluster.until(is_ready, NAME)
            assert pod.status.reason == ""
            assert cluster.running()

    run_virtually(main())


def test_a_static_pod_that_does_not_fit_is_rejected_once() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            cluster.static.put({"containers": [container(resources={"requests": {"cpu": "99"}})]})
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed", NAME)
            assert pod.status.reason == "UnexpectedAdmissionError"
            await asyncio.sleep(60)
            assert not cluster.running()

    run_virtually(main())


def test_a_users_pod_with_the_mirrors_annotation_is_no_pod() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            await cluster.create(SPEC, "forged", annotations={MIRROR: "x"})
            for _ in range(100):
                await asyncio.sleep(0.1)
            assert not cluster.running("forged")
            with pytest.raises(NotFound):
                await cluster.pod("forged")

    run_virtually(main())


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"kind": "Deployment", "apiVersion": "apps/v1"},
        {"kind": "Pod", "apiVersion": "v1", "spec": {}},
        {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}},
        {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": 3}, "spec": {}},
        {"kind": "Pod", "apiVersion": "v1", "metadata": "x", "spec": {}},
        {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "x", "annotations": []},
            "spec": [],
        },
    ],
)
def test_what_is_no_pod_is_refused(body: Any) -> None:
    with pytest.raises(InvalidManifest):
        mark_static(body, "x.yaml", "node-1", "")


def test_the_uid_depends_on_content_node_and_file_only() -> None:
    def uid(image: str = "a", file: str = "x.yaml", node: str = "n", seen: str = "1") -> str:
        spec = {"containers": [{"name": "c", "image": image}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        text: str = mark_static(body, file, node, seen)["metadata"]["uid"]
        return text

    assert uid() == uid(seen="2")
    assert len({uid(), uid(image="b"), uid(file="y.yaml"), uid(node="m")}) == 4


def test_the_marks_of_a_manifest_are_the_nodes_own() -> None:
    forged = {MIRROR: "x", HASH: "y", SOURCE: "api", "keep": "1"}
    metadata = {"name": "P", "uid": "../..", "annotations": forged, "ownerReferences": [{}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "other"}}
    made = mark_static(body, "x.yaml", "Node-1", "")
    assert made["metadata"]["annotations"][HASH] == made["metadata"]["uid"] != "../.."
    assert made["metadata"]["annotations"][SOURCE] == "file"
    assert made["metadata"]["annotations"]["keep"] == "1"
    assert MIRROR not in made["metadata"]["annotations"]
    assert "ownerReferences" not in made["metadata"]
    assert made["spec"]["nodeName"] == "Node-1"
    assert made["metadata"]["name"] == "P-node-1"
    pod = Pod()
    assert not is_static(pod)
    assert not is_mirror(pod)
