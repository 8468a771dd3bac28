"""An engine that was replaced or lost images: it is made ready before any pod is worked on, and says what it misses."""

import asyncio

from kubelite.api.kinds.core.events import Event
from kubelite.node.simulated.runtime import SimulatedRuntime
from unit.node.cluster import Cluster, container, is_ready, run_virtually


def _lose_all(runtime: SimulatedRuntime) -> None:
    runtime._records.clear()
    runtime._specs.clear()
    runtime._images.clear()


def test_an_engine_that_lost_all_is_made_ready_before_its_pods_are_made_anew() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            runtime, kubelet = cluster.node.runtime, cluster.node.kubelet
            assert kubelet is not None
            await runtime.pull("app:1", None)
            await cluster.create({"containers": [container(imagePullPolicy="Never")]})
            first = await cluster.until(is_ready)
            is_prepared = False

            async def make_ready() -> None:
                nonlocal is_prepared
                await asyncio.sleep(30)  # as long as a large archive takes
                assert not runtime.all_records(), "a pod was worked on"
                await runtime.pull("app:1", None)
                is_prepared = True

            kubelet.before_pods = make_ready
            runtime.go_away()
            _lose_all(runtime)
            runtime.come_back()
            again = await cluster.until(
                lambda pod: (
                    is_prepared
                    and is_ready(pod)
                    and pod.status.containerStatuses[0].containerID
                    != first.status.containerStatuses[0].containerID
                )
            )
            assert again.metadata.uid == first.metadata.uid
            assert again.status.containerStatuses[0].restartCount == 1
            events = await cluster.client.list(Event, "default")
            assert not [event for event in events if event.reason.startswith("Err")]

    run_virtually(main())


def test_a_container_whose_image_vanished_tells_of_the_pull_and_of_nothing_else() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            runtime = cluster.node.runtime
            runtime._images.clear()
            runtime.forbid_image("app:1")
            [app] = [one for one in runtime.all_records() if one.name == "app"]
            runtime.end(app.id, 1)
            pod = await cluster.until(
                lambda pod: (
                    pod.status.containerStatuses[0].state.waiting is not None
                    and "Pull" in pod.status.containerStatuses[0].state.waiting.reason
                )
            )
            assert pod.status.containerStatuses[0].restartCount == 0
            events = await cluster.client.list(Event, "default")
            assert not [event for event in events if "removed" in event.message]
            runtime._missing.clear()
            pod = await cluster.until(is_ready)
            assert pod.status.containerStatuses[0].restartCount == 1

    run_virtually(main())
