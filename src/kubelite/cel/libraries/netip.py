"""IP addresses and networks as Go's net/netip reads them, with its messages."""

from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from kubelite.cel.libraries.go_text import quote

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_DIGITS: Final = frozenset("0123456789")
_MAPPED: Final = 0xFFFF


class Unreadable(ValueError):
    """The text is no address or network; the message is Go's."""


class Address(NamedTuple):
    """An address of 32 or 128 bits."""

    number: int
    bits: int
    zone: str = ""

    @property
    def is_mapped(self) -> bool:
        """Return whether it is an IPv4 address written as one of IPv6."""
        return self.bits == 128 and self.number >> 32 == _MAPPED

    def __str__(self) -> str:
        return str(IPv4Address(self.number) if self.bits == 32 else IPv6Address(self.number))


class Prefix(NamedTuple):
    """An address and the length of a network's prefix in bits."""

    address: Address
    length: int

    def masked(self) -> "Prefix":
        """Return the network, all bits behind the prefix zero."""
        number, bits, _ = self.address
        shift = bits - self.length
        return Prefix(Address(number >> shift << shift, bits), self.length)

    def contains(self, address: Address) -> bool:
        """Return whether an address is in the network."""
        number, bits, _ = self.address
        shift = bits - self.length
        return bits == address.bits and number >> shift == address.number >> shift

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


def _failed(text: str, problem: str, at: str = "") -> Unreadable:
    place = f" (at {quote(at)})" if at else ""
    return Unreadable(f"ParseAddr({quote(text)}): {problem}{place}")


def parse_address(text: str) -> Address:
    """Read an address; raises Unreadable."""
    for sign in text:
        if sign == ".":
            return Address(_parse_v4(text, text), 32)
        if sign == ":":
            return _parse_v6(text)
        if sign == "%":
            raise _failed(text, "missing IPv6 address")
    raise _failed(text, "unable to parse IP")


def _parse_v4(text: str, part: str) -> int:
    """Read four numbers; `text` is the whole for messages."""
    number = value = place = digits = 0
    for at, sign in enumerate(part):
        if sign in _DIGITS:
            if digits == 1 and value == 0:
                raise _failed(text, "IPv4 field has octet with leading zero")
            value = value * 10 + int(sign)
            digits += 1
            if value > 255:
                raise _failed(text, "IPv4 field has value >255")
        elif sign == ".":
            if at == 0 or at == len(part) - 1 or part[at - 1] == ".":
                raise _failed(text, "IPv4 field must have at least one digit", part[at:])
            if place == 3:
                raise _failed(text, "IPv4 address too long")
            number = number << 8 | value
            place += 1
            value = digits = 0
        else:
            raise _failed(text, "unexpected character", part[at:])
    if place < 3:
        raise _failed(text, "IPv4 address too short")
    return number << 8 | value


def _parse_v6(text: str) -> Address:
    rest, percent, zone = text.partition("%")
    if percent and not zone:
        raise _failed(text, "zone must be a non-empty string")
    return Address(_Groups(text, rest).read(), 128, zone)


class _Groups:
    """A cursor over the groups of an IPv6 address."""

    def __init__(self, text: str, rest: str) -> None:
        self._text = text
        self._rest = rest
        self._octets: list[int] = []
        self._ellipsis = -1

    def read(self) -> int:
        if self._rest.startswith("::"):
            self._ellipsis, self._rest = 0, self._rest[2:]
            if not self._rest:
                return 0
        while len(self._octets) < 16 and self._group():
            pass
        if self._rest:
            raise _failed(self._text, "trailing garbage after address", self._rest)
        return int.from_bytes(self._expanded())

    def _expanded(self) -> bytes:
        octets, ellipsis = self._octets, self._ellipsis
        missing = 16 - len(octets)
        if missing and ellipsis < 0:
            raise _failed(self._text, "address string too short")
        if not missing and ellipsis >= 0:
            raise _failed(self._text, "the :: must expand to at least one field of zeros")
        return bytes(
            [*octets[:ellipsis], *[0] * missing, *octets[ellipsis:]] if missing else octets
        )

    def _group(self) -> bool:
        """Read a group and what separates it from the next; return whether there is a next."""
        rest = self._rest
        length = self._digits()
        if rest[length : length + 1] == ".":
            self._embedded()
            return False
        self._octets.extend(int(rest[:length], 16).to_bytes(2))
        self._rest = rest = rest[length:]
        return bool(rest) and self._separator()

    def _digits(self) -> int:
        rest, length = self._rest, 0
        while length < len(rest) and rest[length] in _HEX:
            if length > 3:
                raise _failed(self._text, "each group must have 4 or less digits", rest)
            length += 1
        if not length:
            problem = "each colon-separated field must have at least one digit"
            raise _failed(self._text, problem, rest)
        return length

    def _embedded(self) -> None:
        if self._ellipsis < 0 and len(self._octets) != 12:
            problem = "embedded IPv4 address must replace the final 2 fields of the address"
            raise _failed(self._text, problem, self._rest)
        if len(self._octets) + 4 > 16:
            problem = "too many hex fields to fit an embedded IPv4 at the end of the address"
            raise _failed(self._text, problem, self._rest)
        self._octets.extend(_parse_v4(self._text, self._rest).to_bytes(4))
        self._rest = ""

    def _separator(self) -> bool:
        rest = self._rest
        if rest[0] != ":":
            raise _failed(self._text, "unexpected character, want colon", rest)
        if len(rest) == 1:
            raise _failed(self._text, "colon must be followed by more characters", rest)
        self._rest = rest = rest[1:]
        if rest[0] == ":":
            if self._ellipsis >= 0:
                raise _failed(self._text, "multiple :: in address", rest)
            self._ellipsis = len(self._octets)
            self._rest = rest[1:]
        return bool(self._rest)


def parse_prefix(text: str) -> Prefix:
    """Read an address with the length of a prefix; raises Unreadable."""
    try:
        return _parse_prefix(text)
    except ValueError as error:
        raise Unreadable(f"netip.ParsePrefix({quote(text)}): {error}") from error


def _parse_prefix(text: str) -> Prefix:
    written, slash, length = text.rpartition("/")
    if not slash:
        raise ValueError("no '/'")
    address = parse_address(written)
    if address.zone:
        raise ValueError("IPv6 zones cannot be present in a prefix")
    is_number = _DIGITS.issuperset(length) and length and (len(length) == 1 or length[0] != "0")
    if not is_number or len(length) > 19 or int(length) >= 1 << 63:
        raise ValueError(f"bad bits after slash: {quote(length)}")
    if int(length) > address.bits:
        raise ValueError("prefix length out of range")
    return Prefix(address, int(length))
