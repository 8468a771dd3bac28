"""Questions about a log, and what of a container's output stands for its termination message."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.core.pods import Pod
from kubelite.limits import TERMINATION_LOG
from kubelite.node.logs import last_output, read_request, record_to_read
from kubelite.node.pod_memory import PodMemory
from kubelite.node.runtime import ContainerRecord, LogEntry, LogQuery, RuntimeFailure
from kubelite.node.simulated.runtime import SimulatedRuntime
from unit.node.cluster import Cluster, container, run_virtually

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_a_request_is_read() -> None:
    asked = {"tailLines": "5", "limitBytes": "7", "sinceSeconds": "60", "follow": "true"}
    found = read_request(asked, NOW)
    assert (found.query.tail_lines, found.limit_bytes, found.query.follow) == (5, 7, True)
    assert found.query.since == NOW - timedelta(seconds=60)


@pytest.mark.parametrize("name", ["tailLines", "limitBytes", "sinceSeconds"])
@pytest.mark.parametrize("text", ["-1", "x", "1" * 19, "1" * 5000, "1_0", "\u0661", " 1"])
def test_a_number_is_some_digits(name: str, text: str) -> None:
    with pytest.raises(BadRequest, match=f"invalid value of {name}"):
        read_request({name: text}, NOW)


def test_a_date_before_all_dates_is_refused() -> None:
    with pytest.raises(BadRequest):
        read_request({"sinceSeconds": "9" * 18}, NOW)


def seen(state: dict[str, Any], *phases: Any) -> tuple[Pod, PodMemory]:
    """Return a pod whose container has this state, after runs with these phases, the oldest first."""
    pod = msgspec.convert(
        {
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"containerStatuses": [{"name": "app", "state": state}]},
        },
        Pod,
    )
    memory = PodMemory("u")
    for attempt, phase in enumerate(phases):
        memory.update_container(
            ContainerRecord(str(attempt), "u", "web", "d", "app", attempt, phase, NOW)
        )
    return pod, memory


WAITING: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING: dict[str, Any] = {"running": {}}
ENDED: dict[str, Any] = {"terminated": {"exitCode": 1}}


@pytest.mark.parametrize(
    ("state", "phases", "newest", "previous"),
    [
        (RUNNING, ["running"], "0", None),
        (RUNNING, ["exited", "running"], "1", "0"),
        (RUNNING, ["exited", "exited", "created"], "1", "0"),
        (WAITING, ["exited"], "0", "0"),
        (WAITING, ["exited", "exited"], "1", "1"),
        (WAITING, ["exited", "running"], "1", "0"),  # the status is not written yet
        (ENDED, ["exited", "exited"], "1", "0"),
        (ENDED, ["exited"], "0", None),
    ],
)
def test_which_run_of_a_container_is_read(
    state: dict[str, Any], phases: list[str], newest: str, previous: str | None
) -> None:
    pod, memory = seen(state, *phases)
    assert record_to_read(pod, memory, "app", previous=False).id == newest
    if previous is not None:
        assert record_to_read(pod, memory, "app", previous=True).id == previous
    else:
        with pytest.raises(BadRequest, match='previous terminated container "app" in pod "web"'):
            record_to_read(pod, memory, "app", previous=True)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("ErrImagePull", "image can't be pulled"),
        ("ImagePullBackOff", "trying and failing to pull image"),
        ("ContainerCreating", "ContainerCreating"),
    ],
)
def test_what_keeps_a_container_from_having_a_log_is_said(reason: str, shown: str) -> None:
    pod, memory = seen({"waiting": {"reason": reason}})
    with pytest.raises(BadRequest, match=f"is waiting to start: {shown}"):
        record_to_read(pod, memory, "app", previous=False)


DATE = "2026-05-01T12:00:00Z"


def writing(*pieces: bytes) -> Callable[..., Any]:
    """Return the output of a container, in pieces; the engine has cut it to the lines that are asked for."""

    async def logs(_: object, container_id: str, query: LogQuery) -> AsyncGenerator[LogEntry, None]:
        assert query == LogQuery(tail_lines=80)
        for number, piece in enumerate(pieces):
            yield LogEntry(DATE, "stderr" if number % 2 else "stdout", piece)

    return logs


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ((), ""),
        ((b"a\n", b"b\n"), "a\nb\n"),
        ((b"x" * 3000, b"end"), "x" * 2045 + "end"),
        ((b"\xff",), "\ufffd"),
    ],
)
async def test_the_end_of_both_streams(
    monkeypatch: pytest.MonkeyPatch, pieces: Sequence[bytes], shown: str
) -> None:
    monkeypatch.setattr(SimulatedRuntime, "logs", writing(*pieces))
    runtime: Any = SimulatedRuntime.__new__(SimulatedRuntime)
    before = TERMINATION_LOG.times_reached
    assert await last_output(runtime, "id") == shown
    assert TERMINATION_LOG.times_reached - before == (len(shown) == 2048)


@pytest.mark.parametrize(
    ("policy", "command", "left", "message"),
    [
        ("FallbackToLogsOnError", "false", "", "said at last\n"),
        ("FallbackToLogsOnError", "true", "", ""),  # it did not fail
        ("FallbackToLogsOnError", "false", "written", "written"),
        ("File", "false", "", ""),
        (None, "false", "", ""),
    ],
)
def test_when_the_log_stands_for_the_message(
    monkeypatch: pytest.MonkeyPatch, policy: str | None, command: str, left: str, message: str
) -> None:
    monkeypatch.setattr(SimulatedRuntime, "logs", writing(b"said at last\n"))

    async def main() -> None:
        async with Cluster() as cluster:
            await leave(cluster, left)
            one = container(command=[command])
            if policy:
                one["terminationMessagePolicy"] = policy
            await cluster.create({"containers": [one], "restartPolicy": "Never"})
            pod = await cluster.until(lambda pod: pod.status.phase in {"Succeeded", "Failed"})
            ended = pod.status.containerStatuses[0].state.terminated
            assert ended is not None
            assert ended.message == message

    run_virtually(main())


async def leave(cluster: Cluster, text: str) -> None:
    while cluster.node.kubelet is None:
        await asyncio.sleep(0)

    async def message(*_: object) -> str:
        return text

    cluster.node.kubelet._parts.volumes.termination_message = message  # type: ignore[method-assign,assignment]  # what the container left


def test_a_log_that_cannot_be_read_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def logs(*_: object) -> AsyncGenerator[LogEntry, None]:
        raise RuntimeFailure("configured logging driver does not support reading")
        yield

    monkeypatch.setattr(SimulatedRuntime, "logs", logs)

    async def main() -> None:
        async with Cluster() as cluster:
            one = container(command=["false"], terminationMessagePolicy="FallbackToLogsOnError")
            await cluster.create({"containers": [one], "restartPolicy": "Never"})
            await cluster.until(lambda pod: pod.status.phase == "Failed")

    run_virtually(main())
