"""Answers the calls of the CNI plugin by means of the node's pod network, on a socket that only root can open."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kubelite.limits import CNI_CALL, CNI_CALL_SECONDS, CNI_CALLS
from kubelite.node.admission import host_ports
from kubelite.node.cni import messages
from kubelite.node.cni.messages import Call, CallRefused, encode_failure, encode_success
from kubelite.node.network import HostPort, PodNetwork
from kubelite.node.pod_memory import PodMemory
from kubelite.serving.unix_socket import listening
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

CREDENTIALS = struct.Struct("3i")  # pid, uid and gid of a peer
PIECE_BYTES = 1 << 16

# Returns the host ports of a pod of this node by its uid; None if the node has no such pod.
PodPorts = Callable[[str], Sequence[HostPort] | None]


def pod_ports(memories: Mapping[str, PodMemory]) -> PodPorts:
    """Return the host ports of the pods that a node has, by what it remembers of them."""

    def look(pod_uid: str) -> Sequence[HostPort] | None:
        memory = memories.get(pod_uid)
        return None if memory is None or memory.pod is None else host_ports(memory.pod)

    return look


class PluginCalls:
    """Turns the calls of the plugin into those of the pod network.

    The container of the last ADD owns a pod's connection. An engine says DEL twice, and for the sandbox that a pod had
    before at any time after the ADD of its new one, so a DEL of another container leaves the connection alone.
    """

    def __init__(self, network: PodNetwork, ports: PodPorts) -> None:
        self._network = network
        self._ports = ports
        self._owners: dict[str, str] = {}  # pod uid -> id of the container that was connected last

    async def answer(self, data: bytes) -> bytes:
        """Answer one call, as encoded by the plugin's file; the first byte of the answer is its exit code."""
        try:
            call = messages.read_call(data)
        except CallRefused as refusal:
            return encode_failure(refusal.code, str(refusal))
        try:
            return await self._answer(call)
        except CallRefused as refusal:
            return encode_failure(refusal.code, str(refusal), call.version)
        except Exception as error:
            # Whatever the network reports is the answer; the engine passes it on to whoever made the pod.
            log.exception("cannot answer a call of the CNI plugin", extra={"pod": call.pod_key})
            if call.command == "DEL":  # the engine could never remove the sandbox
                return encode_success()
            return encode_failure(messages.GENERIC, str(error), call.version)

    async def _answer(self, call: Call) -> bytes:
        match call.command:
            case "ADD":
                return encode_success(messages.result(call, await self._add(call)))
            case "DEL":
                await self._delete(call)
            case "CHECK":
                await self._check(call)
            case "GC":
                await self._collect(call.valid)
            case "STATUS":
                pass  # the network is ready for as long as it is served
            case _:
                message = f"CNI_COMMAND {call.command!r} is unknown"
                raise CallRefused(messages.INVALID_ENVIRONMENT, message)
        return encode_success()

    async def _add(self, call: Call) -> tuple[str, ...]:
        messages.check_names(call)
        ports = self._ports(call.pod_uid)
        if ports is None:
            message = f"pod {call.pod_key} ({call.pod_uid}) is not a pod of this node"
            raise CallRefused(messages.UNKNOWN_POD, message)
        self._owners = {
            uid: owner for uid, owner in self._owners.items() if self._ports(uid) is not None
        }
        self._owners[call.pod_uid] = call.container_id
        return await self._network.attach(call.pod_uid, call.pod_key, call.netns, host_ports=ports)

    async def _delete(self, call: Call) -> None:
        if not call.pod_uid:
            return
        owner = self._owners.get(call.pod_uid)
        if owner == call.container_id:
            del self._owners[call.pod_uid]
        elif (
            owner is not None
            or not call.netns
            or not await self._network.addresses_in(call.pod_uid, call.netns)
        ):
            return
        await self._network.detach(call.pod_uid)

    async def _check(self, call: Call) -> None:
        messages.check_names(call)
        addresses = await self._network.addresses_in(call.pod_uid, call.netns)
        if not addresses:
            message = f"pod {call.pod_key} is not connected in {call.netns}"
            raise CallRefused(messages.GENERIC, message)
        if call.previous and {*call.previous} != {*map(messages.with_length, addresses)}:
            message = f"pod {call.pod_key} has {', '.join(addresses)}, not {call.previous}"
            raise CallRefused(messages.GENERIC, message)

    async def _collect(self, valid: frozenset[str]) -> None:
        for uid in [uid for uid, owner in self._owners.items() if owner not in valid]:
            del self._owners[uid]
            await self._network.detach(uid)


class PluginServer:
    """The socket that the plugin's file connects to; one call a connection."""

    def __init__(self, path: Path, calls: PluginCalls) -> None:
        self._path = path
        self._calls = calls
        self._tasks = TaskSet()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to answer. Raises OSError."""
        listener = await listening(self._path, CNI_CALLS.value)
        self._server = await asyncio.start_unix_server(self._connected, sock=listener)

    async def stop(self) -> None:
        """Stop to answer; calls in flight are cut off, which an engine may repeat."""
        if self._server is not None:
            self._server.close()
            with suppress(FileNotFoundError):
                self._path.unlink()
        await self._tasks.stop()
        for writer in self._open:  # whose task was cancelled before it began
            writer.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self._tasks.start(self._serve(reader, writer), name="call of the CNI plugin")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self._admits(writer):
                return  # the plugin's file answers for a connection that says nothing
            writer.write(await self._answered(reader))
            async with asyncio.timeout(CNI_CALL_SECONDS.value):
                await writer.drain()
        except (OSError, TimeoutError) as error:
            log.warning("a call of the CNI plugin was cut off", extra={"reason": str(error)})
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._open.discard(writer)

    def _admits(self, writer: asyncio.StreamWriter) -> bool:
        if len(self._open) > CNI_CALLS.value:
            CNI_CALLS.reached()
            return False
        return _is_trusted(writer)

    async def _answered(self, reader: asyncio.StreamReader) -> bytes:
        data = bytearray()
        async with asyncio.timeout(CNI_CALL_SECONDS.value):
            while piece := await reader.read(PIECE_BYTES):
                data += piece
                if len(data) > CNI_CALL.value:
                    CNI_CALL.reached()
                    message = f"a call has more than {CNI_CALL.value} bytes"
                    return encode_failure(messages.UNDECODABLE, message)
        return await self._calls.answer(bytes(data))


def _is_trusted(writer: asyncio.StreamWriter) -> bool:
    """Return whether the peer is root or this process's user, whatever became of the file's mode."""
    peer = writer.get_extra_info("socket")
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return CREDENTIALS.unpack(data)[1] in (0, os.geteuid())
