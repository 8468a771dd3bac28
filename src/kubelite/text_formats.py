"""Formats of texts that objects and expressions share: names, keys, dates, identifiers.

Checks of names return findings in Kubernetes' wording, none if the text is valid; the others return whether it is.
Results are cached, since the same names recur. Each check is linear in the text.
"""

import re
from calendar import monthrange

from kubelite.remembered import remembered

LABEL_FORMAT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN_FORMAT = LABEL_FORMAT + "(\\." + LABEL_FORMAT + ")*"
LABEL_1035_FORMAT = "[a-z]([-a-z0-9]*[a-z0-9])?"
KEY_FORMAT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
VALUE_FORMAT = f"({KEY_FORMAT})?"

_LABEL = re.compile(LABEL_FORMAT).fullmatch
is_subdomain = re.compile(SUBDOMAIN_FORMAT).fullmatch
_LABEL_1035 = re.compile(LABEL_1035_FORMAT).fullmatch
_KEY = re.compile(KEY_FORMAT).fullmatch
_VALUE = re.compile(VALUE_FORMAT).fullmatch

Findings = tuple[str, ...]
FINE: Findings = ()
EMPTY = "must be non-empty"


_KEY_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)


def too_long(limit: int) -> str:
    """Return the finding that a text may have at most `limit` characters."""
    return f"must be no more than {limit} characters"


def mismatch(text: str, pattern: str, *examples: str) -> str:
    """Return the finding that a value does not match `pattern`."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


@remembered(8192)
def dns_label(value: str) -> Findings:
    """Check a lowercase RFC 1123 label."""
    found = [too_long(63)] if len(value) > 63 else []
    if not _LABEL(value):
        if is_subdomain(value):
            found.append("must not contain dots")
        else:
            found.append(
                mismatch(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                    "and must start and end with an alphanumeric character",
                    LABEL_FORMAT,
                    "my-name",
                    "123-abc",
                )
            )
    return tuple(found)


@remembered(8192)
def dns_subdomain(value: str) -> Findings:
    """Check a lowercase RFC 1123 subdomain."""
    found = [too_long(253)] if len(value) > 253 else []
    if not is_subdomain(value):
        found.append(
            mismatch(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
                "'-' or '.', and must start and end with an alphanumeric character",
                SUBDOMAIN_FORMAT,
                "example.com",
            )
        )
    return tuple(found)


def dns_1035_label(value: str) -> Findings:
    """Check a DNS-1035 label, which starts with a letter."""
    found = [too_long(63)] if len(value) > 63 else []
    if not _LABEL_1035(value):
        found.append(
            mismatch(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                "start with an alphabetic character, and end with an alphanumeric character",
                LABEL_1035_FORMAT,
                "my-name",
                "abc-123",
            )
        )
    return tuple(found)


@remembered(8192)
def qualified_name(value: str) -> Findings:
    """Check a label or annotation key: a name with an optional DNS prefix and a slash."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        form = mismatch(_KEY_TEXT, KEY_FORMAT, "MyName", "my.name", "123-abc")
        prefixed = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return (f"a valid label key {form} {prefixed}",)
    found: list[str] = []
    if slash and not prefix:
        found.append("prefix part " + EMPTY)
    elif slash:
        found.extend("prefix part " + finding for finding in dns_subdomain(prefix))
    if not name:
        found.append("name part " + EMPTY)
    elif len(name) > 63:
        found.append("name part " + too_long(63))
    if not _KEY(name):
        found.append("name part " + mismatch(_KEY_TEXT, KEY_FORMAT, "MyName", "my.name", "123-abc"))
    return tuple(found)


@remembered(8192)
def label_value(value: str) -> Findings:
    """Check a label's value; it may be empty."""
    found = [too_long(63)] if len(value) > 63 else []
    if not _VALUE(value):
        found.append(
            mismatch(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
                "or '.', and must start and end with an alphanumeric character",
                VALUE_FORMAT,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return tuple(found)


_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def is_date(text: str) -> bool:
    """Return whether a text is a date such as 2024-12-31."""
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    year, month, day = map(int, match.groups())
    # The calendar of year 0 is that of 2000: both are leap years.
    return 1 <= month <= 12 and 1 <= day <= monthrange(year or 2000, month)[1]


def is_datetime(text: str) -> bool:
    """Return whether a text is a date and time of RFC 3339; some more pass, as in Kubernetes."""
    date, found, rest = text.lower().partition("t")
    match = _TIME.fullmatch(rest.partition("t")[0]) if found else None
    if match is None or not is_date(date):
        return False
    hours, minutes, seconds = match.groups()
    return hours <= "23" and minutes <= "59" and seconds <= "59"


_BASE64 = re.compile("[A-Za-z0-9+/]+={0,2}")


def is_base64(text: str) -> bool:
    """Return whether a text is bytes in base64, with padding."""
    return len(text) % 4 == 0 and _BASE64.fullmatch(text) is not None


_UUID = re.compile("[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID of any version, its hyphens optional."""
    return _UUID.fullmatch(text) is not None
