"""Calls of the CNI plugin become those of the pod network."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kubelite.limits import CNI_CALL, CNI_CALL_SECONDS, CNI_CALLS
from kubelite.node.cni import server as servers
from kubelite.node.cni.server import PluginCalls, PluginServer
from kubelite.node.network import HostPort
from unit.node.cni.test_messages import ARGUMENTS, call_bytes

PORT = HostPort(80, 8080)


class Network:
    """A pod network of names: where each pod is connected."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.asked: list[tuple[str, str, tuple[HostPort, ...]]] = []
        self.failure: Exception | None = None

    async def attach(
        self, pod_uid: str, pod_key: str, netns: str, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        if self.failure is not None:
            raise self.failure
        self.asked.append((pod_uid, pod_key, tuple(host_ports)))
        self.places[pod_uid] = netns
        return ("10.42.0.5",)

    async def addresses_in(self, pod_uid: str, netns: str) -> tuple[str, ...]:
        return ("10.42.0.5",) if self.places.get(pod_uid) == netns else ()

    async def detach(self, pod_uid: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.places.pop(pod_uid, None)

    async def restore(self, live: object) -> None:
        raise AssertionError("the plugin restores nothing")


class Plugin:
    """Calls of the plugin over a network; the node has the pods `ports`."""

    def __init__(self) -> None:
        self.network = Network()
        self.ports: dict[str, list[HostPort]] = {"u-1": [PORT]}
        self.restart()

    def restart(self) -> None:
        self.calls = PluginCalls(self.network, self.ports.get)

    async def call(self, command: str, container: str = "c0ffee", **fields: Any) -> tuple[int, Any]:
        answer = await self.calls.answer(call_bytes(command, container, **fields))
        return int(answer[:1]), json.loads(answer[1:]) if answer[1:] else None


@pytest.fixture
def plugin() -> Plugin:
    return Plugin()


async def test_add_connects_the_pod_and_reports_its_address(plugin: Plugin) -> None:
    code, said = await plugin.call("ADD")
    assert code == 0
    assert [ip["address"] for ip in said["ips"]] == ["10.42.0.5/32"]
    assert plugin.network.asked == [("u-1", "default/web", (PORT,))]
    assert plugin.network.places == {"u-1": "/run/netns/one"}


async def test_a_pod_of_others_is_refused(plugin: Plugin) -> None:
    code, said = await plugin.call("ADD", arguments=ARGUMENTS.replace("u-1", "u-2"))
    assert (code, said["code"]) == (1, 100)
    assert plugin.network.asked == []


async def test_a_failure_is_the_answer(plugin: Plugin) -> None:
    plugin.network.failure = OSError("the range is full")
    code, said = await plugin.call("ADD")
    assert (code, said) == (1, {"cniVersion": "1.0.0", "code": 999, "msg": "the range is full"})


async def test_del_never_fails(plugin: Plugin) -> None:
    await plugin.call("ADD")
    plugin.network.failure = OSError("no netlink")
    assert await plugin.call("DEL") == (0, None)
    assert await plugin.call("DEL", arguments="") == (0, None)
    assert await plugin.call("DEL", container="", netns="", interface="") == (0, None)


async def test_both_dels_of_a_sandbox_disconnect_it_once(plugin: Plugin) -> None:
    await plugin.call("ADD")
    assert await plugin.call("DEL") == (0, None)
    assert plugin.network.places == {}
    assert await plugin.call("DEL", netns="") == (0, None)


@pytest.mark.parametrize("netns", ["/run/netns/one", ""])
async def test_a_late_del_of_the_former_sandbox_leaves_the_new_one_connected(
    plugin: Plugin, netns: str
) -> None:
    await plugin.call("ADD", "first")
    await plugin.call("ADD", "second", netns="/run/netns/two")
    await plugin.call("DEL", "first", netns=netns)
    assert plugin.network.places == {"u-1": "/run/netns/two"}


async def test_after_a_restart_the_connection_says_whose_del_it_is(plugin: Plugin) -> None:
    await plugin.call("ADD", "second", netns="/run/netns/two")
    plugin.restart()
    await plugin.call("DEL", "first", netns="/run/netns/one")
    await plugin.call("DEL", "first", netns="")
    assert plugin.network.places == {"u-1": "/run/netns/two"}
    await plugin.call("DEL", "second", netns="/run/netns/two")
    assert plugin.network.places == {}


async def test_check_compares_with_what_add_said(plugin: Plugin) -> None:
    _, said = await plugin.call("ADD")
    config = {"cniVersion": "1.0.0", "prevResult": said}
    assert await plugin.call("CHECK", config=config) == (0, None)
    said["ips"][0]["address"] = "10.42.0.6/32"
    code, _ = await plugin.call("CHECK", config=config)
    assert code == 1
    code, _ = await plugin.call("CHECK", netns="/run/netns/other")
    assert code == 1


async def test_gc_disconnects_what_is_no_longer_valid(plugin: Plugin) -> None:
    plugin.ports["u-2"] = []
    await plugin.call("ADD")
    two = ARGUMENTS.replace("u-1", "u-2")
    await plugin.call("ADD", "two", netns="/run/netns/two", arguments=two)
    valid = {"cniVersion": "1.1.0", "cni.dev/valid-attachments": [{"containerID": "two"}]}
    assert await plugin.call("GC", config=valid) == (0, None)
    assert plugin.network.places == {"u-2": "/run/netns/two"}


async def test_owners_of_pods_that_are_gone_are_forgotten(plugin: Plugin) -> None:
    for number in range(50):
        uid = f"p-{number}"
        plugin.ports = {uid: []}
        plugin.calls._ports = plugin.ports.get
        await plugin.call("ADD", arguments=ARGUMENTS.replace("u-1", uid))
    assert list(plugin.calls._owners) == ["p-49"]


async def test_status_and_unknown_commands(plugin: Plugin) -> None:
    assert await plugin.call("STATUS") == (0, None)
    code, said = await plugin.call("EXPLODE")
    assert (code, said["code"]) == (1, 4)


# The socket


@pytest.fixture
async def served(tmp_path: Path, plugin: Plugin) -> AsyncIterator[Path]:
    path = tmp_path / "run" / "cni.sock"
    server = PluginServer(path, plugin.calls)
    await server.start()
    yield path
    await server.stop()
    assert not path.exists()


async def ask(path: Path, data: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    if end:
        writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:  # closed before all was read
        return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_the_socket_is_its_owners_alone(served: Path) -> None:
    assert served.stat().st_mode & 0o777 == 0o600
    assert served.parent.stat().st_mode & 0o777 == 0o700
    assert (await ask(served, call_bytes()))[:1] == b"0"


async def test_a_socket_that_a_killed_process_left_is_replaced(
    tmp_path: Path, plugin: Plugin
) -> None:
    path = tmp_path / "cni.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    server = PluginServer(path, plugin.calls)
    await server.start()
    assert (await ask(path, call_bytes()))[:1] == b"0"
    await server.stop()


async def test_another_user_is_not_answered(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(_: object) -> bool:
        return False

    monkeypatch.setattr(servers, "_is_trusted", other)
    assert await ask(served, call_bytes()) == b""


async def test_a_call_too_large_is_refused(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CNI_CALL, "value", 1000)
    before = CNI_CALL.times_reached
    answer = await ask(served, call_bytes() + b" " * 1000)
    assert json.loads(answer[1:])["code"] == 6
    assert CNI_CALL.times_reached == before + 1


async def test_calls_at_once_are_bounded(
    served: Path, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CNI_CALLS, "value", 1)
    _, held = await asyncio.open_unix_connection(served)
    before = CNI_CALLS.times_reached
    assert await ask(served, call_bytes()) == b""
    assert CNI_CALLS.times_reached == before + 1
    held.close()
    await held.wait_closed()
    async with asyncio.timeout(10):
        while (await ask(served, call_bytes()))[:1] != b"0":
            await asyncio.sleep(0)


async def test_a_caller_that_says_nothing_is_dropped(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CNI_CALL_SECONDS, "value", 0)
    assert await ask(served, b"ADD\0", end=False) == b""


def test_only_root_and_the_own_user_are_trusted() -> None:
    class Peer:
        def __init__(self, uid: int) -> None:
            self.uid = uid

        def getsockopt(self, *_: int) -> bytes:
            return servers.CREDENTIALS.pack(1, self.uid, 0)

        def get_extra_info(self, _: str) -> "Peer":
            return self

    assert servers._is_trusted(Peer(0))  # type: ignore[arg-type]  # as much of a writer as is used
    assert servers._is_trusted(Peer(os.geteuid()))  # type: ignore[arg-type]  # as above
    assert not servers._is_trusted(Peer(4711))  # type: ignore[arg-type]  # as above
