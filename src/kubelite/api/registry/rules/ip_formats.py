"""IP addresses and CIDRs as Kubernetes 1.36 accepts them: strictly, so that all programs parse them alike."""

import ipaddress
import re

from kubelite.api.machinery import causes
from kubelite.api.registry.rules.values import Out

_BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_RANGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ADDRESS_MAX = 64  # characters; the longest address has 45
_ZEROS = re.compile(r"(^|\.)0+(?=[0-9])")  # before the number of an IPv4 address
_LENGTH = re.compile(r"[0-9]{1,3}", re.ASCII).fullmatch

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    return parsed(text) is not None


def address(out: Out, path: str, text: str, *, canonical: bool = False) -> None:
    """Check an IP address; with `canonical` it must have the canonical spelling."""
    found, wrong = parsed(text), ""
    if found is None:
        padded = parsed(without_leading_zeros(text)) is not None
        wrong = "must not have leading 0s" if padded else _BAD_ADDRESS
    elif _is_mapped(found):
        wrong = "must not be an IPv4-mapped IPv6 address"
    elif canonical and str(found) != text:
        wrong = f"must be in canonical form ({causes.quoted(str(found))})"
    if wrong:
        out.append(causes.invalid(path, text, wrong))


def address_range(out: Out, path: str, text: str, *, canonical: bool = False) -> None:
    """Check a CIDR; with `canonical` it must have the canonical spelling."""
    if wrong := _range_error(text, canonical=canonical):
        out.append(causes.invalid(path, text, wrong))


def _range_error(text: str, *, canonical: bool) -> str:
    head, _, length = text.partition("/")
    exact = parsed(head)
    found = exact or parsed(without_leading_zeros(head))
    if found is None or not _LENGTH(length) or int(length) > found.max_prefixlen:
        return _BAD_RANGE
    if exact is None or str(int(length)) != length:
        return "must not have leading 0s in IP or prefix length"
    if _is_mapped(found):
        return "must not have an IPv4-mapped IPv6 address"
    if int(found) & ((1 << found.max_prefixlen - int(length)) - 1):
        return "must not have bits set beyond the prefix length"
    if canonical and (shown := f"{found}/{length}") != text:
        return f"must be in canonical form ({causes.quoted(shown)})"
    return ""


def without_leading_zeros(text: str) -> str:
    """Return an IPv4 address without leading zeros, which some programs parse as octal."""
    return _ZEROS.sub(r"\1", text)


def parsed(text: str) -> Address | None:
    """Parse an address in strict form; None for any other text."""
    if "%" in text or len(text) > _ADDRESS_MAX:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_mapped(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
