"""Names in probes: slow ones of one pod delay neither another pod nor the rest of the process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kubelite.limits import NAME_LOOKUPS
from kubelite.node.name_lookup import NameLookups, connect


class Names:
    """A resolver that answers at once, or for names that begin with "slow" when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.may_answer.wait(30)
        if host == "none":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", (f"127.0.0.{end}", 0)) for end in (1, 1, 2)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.may_answer.set()


async def test_addresses_are_not_looked_up(names: Names) -> None:
    for host in ("10.42.0.2", "::1", "fe80::1%eth0"):
        assert await NameLookups().addresses("a", host) == (host,)
    assert names.asked == []


async def test_a_name_has_its_addresses_once(names: Names) -> None:
    assert await NameLookups().addresses("a", "host") == ("127.0.0.1", "127.0.0.2")
    assert names.asked == ["host"]


async def test_a_name_that_nobody_knows_is_an_error(names: Names) -> None:
    lookups = NameLookups()
    with pytest.raises(OSError, match="Name or service not known"):
        await lookups.addresses("a", "none")
    assert await lookups.addresses("a", "host")
    assert names.asked == ["none", "host"]


async def test_slow_names_of_one_pod_delay_no_other(names: Names) -> None:
    """However many probes it has and however often they run out of time: it holds one thread."""
    lookups = NameLookups()
    threads = threading.active_count()
    for _ in range(5):
        slow = [asyncio.ensure_future(lookups.addresses("a", f"slow-{n}")) for n in range(20)]
        await asyncio.sleep(0)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
    waiting = asyncio.ensure_future(lookups.addresses("a", "host"))
    assert threading.active_count() <= threads + 1
    async with asyncio.timeout(10):
        assert await lookups.addresses("b", "host")
        assert await asyncio.to_thread(lambda: "free") == "free"
    assert names.asked == ["slow-0", "host"]
    assert not waiting.done()
    names.may_answer.set()
    assert await waiting == ("127.0.0.1", "127.0.0.2")


async def test_lookups_are_bounded(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NAME_LOOKUPS, "value", 2)
    lookups = NameLookups()
    slow = [asyncio.ensure_future(lookups.addresses(pod, "slow")) for pod in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many lookups"):
        await lookups.addresses("c", "host")
    names.may_answer.set()
    await asyncio.gather(*slow)
    assert await lookups.addresses("c", "host")


async def test_all_addresses_of_a_name_are_tried() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def resolve(host: str) -> tuple[str, ...]:
        assert host == "web"
        return ("127.0.0.2", "127.0.0.1")

    async def nothing(host: str) -> tuple[str, ...]:
        return ("127.0.0.2", "127.0.0.3")

    async with server:
        _, writer = await connect(resolve, "web", port)
        assert writer.get_extra_info("peername")[0] == "127.0.0.1"
        writer.close()
        with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.2"):
            await connect(nothing, "web", port)
