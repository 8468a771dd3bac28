"""What of an object may stand in a rule.

The API validates objects, but rules are commands that run as root: nothing goes into one that was not proved here too.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from kubelite.remembered import remembered

ADDRESS_LENGTH_MAX = 15  # 255.255.255.255
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)


def is_name(text: str) -> bool:
    """Tell whether `text` has the form of an object's name."""
    return NAME.fullmatch(text) is not None


def is_port(number: int) -> bool:
    """Tell whether `number` is that of a port."""
    return 0 < number < 65536


@remembered(20_000, length_max=ADDRESS_LENGTH_MAX)
def is_ipv4(text: str) -> bool:
    """Tell whether `text` is an IPv4 address."""
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


@remembered(20_000, length_max=ADDRESS_LENGTH_MAX)
def is_endpoint(text: str) -> bool:
    """Tell whether `text` is an IPv4 address that a service may lead to: no node's own loopback, no link's own."""
    if not is_ipv4(text):
        return False
    address = IPv4Address(text)
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )


def ipv4_range(text: str) -> IPv4Network | None:
    """Return the range `text` names, None when it is none of IPv4."""
    try:
        return IPv4Network(text.strip(), strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None
