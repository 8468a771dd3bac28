"""A node agent that is killed before or after each call it makes: the next one brings every pod to where it belongs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import pytest
from fakes.crash_points import Calls

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.dependencies import Collaborators
from kubelite.node.environment import Surroundings
from kubelite.node.pods import AnyContainer
from kubelite.node.runtime import ContainerRecord, Mount
from kubelite.node.simulated.network import AddressPool
from kubelite.node.simulated.node import SimulatedNode
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually

MOST_CALLS = 200  # of one agent for one pod; more are a loop
SETTLE_SECONDS = 400  # enough for every back-off that a killed start can leave


class KeptVolumes:
    """Volumes that are there until they are torn down, as folders and mounts are."""

    changed: Callable[[str], None]

    def __init__(self) -> None:
        self.present: set[str] = set()

    async def set_up(self, pod: Pod, around: Surroundings) -> datetime | None:
        del around
        self.present.add(pod.metadata.uid)
        await asyncio.sleep(0.01)
        return None

    async def mounts(
        self,
        pod: Pod,
        container: AnyContainer,
        attempt: int,
        around: Surroundings,
        environment: Mapping[str, str],
    ) -> tuple[Mount, ...]:
        del container, attempt, around, environment
        assert pod.metadata.uid in self.present, "a container is made before its volumes"
        return ()

    async def termination_message(self, pod_uid: str, name: str, attempt: int) -> str:
        del pod_uid, name, attempt
        return ""

    def rest(self, pod_uid: str) -> None:
        pass

    async def tear_down(self, pod_uid: str) -> None:
        await asyncio.sleep(0.01)
        self.present.discard(pod_uid)

    async def leftovers(self) -> list[str]:
        return sorted(self.present)


class CountedPool(AddressPool):
    """Knows how many addresses are in use."""

    def __init__(self) -> None:
        super().__init__()
        self.used: list[str] = []

    def take(self) -> str:
        address = super().take()
        self.used.append(address)
        return address

    def give_back(self, address: str) -> None:
        self.used.remove(address)
        super().give_back(address)


class Mortal(Cluster):
    """A cluster whose node agent can be killed, and started again over the same engine, network and volumes."""

    def __init__(self) -> None:
        self.pool = CountedPool()
        self.volumes = KeptVolumes()
        self.starts: Counter[str] = Counter()  # processes begun, by container name
        self.most_running: Counter[tuple[str, str]] = Counter()
        self.calls = Calls()
        super().__init__()

    def new_node(self, name: str = "node-1") -> SimulatedNode:
        node = SimulatedNode(
            name,
            self.client,
            self.clock,
            SeededRandomness(3),
            pool=self.pool,
            around=self._around,
        )
        start = node.runtime.start

        async def counted(container_id: str) -> ContainerRecord:
            record = await start(container_id)
            if not record.is_sandbox:
                self.starts[record.name] += 1
            running = Counter((one.pod_uid, one.name) for one in self._running(node))
            self.most_running |= running
            return record

        node.runtime.start = counted  # type: ignore[method-assign]  # to see every process begin
        return node

    def _around(self, parts: Collaborators) -> Collaborators:
        return self.calls.around(msgspec.structs.replace(parts, volumes=self.volumes))

    @staticmethod
    def _running(node: SimulatedNode) -> list[ContainerRecord]:
        return [record for record in node.runtime.all_records() if record.is_running]

    @property
    def running(self) -> list[str]:
        return sorted(record.name for record in self._running(self.node))

    async def kill(self) -> None:
        """Kill the agent where it stands."""
        self.calls.bury()
        await self.node.stop()

    async def revive(self) -> None:
        """Start the agent again; from now on nothing kills it."""
        self.calls = Calls()
        await self.node.start()

    def check_unique(self) -> None:
        """Fail if a container ran twice at the same time."""
        assert set(self.most_running.values()) <= {1}, self.most_running


Story = Callable[[Mortal], Awaitable[None]]


class Scenario(msgspec.Struct, frozen=True):
    """What happens before the calls count, what the agent does then, and what must be true in the end."""

    begin: Story
    change: Story
    is_done: Callable[[Mortal], Awaitable[bool]]
    check: Story
    meanwhile: Story | None = None  # what happens while the agent is dead


def pod_spec() -> dict[str, Any]:
    return {
        "initContainers": [
            container("init", command=["true"]),
            container("side", restartPolicy="Always"),
        ],
        "containers": [container("app"), container("other")],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }


async def nothing(_: Mortal) -> None:
    pass


async def create(cluster: Mortal) -> None:
    await cluster.create(pod_spec())


async def create_once(cluster: Mortal) -> None:
    spec = {"restartPolicy": "Never", "containers": [container(command=["sleep", "5"])]}
    await cluster.create(spec)


async def create_ready(cluster: Mortal) -> None:
    await create(cluster)
    await cluster.until(is_ready)


async def delete(cluster: Mortal) -> None:
    await cluster.client.delete(Pod, "pod", "default")


async def force_delete(cluster: Mortal) -> None:
    with suppress(NotFound):
        await cluster.client.delete(Pod, "pod", "default", grace_seconds=0)


async def replace(cluster: Mortal) -> None:
    await force_delete(cluster)
    await create(cluster)


async def end_app(cluster: Mortal) -> None:
    [app] = [one for one in cluster.node.runtime.all_records() if one.name == "app"]
    cluster.node.runtime.end(app.id, 1)


async def end_sandbox(cluster: Mortal) -> None:
    [sandbox] = [one for one in cluster.node.runtime.all_records() if one.is_sandbox]
    cluster.node.runtime.end(sandbox.id, 137)


async def is_up(cluster: Mortal) -> bool:
    return is_ready(await cluster.pod())


async def is_up_again(cluster: Mortal) -> bool:
    pod = await cluster.pod()
    restarts = [one.restartCount for one in pod.status.containerStatuses if one.name == "app"]
    return is_ready(pod) and restarts == [1]


async def is_up_anew(cluster: Mortal) -> bool:
    pod = await cluster.pod()
    sandboxes = [one for one in cluster.node.runtime.all_records() if one.is_sandbox]
    return is_ready(pod) and any(one.attempt == 1 and one.is_running for one in sandboxes)


async def is_gone(cluster: Mortal) -> bool:
    try:
        await cluster.pod()
    except NotFound:
        assert cluster.node.kubelet is not None
        return not cluster.node.kubelet.memories
    return False


async def has_succeeded(cluster: Mortal) -> bool:
    pod = await cluster.pod()
    return pod.status.phase == "Succeeded" and not cluster.volumes.present


async def check_up(cluster: Mortal) -> None:
    pod = await cluster.pod()
    uid = pod.metadata.uid
    assert cluster.running == ["POD", "app", "other", "side"]
    assert {record.pod_uid for record in cluster.node.runtime.all_records()} == {uid}
    assert cluster.node.network.addresses == {uid: pod.status.podIP}
    assert cluster.pool.used == [pod.status.podIP]
    assert cluster.volumes.present == {uid}


async def check_once(cluster: Mortal) -> None:
    await check_up(cluster)
    assert cluster.starts == {"init": 1, "side": 1, "app": 1, "other": 1}
    pod = await cluster.pod()
    statuses = [*pod.status.initContainerStatuses, *pod.status.containerStatuses]
    assert [one.restartCount for one in statuses] == [0, 0, 0, 0]


async def check_up_again(cluster: Mortal) -> None:
    await check_up(cluster)
    assert cluster.starts == {"init": 1, "side": 1, "app": 2, "other": 1}


async def check_gone(cluster: Mortal) -> None:
    assert cluster.node.runtime.all_records() == []
    assert cluster.node.network.addresses == {}
    assert cluster.pool.used == []
    assert cluster.volumes.present == set()


async def check_ran_once(cluster: Mortal) -> None:
    assert cluster.starts == {"app": 1}
    assert cluster.running == []
    assert cluster.pool.used == []
    [status] = (await cluster.pod()).status.containerStatuses
    assert status.restartCount == 0


SCENARIOS = {
    "start": Scenario(nothing, create, is_up, check_once),
    "delete": Scenario(create_ready, delete, is_gone, check_gone),
    "force delete": Scenario(create_ready, force_delete, is_gone, check_gone),
    "start, deleted meanwhile": Scenario(nothing, create, is_gone, check_gone, force_delete),
    "start, replaced meanwhile": Scenario(nothing, create, is_up, check_up, replace),
    "delete, forced meanwhile": Scenario(create_ready, delete, is_gone, check_gone, force_delete),
    "restart of a container": Scenario(create_ready, end_app, is_up_again, check_up_again),
    "restart of the sandbox": Scenario(create_ready, end_sandbox, is_up_anew, check_up),
    "run to completion": Scenario(nothing, create_once, has_succeeded, check_ran_once),
}


async def _settled(cluster: Mortal, scenario: Scenario) -> None:
    deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
    while not await scenario.is_done(cluster):
        assert asyncio.get_running_loop().time() < deadline, await _state(cluster)
        await asyncio.sleep(0.1)
    await asyncio.sleep(5)
    assert await scenario.is_done(cluster), await _state(cluster)


async def _state(cluster: Mortal) -> str:
    pods = await cluster.client.list(Pod, "default")
    records = [(one.name, one.attempt, one.phase) for one in cluster.node.runtime.all_records()]
    return f"{records} {cluster.pool.used} {[msgspec.json.encode(pod.status) for pod in pods]}"


async def _calls_of(scenario: Scenario) -> list[str]:
    """Return the calls of an agent that is not killed."""
    async with Mortal() as cluster:
        await scenario.begin(cluster)
        cluster.calls.made.clear()
        await scenario.change(cluster)
        if scenario.meanwhile is None:
            await _settled(cluster, scenario)
        else:
            await asyncio.sleep(60)
        cluster.check_unique()
        return list(cluster.calls.made)


async def _survives(scenario: Scenario, at: int, *, is_made: bool) -> str:
    """Kill the agent at a call and start another; return which call it was, or nothing if it never came."""
    async with Mortal() as cluster:
        await scenario.begin(cluster)
        made = cluster.calls.made
        last = len(made) + at
        cluster.calls.end_at(last, is_made=is_made)
        await scenario.change(cluster)
        try:
            async with asyncio.timeout(60):
                await cluster.calls.died.wait()
        except TimeoutError:
            return ""
        await cluster.kill()
        if scenario.meanwhile is not None:
            await scenario.meanwhile(cluster)
        await cluster.revive()
        try:
            await _settled(cluster, scenario)
            await scenario.check(cluster)
            cluster.check_unique()
        except BaseException as error:
            error.add_note(f"killed {'after' if is_made else 'before'} {made[last]}, call {at}")
            error.add_note(f"calls: {made}")
            raise
        return made[last]


@pytest.mark.parametrize("is_made", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_an_agent_that_is_killed_at_any_call(name: str, is_made: bool) -> None:
    scenario = SCENARIOS[name]
    expected: list[str] = []

    async def count() -> None:
        expected.extend(await _calls_of(scenario))

    run_virtually(count())
    assert 2 < len(expected) < MOST_CALLS, expected
    reached = set()
    for at in range(len(expected)):

        async def one(at: int = at) -> None:
            reached.add(await _survives(scenario, at, is_made=is_made))

        run_virtually(one())
    # A call that is made while another agent would have done otherwise may not come again; each kind must.
    assert set(expected) <= reached | {""}, set(expected) - reached


@pytest.mark.parametrize("is_made", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["start", "delete", "restart of a container"])
def test_agents_that_are_killed_over_and_over_each_a_call_later(name: str, is_made: bool) -> None:
    scenario = SCENARIOS[name]

    async def main() -> None:
        async with Mortal() as cluster:
            await scenario.begin(cluster)
            await scenario.change(cluster)
            for life in range(MOST_CALLS):
                await cluster.kill()
                await cluster.revive()
                cluster.calls.end_at(life, is_made=is_made)
                try:
                    async with asyncio.timeout(SETTLE_SECONDS):
                        await cluster.calls.died.wait()
                except TimeoutError:
                    break  # it had less to do than that
            assert 3 < life < MOST_CALLS - 1
            await _settled(cluster, scenario)
            await scenario.check(cluster)
            cluster.check_unique()

    run_virtually(main())
