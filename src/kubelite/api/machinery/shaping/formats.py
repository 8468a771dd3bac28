"""The formats of texts that Kubernetes 1.36 checks in custom resources; others are ignored.

Each check is linear in the text. What counts is what Kubernetes' own checks accept, oddities included: a host name of
one label may have a hyphen after its first letter only, and any text with a number and a unit is a duration.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Final
from unicodedata import category

from kubelite.api.machinery.shaping.addresses import is_email, is_ipv6, is_mac, is_request_uri
from kubelite.text_formats import is_base64, is_date, is_datetime, is_uuid

Check = Callable[[str], bool]


def is_known(format_: str) -> bool:
    """Return whether the format of a text is checked."""
    return _normalized(format_) in FORMATS


def format_check(format_: str) -> Check:
    """Return the check of a known format."""
    return FORMATS[_normalized(format_)]


def _normalized(format_: str) -> str:
    return format_.replace("-", "")


def _pattern(text: str, flags: int = 0) -> Check:
    matches = re.compile(text, flags | re.ASCII).fullmatch
    return lambda value: matches(value) is not None


# Possessive quantifiers and the look behind keep the work linear: digits without a unit are looked at once.
_GO_DURATION = re.compile(
    r"[-+]?(?:0|(?:(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))++)"
)
_LONG_AMOUNT = re.compile("[0-9]{19}")
_AMOUNT = re.compile(r"(?<![0-9])([0-9]++)[\t\n\f\r ]*+([A-Za-z\u00b5]++)")
_EXACT_UNITS = frozenset(["ns", "us", "\u00b5s", "ms", "s", "m", "h", "hr", "d", "w", "wk"])
_UNIT_BEGINNINGS = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")
_INT64_MAX = 2**63 - 1


def _is_duration(text: str) -> bool:
    if _GO_DURATION.fullmatch(text) and not _LONG_AMOUNT.search(text):
        return True
    found = False
    for amount, unit in _AMOUNT.findall(text):
        if len(amount.lstrip("0")) > 19 or int(amount) > _INT64_MAX:
            return False
        name = unit.lower()
        found = found or name in _EXACT_UNITS or name.startswith(_UNIT_BEGINNINGS)
    return found


def _is_label_letter(letter: str) -> bool:
    return (letter.isascii() and letter.isalnum()) or category(letter)[0] in "LS"


def _is_top_letter(letter: str) -> bool:
    return category(letter)[0] == "L"


def _is_hostname(text: str) -> bool:
    if not text or len(text) > 255 or len(text.encode()) > 255:
        return False
    labels = text.split(".")
    if any(len(label.encode()) > 63 for label in labels):
        return False
    if len(labels) == 1:
        rest = text[1:].removeprefix("-")
        return _is_label_letter(text[0]) and len(rest) <= 62 and all(map(_is_label_letter, rest))
    *above, top = labels
    return len(top) >= 2 and all(map(_is_top_letter, top)) and all(map(_is_label, above))


def _is_label(text: str) -> bool:
    if not text or not _is_label_letter(text[0]) or not _is_label_letter(text[-1]):
        return False
    return all(letter == "-" or _is_label_letter(letter) for letter in text)


def _is_ipv4_sloppy(text: str) -> bool:
    """Return whether a text is dotted and an address, zeros before a number allowed."""
    parts = text.split(".")
    return len(parts) == 4 and all(_is_octet(part) for part in parts)


def _is_octet(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 64 and int(text) <= 255


def _is_ipv6_sloppy(text: str) -> bool:
    head, colon, tail = text.rpartition(":")
    if "." in tail and colon:
        if not _is_ipv4_sloppy(tail):
            return False
        text = f"{head}:{'.'.join(str(int(part)) for part in tail.split('.'))}"
    return is_ipv6(text)


def _is_ipv4(text: str) -> bool:
    return "." in text and (_is_ipv6_sloppy(text) if ":" in text else _is_ipv4_sloppy(text))


def _is_ipv6(text: str) -> bool:
    return ":" in text and is_ipv6(text)


def _is_cidr(text: str) -> bool:
    address, slash, size = text.partition("/")
    if not slash or not (size.isascii() and size.isdigit()) or len(size) > 8:
        return False
    if ":" in address:
        return _is_ipv6_sloppy(address) and int(size) <= 128
    return _is_ipv4_sloppy(address) and int(size) <= 32


_CARD = _pattern(
    "4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}"
    "|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11}"
)


def _is_credit_card(text: str) -> bool:
    digits = re.sub("[^0-9]+", "", text)
    if not _CARD(digits):
        return False
    doubled = (divmod(2 * int(digit), 10) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(map(sum, doubled))) % 10 == 0


def _bare_isbn(text: str) -> str:
    return re.sub(r"[\t\n\f\r -]+", "", text)


def _is_isbn10(text: str) -> bool:
    bare = _bare_isbn(text)
    if not re.fullmatch("[0-9]{9}[0-9X]", bare):
        return False
    values = [10 if letter == "X" else int(letter) for letter in bare]
    return sum(place * value for place, value in enumerate(values, 1)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    bare = _bare_isbn(text)
    if not re.fullmatch("[0-9]{13}", bare):
        return False
    return sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(bare)) % 10 == 0


_HEX, _DASH = "[0-9a-f]", "-?"
_GAP = r"[\t\n\f\r ]*"
_SHADE = r"(?:0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])"
_NAME = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_IS_NAME = _pattern(_NAME)


def _uuid(version: str, variant: str) -> Check:
    parts = f"{_HEX}{{8}}-?{_HEX}{{4}}-?{version}-?{variant}-?{_HEX}{{12}}"
    return _pattern(parts, re.IGNORECASE)


def _is_short_name(text: str) -> bool:
    return len(text) <= 63 and _IS_NAME(text)


def _is_long_name(text: str) -> bool:
    return len(text) <= 253 and all(map(_IS_NAME, text.split(".")))


_ANY4, _RFC4122 = f"{_HEX}{{4}}", f"[89ab]{_HEX}{{3}}"
_IS_SSN = _pattern("[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}")

FORMATS: Final[MappingProxyType[str, Check]] = MappingProxyType(
    {
        "bsonobjectid": _pattern("[0-9a-fA-F]{24}"),
        "byte": is_base64,
        "cidr": _is_cidr,
        "creditcard": _is_credit_card,
        "date": is_date,
        "datetime": is_datetime,
        "duration": _is_duration,
        "email": is_email,
        "hexcolor": _pattern("#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
        "hostname": _is_hostname,
        "ipv4": _is_ipv4,
        "ipv6": _is_ipv6,
        "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
        "isbn10": _is_isbn10,
        "isbn13": _is_isbn13,
        "k8slongname": _is_long_name,
        "k8sshortname": _is_short_name,
        "mac": is_mac,
        "password": lambda _text: True,
        "rgbcolor": _pattern(
            rf"rgb\({_GAP}{_SHADE}{_GAP},{_GAP}{_SHADE}{_GAP},{_GAP}{_SHADE}{_GAP}\)"
        ),
        "ssn": lambda text: len(text) == 11 and _IS_SSN(text),
        "uri": is_request_uri,
        "uuid": is_uuid,
        "uuid3": _uuid(f"3{_HEX}{{3}}", _ANY4),
        "uuid4": _uuid(f"4{_HEX}{{3}}", _RFC4122),
        "uuid5": _uuid(f"5{_HEX}{{3}}", _RFC4122),
    }
)
