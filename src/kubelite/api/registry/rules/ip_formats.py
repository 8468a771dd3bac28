"""IP addresses and ranges as Kubernetes 1.36 takes them: strictly, so that all programs read them alike."""

import ipaddress
import re

from kubelite.api.machinery import causes
from kubelite.api.registry.rules.values import Out

_BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_RANGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ZEROS = re.compile(r"(^|\.)0+(?=[0-9])")  # before the number of an IPv4 address

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_address(text: str) -> bool:
    """Tell whether a text is an IP address."""
    return _parsed(text) is not None


def address(out: Out, path: str, text: str, *, canonical: bool = False) -> None:
    """Check an IP address; a `canonical` one is spelt in the shortest way."""
    found, wrong = _parsed(_ZEROS.sub(r"\1", text)), ""
    if found is None:
        wrong = _BAD_ADDRESS
    elif _parsed(text) is None:
        wrong = "must not have leading 0s"
    elif _is_mapped(found):
        wrong = "must not be an IPv4-mapped IPv6 address"
    elif canonical and str(found) != text:
        wrong = f"must be in canonical form ({causes.quoted(str(found))})"
    if wrong:
        out.append(causes.invalid(path, text, wrong))


def address_range(out: Out, path: str, text: str, *, canonical: bool = False) -> None:
    """Check a CIDR; a `canonical` one is spelt in the shortest way."""
    if wrong := _range_error(text, canonical=canonical):
        out.append(causes.invalid(path, text, wrong))


def _range_error(text: str, *, canonical: bool) -> str:
    head, _, length = text.partition("/")
    found = _parsed(_ZEROS.sub(r"\1", head))
    if found is None or not re.fullmatch(r"[0-9]{1,3}", length, re.ASCII):
        return _BAD_RANGE
    if int(length) > found.max_prefixlen:
        return _BAD_RANGE
    if _parsed(head) is None or str(int(length)) != length:
        return "must not have leading 0s in IP or prefix length"
    if _is_mapped(found):
        return "must not have an IPv4-mapped IPv6 address"
    network = ipaddress.ip_network(text, strict=False)
    if network.network_address != found:
        return "must not have bits set beyond the prefix length"
    if canonical and str(network) != text:
        return f"must be in canonical form ({causes.quoted(str(network))})"
    return ""


def _parsed(text: str) -> Address | None:
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_mapped(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
