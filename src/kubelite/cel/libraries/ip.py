"""IP addresses: ip, isIP, ip.isCanonical, and what kind of address one is."""

from collections.abc import Callable
from typing import ClassVar, Final

from kubelite.cel.declarations import ONE, STRING_TRAVERSAL, CallEstimate, Library
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import function, member, plain
from kubelite.cel.libraries.go_text import quote
from kubelite.cel.libraries.netip import Address, Unreadable, parse_address
from kubelite.cel.types import BOOL, INT, STRING, Type, opaque
from kubelite.cel.values import EvaluationFailed, OpaqueValue

IP_TYPE: Final = opaque("net.IP")
_BROADCAST: Final = 0xFFFFFFFF


class IP(OpaqueValue):
    """An IP address."""

    __slots__ = ("address",)
    cel_type: ClassVar[Type] = IP_TYPE

    def __init__(self, address: Address) -> None:
        self.address = address

    @property
    def size(self) -> int:
        """Return its bytes."""
        return self.address.bits // 8

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IP) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __str__(self) -> str:
        return str(self.address)


def parse(text: str) -> IP:
    """Read an address without zone that is not mapped; raises EvaluationFailed."""
    try:
        address = parse_address(text)
    except Unreadable as error:
        raise EvaluationFailed(
            f"IP Address {quote(text)} parse error during conversion from string: {error}"
        ) from error
    if address.zone:
        raise EvaluationFailed(f"IP address {quote(text)} with zone value is not allowed")
    if address.is_mapped:
        raise EvaluationFailed(f"IPv4-mapped IPv6 address {quote(text)} is not allowed")
    return IP(address)


def is_ip(text: str) -> bool:
    """Return whether a text is an address."""
    try:
        parse(text)
    except EvaluationFailed:
        return False
    return True


def is_canonical(text: str) -> bool:
    """Return whether an address is written in the one canonical form."""
    return str(parse(text)) == text


def is_unspecified(address: Address) -> bool:
    """Return whether it is 0.0.0.0 or ::."""
    return address.number == 0


def is_loopback(address: Address) -> bool:
    """Return whether it is in 127.0.0.0/8 or ::1."""
    return address.number >> 24 == 127 if address.bits == 32 else address.number == 1


def is_multicast(address: Address) -> bool:
    """Return whether it is in 224.0.0.0/4 or ff00::/8."""
    number, bits, _ = address
    return number >> 28 == 0xE if bits == 32 else number >> 120 == 0xFF


def is_link_local_multicast(address: Address) -> bool:
    """Return whether it is in 224.0.0.0/24 or of the scope of a link."""
    number, bits, _ = address
    return number >> 8 == 0xE00000 if bits == 32 else (number >> 112) & 0xFF0F == 0xFF02


def is_link_local_unicast(address: Address) -> bool:
    """Return whether it is in 169.254.0.0/16 or fe80::/10."""
    number, bits, _ = address
    return number >> 16 == 0xA9FE if bits == 32 else number >> 118 == 0xFE80 >> 6


def is_global_unicast(address: Address) -> bool:
    """Return whether it is none of the others; private addresses count as global."""
    if address.bits == 32 and address.number == _BROADCAST:
        return False
    kinds = (is_unspecified, is_loopback, is_multicast, is_link_local_unicast)
    return not any(is_kind(address) for is_kind in kinds)


def _of_ip(call: Callable[[Address], bool]) -> Callable[[IP], bool]:
    return lambda ip: call(ip.address)


_UNIT = costs.fixed(1)
_PARSING = costs.by_size()
_KINDS: Final = {
    "isUnspecified": ("ip_is_unspecified", is_unspecified),
    "isLoopback": ("ip_is_loopback", is_loopback),
    "isLinkLocalMulticast": ("ip_is_link_local_multicast", is_link_local_multicast),
    "isLinkLocalUnicast": ("ip_is_link_local_unicast", is_link_local_unicast),
    "isGlobalUnicast": ("ip_is_global_unicast", is_global_unicast),
}

LIBRARY: Final = Library(
    "kubernetes.net.ip",
    types=(IP_TYPE,),
    functions=(
        function("ip", plain("string_to_ip", (STRING,), IP_TYPE, parse, _PARSING)),
        function("isIP", plain("is_ip", (STRING,), BOOL, is_ip, _PARSING)),
        function(
            "ip.isCanonical",
            plain(
                "ip_is_canonical",
                (STRING,),
                BOOL,
                is_canonical,
                costs.by_size(factor=2 * STRING_TRAVERSAL),
            ),
        ),
        function(
            "family",
            member("ip_family", (IP_TYPE,), INT, lambda ip: 4 if ip.size == 4 else 6, _UNIT),
        ),
        *(
            function(name, member(id_, (IP_TYPE,), BOOL, _of_ip(call), _UNIT))
            for name, (id_, call) in _KINDS.items()
        ),
        function("string", plain("ip_to_string", (IP_TYPE,), STRING, str)),
    ),
    equality={IP_TYPE.name: lambda _arguments: CallEstimate(ONE)},
)
