"""Validates the texts of objects that become part of a rule, a route or a record.

The API validates objects, but rules are commands that run as root, so each text is validated here too.
A validated text has a type of its own, which the code that writes rules requires: a check that was left out does
not type-check.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import NewType, TypeGuard

from kubelite.remembered import remembered

IPv4Text = NewType("IPv4Text", str)  # four numbers without leading zeros
ObjectName = NewType("ObjectName", str)
LinkName = NewType("LinkName", str)


ADDRESS_LENGTH_MAX = 15  # 255.255.255.255
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
LINK = re.compile(r"[a-z][-a-z0-9_.]{0,14}", re.ASCII)


def is_name(text: str) -> TypeGuard[ObjectName]:
    """Return whether `text` has the form of an object's name."""
    return NAME.fullmatch(text) is not None


def is_link(text: str) -> TypeGuard[LinkName]:
    """Return whether `text` is a valid name of a network link."""
    return LINK.fullmatch(text) is not None


def is_ipv4(text: str) -> TypeGuard[IPv4Text]:
    """Return whether `text` is an IPv4 address."""
    return _address(text) is not None


def is_endpoint(text: str) -> TypeGuard[IPv4Text]:
    """Return whether `text` is an IPv4 address that a service may lead to: no node's own loopback, no link's own."""
    address = _address(text)
    return address is not None and not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )


def is_port(number: int) -> bool:
    """Return whether a number is that of a port."""
    return 0 < number < 65536


@remembered(20_000, length_max=ADDRESS_LENGTH_MAX)
def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None


def ipv4_range(text: str) -> IPv4Network | None:
    """Return the range `text` names, None when it is none of IPv4."""
    try:
        return IPv4Network(text.strip(), strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None
