"""Named formats of texts: format.dns1123Label() and its like, format.named, validate."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from kubelite.cel.declarations import (
    REGEX_LENGTH,
    STRING_TRAVERSAL,
    Argument,
    CallEstimate,
    Library,
    Range,
)
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import Costing, function, member, plain
from kubelite.cel.libraries.go_url import Unreadable, parse_request
from kubelite.cel.types import STRING, Type, list_of, optional_of, struct
from kubelite.cel.values import NONE, OpaqueValue, Optional, Value, size_of
from kubelite.text_formats import (
    Findings,
    dns_1035_label,
    dns_label,
    dns_subdomain,
    is_base64,
    is_date,
    is_datetime,
    is_uuid,
    label_value,
    qualified_name,
)

FORMAT_TYPE: Final = struct("kubernetes.NamedFormat")
_SIZE_MAX: Final = 64  # what comparing two formats is estimated by
_PATTERN_MAX: Final = 128  # length of the longest pattern of a name, for estimates
Check = Callable[[str], Findings]


class Format(OpaqueValue):
    """A named format; `pattern_size` is the length of a regular expression that would do, for costs."""

    __slots__ = ("check", "name", "pattern_size")
    cel_type: ClassVar[Type] = FORMAT_TYPE

    def __init__(self, name: str, check: Check, pattern_size: int) -> None:
        self.name = name
        self.check = check
        self.pattern_size = pattern_size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def _of_prefix(check: Check) -> Check:
    """Return a check of the beginning of a name, which may end in a hyphen."""
    # As Kubernetes does, take the letter before the hyphen away as well.
    return lambda text: check(text[:-2] + "a" if len(text) > 1 and text.endswith("-") else text)


def _of_answer(is_valid: Callable[[str], bool], finding: str) -> Check:
    return lambda text: () if is_valid(text) else (finding,)


def _check_uri(text: str) -> Findings:
    try:
        parse_request(text)
    except Unreadable as error:
        return (str(error),)
    return ()


_DATE_TIME_PATTERN: Final = 71
FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "dns1123Label": Format("DNS1123Label", dns_label, 30),
        "dns1123Subdomain": Format("DNS1123Subdomain", dns_subdomain, 60),
        "dns1035Label": Format("DNS1035Label", dns_1035_label, 30),
        "qualifiedName": Format("QualifiedName", qualified_name, 60),
        "dns1123LabelPrefix": Format("DNS1123LabelPrefix", _of_prefix(dns_label), 30),
        "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", _of_prefix(dns_subdomain), 60),
        "dns1035LabelPrefix": Format("DNS1035LabelPrefix", _of_prefix(dns_1035_label), 30),
        "labelValue": Format("LabelValue", label_value, 40),
        "uri": Format("URI", _check_uri, 1103),
        "uuid": Format("uuid", _of_answer(is_uuid, "does not match the UUID format"), 70),
        "byte": Format("byte", _of_answer(is_base64, "invalid base64"), 84),
        "date": Format("date", _of_answer(is_date, "invalid date"), _DATE_TIME_PATTERN),
        "datetime": Format(
            "datetime", _of_answer(is_datetime, "invalid datetime"), _DATE_TIME_PATTERN
        ),
    }
)


def named(name: str) -> Optional:
    """Return the format of a name if there is one."""
    known = FORMATS.get(name)
    return NONE if known is None else Optional(known)


def validate(format_: Format, text: str) -> Optional:
    """Return what is wrong with a text, nothing if it is valid."""
    findings = format_.check(text)
    return Optional(list(findings)) if findings else NONE


def _estimate_validate(arguments: Sequence[Argument]) -> CallEstimate:
    text = arguments[1].size.scaled(STRING_TRAVERSAL)
    return CallEstimate(text.scaled(_PATTERN_MAX * REGEX_LENGTH))


def _cost_validate(arguments: Sequence[Value], _result: Value) -> int:
    format_, text = arguments
    if not isinstance(format_, Format):
        return 1
    pattern = math.ceil(format_.pattern_size * REGEX_LENGTH)
    return math.ceil((1.0 + size_of(text)) * STRING_TRAVERSAL) * pattern


def _estimate_equality(_arguments: Sequence[Argument]) -> CallEstimate:
    return CallEstimate(Range(1, _SIZE_MAX).scaled(STRING_TRAVERSAL))


def _constant(format_: Format) -> Callable[[], Format]:
    return lambda: format_


_FINDINGS = optional_of(list_of(STRING))

LIBRARY: Final = Library(
    "kubernetes.format",
    types=(FORMAT_TYPE,),
    functions=(
        function(
            "validate",
            member(
                "format-validate",
                (FORMAT_TYPE, STRING),
                _FINDINGS,
                validate,
                Costing(_estimate_validate, _cost_validate),
            ),
        ),
        function(
            "format.named",
            plain("format-named", (STRING,), optional_of(FORMAT_TYPE), named, costs.fixed(1)),
        ),
        *(
            function(f"format.{name}", plain(f"format.{name}", (), FORMAT_TYPE, _constant(format_)))
            for name, format_ in FORMATS.items()
        ),
    ),
    equality={FORMAT_TYPE.name: _estimate_equality},
)
