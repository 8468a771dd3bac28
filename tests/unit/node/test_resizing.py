"""Resizes in place: what the status says of them, and that it says it in one write."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.containers import ResourceRequirements
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.resizing import IN_PROGRESS, PENDING, resize_message, with_allocated
from kubelite.node.runtime import ContainerLimits, ContainerRecord, RuntimeFailure
from unit.node.cluster import Cluster, container, is_ready, run_virtually


def requests(cpu: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": "64Mi"}}


async def resize(cluster: Cluster, cpu: str, name: str = "pod") -> Pod:
    change = {"spec": {"containers": [{"name": "app", "resources": requests(cpu)}]}}
    return await cluster.client.patch(
        Pod, name, change, "default", patch_type="strategic", subresource="resize"
    )


def shown(pod: Pod) -> tuple[int | None, list[str], dict[str, str], dict[str, str]]:
    """Return what one write of the status says of a resize."""
    status = pod.status.containerStatuses[0]
    conditions = [c.type for c in pod.status.conditions if c.type in (PENDING, IN_PROGRESS)]
    resources = status.resources or ResourceRequirements()
    return pod.status.observedGeneration, conditions, resources.requests, status.allocatedResources


async def states(cluster: Cluster, name: str = "pod") -> list[Pod]:
    """Collect each state of a pod that anybody can see, from now on."""
    seen: list[Pod] = []

    def listen(_: Pod | None, after: Pod | None) -> None:
        if after is not None and after.metadata.name == name and after.status.containerStatuses:
            seen.append(after)

    cluster.client.mirror(Pod).subscribe(listen)
    return seen


async def reasons(cluster: Cluster) -> list[str]:
    await asyncio.sleep(1)
    events = await cluster.client.list(Event, "default")
    return sorted(event.reason for event in events if event.reason.startswith("Resize"))


def test_no_state_shows_the_new_generation_without_the_resize_or_its_condition() -> None:
    """A client that waits for the generation and then for the conditions to go must not see the old resources."""

    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container(resources=requests("100m"))]})
            await cluster.until(is_ready)
            seen = await states(cluster)
            asked = await resize(cluster, "200m")
            await cluster.until(lambda pod: shown(pod)[2].get("cpu") == "200m")
            await asyncio.sleep(5)
            assert any(shown(pod)[1] == [IN_PROGRESS] for pod in seen)
            for pod in seen:
                generation, conditions, has, _ = shown(pod)
                if generation == asked.metadata.generation:
                    assert conditions == [IN_PROGRESS] or has["cpu"] == "200m"
                    assert not (conditions and has["cpu"] == "200m")
            assert shown(await cluster.pod())[1] == []
            assert await reasons(cluster) == ["ResizeCompleted", "ResizeStarted"]

    run_virtually(main())


def test_a_resize_without_room_is_deferred_and_done_when_there_is_room() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container(resources=requests("100m"))]})
            await cluster.create({"containers": [container(resources=requests("3"))]}, "big")
            await cluster.until(is_ready)
            await cluster.until(is_ready, "big")
            seen = await states(cluster)
            asked = await resize(cluster, "2")
            pod = await cluster.until(
                lambda pod: pod.status.observedGeneration == asked.metadata.generation
            )
            assert shown(pod)[1:] == ([PENDING], *[requests("100m")["requests"]] * 2)
            condition = next(c for c in pod.status.conditions if c.type == PENDING)
            assert (condition.status, condition.reason) == ("True", "Deferred")
            assert condition.message == (
                "Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000"
            )
            await asyncio.sleep(60)
            assert shown(await cluster.pod())[1] == [PENDING]
            assert len(seen) < 6  # it is not written again and again
            await cluster.client.delete(Pod, "big", "default", grace_seconds=0)
            pod = await cluster.until(lambda pod: shown(pod)[2]["cpu"] == "2")
            await asyncio.sleep(1)
            assert shown(await cluster.pod())[1] == []
            expected = ["ResizeCompleted", "ResizeDeferred", "ResizeStarted"]
            assert await reasons(cluster) == expected

    run_virtually(main())


def test_a_waiting_resize_keeps_what_it_asks_for_free_for_others() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container(resources=requests("1"))]})
            await cluster.create({"containers": [container(resources=requests("2"))]}, "other")
            await cluster.until(is_ready)
            await cluster.until(is_ready, "other")
            await resize(cluster, "3")
            await cluster.until(lambda pod: shown(pod)[1] == [PENDING])
            await cluster.create({"containers": [container(resources=requests("1"))]}, "late")
            await cluster.until(is_ready, "late")  # 4 cpus: the pod holds the one it has

    run_virtually(main())


def test_a_resize_that_the_engine_refuses_is_an_error_and_tried_again() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container(resources=requests("100m"))]})
            await cluster.until(is_ready)
            tried: list[ContainerLimits] = []
            update = cluster.node.runtime.update

            async def refuse(container_id: str, limits: ContainerLimits) -> None:
                tried.append(limits)
                if len(tried) < 4:
                    raise RuntimeFailure("no such device")
                await update(container_id, limits)

            cluster.node.runtime.update = refuse  # type: ignore[method-assign]  # an engine that cannot
            await resize(cluster, "200m")
            pod = await cluster.until(lambda pod: any(c.reason == "Error" for c in _of(pod)))
            assert [c.message for c in _of(pod)] == ["no such device"]
            await cluster.until(lambda pod: shown(pod)[2]["cpu"] == "200m")
            await asyncio.sleep(1)
            assert len(tried) == 4
            assert not _of(await cluster.pod())
            assert await reasons(cluster) == ["ResizeCompleted", "ResizeError", "ResizeStarted"]

    run_virtually(main())


def _of(pod: Pod) -> Sequence[Any]:
    return [c for c in pod.status.conditions if c.type in (PENDING, IN_PROGRESS)]


def test_a_resize_is_found_again_after_a_restart() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container(resources=requests("100m"))]})
            await cluster.create({"containers": [container(resources=requests("3"))]}, "big")
            await cluster.until(is_ready)
            await cluster.until(is_ready, "big")
            await resize(cluster, "2")
            await cluster.until(lambda pod: shown(pod)[1] == [PENDING])
            await cluster.node.stop()
            await cluster.node.start()
            await asyncio.sleep(10)
            pod = await cluster.pod()
            assert shown(pod)[1:] == ([PENDING], *[requests("100m")["requests"]] * 2)

    run_virtually(main())


def test_the_allocated_resources_stand_for_the_asked_ones() -> None:
    body = {"spec": {"containers": [container(resources=requests("1")), container("side")]}}
    pod = msgspec.convert(body, Pod)
    assert with_allocated(pod, {"app": pod.spec.containers[0].resources}) is pod
    less = ResourceRequirements(requests={"cpu": "1m"})
    given = with_allocated(pod, {"app": less})
    assert [one.resources for one in given.spec.containers] == [less, ResourceRequirements()]


def test_events_say_what_is_asked_for() -> None:
    body = {
        "metadata": {"generation": 3},
        "spec": {"containers": [container(resources={"limits": {"cpu": "1"}})]},
    }
    message = resize_message("Pod resize error", msgspec.convert(body, Pod), "no")
    assert message == (
        'Pod resize error: {"containers":[{"name":"app","resources":{"limits":{"cpu":"1"}}}],'
        '"generation":3,"error":"no"}'
    )


def test_a_resize_of_the_pod_itself_waits_for_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            limited: list[int] = []

            async def limit_pod(sandbox: ContainerRecord, limits: ContainerLimits, _: int) -> None:
                if sandbox.pod_name == "pod":
                    limited.append(limits.cpu_shares)

            monkeypatch.setattr(cluster.node.runtime, "limit_pod", limit_pod)
            whole = {"containers": [container()], "resources": requests("100m")}
            await cluster.create(whole)
            await cluster.create({"containers": [container(resources=requests("3"))]}, "big")
            await cluster.until(is_ready)
            await cluster.until(is_ready, "big")
            assert (await cluster.pod()).status.allocatedResources == requests("100m")["requests"]
            patch = {"spec": {"resources": requests("2")}}
            await cluster.client.patch(
                Pod, "pod", patch, "default", patch_type="strategic", subresource="resize"
            )
            pod = await cluster.until(lambda pod: shown_conditions(pod) == [PENDING])
            assert pod.status.allocatedResources == requests("100m")["requests"]
            assert pod.status.resources is not None
            assert pod.status.resources.requests == requests("100m")["requests"]
            assert limited == [102]
            await cluster.client.delete(Pod, "big", "default", grace_seconds=0)
            pod = await cluster.until(
                lambda pod: (pod.status.allocatedResources or {}).get("cpu") == "2"
            )
            await asyncio.sleep(1)
            pod = await cluster.pod()
            assert shown_conditions(pod) == []
            assert limited == [102, 2048]

    run_virtually(main())


def shown_conditions(pod: Pod) -> list[str]:
    return [one.type for one in pod.status.conditions if one.type in (PENDING, IN_PROGRESS)]
