"""URLs: url, isURL and the parts of one."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from kubelite.cel.declarations import STRING_TRAVERSAL, Argument, CallEstimate, Library, Range
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import function, member, plain
from kubelite.cel.libraries.go_url import Unreadable, Url, parse_request, text_of
from kubelite.cel.libraries.go_url import parse as parse_any
from kubelite.cel.types import BOOL, STRING, Type, list_of, map_of, struct
from kubelite.cel.values import EvaluationFailed, OpaqueValue

URL_TYPE: Final = struct("kubernetes.URL")


class URL(OpaqueValue):
    """A URL; equal to another if both are written alike."""

    __slots__ = ("url",)
    cel_type: ClassVar[Type] = URL_TYPE

    def __init__(self, url: Url) -> None:
        self.url = url

    def __eq__(self, other: object) -> bool:
        return isinstance(other, URL) and bytes(self.url) == bytes(other.url)

    def __hash__(self) -> int:
        return hash(bytes(self.url))

    def __str__(self) -> str:
        return text_of(bytes(self.url))


def parse(text: str) -> URL:
    """Read an absolute URL or path, which may have a fragment; raises EvaluationFailed."""
    try:
        parse_request(text)
        return URL(parse_any(text))
    except Unreadable as error:
        raise EvaluationFailed(f"URL parse error during conversion from string: {error}") from error


def is_url(text: str) -> bool:
    """Return whether a text is an absolute URL or path."""
    try:
        parse_request(text)
    except Unreadable:
        return False
    return True


def _estimate_equality(arguments: Sequence[Argument]) -> CallEstimate:
    known = arguments[1].known_size  # Kubernetes looks at this side only
    most = 1 if known is None else known.max
    return CallEstimate(Range(1, most).scaled(STRING_TRAVERSAL))


def _part(call: Callable[[Url], bytes]) -> Callable[[URL], str]:
    return lambda url: text_of(call(url.url))


_UNIT = costs.fixed(1)
_PARTS: Final[dict[str, tuple[str, Callable[[Url], bytes]]]] = {
    "getScheme": ("url_get_scheme", lambda url: url.scheme),
    "getHost": ("url_get_host", lambda url: url.host),
    "getHostname": ("url_get_hostname", lambda url: url.host_and_port()[0]),
    "getPort": ("url_get_port", lambda url: url.host_and_port()[1]),
    "getEscapedPath": ("url_get_escaped_path", Url.escaped_path),
}

LIBRARY: Final = Library(
    "kubernetes.urls",
    types=(URL_TYPE,),
    functions=(
        function(
            "url",
            plain("string_to_url", (STRING,), URL_TYPE, parse, costs.by_size(keeps_size=True)),
        ),
        function("isURL", plain("is_url_string", (STRING,), BOOL, is_url)),
        *(
            function(name, member(id_, (URL_TYPE,), STRING, _part(call), _UNIT))
            for name, (id_, call) in _PARTS.items()
        ),
        function(
            "getQuery",
            member(
                "url_get_query",
                (URL_TYPE,),
                map_of(STRING, list_of(STRING)),
                lambda url: url.url.query_values(),
                _UNIT,
            ),
        ),
    ),
    equality={URL_TYPE.name: _estimate_equality},
)
