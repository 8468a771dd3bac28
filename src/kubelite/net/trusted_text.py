"""Validates the texts of objects that become part of a rule, a route or a record.

The API validates objects, but rules are commands that run as root, so each text is validated here too.
A validated text has a type of its own, which the code that writes rules requires: a check that was left out does
not type-check.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, NetmaskValueError, ip_network
from typing import NewType, TypeGuard

from msgspec import Struct

from kubelite.net.families import Address, Family, Network
from kubelite.remembered import remembered

AddressText = NewType("AddressText", str)  # as Python writes it: one text for each address
ObjectName = NewType("ObjectName", str)
LinkName = NewType("LinkName", str)


ADDRESS_LENGTH_MAX = 45  # of IPv6 with an IPv4 address as its last part
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
LINK = re.compile(r"[a-z][-a-z0-9_.]{0,14}", re.ASCII)


def is_name(text: str) -> TypeGuard[ObjectName]:
    """Return whether `text` has the form of an object's name."""
    return NAME.fullmatch(text) is not None


def is_link(text: str) -> TypeGuard[LinkName]:
    """Return whether `text` is a valid name of a network link."""
    return LINK.fullmatch(text) is not None


def address_text(text: str, family: Family) -> AddressText | None:
    """Return the canonical text of an address of a family; None for anything else, also for one with a zone."""
    known = _address(text)
    return known.text if known is not None and known.version == family.version else None


def endpoint_text(text: str, family: Family) -> AddressText | None:
    """Return an address of a family that a service may lead to: no node's own loopback, no link's own."""
    known = _address(text)
    if known is None or known.version != family.version or known.is_special:
        return None
    return known.text


def is_address(text: str) -> bool:
    """Return whether `text` is an address of either family."""
    return _address(text) is not None


def is_port(number: int) -> bool:
    """Return whether a number is that of a port."""
    return 0 < number < 65536


class _Known(Struct, frozen=True):
    """An address that was validated."""

    text: AddressText
    version: int
    is_special: bool


@remembered(20_000, length_max=ADDRESS_LENGTH_MAX)
def _address(text: str) -> _Known | None:
    if "%" in text:
        return None  # a zone may be any text, and an address with one is good on one machine only
    try:
        address = IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        return None
    return _Known(AddressText(str(address)), address.version, _is_special(address))


def _is_special(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (isinstance(address, IPv6Address) and address.ipv4_mapped is not None)
    )


def range_of(text: str, family: Family) -> Network | None:
    """Return the range `text` names, None when it is none of the family."""
    stripped = text.strip()
    if "%" in stripped or (":" in stripped) != (family.version == 6):
        return None
    try:
        return ip_network(stripped, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None
