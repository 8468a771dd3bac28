"""Formats of names, keys and numbers: each check returns a list of findings, in Kubernetes' wording.

An empty list means that the value is valid. Results are cached, since the same names recur.
"""

import re

from kubelite.remembered import remembered
from kubelite.text_formats import (
    EMPTY,
    FINE,
    SUBDOMAIN_FORMAT,
    Findings,
    dns_1035_label,
    dns_label,
    dns_subdomain,
    is_subdomain,
    label_value,
    mismatch,
    qualified_name,
    too_long,
)

# Those that expressions check too live below; here is the one place where the API looks for formats of names.
__all__ = [
    "EMPTY",
    "FINE",
    "Findings",
    "dns_1035_label",
    "dns_label",
    "dns_subdomain",
    "label_value",
    "mismatch",
    "qualified_name",
    "too_long",
]

ALPHANUMERIC = "[a-z0-9]"
IDENTIFIER_FORMAT = "[A-Za-z_][A-Za-z0-9_]*"
CONFIG_KEY_FORMAT = "[-._a-zA-Z0-9]+"
HEADER_FORMAT = "[-A-Za-z0-9]+"
PERCENT_FORMAT = "[0-9]+%"
PATH_FORMAT = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+"

_IDENTIFIER = re.compile(IDENTIFIER_FORMAT).fullmatch
_CONFIG_KEY = re.compile(CONFIG_KEY_FORMAT).fullmatch
_HEADER = re.compile(HEADER_FORMAT).fullmatch
_HEADER_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_PERCENT = re.compile(PERCENT_FORMAT).fullmatch
_PATH = re.compile(PATH_FORMAT).fullmatch
_PORT = re.compile("[-a-z0-9]+").fullmatch


def out_of_range(low: int, high: int) -> str:
    """Return the finding that a number must be between two bounds, inclusive."""
    return f"must be between {low} and {high}, inclusive"


def wildcard_subdomain(value: str) -> Findings:
    """Check a subdomain after a leading ``*.``."""
    found = [too_long(253)] if len(value) > 253 else []
    if not (value.startswith("*.") and is_subdomain(value[2:])):
        found.append(
            mismatch(
                "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
                "which must consist of lower case alphanumeric characters, '-' or '.' "
                "and end with an alphanumeric character",
                "\\*\\." + SUBDOMAIN_FORMAT,
                "*.example.com",
            )
        )
    return tuple(found)


def c_identifier(value: str) -> Findings:
    """Check a C identifier."""
    if _IDENTIFIER(value):
        return FINE
    return (
        mismatch(
            "a valid C identifier must start with alphabetic character or '_', "
            "followed by a string of alphanumeric characters or '_'",
            IDENTIFIER_FORMAT,
            "my_name",
            "MY_NAME",
            "MyName",
        ),
    )


def port_number(value: int) -> Findings:
    """Check a port's number."""
    return FINE if 1 <= value <= 65535 else (out_of_range(1, 65535),)


def identity_number(value: int) -> Findings:
    """Check a user or group number."""
    return FINE if 0 <= value <= 2147483647 else (out_of_range(0, 2147483647),)


@remembered(8192)
def port_name(value: str) -> Findings:
    """Check an IANA service name."""
    found = [too_long(15)] if len(value) > 15 else []
    if not _PORT(value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= letter <= "z" for letter in value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        found.append("must not begin or end with a hyphen")
    return tuple(found)


def percent(value: str) -> Findings:
    """Check a percentage such as ``25%``."""
    if _PERCENT(value):
        return FINE
    return (
        mismatch(
            "a valid percent string must be a numeric string followed by an ending '%'",
            PERCENT_FORMAT,
            "1%",
            "93%",
        ),
    )


def http_header_name(value: str) -> Findings:
    """Check the name of an HTTP header."""
    if _HEADER(value):
        return FINE
    return (
        mismatch(
            "a valid HTTP header must consist of alphanumeric characters or '-'",
            HEADER_FORMAT,
            "X-Header-Name",
        ),
    )


def http_header_value(value: str) -> Findings:
    """Check the value of an HTTP header: no control characters except tab, so that it cannot end its line."""
    if _HEADER_CONTROL(value) is None:
        return FINE
    return ("a valid HTTP header value must not contain control characters",)


def domain_prefixed_path(value: str) -> Findings:
    """Check a name such as ``acme.io/foo/bar``; the caller rejects the empty one."""
    host, _, path = value.partition("/")
    if not host or not path:
        return ('must be a domain-prefixed path (such as "acme.io/foo")',)
    found = list(dns_subdomain(host))
    if not _PATH(path):
        found.append(mismatch("Invalid path", PATH_FORMAT))
    return tuple(found)


@remembered(8192)
def environment_name(value: str) -> Findings:
    """Check the name of an environment variable: printable ASCII without an equals sign."""
    found: list[str] = []
    if not value:
        found.append("environment variable name " + EMPTY)
    if not (value.isascii() and value.isprintable()) or "=" in value:
        found.append(
            "a valid environment variable name must consist only of printable ASCII characters "
            "other than '='"
        )
    return tuple(found)


@remembered(8192)
def config_key(value: str) -> Findings:
    """Check a key of a ConfigMap or Secret, which becomes a file name."""
    found = [too_long(253)] if len(value) > 253 else []
    if not _CONFIG_KEY(value):
        found.append(
            mismatch(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                CONFIG_KEY_FORMAT,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    if value in (".", ".."):
        found.append(f"must not be '{value}'")
    elif value.startswith(".."):
        found.append("must not start with '..'")
    return tuple(found)


def path_segment(value: str) -> Findings:
    """Check a name that is one segment of a URL's path."""
    if value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{sign}'" for sign in "/%" if sign in value)


def masked_prefix(name: str) -> str:
    """Return a generateName in a form that can be checked: a trailing dash is valid, since a suffix follows."""
    return name[:-1] + "a" if len(name) > 1 and name.endswith("-") else name
