"""The places of a listener: caps by source, idle connections that make room, budgets of memory."""

import pytest

from kubelite.limits import (
    API_CONNECTIONS,
    CONNECTIONS_PER_ADDRESS,
    HELD_ALWAYS,
    HELD_PER_ADDRESS,
    HELD_TOTAL,
)
from kubelite.serving.table import ConnectionTable, Slot, plain_address, source_of

MIB = 1024 * 1024


class Client:
    """A connection as the table sees it."""

    def __init__(self, slot: Slot | None, *, is_idle: bool = False) -> None:
        assert slot is not None
        self.slot = slot
        self.is_closed = False
        slot.is_idle = lambda: is_idle
        slot.close = self.close

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("", ""),
        ("/run/socket", "/run/socket"),
    ],
)
def test_sources(address: str, source: str) -> None:
    assert source_of(address) == source


def test_one_address_does_not_take_the_places_of_others() -> None:
    table = ConnectionTable(API_CONNECTIONS, 100, per_address=10)
    reached = CONNECTIONS_PER_ADDRESS.times_reached
    assert sum(table.admit("10.0.0.1") is not None for _ in range(50)) == 10
    assert CONNECTIONS_PER_ADDRESS.times_reached == reached + 40
    assert table.admit("10.0.0.2") is not None
    assert table.count == 11


def test_a_network_of_ipv6_counts_as_one() -> None:
    table = ConnectionTable(API_CONNECTIONS, 100, per_address=10)
    assert sum(table.admit(f"2001:db8::{n:x}") is not None for n in range(50)) == 10


def test_an_idle_connection_of_the_same_address_makes_room() -> None:
    table = ConnectionTable(API_CONNECTIONS, 100, per_address=2)
    other = Client(table.admit("10.0.0.2"), is_idle=True)
    busy = Client(table.admit("10.0.0.1"))
    idle = Client(table.admit("10.0.0.1"), is_idle=True)
    assert table.admit("10.0.0.1") is not None
    assert (busy.is_closed, idle.is_closed, other.is_closed) == (False, True, False)
    idle.slot.release()  # when its transport reports the end
    assert table.count == 3


def test_silent_connections_of_many_addresses_keep_nobody_out() -> None:
    table = ConnectionTable(API_CONNECTIONS, 100)
    for n in range(500):
        Client(table.admit(f"10.0.{n // 250}.{n % 250}"), is_idle=True)
    assert table.count == 100


def test_a_table_full_of_busy_connections_lets_loopback_in() -> None:
    table = ConnectionTable(API_CONNECTIONS, 100, kept=4)
    for n in range(100):
        Client(table.admit(f"10.0.0.{n}"))
    assert table.admit("10.9.9.9") is None
    assert [table.admit("127.0.0.1") is not None for _ in range(5)] == [True] * 4 + [False]


def test_loopback_takes_half_of_the_places_at_most() -> None:
    table = ConnectionTable(API_CONNECTIONS, 100)
    assert sum(table.admit("127.0.0.1") is not None for _ in range(100)) == 50


def test_few_are_asked_whether_they_are_idle_and_all_in_turn() -> None:
    table = ConnectionTable(API_CONNECTIONS, 1000, per_address=1000)
    asked: list[int] = []

    def ask(number: int) -> bool:
        asked.append(number)
        return False

    for n in range(1000):
        slot = table.admit("10.0.0.1")
        assert slot is not None
        slot.is_idle = lambda n=n: ask(n)  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
    for _ in range(10):
        assert table.admit("10.0.0.1") is None
    assert len(asked) == 320
    assert len(set(asked)) == 320


def test_memory_is_bounded_by_address_and_in_all_but_a_little_is_always_granted() -> None:
    table = ConnectionTable(API_CONNECTIONS, 20_000)
    greedy = [table.admit("10.0.0.1") for _ in range(100)]
    granted = [slot for slot in greedy if slot is not None and slot.hold(MIB)]
    assert sum(slot.charged_bytes for slot in granted) <= HELD_PER_ADDRESS.value
    assert len(granted) == 32
    modest = table.admit("10.0.0.1")
    assert modest is not None
    assert modest.hold(HELD_ALWAYS.value)
    n = 1
    while table.held_bytes < HELD_TOTAL.value - MIB:
        slot = table.admit(f"10.0.1.{n}")
        assert slot is not None
        slot.hold(30 * MIB)
        n += 1
        if n > 200:
            break
    assert table.held_bytes <= HELD_TOTAL.value
    for slot in list(table._slots):
        slot.release()
    assert (table.held_bytes, table.count) == (0, 0)


def test_what_a_connection_holds_no_more_is_given_back() -> None:
    table = ConnectionTable(API_CONNECTIONS, 100)
    slot = table.admit("10.0.0.1")
    assert slot is not None
    for _ in range(100):
        assert slot.hold(30 * MIB)
        assert slot.hold(0)
    assert table.held_bytes == 0
    slot.release()
    assert slot.hold(30 * MIB)  # too late to count
    assert table.held_bytes == 0


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::ffff:0:1", "::ffff:0:1"),
        ("", ""),
    ],
)
def test_an_address_of_ipv4_is_shown_as_one(address: str, shown: str) -> None:
    assert plain_address(address) == shown
