"""One question, one answer."""

import pytest

from kubelite.net import resolver as module
from kubelite.net.dns_config import DNSConfig, parse_config
from kubelite.net.dns_wire import (
    AAAA,
    FORMAT_ERROR,
    HEADER,
    NAME_ERROR,
    NOT_IMPLEMENTED,
    REFUSED,
    SERVER_FAILURE,
    SOA,
    SRV,
    A,
    Name,
    Query,
    ResourceRecord,
    build_response,
    parse_name,
    parse_response,
)
from kubelite.net.records import ZoneSettings
from kubelite.net.resolver import Resolver
from kubelite.net.upstream import NoUpstream, Upstream
from unit.net.questions import question, told
from unit.net.test_records import BARE, WEB, WrittenZone

PROBE = (b"probe", b"name")


class WrittenUpstream(Upstream):
    """Knows example.org, and nothing else."""

    def __init__(self) -> None:
        self.is_silent = False
        self.by_tcp: list[bool] = []

    def cached(self, query: Query) -> bytes | None:
        return None

    def came_back(self, name: Name) -> bool:
        return name == PROBE

    def configure(self, config: DNSConfig) -> None:
        self.config = config

    async def ask(self, data: bytes, query: Query, *, by_tcp: bool = False) -> bytes:
        self.by_tcp.append(by_tcp)
        if self.is_silent:
            raise NoUpstream("silent")
        count = 1 if query.name == parse_name("example.org") else 100
        records = [ResourceRecord(query.name, A, b"\1\2\3\4", 60)] * count
        return build_response(query, 0, records, limit_bytes=4096)


def resolver(upstream: Upstream | None = None) -> Resolver:
    made = Resolver(WrittenZone(), ZoneSettings(), upstream or WrittenUpstream())
    made.is_ready = True
    return made


def at_once(made: Resolver, data: bytes) -> bytes:
    found = made.answer_at_once(data)
    assert isinstance(found, bytes)
    return found


def test_a_kept_answer_comes_under_each_askers_id_until_forgotten() -> None:
    made = resolver()
    first = at_once(made, question(WEB, message_id=1))
    assert [told(record) for record in parse_response(first).answers] == [f"{WEB} A 10.43.0.5"]
    second = at_once(made, question(WEB, message_id=2))
    assert (second[:2], second[2:]) == (b"\0\2", first[2:])
    made._zone = type("Gone", (WrittenZone,), {"services": []})()
    assert parse_response(at_once(made, question(WEB))).answers
    made.forget()
    assert parse_response(at_once(made, question(WEB))).code == NAME_ERROR


def test_kept_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 3)
    asked = resolver()
    for number in range(8):
        asked.answer_at_once(question(f"none-{number}.default.svc.cluster.local"))
        assert 1 <= len(asked._kept) <= 3
    monkeypatch.setattr(module, "KEPT_QUESTION_BYTES_MAX", 20)
    asked.forget()
    asked.answer_at_once(question("none.default.svc.cluster.local"))
    assert not asked._kept


def test_several_addresses_are_told_in_turns() -> None:
    made = resolver()
    firsts = {parse_response(at_once(made, question(BARE))).answers[0].data[3] for _ in range(4)}
    assert firsts == {2, 3}


@pytest.mark.parametrize("name", ["missing.default.svc.cluster.local", WEB])
def test_a_no_says_for_how_long(name: str) -> None:
    data = at_once(resolver(), question(name, AAAA))
    assert HEADER.unpack_from(data)[3:5] == (0, 1)
    assert SOA.to_bytes(2, "big") + b"\0\1" in data


def test_before_all_is_seen_it_does_not_deny() -> None:
    made = resolver()
    made.is_ready = False
    assert parse_response(at_once(made, question(WEB))).code == SERVER_FAILURE
    made.is_ready = True
    assert parse_response(at_once(made, question(WEB))).code == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (question("a", flags=0x2800), NOT_IMPLEMENTED),
        (question("a")[:-2] + b"\0\3", REFUSED),
        (question("a")[:-3], FORMAT_ERROR),
    ],
)
def test_what_is_not_answered(data: bytes, code: int) -> None:
    assert at_once(resolver(), data)[3] & 0xF == code


