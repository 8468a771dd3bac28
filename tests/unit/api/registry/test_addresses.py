import pytest
from fakes.rows import row_of

from kubelite.api.registry.addresses import Numbers, ServiceAddresses
from kubelite.api.registry.allocation import Unavailable
from kubelite.clock import SystemClock
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine
from kubelite.store.protocol import Delete, Put

IP_ADDRESSES = row_of("networking.k8s.io", "IPAddress")


def test_the_upper_part_is_given_first() -> None:
    numbers = Numbers(100, 10, 4, SeededRandomness(1))
    given = [numbers.take_any() for _ in range(10)]
    assert sorted(given[:6]) == list(range(104, 110))  # type: ignore[type-var] # there are ten
    assert sorted(given[6:]) == list(range(100, 104))  # type: ignore[type-var] # there are ten
    assert numbers.take_any() is None
    numbers.give_back(103)
    assert numbers.take_any() == 103


def test_a_number_is_given_once() -> None:
    numbers = Numbers(100, 10, 4, SeededRandomness(1))
    assert numbers.take(101)
    assert not numbers.take(101)
    assert 109 in numbers
    assert 110 not in numbers


def addresses(cidr: str) -> ServiceAddresses:
    store = EmbeddedStore(MemoryEngine(), clock=SystemClock())
    return ServiceAddresses(
        store,
        records=IP_ADDRESSES,
        cidr=cidr,
        node_ports=(30000, 30003),
        randomness=SeededRandomness(1),
    )


async def test_network_and_broadcast_addresses_are_never_given() -> None:
    small = addresses("10.0.0.0/29")
    assert small.first_address == "10.0.0.1"
    given = {small.take_address() for _ in range(6)}
    assert given == {f"10.0.0.{number}" for number in range(1, 7)}
    with pytest.raises(Unavailable, match="range is full"):
        small.take_address()


@pytest.mark.parametrize("wanted", ["10.0.0.0", "10.0.0.255", "10.0.1.1", "::1", "x"])
async def test_addresses_outside_the_range_are_refused(wanted: str) -> None:
    with pytest.raises(Unavailable, match=r"The range of valid IPs is 10\.0\.0\.0/24"):
        addresses("10.0.0.0/24").take_address(wanted)


async def test_ports_are_refused_in_words() -> None:
    found = addresses("10.0.0.0/24")
    assert found.take_port(30001) == 30001
    with pytest.raises(Unavailable, match="already allocated"):
        found.take_port(30001)
    with pytest.raises(Unavailable, match="The range of valid ports is 30000-30003"):
        found.take_port(80)
    for _ in range(3):
        found.take_port()
    with pytest.raises(Unavailable, match="range is full"):
        found.take_port()


async def test_recorded_addresses_are_left_out_until_their_records_go() -> None:
    store = EmbeddedStore(MemoryEngine(), clock=SystemClock())
    small = ServiceAddresses(
        store,
        records=IP_ADDRESSES,
        cidr="10.0.0.0/29",
        node_ports=(30000, 30003),
        randomness=SeededRandomness(1),
    )
    record = IP_ADDRESSES.key("", "10.0.0.3")
    await store.commit(Put(record, b"{}"))
    assert "10.0.0.3" not in {small.take_address() for _ in range(5)}
    with pytest.raises(Unavailable, match="range is full"):
        small.take_address()
    await store.commit(Delete(record))
    assert small.take_address() == "10.0.0.3"
