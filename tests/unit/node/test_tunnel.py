"""The node's end of a tunnel: what it connects for a server that is compromised or confused, and how it comes back."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

import pytest
from fakes.tunnelled import listening
from hypothesis import given
from hypothesis import strategies as st

from kubelite.node import tunnel
from kubelite.node.tunnel import Targets, Tunnel
from kubelite.randomness import SeededRandomness
from kubelite.tasks import TaskSet
from kubelite.tunnel.mux import TargetRefused

PODS = ["10.42.1.2", "fd00:42::2", "10.42.1.3"]
# What a node may report of itself includes addresses that lead nowhere a server should go.
OWN = ["192.0.2.7", "2001:db8::7", "fe80::1", "127.0.0.1", "169.254.1.1", "node.example", "", "::"]
TARGETS = Targets(10250, lambda: PODS, lambda: OWN)


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("kubelet", ("127.0.0.1", 10250)),
        ("10.42.1.2:80", ("10.42.1.2", 80)),
        ("10.42.1.3:65535", ("10.42.1.3", 65535)),
        ("[fd00:42::2]:8443", ("fd00:42::2", 8443)),
        ("[FD00:42:0::2]:8443", ("fd00:42::2", 8443)),
        ("[::ffff:10.42.1.2]:80", ("10.42.1.2", 80)),
        ("192.0.2.7:22", ("192.0.2.7", 22)),
        ("[2001:db8::7]:22", ("2001:db8::7", 22)),
    ],
)
def test_what_belongs_to_the_node_is_connected(target: str, address: tuple[str, int]) -> None:
    assert TARGETS.resolve(target) == address


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.1:10250", "127.0.0.1:2375", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"),
        *("0.0.0.0:80", "[::]:80", "0.1.2.3:80", "255.255.255.255:80"),
        *("169.254.169.254:80", "169.254.1.1:80", "[fe80::1]:80", "[fe80::1%lo]:80"),
        *("224.0.0.1:80", "[ff02::1]:80"),
        *("10.42.2.2:80", "192.0.2.8:80", "10.43.0.1:443", "[2001:db8::8]:80"),  # other hosts
        *("localhost:80", "node.example:80", "kubelet:10250", "Kubelet", "kubelet ", ""),
        *("10.42.1.2", "10.42.1.2:", "10.42.1.2:0", "10.42.1.2:65536", "10.42.1.2:999999"),
        *("10.42.1.2:-1", "10.42.1.2:+80", "10.42.1.2:٨٠", "10.42.1.2:8 0"),
        *("10.42.1.2:80:80", "10.42.1.2@127.0.0.1:80", "10.42.1.2%00:80", "10.42.1.2\n:80"),
        *("010.042.001.002:80", "0x0a2a0102:80", "170524930:80", "10.42.258:80", "127.1:80"),
        *("fd00:42::2:80", "[10.42.1.2]:80]", "/var/run/docker.sock", "unix:/run/docker.sock:1"),
    ],
)
def test_nothing_else_is(target: str) -> None:
    with pytest.raises(TargetRefused):
        TARGETS.resolve(target)


@given(st.text(max_size=30) | st.from_regex(r"\[?[0-9a-f:.]{1,20}\]?:[0-9]{1,6}", fullmatch=True))
def test_any_text_is_an_allowed_address_or_refused(target: str) -> None:
    try:
        address, port = TARGETS.resolve(target)
    except TargetRefused:
        return
    allowed = {"10.42.1.2", "fd00:42::2", "10.42.1.3", "192.0.2.7", "2001:db8::7"}
    assert address in allowed or (address, port) == ("127.0.0.1", 10250)


def test_pods_that_come_and_go_are_looked_up_at_each_target() -> None:
    pods = ["10.42.1.9"]
    targets = Targets(10250, lambda: pods, lambda: ())
    assert targets.resolve("10.42.1.9:80") == ("10.42.1.9", 80)
    pods.clear()
    with pytest.raises(TargetRefused):
        targets.resolve("10.42.1.9:80")


# How it comes back


class Pauses(SeededRandomness):
    """Notes the pauses that were asked for, and makes none."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[tuple[float, float]] = []

    def uniform(self, low: float, high: float) -> float:
        self.asked.append((low, high))
        return 0.0


