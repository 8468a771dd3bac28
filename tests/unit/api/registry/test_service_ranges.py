"""The ranges from which Services get addresses: of both families, and of ServiceCIDR objects."""

import json
from typing import Any

import pytest
from fakes.rows import row_of

from kubelite.api.registry.addresses import ServiceAddresses
from kubelite.api.registry.allocation import Unavailable
from kubelite.clock import SystemClock
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine
from kubelite.store.protocol import Delete, Put

IP_ADDRESSES = row_of("networking.k8s.io", "IPAddress")
RANGES = row_of("networking.k8s.io", "ServiceCIDR")
SMALL, SIX = "10.0.0.0/29", "fd00:43::/112"


def made(cidr: str = f"{SMALL},{SIX}") -> tuple[EmbeddedStore, ServiceAddresses]:
    store = EmbeddedStore(MemoryEngine(), clock=SystemClock())
    given = ServiceAddresses(
        store,
        records=IP_ADDRESSES,
        cidr=cidr,
        node_ports=(30000, 30003),
        randomness=SeededRandomness(1),
    )
    return store, given


def put(name: str, *cidrs: str, ready: str = "True", is_going: bool = False) -> Put:
    item: dict[str, Any] = {
        "metadata": {"name": name},
        "spec": {"cidrs": cidrs},
        "status": {"conditions": [{"type": "Ready", "status": ready}] if ready else []},
    }
    if is_going:
        item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return Put(RANGES.key("", name), json.dumps(item).encode())


async def test_each_family_has_its_range() -> None:
    _, given = made()
    assert given.families == ("IPv4", "IPv6")
    assert given.take_address().startswith("10.0.0.")
    assert given.take_address(family="IPv6").startswith("fd00:43::")
    assert given.take_address("fd00:43::53") == "fd00:43::53"
    with pytest.raises(Unavailable, match="provided IP is already allocated"):
        given.take_address("fd00:43:0::53")
    with pytest.raises(Unavailable, match="The range of valid IPs is fd00:43::/112"):
        given.take_address("fd00:44::1")
    given.give_back_address("fd00:43::53")
    assert given.take_address("fd00:43::53") == "fd00:43::53"


async def test_the_last_address_of_ipv6_is_no_broadcast_address() -> None:
    _, given = made("fd00:43::/112")
    assert given.first_address == "fd00:43::1"
    assert given.take_address("fd00:43::ffff") == "fd00:43::ffff"
    with pytest.raises(Unavailable, match="not in the valid range"):
        given.take_address("fd00:43::")


async def test_a_range_of_ipv6_may_be_huge() -> None:
    _, given = made("fd00:43::/48")
    assert len({given.take_address() for _ in range(100)}) == 100


async def test_a_full_cluster_grows_by_an_object_that_is_ready() -> None:
    store, given = made(SMALL)
    for _ in range(6):
        given.take_address()
    await store.commit(put("more", "10.9.0.0/24", "fd00:44::/112", ready=""))
    with pytest.raises(Unavailable, match=r"range is full: 10\.0\.0\.0/29"):
        given.take_address()
    with pytest.raises(Unavailable, match="not in the valid range"):
        given.take_address("10.9.0.7")
    await store.commit(put("more", "10.9.0.0/24", "fd00:44::/112"))
    assert given.take_address().startswith("10.9.0.")
    assert given.take_address("10.9.0.7") == "10.9.0.7"
    await store.commit(put("more", "10.9.0.0/24", is_going=True))
    with pytest.raises(Unavailable, match="range is full"):
        given.take_address()
    await store.commit(Delete(RANGES.key("", "more")))
    with pytest.raises(Unavailable, match="not in the valid range"):
        given.take_address("10.9.0.8")


async def test_ranges_that_overlap_give_an_address_once() -> None:
    store, given = made(SMALL)
    await store.commit(put("same", SMALL))
    await store.commit(put("wider", "10.0.0.0/28"))
    taken = [given.take_address() for _ in range(14)]
    assert len(set(taken)) == 14
    with pytest.raises(Unavailable, match=r"range is full: 10\.0\.0\.0/29, 10\.0\.0\.0/28"):
        given.take_address()
    given.give_back_address("10.0.0.3")
    assert given.take_address() == "10.0.0.3"


@pytest.mark.parametrize(("ready", "is_going"), [("False", False), ("True", True)])
async def test_the_range_of_the_flags_gives_nothing_while_its_object_goes(
    ready: str, is_going: bool
) -> None:
    store, given = made(SMALL)
    await store.commit(put("kubernetes", SMALL, ready=ready, is_going=is_going))
    with pytest.raises(Unavailable, match="range is full"):
        given.take_address()
    await store.commit(put("more", "10.9.0.0/24"))
    assert given.take_address().startswith("10.9.0.")
    await store.commit(put("kubernetes", SMALL, ready=""))
    assert given.take_address().startswith("10.0.0.")


@pytest.mark.parametrize("cidr", ["10.9.0.0/32", "10.9.0.0/31", "fd00:44::/128"])
async def test_a_range_without_usable_addresses_gives_none(cidr: str) -> None:
    store, given = made()
    await store.commit(put("tiny", cidr))
    with pytest.raises(Unavailable):
        given.take_address(cidr.split("/", maxsplit=1)[0])
    for _ in range(6):
        given.take_address()
    with pytest.raises(Unavailable):
        given.take_address()