def test_no_answer_to_answers_and_scraps() -> None:
    assert resolver().answer_at_once(b"ab") is None
    assert resolver().answer_at_once(at_once(resolver(), question(WEB))) is None


async def later(made: Resolver, data: bytes) -> bytes:
    query = made.answer_at_once(data)
    assert isinstance(query, Query)
    return await made.answer_later(data, query)


async def test_other_names_are_asked_outside() -> None:
    upstream = WrittenUpstream()
    response = parse_response(await later(resolver(upstream), question("example.org")))
    assert [told(record) for record in response.answers] == ["example.org A 1.2.3.4"]
    upstream.is_silent = True
    response = parse_response(await later(resolver(upstream), question("example.org")))
    assert response.code == SERVER_FAILURE


async def test_long_answers_from_outside_are_cut_for_udp_only() -> None:
    upstream = WrittenUpstream()
    response = parse_response(await later(resolver(upstream), question("many.example.org")))
    assert response.is_truncated
    assert len(response.answers) == 29  # what 512 bytes hold
    whole = await resolver(upstream).answer_by_tcp(question("many.example.org"))
    assert whole is not None
    assert len(parse_response(whole).answers) == 100
    assert upstream.by_tcp == [False, True]


async def test_an_external_name_comes_with_the_addresses_of_its_target() -> None:
    alias = "away.default.svc.cluster.local"
    for data in (question(alias), question(alias, edns_bytes=1232)):
        response = parse_response(await later(resolver(), data))
        assert [told(record) for record in response.answers] == [
            f"{alias} CNAME example.org",
            "example.org A 1.2.3.4",
        ]
    upstream = WrittenUpstream()
    upstream.is_silent = True
    assert parse_response(await later(resolver(upstream), question(alias))).code == SERVER_FAILURE


async def test_by_tcp_the_cluster_answers_in_full() -> None:
    data = await resolver().answer_by_tcp(question(f"_http._tcp.{BARE}", SRV))
    assert data is not None
    assert len(parse_response(data).answers) == 2


def configured(**data: str) -> Resolver:
    made = resolver()
    made.configure(parse_config(data))
    return made


async def answers(made: Resolver, name: str, record_type: int = A) -> tuple[int, list[str]]:
    data = question(name, record_type)
    found = made.answer_at_once(data)
    if isinstance(found, Query):
        found = await made.answer_later(data, found)
    assert isinstance(found, bytes)
    response = parse_response(found)
    return response.code, [told(record) for record in response.answers]


async def test_hosts_come_before_the_cluster_and_the_resolvers_outside() -> None:
    made = configured(hosts=f"10.0.0.1 printer.example {WEB}")
    assert await answers(made, "printer.example") == (0, ["printer.example A 10.0.0.1"])
    assert await answers(made, "printer.example", AAAA) == (0, [])
    assert await answers(made, WEB) == (0, [f"{WEB} A 10.0.0.1"])
    made.configure(parse_config({}))
    assert await answers(made, WEB) == (0, [f"{WEB} A 10.43.0.5"])


async def test_a_rewritten_name_is_answered_under_the_name_that_was_asked() -> None:
    made = configured(
        rewrites="suffix shop.example default.svc.cluster.local\nexact old.example example.org\n"
    )
    assert await answers(made, "web.shop.example") == (0, ["web.shop.example A 10.43.0.5"])
    assert await answers(made, "none.shop.example") == (NAME_ERROR, [])
    assert await answers(made, "old.example") == (0, ["old.example A 1.2.3.4"])


async def test_an_own_probe_that_comes_back_is_not_sent_on() -> None:
    assert await answers(resolver(), "probe.name") == (NAME_ERROR, [])


async def test_a_name_that_a_rewrite_makes_too_long_does_not_exist() -> None:
    suffix = ".".join(["x" * 60] * 3)
    made = configured(rewrites=f"suffix a {suffix}")
    assert await answers(made, f"{'y' * 60}.{'z' * 30}.a") == (NAME_ERROR, [])
