"""Addresses of one node's range."""

import pytest

from kubelite.net.addresses import AddressesExhausted, AddressPool


def test_the_first_address_is_the_gateways() -> None:
    pool = AddressPool("10.42.3.0/24")
    assert pool.gateways == ("10.42.3.1",)
    assert [pool.allocate(owner) for owner in ("a", "b", "a")] == [
        ("10.42.3.2",),
        ("10.42.3.3",),
        ("10.42.3.2",),
    ]


def test_a_freed_address_comes_back_last() -> None:
    pool = AddressPool("10.42.0.0/29")
    for owner in "abc":
        pool.allocate(owner)
    pool.release("a")
    found = [pool.allocate(owner) for owner in "def"]
    assert found == [("10.42.0.5",), ("10.42.0.6",), ("10.42.0.2",)]
    with pytest.raises(AddressesExhausted, match="is full"):
        pool.allocate("z")


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        ("10.42.0.7", True),
        ("10.42.0.1", False),
        ("10.42.0.0", False),
        ("10.42.0.255", False),
        ("10.42.1.7", False),
        ("10.42.0.2", False),
    ],
)
def test_reserve(address: str, is_taken: bool) -> None:
    pool = AddressPool("10.42.0.0/24")
    pool.allocate("other")
    assert pool.reserve("a", [address]) is is_taken
    assert pool.get("a") == ((address,) if is_taken else ())


def test_reserving_again_agrees_only_with_itself() -> None:
    pool = AddressPool("10.42.0.0/24")
    assert pool.reserve("a", ["10.42.0.9"])
    assert pool.reserve("a", ["10.42.0.9"])
    assert not pool.reserve("a", ["10.42.0.10"])


def test_a_range_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        AddressPool("10.42.0.0/31")


def test_an_owner_has_the_same_number_in_both_ranges() -> None:
    pool = AddressPool("fd42:0:0:3::/64", "10.42.3.0/24")
    assert pool.gateways == ("fd42:0:0:3::1", "10.42.3.1")
    assert pool.allocate("a") == ("fd42:0:0:3::2", "10.42.3.2")
    assert pool.allocated == ["fd42:0:0:3::2", "10.42.3.2"]


@pytest.mark.parametrize(
    ("addresses", "is_taken"),
    [
        (("10.42.3.7", "fd42::7"), True),
        (("10.42.3.7",), True),  # of a pod from before the second family
        (("10.42.3.7", "fd42::8"), False),
        (("10.42.3.7", "fd43::7"), False),
        (("fd42::1:0:0:7",), False),  # beyond the other range
    ],
)
def test_reserve_in_two_ranges(addresses: tuple[str, ...], is_taken: bool) -> None:
    pool = AddressPool("10.42.3.0/24", "fd42::/64")
    assert pool.reserve("a", addresses) is is_taken
    assert pool.allocate("a") == (addresses if is_taken else ("10.42.3.2", "fd42::2"))


def test_the_smaller_range_is_the_limit() -> None:
    pool = AddressPool("fd42::/64", "10.42.0.0/30")
    pool.allocate("a")
    with pytest.raises(AddressesExhausted, match=r"fd42::/64 and 10\.42\.0\.0/30 is full"):
        pool.allocate("b")
