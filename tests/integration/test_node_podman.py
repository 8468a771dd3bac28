"""A node over Podman: what its kubelet makes of the engine's other words."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest

from integration import runtime_engines
from integration.node_host import TERM, Engine, RealNode, container, is_ready, needs_engine
from integration.runtime_engines import RunningEngine
from kubelite.api.kinds.core.pods import Pod

pytestmark = [
    *needs_engine,
    pytest.mark.skipif(
        shutil.which("podman") is None and not os.environ.get("CI"), reason="needs podman"
    ),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with runtime_engines.podman() as running:
        yield running


@pytest.fixture
async def node(engine: RunningEngine, tmp_path: Path) -> AsyncIterator[RealNode]:
    made = RealNode(cast(Engine, engine), tmp_path)  # only its socket is used
    try:
        await made.set_up()
        yield made
        await made.tear_down()
    finally:
        await made.stop()


async def test_a_pod_becomes_ready_and_goes(node: RealNode) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    await node.create({"containers": [container(script=TERM, readinessProbe=probe)]})
    pod = await node.until(is_ready)
    assert pod.status.containerStatuses[0].containerID.startswith("podman://")
    assert await node.exec(pod, "hostname") == (0, "pod\n")
    await node.client.delete(Pod, "pod", "default")
    await node.until_gone()


async def test_a_container_that_ends_is_started_again(node: RealNode) -> None:
    await node.create({"containers": [container(script="exit 3")]})
    pod = await node.until(lambda pod: _restarts(pod) > 0)
    last = pod.status.containerStatuses[0].lastState.terminated
    assert last is not None
    assert last.exitCode == 3


async def test_a_refused_start_is_told_and_tried_again(node: RealNode) -> None:
    await node.create({"containers": [container(command=["/absent"])]})
    pod = await node.until(lambda pod: _restarts(pod) > 0)
    last = pod.status.containerStatuses[0].lastState.terminated
    assert last is not None
    assert (last.exitCode, last.reason) == (128, "ContainerCannotRun")
    assert "/absent" in last.message


async def test_a_sandbox_that_was_killed_is_replaced(node: RealNode) -> None:
    await node.create({"containers": [container(script=TERM)]})
    await node.until(is_ready)
    [sandbox] = [one for one in await node.runtime.records() if one.is_sandbox]
    await node.runtime.signal(sandbox.id, "SIGKILL")
    await node.until(lambda pod: is_ready(pod) and _restarts(pod) > 0)
    [again] = [one for one in await node.runtime.records() if one.is_sandbox and one.is_running]
    assert again.id != sandbox.id


async def test_a_node_that_starts_again_restarts_nothing(node: RealNode) -> None:
    await node.create({"containers": [container(script=TERM)]})
    await node.until(is_ready)
    before = {one.id for one in await node.runtime.records()}
    await node.restart()
    await node.until(is_ready)
    assert {one.id for one in await node.runtime.records()} == before


def _restarts(pod: Pod) -> int:
    return sum(one.restartCount for one in pod.status.containerStatuses)
