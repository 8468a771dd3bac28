"""Asking resolvers outside, on the loopback of this machine."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from kubelite.net import upstream as module
from kubelite.net.dns_config import DNSConfig, Server
from kubelite.net.dns_loops import LoopGuard
from kubelite.net.dns_wire import (
    HINFO,
    A,
    Query,
    ResourceRecord,
    build_response,
    parse_query,
    parse_response,
)
from kubelite.net.upstream import HostServers, NoUpstream, Upstream, parse_resolv_conf
from kubelite.randomness import SeededRandomness
from unit.net.questions import question

Reply = Callable[[bytes, Query], list[bytes]]


class Peer(asyncio.DatagramProtocol):
    """A resolver that says what the test wants."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.asked: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.asked.append(data)
        for reply in self._reply(data, parse_query(data)):
            self.transport.sendto(reply, address)


async def peer(reply: Reply) -> tuple[Peer, Server]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Peer(reply), local_addr=("127.0.0.1", 0)
    )
    return protocol, transport.get_extra_info("sockname")


def good(_: bytes, query: Query, ttl: int = 60) -> list[bytes]:
    return [
        build_response(query, 0, [ResourceRecord(query.name, A, b"\1\2\3\4", ttl)], limit_bytes=512)
    ]


def asking(*servers: Server) -> Upstream:
    return Upstream(lambda: servers, SeededRandomness(1))


def ask(upstream: Upstream, name: str, message_id: int = 7) -> asyncio.Task[bytes]:
    data = question(name, message_id=message_id, keep_case=True)
    return asyncio.create_task(upstream.ask(data, parse_query(data)))


async def test_an_answer_comes_under_the_id_and_name_of_the_asker_and_is_kept() -> None:
    resolver, server = await peer(good)
    upstream = asking(server)
    first = await ask(upstream, "example.org")
    assert parse_response(first).answers[0].data == b"\1\2\3\4"
    again = await ask(upstream, "EXAMPLE.org", message_id=9)
    assert again[:2] == b"\0\x09"
    assert b"EXAMPLE" in again
    assert len(resolver.asked) == 1
    assert resolver.asked[0][:2] != b"\0\7"  # the id on the way out is not the asker's
    resolver.transport.close()


async def test_the_same_question_is_under_way_once() -> None:
    resolver, server = await peer(good)
    upstream = asking(server)
    tasks = [ask(upstream, "example.org", number) for number in range(5)]
    answers = await asyncio.gather(*tasks)
    assert [answer[1] for answer in answers] == [0, 1, 2, 3, 4]
    assert len(resolver.asked) == 1
    resolver.transport.close()


async def test_forged_answers_are_ignored() -> None:
    def forged(data: bytes, query: Query) -> list[bytes]:
        wrong_id = build_response(parse_query(b"\0\0" + data[2:]), limit_bytes=512)
        wrong_name = build_response(
            parse_query(data[:2] + question("evil.org")[2:]), limit_bytes=512
        )
        return [b"x", wrong_id, wrong_name, *good(data, query)]

    resolver, server = await peer(forged)
    assert parse_response(await ask(asking(server), "example.org")).answers
    resolver.transport.close()


async def test_a_silent_resolver_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.01)
    silent, silent_server = await peer(lambda _data, _query: [])
    resolver, server = await peer(good)
    upstream = asking(silent_server, server)
    assert parse_response(await ask(upstream, "example.org")).answers
    assert parse_response(await ask(upstream, "example.net")).answers
    assert len(silent.asked) == 1  # the one that answered is asked first from then on
    resolver.transport.close()
    silent.transport.close()


async def test_when_nobody_answers_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.01)
    silent, server = await peer(lambda _data, _query: [])
    with pytest.raises(NoUpstream, match="no resolver answers"):
        await ask(asking(server), "example.org")
    assert len(silent.asked) == 2
    with pytest.raises(NoUpstream, match="the host has no resolver"):
        await ask(asking(), "example.org")
    silent.transport.close()


async def test_what_may_not_be_kept_is_asked_again() -> None:
    resolver, server = await peer(lambda data, query: good(data, query, ttl=0))
    upstream = asking(server)
    for _ in range(2):
        await ask(upstream, "example.org")
    assert len(resolver.asked) == 2
    resolver.transport.close()


async def test_long_answers_are_not_kept() -> None:
    def long(_: bytes, query: Query) -> list[bytes]:
        records = [ResourceRecord(query.name, A, b"\1\2\3\4", 60)] * 500
        return [build_response(query, 0, records, limit_bytes=65_000)]

    resolver, server = await peer(long)
    upstream = asking(server)
    for _ in range(2):
        assert len(await ask(upstream, "example.org")) > module.CACHED_BYTES_MAX
    assert len(resolver.asked) == 2
    resolver.transport.close()


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_ENTRIES", 2)
    resolver, server = await peer(good)
    upstream = asking(server)
    for name in ("a.org", "b.org", "c.org"):
        await ask(upstream, name)
    kept = [upstream.cached(parse_query(question(name))) for name in ("a.org", "b.org", "c.org")]
    assert [entry is not None for entry in kept] == [False, True, True]
    resolver.transport.close()


