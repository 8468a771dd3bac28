"""The addresses that an administrator gives to Services of type LoadBalancer, and what they must not be."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from kubelite.settings import unusable

POOL_ADDRESSES_MAX = 65536


def pool_ranges(pool: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of a pool as numbers, both ends included. Raises ValueError."""
    return tuple(map(address_range, _parts(pool)))


def _parts(pool: Sequence[str]) -> Iterator[str]:
    return filter(None, (part.strip() for text in pool for part in text.split(",")))


def address_range(text: str) -> tuple[int, int]:
    """Return first and last address of a CIDR, or of FIRST-LAST, as numbers. Raises ValueError with what is wrong.

    Of a CIDR the addresses of network and, with IPv4, broadcast are left out, which some clients cannot talk to. The
    numbers of IPv6 are above all those of IPv4.
    """
    first, dash, last = text.partition("-")
    if dash:
        ends = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
        numbers = int(ends[0]), int(ends[1])
    else:
        network = ipaddress.ip_network(text)
        ends = network[0], network[-1]
        inner = 1 if network.num_addresses > 2 else 0
        numbers = int(ends[0]) + inner, int(ends[1]) - (inner if network.version == 4 else 0)
    if ends[0].version != ends[1].version:
        raise ValueError("must be of one family")
    if numbers[0] > numbers[1]:
        raise ValueError("must not end before it begins")
    if numbers[1] - numbers[0] >= POOL_ADDRESSES_MAX:
        raise ValueError(f"must be no more than {POOL_ADDRESSES_MAX} addresses")
    least = 1 << 24 if ends[0].version == 4 else 1 << 32
    if numbers[0] < least or any(map(_is_of_no_link, ends)):
        raise ValueError("must be addresses that clients on the link can reach")
    return numbers


def _is_of_no_link(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    is_mapped = address.version == 6 and address.ipv4_mapped is not None
    return address.is_loopback or address.is_multicast or address.is_link_local or is_mapped


def check_pool(pool: Sequence[str], networks: Iterable[tuple[str, str]]) -> None:
    """Raise InvalidConfig for a range that cannot be used, or that overlaps a network, given with its flag."""
    for part in _parts(pool):
        try:
            first, last = address_range(part)
        except ValueError as error:
            raise unusable("load_balancer_pool", part, str(error)) from None
        for flag, text in networks:
            network = ipaddress.ip_network(text)
            if first <= int(network[-1]) and last >= int(network[0]):
                raise unusable("load_balancer_pool", part, f"must not overlap {flag}")
