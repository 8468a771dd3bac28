"""Answers the log questions of the API: which container, since when, how much."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta

from msgspec import Struct

from kubelite.api.errors import BadRequest, NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import parse_time
from kubelite.limits import TERMINATION_LOG
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import find_container
from kubelite.node.runtime import ContainerRecord, ContainerRuntime, LogQuery
from kubelite.node.status import WAITING_FOR_CREATION

LAST_OUTPUT_LINES = 80
LAST_OUTPUT_SECONDS = 10.0
PULL_PROBLEMS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class LogRequest(Struct, frozen=True):
    """The options of a request for a log."""

    query: LogQuery
    previous: bool = False
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = ""  # stdout, stderr; empty for both


def read_request(parameters: Mapping[str, str], now: datetime) -> LogRequest:
    """Read the parameters of a log request; raises BadRequest."""

    def flag(name: str) -> bool:
        return parameters.get(name, "").lower() in {"true", "1", "t"}

    def number(name: str) -> int | None:
        text = parameters.get(name)
        if text is None or text == "":
            return None
        if not NUMBER.fullmatch(text):
            raise BadRequest(f'invalid value of {name}: "{text[:30]}"')
        return int(text)

    since: datetime | None = None
    seconds = number("sinceSeconds")
    try:
        if seconds is not None:
            since = now - timedelta(seconds=seconds)
        elif parameters.get("sinceTime"):
            since = parse_time(parameters["sinceTime"])
    except (ValueError, OverflowError) as error:
        raise BadRequest(str(error)) from error
    return LogRequest(
        LogQuery(follow=flag("follow"), tail_lines=number("tailLines"), since=since),
        flag("previous"),
        flag("timestamps"),
        number("limitBytes"),
        parameters.get("stream", "").lower().removeprefix("all"),
    )


def record_to_read(
    pod: Pod, memory: PodMemory, container: str, *, previous: bool
) -> ContainerRecord:
    """Return the run of a container whose log is requested: the newest, or the one before it.

    Of a container that waits to be started again the newest run is the previous one, as its status says.

    Raises:
        NotFound: The pod has no such container.
        BadRequest: It has not run yet, or only once.
    """
    name = pod.metadata.name
    if find_container(pod, container) is None:
        raise NotFound(f"container {container} is not valid for pod {name}")
    attempts = [r for r in memory.observe().attempts(container) if r.phase != "created"]
    waiting = _waiting_reason(pod, container)
    if previous:
        if attempts and (attempts[0].is_running or not waiting):
            attempts = attempts[1:]
        if not attempts:
            raise BadRequest(
                f'previous terminated container "{container}" in pod "{name}" not found'
            )
        return attempts[0]
    if attempts:
        return attempts[0]
    problem = PULL_PROBLEMS.get(waiting, waiting or WAITING_FOR_CREATION)
    raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {problem}')


def _waiting_reason(pod: Pod, container: str) -> str:
    """Return why a container waits; "" if it does not."""
    status = pod.status
    for known in (
        *status.containerStatuses,
        *status.initContainerStatuses,
        *status.ephemeralContainerStatuses,
    ):
        if known.name == container and known.state.waiting is not None:
            return known.state.waiting.reason
    return ""


async def last_output(runtime: ContainerRuntime, container_id: str) -> str:
    """Return the end of a container's output, both streams, as the policy FallbackToLogsOnError shows it.

    Raises EngineUnavailable, RuntimeFailure, and TimeoutError after `LAST_OUTPUT_SECONDS`.
    """
    data = b""
    query = LogQuery(tail_lines=LAST_OUTPUT_LINES)
    async with asyncio.timeout(LAST_OUTPUT_SECONDS):
        async with aclosing(runtime.logs(container_id, query)) as entries:
            async for entry in entries:
                # A line has no bound, so it is cut while it is read.
                data = (data + entry.data)[-TERMINATION_LOG.value - 1 :]
    if len(data) > TERMINATION_LOG.value:
        TERMINATION_LOG.reached()
        data = data[-TERMINATION_LOG.value :]
    return data.decode("utf-8", "replace")


async def log_bytes(
    runtime: ContainerRuntime, record: ContainerRecord, request: LogRequest
) -> AsyncGenerator[bytes, None]:
    """Yield the requested part of a log in the API's form. The caller closes it, else the engine's connection stays."""
    left = request.limit_bytes
    is_line_start = True
    async with aclosing(runtime.logs(record.id, request.query)) as entries:
        async for entry in entries:
            if request.stream and entry.stream != request.stream:
                continue
            data = entry.data
            if request.timestamps and is_line_start:
                data = entry.timestamp.encode() + b" " + data
            is_line_start = data.endswith(b"\n")
            if left is not None:
                data = data[:left]
                left -= len(data)
            if data:
                yield data
            if left == 0:
                return