async def test_by_tcp() -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        (answer,) = good(data, parse_query(data))
        writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    data = question("example.org")
    upstream = asking(server.sockets[0].getsockname())
    assert parse_response(await upstream.ask(data, parse_query(data), by_tcp=True)).answers
    server.close()


def test_resolv_conf() -> None:
    text = "# x\nnameserver 10.43.0.10\nnameserver 192.0.2.1\nsearch a b\nnameserver fd00::1%eth0\nnameserver x\n"
    assert parse_resolv_conf(text, ["10.43.0.10"]) == (("192.0.2.1", 53), ("fd00::1%eth0", 53))
    own = "nameserver FD43:0::A\nnameserver fd43::a%eth0\nnameserver ::ffff:10.43.0.10\n"
    assert parse_resolv_conf(own, ["10.43.0.10", "fd43:0:0::000a"]) == ()
    assert len(parse_resolv_conf("".join(f"nameserver 192.0.2.{n}\n" for n in range(9)), [])) == 3


async def test_host_servers_follow_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.0)
    path = tmp_path / "resolv.conf"
    servers = HostServers(path=path)
    assert servers() == ()
    path.write_text("nameserver 192.0.2.1\n")
    assert servers() == (("192.0.2.1", 53),)
    path.with_suffix(".new").write_text("nameserver 192.0.2.22\n")
    path.with_suffix(".new").rename(path)
    assert servers() == (("192.0.2.22", 53),)


async def test_each_domain_has_its_servers_and_other_settings_empty_the_cache() -> None:
    stub, stub_server = await peer(good)
    other, other_server = await peer(good)
    upstream = asking(other_server)
    upstream.configure(DNSConfig(stubs={(b"acme",): (stub_server,)}))
    await ask(upstream, "a.acme")
    await ask(upstream, "example.org")
    assert (len(stub.asked), len(other.asked)) == (1, 1)
    upstream.configure(DNSConfig(servers=(stub_server,)))
    await ask(upstream, "example.org")
    assert (len(stub.asked), len(other.asked)) == (2, 1)
    for each in (stub, other):
        each.transport.close()


async def test_what_is_asked_for_often_is_asked_again_before_it_expires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RENEWED_AFTER", 0.0)
    resolver, server = await peer(good)
    upstream = asking(server)
    await ask(upstream, "example.org")
    for _ in range(module.RENEWED_HITS - 1):
        await ask(upstream, "example.org")
    assert len(resolver.asked) == 1
    await ask(upstream, "example.org")
    await ask(upstream, "example.org")  # which does not renew it twice
    while len(resolver.asked) < 2:
        await asyncio.sleep(0)
    await upstream.stop()
    assert len(resolver.asked) == 2
    resolver.transport.close()


async def test_a_server_that_sends_questions_back_is_left_out() -> None:
    """A forwarder that asks the cluster, as one on a host whose resolv.conf names the cluster may do."""
    forwarder, looping = await peer(good)
    resolver, server = await peer(good)
    upstream = Upstream(
        lambda: (looping, server), SeededRandomness(1), LoopGuard(SeededRandomness(2))
    )
    await ask(upstream, "example.org")
    probes: list[Query] = []
    while not probes:
        await asyncio.sleep(0)
        probes = [
            found for found in map(parse_query, forwarder.asked) if found.record_type == HINFO
        ]
    assert upstream.came_back(probes[0].name)
    count = len(forwarder.asked)
    await ask(upstream, "example.net")
    assert len(forwarder.asked) == count
    only = Upstream(lambda: (looping,), SeededRandomness(1), upstream._loops)
    with pytest.raises(NoUpstream, match="all resolvers send questions back"):
        await ask(only, "example.com")
    await upstream.stop()
    for each in (forwarder, resolver):
        each.transport.close()


async def test_a_padded_question_is_not_kept_with_its_answer() -> None:
    resolver, server = await peer(good)
    upstream = asking(server)
    data = question("example.org", edns_bytes=1232)
    padding = 4000
    data = data[:-2] + (padding + 4).to_bytes(2, "big") + b"\0\x0c" + padding.to_bytes(2, "big")
    data += bytes(padding)
    await upstream.ask(data, parse_query(data))
    assert upstream.cached(parse_query(data)) is not None
    assert [kept.asked for kept in upstream._cache.values()] == [b""]
    resolver.transport.close()
