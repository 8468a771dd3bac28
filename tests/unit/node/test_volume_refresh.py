"""When the kubelet sets volumes up again: after each change of what they show, when a token is due, and never else."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import pytest

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.node.environment import ConfigUnavailable, Surroundings
from kubelite.node.simulated import node as simulated
from kubelite.node.simulated.network import SimulatedVolumes
from kubelite.node.volumes.followed import FollowedObjects, shown_objects
from unit.node.cluster import START, Cluster, container, is_ready, run_virtually


class NotedVolumes(SimulatedVolumes):
    """Follows what pods show, as the host's volumes do, and notes when each is set up."""

    client: Any

    def __init__(self) -> None:
        self.made: defaultdict[str, list[float]] = defaultdict(list)
        self.due: timedelta | None = None
        self.followed = FollowedObjects(self.client, self._object_changed)

    def _object_changed(self, uid: str) -> None:
        self.changed(uid)

    async def set_up(self, pod: Pod, around: Surroundings) -> datetime | None:
        del around
        now = asyncio.get_running_loop().time()
        self.made[pod.metadata.name].append(now)
        self.followed.follow(pod)
        for kind, namespace, name in shown_objects(pod):
            try:
                await self.client.get(kind, name, namespace)
            except NotFound as error:
                raise ConfigUnavailable(f'configmap "{name}" not found') from error
        return None if self.due is None else START + timedelta(seconds=now) + self.due

    def rest(self, pod_uid: str) -> None:
        self.followed.forget(pod_uid)


Test = Callable[[Cluster, NotedVolumes], Coroutine[Any, Any, None]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Test], None]:
    made: list[NotedVolumes] = []

    def make(*_: object) -> NotedVolumes:
        made.append(NotedVolumes())
        return made[-1]

    monkeypatch.setattr(simulated, "SimulatedVolumes", make)

    def run(test: Test) -> None:
        async def main() -> None:
            cluster = Cluster()
            NotedVolumes.client = cluster.client
            async with cluster:
                await test(cluster, made[-1])

        run_virtually(main())

    return run


def shows(name: str) -> dict[str, Any]:
    volume = {"name": "v", "configMap": {"name": name}}
    return {"containers": [container()], "volumes": [volume]}


async def put(cluster: Cluster, name: str, text: str) -> None:
    data = {"k": text}
    try:
        await cluster.client.patch(ConfigMap, name, {"data": data}, "default")
    except NotFound:
        meta = ObjectMeta(name=name, namespace="default")
        await cluster.client.create(ConfigMap(metadata=meta, data=data))


def test_a_change_reaches_the_pods_that_show_it_within_a_second(
    run: Callable[[Test], None],
) -> None:
    async def test(cluster: Cluster, volumes: NotedVolumes) -> None:
        for name in ("a", "b"):
            await put(cluster, name, "old")
            await cluster.create(shows(name), f"pod-{name}")
            await cluster.until(is_ready, f"pod-{name}")
        await asyncio.sleep(600)
        assert {name: len(made) for name, made in volumes.made.items()} == {"pod-a": 1, "pod-b": 1}
        changed = asyncio.get_running_loop().time()
        await put(cluster, "a", "new")
        await asyncio.sleep(5)
        assert len(volumes.made["pod-a"]) == 2
        assert volumes.made["pod-a"][1] - changed < 1.0
        assert len(volumes.made["pod-b"]) == 1

    run(test)


def test_many_changes_are_paced_and_the_last_one_counts(run: Callable[[Test], None]) -> None:
    async def test(cluster: Cluster, volumes: NotedVolumes) -> None:
        await put(cluster, "a", "old")
        await cluster.create(shows("a"))
        await cluster.until(is_ready)
        await asyncio.sleep(10)
        for number in range(100):
            await put(cluster, "a", str(number))
            await asyncio.sleep(0.02)
        last = asyncio.get_running_loop().time()
        await asyncio.sleep(10)
        assert 4 <= len(volumes.made["pod"]) <= 7  # over two seconds
        assert volumes.made["pod"][-1] >= last - 0.02

    run(test)


def test_what_was_missing_starts_the_pod_as_soon_as_it_is_there(
    run: Callable[[Test], None],
) -> None:
    async def test(cluster: Cluster, volumes: NotedVolumes) -> None:
        await cluster.create(shows("late"))
        await asyncio.sleep(300)
        before = len(volumes.made["pod"])
        assert before < 15  # the back-off has grown to a minute
        await put(cluster, "late", "there")
        made = asyncio.get_running_loop().time()
        await cluster.until(is_ready)
        assert volumes.made["pod"][before] - made < 1.0

    run(test)


def test_an_object_that_goes_is_tried_again_and_leaves_the_pod_running(
    run: Callable[[Test], None],
) -> None:
    async def test(cluster: Cluster, volumes: NotedVolumes) -> None:
        await put(cluster, "a", "old")
        await cluster.create(shows("a"))
        await cluster.until(is_ready)
        await cluster.client.delete(ConfigMap, "a", "default")
        await asyncio.sleep(200)
        assert 4 < len(volumes.made["pod"]) < 12
        assert is_ready(await cluster.pod())
        before = len(volumes.made["pod"])
        await put(cluster, "a", "back")
        await asyncio.sleep(200)
        assert len(volumes.made["pod"]) == before + 1

    run(test)


def test_a_token_is_asked_for_when_it_is_due(run: Callable[[Test], None]) -> None:
    async def test(cluster: Cluster, volumes: NotedVolumes) -> None:
        volumes.due = timedelta(seconds=2880)
        await cluster.create({"containers": [container()]})
        await cluster.until(is_ready)
        await asyncio.sleep(3 * 2880 + 60)
        pauses = [
            round(after - before)
            for before, after in zip(volumes.made["pod"], volumes.made["pod"][1:], strict=False)
        ]
        assert pauses == [2880, 2880, 2880]

    run(test)


def test_the_downward_api_follows_the_pod_and_its_node(run: Callable[[Test], None]) -> None:
    async def test(cluster: Cluster, volumes: NotedVolumes) -> None:
        items = [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]
        downward = {"name": "v", "downwardAPI": {"items": items}}
        await cluster.create({"containers": [container()], "volumes": [downward]})
        await cluster.until(is_ready)
        await asyncio.sleep(60)
        assert len(volumes.made["pod"]) == 1  # its own status is no reason
        labels = {"metadata": {"labels": {"tier": "web"}}}
        await cluster.client.patch(Pod, "pod", labels, "default")
        await asyncio.sleep(1)
        assert len(volumes.made["pod"]) == 2
        capacity = {"status": {"capacity": {"example.com/gpu": "1"}}}
        await cluster.client.patch(Node, "node-1", capacity, subresource="status")
        await asyncio.sleep(1)
        assert len(volumes.made["pod"]) == 3

    run(test)


def test_a_pod_that_has_ended_follows_nothing(run: Callable[[Test], None]) -> None:
    async def test(cluster: Cluster, volumes: NotedVolumes) -> None:
        await put(cluster, "a", "old")
        spec = {**shows("a"), "restartPolicy": "Never", "containers": [container(command=["true"])]}
        await cluster.create(spec)
        await cluster.until(lambda pod: pod.status.phase == "Succeeded")
        await asyncio.sleep(5)
        before = len(volumes.made["pod"])
        await put(cluster, "a", "new")
        await asyncio.sleep(600)
        assert len(volumes.made["pod"]) == before
        assert not volumes.followed._ends

    run(test)
