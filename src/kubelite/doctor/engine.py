"""The container engine: which one a node would use, and whether it answers."""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from kubelite.doctor.findings import AS_ROOT, Finding, error, ok, unseen, warning
from kubelite.doctor.wanted import Wanted

GET_ONE = (
    "install docker.io or containerd (with runc), or name a socket by --container-runtime-endpoint"
)
VERSION_SECONDS = 3.0
_DOCKER_VERSION = re.compile(rb'"Version"\s*:\s*"([^"]{1,64})"')


class Choice(Struct, frozen=True):
    """The engine that a node would use now."""

    dialect: str
    socket: str
    is_own: bool = False  # kubelite starts it
    answers: bool = False
    version: str = ""
    program: str = ""  # of an engine of kubelite's own
    is_installed: bool = False  # that program
    has_runc: bool = True
    is_denied: bool = False  # this user may not open the socket


def judge(choice: Choice, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about the engine."""
    if not wanted.has_node:
        return
    where = f"{choice.dialect} on {choice.socket}"
    if choice.is_denied:
        yield unseen(f"the container engine ({where})", "this user may not open it", AS_ROOT)
    elif choice.answers:
        yield ok(f"the container engine {choice.version or 'of unknown version'} answers: {where}")
    elif choice.is_own and choice.is_installed:
        yield ok(f"the container engine: kubelite would start {choice.program}")
    elif choice.is_own:
        yield error(
            f"{choice.program} is wanted as the container engine, and is not installed",
            "pods wait until there is an engine",
            f"install {choice.program}",
        )
    else:
        yield error(
            f"no container engine answers: {where}", "pods wait until there is one", GET_ONE
        )
    if choice.program == "containerd" and choice.is_own and not choice.has_runc:
        yield warning(
            "neither runc nor crun is installed",
            "containerd needs one of them to start a container",
            "install runc",
        )


def gather(wanted: Wanted) -> Choice:
    """Look which engine would be chosen, as a start does, and ask it for its version."""
    return asyncio.run(_gather(wanted))


async def _gather(wanted: Wanted) -> Choice:
    from kubelite.node.engine_choice import Wanted as WantedEngine
    from kubelite.node.engine_choice import choose, engine_answers, own_engines

    own = own_engines(wanted.agent, wanted.run)
    engine = await choose(WantedEngine(*wanted.engine), own, wanted.agent)
    program = own.program(engine)
    does_answer = await engine_answers(engine)
    return Choice(
        engine.dialect,
        str(engine.socket),
        engine.is_own,
        does_answer,
        await _version(engine.dialect, engine.socket) if does_answer else "",
        program.name if program is not None else "",
        program is not None and shutil.which(program.name) is not None,
        any(map(shutil.which, ("runc", "crun"))),
        _is_denied(engine.socket),
    )


def _is_denied(socket: Path) -> bool:
    try:
        return socket.exists() and not os.access(socket, os.R_OK | os.W_OK)
    except PermissionError:
        return True


async def _version(dialect: str, socket: Path) -> str:
    """Return name and version of an engine that answers, "" if it does not tell."""
    if dialect == "cri":
        from kubelite.grpc.client import GrpcClient
        from kubelite.grpc.status import GrpcError
        from kubelite.node.cri.messages import VERSION, Nothing

        client = GrpcClient(socket)
        try:
            told = await client.unary(VERSION, Nothing(), timeout_seconds=VERSION_SECONDS)
        except GrpcError:
            return ""
        finally:
            await client.close()
        return f"{told.runtime_name} {told.runtime_version}"
    try:
        async with asyncio.timeout(VERSION_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"GET /version HTTP/1.0\r\nHost: localhost\r\n\r\n")
                match = _DOCKER_VERSION.search(await reader.read(1 << 16))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""
    return match[1].decode(errors="replace") if match else ""
