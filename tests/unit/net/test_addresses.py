"""Addresses of one node's range."""

import pytest

from kubelite.net.addresses import AddressesExhausted, AddressPool


def test_the_first_address_is_the_gateways() -> None:
    pool = AddressPool("10.42.3.0/24")
    assert pool.gateway == "10.42.3.1"
    assert [pool.allocate(owner) for owner in ("a", "b", "a")] == [
        "10.42.3.2",
        "10.42.3.3",
        "10.42.3.2",
    ]


def test_a_freed_address_comes_back_last() -> None:
    pool = AddressPool("10.42.0.0/29")
    for owner in "abc":
        pool.allocate(owner)
    pool.release("a")
    assert [pool.allocate(owner) for owner in "defg"[:3]] == ["10.42.0.5", "10.42.0.6", "10.42.0.2"]
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
    assert pool.reserve("a", address) is is_taken
    assert pool.get("a") == (address if is_taken else None)


def test_reserving_again_agrees_only_with_itself() -> None:
    pool = AddressPool("10.42.0.0/24")
    assert pool.reserve("a", "10.42.0.9")
    assert pool.reserve("a", "10.42.0.9")
    assert not pool.reserve("a", "10.42.0.10")


def test_a_range_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        AddressPool("10.42.0.0/31")