async def tried(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    times: int,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Pauses, str]:
    """Run a tunnel against a server in plain text until it has paused so often; return pauses and first trouble."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await serve(reader, writer)
        writer.close()

    async with listening(answer) as port:
        return await _tried_at(port, times, monkeypatch)


async def _tried_at(port: int, times: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Pauses, str]:
    pauses = Pauses()
    troubles: list[str] = []
    made = Tunnel(
        [f"https://127.0.0.1:{port}"],
        TARGETS,
        ssl_context=ssl.create_default_context(),
        randomness=pauses,
    )
    monkeypatch.setattr(made, "ssl_context", None)
    monkeypatch.setattr(made, "_note", lambda _, trouble: troubles.append(trouble))
    tasks = TaskSet()
    tasks.start(made.run(), name="tunnel")
    async with asyncio.timeout(20):
        while len(pauses.asked) < times:
            await asyncio.sleep(0.001)
        await tasks.stop()
    return pauses, troubles[0]


async def test_pauses_grow_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"kind":"Status","message":"forbidden: no\\nway"}'
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(body))
        await asyncio.sleep(0)
        writer.write(body)

    pauses, trouble = await tried(refuse, 6, monkeypatch)
    assert [high for _, high in pauses.asked[:6]] == [2, 4, 8, 16, 30, 30]
    assert all(low == high / 4 for low, high in pauses.asked)
    assert trouble == "the server answered 403: forbidden: no way"


async def test_a_tunnel_that_is_lost_at_once_counts_as_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else two machines with one name would take the tunnel from each other without end."""

    async def upgrade_and_leave(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    pauses, trouble = await tried(upgrade_and_leave, 3, monkeypatch)
    assert [high for _, high in pauses.asked[:3]] == [2, 4, 8]
    assert trouble == "the connection was closed"


async def test_a_steady_tunnel_resets_the_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "STEADY_SECONDS", -1.0)

    async def leave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    pauses, _ = await tried(leave, 3, monkeypatch)
    assert [high for _, high in pauses.asked[:3]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (b"", "the server closed the connection"),
        (b"SSH-2.0-x\r\n\r\n", "the server answered no HTTP: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "the server answered 200: ok"),
        (b"x" * 70_000, "the server's answer is too long"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\xff" + bytes(7), "broke the protocol"),
    ],
)
async def test_servers_that_are_none(
    said: bytes, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    _, found = await tried(say, 1, monkeypatch)
    assert trouble in found


async def test_the_frames_that_come_with_the_answer_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ping, pong = b"\x08\0\0\0\0\0\0\x01!", b"\x09\0\0\0\0\0\0\x01!"
    received: list[bytes] = []

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + ping)
        received.append(await reader.readexactly(len(pong)))

    await tried(ask, 1, monkeypatch)
    assert received[0] == pong


async def test_a_tunnel_that_is_told_to_reconnect_ends_and_is_opened_again() -> None:
    opened = closed = 0
    told: list[bool] = []
    lost: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened, closed
        await reader.readuntil(b"\r\n\r\n")
        opened += 1
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        closed += 1

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made = Tunnel(
        [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"],
        TARGETS,
        ssl_context=ssl.create_default_context(),
        randomness=Pauses(),
        opened=lambda: told.append(made.is_connected),
        lost=lambda: lost.append(made.is_connected),
    )
    made.ssl_context = None  # type: ignore[assignment]  # the server speaks plain text
    tasks = TaskSet()
    made.reconnect()  # there is none yet
    tasks.start(made.run(), name="tunnel")
    async with server, asyncio.timeout(20):
        for times in (1, 2, 3):
            while not (made.is_connected and opened == times):
                await asyncio.sleep(0.001)
            assert told == [True] * times
            assert lost == [False] * (times - 1)
            made.reconnect()
        await tasks.stop()
        while closed < opened:
            await asyncio.sleep(0.001)


async def test_the_next_server_is_tried() -> None:
    pauses = Pauses()
    tunnels = Tunnel(
        ["https://127.0.0.1:1", "nothing", "https://127.0.0.1:2"],
        TARGETS,
        ssl_context=ssl.create_default_context(),
        randomness=pauses,
    )
    seen: list[str] = []

    async def serve(server: str) -> str:
        seen.append(server)
        raise OSError("no")

    tunnels._serve = serve  # type: ignore[method-assign]  # only which server is asked matters
    tasks = TaskSet()
    tasks.start(tunnels.run(), name="tunnel")
    while len(seen) < 4:
        await asyncio.sleep(0)
    await tasks.stop()
    assert seen[:4] == [
        "https://127.0.0.1:1",
        "nothing",
        "https://127.0.0.1:2",
        "https://127.0.0.1:1",
    ]


def test_the_endpoint_of_a_node_is_where_it_listens() -> None:
    nothing = tuple[str, ...]
    assert Targets(1, nothing, nothing).resolve("kubelet") == ("127.0.0.1", 1)
    assert Targets(1, nothing, nothing, "192.0.2.1").resolve("kubelet") == ("192.0.2.1", 1)
