"""A cluster in a thread."""

from collections.abc import Iterator

import pytest

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.testing import BlockingCluster, Cluster, NotReached


@pytest.fixture(scope="module")
def started() -> Iterator[BlockingCluster]:
    with Cluster.start() as cluster:
        yield cluster


def test_its_calls_wait(started: BlockingCluster) -> None:
    (name,) = started.nodes.add(name="worker")
    client = started.client()
    assert [one.metadata.name for one in client.list(Node)] == [name]
    made = client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    changed = client.patch(ConfigMap, "a", {"data": {"k": "1"}}, "default")
    assert (made.data, changed.data) == ({}, {"k": "1"})
    changed.data["k"] = "2"
    assert client.update(changed).data == {"k": "2"}
    client.delete(ConfigMap, "a", "default")
    assert started.wait_for("cm", "a", condition="Deleted") is None
    with pytest.raises(NotFound):
        client.get(ConfigMap, "a", "default")


def test_dicts_have_the_same_calls(started: BlockingCluster) -> None:
    objects = started.client().resource("", "v1", "configmaps")
    one = objects.create({"metadata": {"name": "b", "namespace": "default"}})
    one["data"] = {"k": "1"}
    assert objects.update(one)["data"] == {"k": "1"}
    assert objects.patch("b", {"data": {"k": "2"}}, "default")["data"] == {"k": "2"}
    assert objects.get("b", "default")["data"] == {"k": "2"}
    assert "b" in [item["metadata"]["name"] for item in objects.list("default")]
    objects.delete("b", "default")


def test_its_time_is_advanced_and_held(started: BlockingCluster) -> None:
    before = started.clock.now()
    started.clock.advance(hours=1)
    assert (started.clock.now() - before).total_seconds() >= 3600
    started.clock.hold()
    assert started.clock.now() == started.clock.now()
    started.clock.go_on()
    started.settled()


def test_a_wait_that_fails_is_raised_here(started: BlockingCluster) -> None:
    with pytest.raises(NotReached, match="pods none in default: existence was not reached"):
        started.wait_for("pod", "none", timeout_seconds=0.01)


async def test_coroutines_use_it_too(started: BlockingCluster) -> None:
    cluster = started.asynchronous
    await cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}")
    assert (await cluster.wait_for(ConfigMap, "c")).metadata.name == "c"
    mirror = cluster.client().mirror(ConfigMap, "default")
    await mirror.synced()
    assert mirror.get("c", "default") is not None
    mirror.close()


def test_it_ends_once() -> None:
    cluster = Cluster.start()
    cluster.stop()
    cluster.stop()
    with pytest.raises(RuntimeError, match="the cluster has ended"):
        cluster.settled()
