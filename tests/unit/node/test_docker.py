"""What an engine sends, line by line."""

import asyncio
import re
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from kubelite.clock import SystemClock
from kubelite.limits import ENGINE_LINE, PULL_SILENCE
from kubelite.node.container_owner import ContainerOwner
from kubelite.node.docker import DockerRuntime, lines_of
from kubelite.node.runtime import (
    ImageInUse,
    ImagePullFailed,
    Resynced,
    RuntimeFailure,
    SandboxSpec,
    StartRefused,
)


async def _pieces(whole: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
async def test_lines_come_out_of_any_pieces(size: int) -> None:
    whole = b'{"a":1}\r\n\n{"b":2}\n  \n{"c":3}'
    found = [line async for line in lines_of(_pieces(whole, size))]
    assert found == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


async def test_a_line_without_end_is_given_up() -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield b"x" * 1000

    with pytest.raises(RuntimeFailure, match="too long a line"):
        [line async for line in lines_of(endless())]
    assert given <= ENGINE_LINE.value + 1000


SANDBOX = SandboxSpec("u", "p", "n", attempt=0, hostname="p")
Answer = tuple[int, object]


class ScriptedEngine:
    """Answers each call by a table of ``METHOD path``, and keeps what was asked."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.bodies: dict[str, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            body = await self._body(reader, head)
            method, path, _ = head.split(" ", 2)
            call = f"{method} {path.partition('?')[0].removeprefix('/v1.41/')}"
            self.bodies[call] = body
            if call != "GET /version":
                self.asked.append(call)
            status, answer = self.answers.get(call, (404, {"message": f"no {call}"}))
            text = b"" if answer is None else msgspec.json.encode(answer)
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(text), text)
            )

    async def _body(self, reader: asyncio.StreamReader, head: str) -> bytes:
        if length := re.search(r"Content-Length: (\d+)", head):
            return await reader.readexactly(int(length[1]))
        body = b""
        while "chunked" in head and (size := int(await reader.readline(), 16)):
            body += await reader.readexactly(size)
            await reader.readline()
        if "chunked" in head:
            await reader.readline()
        return body


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def runtime_over(folder: Path, serve: Serve) -> AsyncIterator[DockerRuntime]:
    """Give a runtime over an engine whose connections `serve` serves to their end."""
    served: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(connected, folder / "docker.sock")
    owner = ContainerOwner("owner", "node-1", folder)
    runtime = DockerRuntime(folder / "docker.sock", owner, "amd64", SystemClock())
    try:
        yield runtime
    finally:
        await runtime.close()
        server.close()
        await asyncio.gather(*(task for task in served if task is not None))


@asynccontextmanager
async def scripted(
    folder: Path, answers: Mapping[str, Answer]
) -> AsyncIterator[tuple[DockerRuntime, ScriptedEngine]]:
    """Give a runtime over an engine that answers as scripted."""
    version = {"ApiVersion": "1.41", "Version": "20"}
    info = {"CgroupDriver": "cgroupfs"}
    asked = {"GET /version": (200, version), "GET version": (200, version), "GET info": (200, info)}
    engine = ScriptedEngine({**asked, **answers})
    async with runtime_over(folder, engine.serve) as runtime:
        yield runtime, engine


def inspected(status: str) -> dict[str, object]:
    own = {
        "io.kubelite.node": "node-1",
        "io.kubelite.owner": "owner",
        "io.kubelite.attempt": "0",
        "io.kubernetes.pod.uid": "u",
        "io.kubernetes.container.name": "POD",
    }
    state = {
        "Status": status,
        "Running": status == "running",
        "Pid": 0,
        "Error": "",
        "ExitCode": 0,
        "OOMKilled": False,
        "StartedAt": "0001-01-01T00:00:00Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    return {
        "Id": "s1",
        "Image": "i",
        "Created": "2026-05-01T12:00:00Z",
        "State": state,
        "Config": {"Labels": own},
    }


async def test_a_sandbox_that_cannot_be_started_leaves_nothing(tmp_path: Path) -> None:
    refusal = {"message": "OCI runtime create failed: no space left on device"}
    answers: dict[str, Answer] = {
        "POST containers/create": (201, {"Id": "s1"}),
        "POST containers/s1/start": (400, refusal),
        "GET containers/s1/json": (200, inspected("created")),
        "DELETE containers/s1": (204, None),
    }
    async with scripted(tmp_path, answers) as (runtime, engine):
        with pytest.raises(StartRefused, match="no space left"):
            await runtime.run_sandbox(SANDBOX)
        assert engine.asked[-1] == "DELETE containers/s1"


async def test_a_refused_start_counts_also_if_its_sandbox_cannot_be_removed(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {
        "POST containers/create": (201, {"Id": "s1"}),
        "POST containers/s1/start": (400, {"message": "no space left on device"}),
        "GET containers/s1/json": (200, inspected("created")),
        "DELETE containers/s1": (500, {"message": "device is busy"}),
    }
    async with scripted(tmp_path, answers) as (runtime, engine):
        with pytest.raises(StartRefused, match="no space left"):
            await runtime.run_sandbox(SANDBOX)
        assert "DELETE containers/s1" in engine.asked


async def test_podman_restarts_no_sandbox_that_has_ended(tmp_path: Path) -> None:
    """Its start of a container would start whatever the container shares namespaces with."""
    version = {"ApiVersion": "1.41", "Version": "4", "Components": [{"Name": "Podman Engine"}]}
    created = {"HostConfig": {"NetworkMode": "container:s1", "IpcMode": "container:s1"}}
    answers: dict[str, Answer] = {
        "GET /version": (200, version),
        "GET version": (200, version),
        "GET containers/c1/json": (200, inspected("created") | {"Id": "c1"} | created),
        "GET containers/s1/json": (200, inspected("exited")),
    }
    async with scripted(tmp_path, answers) as (runtime, engine):
        with pytest.raises(StartRefused, match="does not run"):
            await runtime.start("c1")
        assert "POST containers/c1/start" not in engine.asked


async def discard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a version, then discard the body of each other call."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        length = re.search(rb"Content-Length: (\d+)", head)
        left = int(length[1]) if length else 0
        while left:
            left -= len(await reader.read(min(left, 1 << 16)))
        body = b'{"stream":"loaded"}' if length else b'{"ApiVersion":"1.41","Version":"20"}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)


async def test_an_archive_is_never_held_whole(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    with archive.open("wb") as file:
        file.truncate(64 << 20)
    async with runtime_over(tmp_path, discard) as runtime:
        await runtime.version()  # what is imported is not counted
        tracemalloc.start()
        try:
            await runtime.load(archive)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 4 << 20


class EndlessEngine:
    """An engine without containers whose stream of events never ends."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        )
        while head := await reader.read(4096):
            path = head.split(b" ", 2)[1]
            if b"/events" in path:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                assert await reader.read() == b""
                self.left.set()
                break
            body = b'{"ApiVersion":"1.41","Version":"20"}' if b"/version" in path else b"[]"
            writer.write(with_body % (len(body), body))
        writer.close()


async def test_a_stream_that_is_given_up_leaves_the_engine_at_once(tmp_path: Path) -> None:
    engine, socket = EndlessEngine(), tmp_path / "docker.sock"
    server = await asyncio.start_unix_server(engine.answer, socket)
    owner = ContainerOwner("owner", "node-1", tmp_path)
    runtime = DockerRuntime(socket, owner, "amd64", SystemClock())
    async with aclosing(runtime.events()) as events:
        assert await anext(events) == Resynced(())
    async with asyncio.timeout(10):  # not when the collector finds the connection
        await engine.left.wait()
    await runtime.close()
    server.close()


async def test_an_image_is_removed_under_all_its_names(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {
        "GET images/sha256:1/json": (200, {"Id": "sha256:1", "RepoTags": ["a:1", "r.io/b:2"]}),
        "DELETE images/a:1": (200, []),
        "DELETE images/r.io/b:2": (200, []),
    }
    async with scripted(tmp_path, answers) as (runtime, engine):
        await runtime.remove_image("sha256:1")
        await runtime.remove_image("sha256:2")  # is not there
    assert engine.asked[1:4] == [
        "DELETE images/a:1",
        "DELETE images/r.io/b:2",
        "DELETE images/sha256:1",
    ]


async def test_an_image_that_somebody_elses_container_uses_is_told_apart(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {
        "GET images/sha256:1/json": (200, {"Id": "sha256:1"}),
        "DELETE images/sha256:1": (409, {"message": "image is being used by a container"}),
    }
    async with scripted(tmp_path, answers) as (runtime, _):
        with pytest.raises(ImageInUse, match="is being used"):
            await runtime.remove_image("sha256:1")


async def test_an_image_gets_another_name(tmp_path: Path) -> None:
    async with scripted(tmp_path, {"POST images/sha256:1/tag": (201, None)}) as (runtime, engine):
        await runtime.tag("sha256:1", "host:5000/a:1")
    assert engine.asked == ["POST images/sha256:1/tag"]


async def test_a_pull_of_which_the_engine_tells_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PULL_SILENCE, "value", 0.05)
    given_up = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /version"):
            text = b'{"ApiVersion": "1.41"}'
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(text), text)
            )
            await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
        for _ in range(5):  # for longer than the bound, but never silent for as long
            writer.write(b'{"status": "Downloading"}\n')
            await asyncio.sleep(0.02)
        assert await reader.read() == b""
        given_up.set()

    reached = PULL_SILENCE.times_reached
    async with runtime_over(tmp_path, serve) as runtime:
        with pytest.raises(ImagePullFailed, match="no progress of the pull of"):
            await runtime.pull("r.io/a", None)
        await given_up.wait()
    assert PULL_SILENCE.times_reached == reached + 1
