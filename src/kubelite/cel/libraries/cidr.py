"""Networks in CIDR notation: cidr, isCIDR, containsIP, containsCIDR, ip, masked, prefixLength."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from kubelite.cel.declarations import (
    ONE,
    STRING_TRAVERSAL,
    Argument,
    CallEstimate,
    Library,
    Range,
    traversal_cost,
)
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import Costing, function, member, plain
from kubelite.cel.libraries.go_text import quote
from kubelite.cel.libraries.ip import IP, IP_TYPE
from kubelite.cel.libraries.ip import parse as parse_ip
from kubelite.cel.libraries.netip import Prefix, Unreadable, parse_prefix
from kubelite.cel.types import BOOL, INT, STRING, Type, opaque
from kubelite.cel.values import EvaluationFailed, OpaqueValue, Value, size_of

CIDR_TYPE: Final = opaque("net.CIDR")
_FAILED: Final = "network address parse error during conversion from string: "


class CIDR(OpaqueValue):
    """A network: an address, of which bits behind the prefix may be set, and the length of the prefix."""

    __slots__ = ("prefix",)
    cel_type: ClassVar[Type] = CIDR_TYPE

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix

    @property
    def size(self) -> int:
        """Return the bytes that the prefix takes."""
        return (self.prefix.length + 7) // 8

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CIDR) and self.prefix == other.prefix

    def __hash__(self) -> int:
        return hash(self.prefix)

    def __str__(self) -> str:
        return str(self.prefix)


def parse(text: str) -> CIDR:
    """Read a network that is not mapped; raises EvaluationFailed."""
    try:
        return CIDR(_parse(text))
    except ValueError as error:
        raise EvaluationFailed(f"{_FAILED}{error}") from error


def _parse(text: str) -> Prefix:
    try:
        prefix = parse_prefix(text)
    except Unreadable as error:
        raise ValueError(f"{_FAILED}{error}") from error
    if prefix.address.is_mapped:
        raise ValueError(f"IPv4-mapped IPv6 address {quote(text)} is not allowed")
    return prefix


def is_cidr(text: str) -> bool:
    """Return whether a text is a network."""
    try:
        _parse(text)
    except ValueError:
        return False
    return True


def contains_ip(cidr: CIDR, ip: IP) -> bool:
    """Return whether an address is in the network."""
    return cidr.prefix.contains(ip.address)


def contains_cidr(cidr: CIDR, other: CIDR) -> bool:
    """Return whether all addresses of another network are in the network."""
    return cidr.prefix.length <= other.prefix.length and cidr.prefix.contains(other.prefix.address)


def _containing(*, is_network: bool, is_text: bool) -> Costing:
    """Return the costing of a comparison with an address or network, which may have to be read first."""
    octets = Range(4, 16)
    compared = (octets + octets).scaled(STRING_TRAVERSAL)
    if is_network:
        compared += octets.scaled(STRING_TRAVERSAL) + ONE

    def estimate(arguments: Sequence[Argument]) -> CallEstimate:
        text = arguments[1].size.scaled(STRING_TRAVERSAL) if is_text else Range(0, 0)
        return CallEstimate(compared + text)

    def cost(arguments: Sequence[Value], _result: Value) -> int:
        size = size_of(arguments[0])
        total = math.ceil((size + size) * STRING_TRAVERSAL)
        if is_network:
            total += traversal_cost(size) + 1
        if is_text:
            total += traversal_cost(size_of(arguments[1]))
        return total

    return Costing(estimate, cost)


def _after(
    read: Callable[[str], Value], call: Callable[[CIDR, Value], bool]
) -> Callable[[CIDR, str], bool]:
    return lambda cidr, text: call(cidr, read(text))


_UNIT = costs.fixed(1)
_PARSING = costs.by_size()

LIBRARY: Final = Library(
    "kubernetes.net.cidr",
    types=(CIDR_TYPE,),
    functions=(
        function("cidr", plain("string_to_cidr", (STRING,), CIDR_TYPE, parse, _PARSING)),
        function("isCIDR", plain("is_cidr", (STRING,), BOOL, is_cidr, _PARSING)),
        function(
            "containsIP",
            member(
                "cidr_contains_ip_string",
                (CIDR_TYPE, STRING),
                BOOL,
                _after(parse_ip, contains_ip),
                _containing(is_network=False, is_text=True),
            ),
            member(
                "cidr_contains_ip_ip",
                (CIDR_TYPE, IP_TYPE),
                BOOL,
                contains_ip,
                _containing(is_network=False, is_text=False),
            ),
        ),
        function(
            "containsCIDR",
            member(
                "cidr_contains_cidr_string",
                (CIDR_TYPE, STRING),
                BOOL,
                _after(parse, contains_cidr),
                _containing(is_network=True, is_text=True),
            ),
            member(
                "cidr_contains_cidr",
                (CIDR_TYPE, CIDR_TYPE),
                BOOL,
                contains_cidr,
                _containing(is_network=True, is_text=False),
            ),
        ),
        function(
            "ip",
            member("cidr_ip", (CIDR_TYPE,), IP_TYPE, lambda cidr: IP(cidr.prefix.address), _UNIT),
        ),
        function(
            "masked",
            member(
                "cidr_masked",
                (CIDR_TYPE,),
                CIDR_TYPE,
                lambda cidr: CIDR(cidr.prefix.masked()),
                _UNIT,
            ),
        ),
        function(
            "prefixLength",
            member("cidr_prefix_length", (CIDR_TYPE,), INT, lambda cidr: cidr.prefix.length, _UNIT),
        ),
        function("string", plain("cidr_to_string", (CIDR_TYPE,), STRING, str)),
    ),
    equality={CIDR_TYPE.name: lambda _arguments: CallEstimate(ONE)},
)
