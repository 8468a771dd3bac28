"""Filters, matches and timeouts of HTTPRoutes, checked and in the form of routes. Pure.

What a definition's schema lets through must still fit into one line of a head: a header's value with a line break
would be a way to write further headers, or requests, to a backend.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from msgspec import Struct

from kubelite.api.machinery.times import parse_duration
from kubelite.ingress.gateway_objects import (
    Filter,
    Header,
    HeaderModifier,
    PathModifier,
    RouteMatch,
    RouteRule,
    ServiceRef,
    ValueMatch,
)
from kubelite.ingress.routes import Edits, NewPath, Redirect, Rewrite, whole_text
from kubelite.ingress.wire import REQUEST_FIELDS, RESPONSE_FIELDS

NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
VALUE = re.compile(r"[\t\x20-\x7e]*")
HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
STATUSES = frozenset((301, 302, 303, 307, 308))
FILTERS = frozenset(
    (
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestRedirect",
        "URLRewrite",
        "RequestMirror",
    )
)
SCHEMES = frozenset(("", "http", "https"))
# A path keeps what it may have by RFC 3986; all else, a line break above all, is escaped.
PATH_CHARACTERS = "/%-._~!$&'()*+,;=:@"
SECONDS_MAX = 86_400.0
SHARES_MAX = 1_000_000  # the largest denominator of a share


class Unsupported(Exception):
    """A value of a route that is not served; `str()` says which."""


class Actions(Struct, frozen=True, kw_only=True):
    """What the filters of a rule do."""

    request_edits: Edits | None = None
    response_edits: Edits | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None


Pairs = tuple[tuple[str, str], ...]


class Matched(Struct, frozen=True, kw_only=True):
    """What a match asks of requests."""

    path: str
    is_exact: bool
    is_pattern: bool
    method: str
    headers: Pairs
    queries: Pairs
    header_patterns: Pairs
    query_patterns: Pairs

    @property
    def patterns(self) -> Iterator[str]:
        """Yield the regular expressions."""
        if self.is_pattern:
            yield self.path
        for _, text in (*self.header_patterns, *self.query_patterns):
            yield text


def actions_of(rule: RouteRule) -> Actions:
    """Return what the filters of a rule do. Raises Unsupported."""
    found: dict[str, Filter] = {}
    for one in rule.filters:
        if found.setdefault(one.type, one) is not one and one.type != "RequestMirror":
            raise Unsupported(f"a rule has several filters {one.type}")
    if "RequestRedirect" in found and "URLRewrite" in found:
        raise Unsupported("a rule has both a redirect and a rewrite")
    if unknown := found.keys() - FILTERS:
        raise Unsupported(f"the filter {min(unknown)}")
    request: Edits | None = None
    response: Edits | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    for name, one in found.items():
        if name == "RequestHeaderModifier":  # those that tell of the client are the proxy's own
            request = _edits(one.request_header_modifier, REQUEST_FIELDS)
        elif name == "ResponseHeaderModifier":
            response = _edits(one.response_header_modifier, RESPONSE_FIELDS)
        elif name == "RequestRedirect":
            redirect = _redirect(one, rule)
        elif name == "URLRewrite":
            rewrite = _rewrite(one, rule)
    if redirect is not None and rule.backend_refs:
        raise Unsupported("a rule with a redirect has backends")
    if sum(1 for one in rule.filters if one.type == "RequestMirror") != len(mirrors_of(rule)):
        raise Unsupported("a mirror has no settings, or a share that is none")
    return Actions(
        request_edits=request, response_edits=response, redirect=redirect, rewrite=rewrite
    )


def _edits(modifier: HeaderModifier | None, reserved: dict[bytes, str]) -> Edits:
    if modifier is None:
        raise Unsupported("a filter has no settings")

    def name_of(text: str) -> bytes:
        name = text.lower().encode()
        if not NAME.fullmatch(text) or name.replace(b"_", b"-") in reserved:
            raise Unsupported(f"the header {text!r} cannot be changed")
        return name

    def fields_of(headers: Sequence[Header]) -> tuple[tuple[bytes, bytes], ...]:
        fields: dict[bytes, tuple[bytes, bytes]] = {}
        for one in headers:
            if not VALUE.fullmatch(one.value):
                raise Unsupported(f"the value of the header {one.name!r} is invalid")
            fields.setdefault(name_of(one.name), (one.name.encode(), one.value.strip().encode()))
        return tuple(fields.values())

    return Edits(
        tuple((name.lower(), value) for name, value in fields_of(modifier.set)),
        fields_of(modifier.add),
        tuple(name_of(one) for one in modifier.remove),
    )


def _redirect(value: Filter, rule: RouteRule) -> Redirect:
    settings = value.request_redirect
    if settings is None:
        raise Unsupported("a filter has no settings")
    if settings.status_code not in STATUSES:
        raise Unsupported(f"the status {settings.status_code} of a redirect")
    if settings.scheme not in SCHEMES or not 0 <= settings.port < 65536:
        raise Unsupported("the scheme or port of a redirect")
    return Redirect(
        settings.status_code,
        settings.scheme,
        _host(settings.hostname),
        settings.port,
        _path(settings.path, rule),
    )


def _rewrite(value: Filter, rule: RouteRule) -> Rewrite:
    if value.url_rewrite is None:
        raise Unsupported("a filter has no settings")
    return Rewrite(_host(value.url_rewrite.hostname), _path(value.url_rewrite.path, rule))


def _host(text: str) -> str:
    if text and not HOST.fullmatch(text):
        raise Unsupported(f"the host name {text!r}")
    return text


def _path(modifier: PathModifier | None, rule: RouteRule) -> NewPath | None:
    if modifier is None:
        return None
    if modifier.type == "ReplaceFullPath" and modifier.replace_full_path is not None:
        return NewPath(_rooted(modifier.replace_full_path))
    if modifier.type == "ReplacePrefixMatch" and modifier.replace_prefix_match is not None:
        if any(one.path.type != "PathPrefix" for one in rule.matches):
            raise Unsupported("ReplacePrefixMatch in a rule whose paths are no prefixes")
        return NewPath(_rooted(modifier.replace_prefix_match), is_prefix=True)
    raise Unsupported(f"the path modifier {modifier.type!r}")


def _rooted(text: str) -> str:
    return "/" + quote(text.lstrip("/"), safe=PATH_CHARACTERS)


def mirrors_of(rule: RouteRule) -> list[tuple[ServiceRef, int, int]]:
    """Return who gets copies of a rule's requests, and of how many: numerator and denominator."""
    found = []
    for one in rule.filters:
        settings = one.request_mirror
        if one.type != "RequestMirror" or settings is None:
            continue
        share = 1, 1
        if settings.fraction is not None:
            share = settings.fraction.numerator, settings.fraction.denominator
        elif settings.percent is not None:
            share = settings.percent, 100
        if 0 <= share[0] <= share[1] <= SHARES_MAX and share[1]:
            found.append((settings.backend_ref, *share))
    return found


def conditions_of(match: RouteMatch) -> Matched:
    """Return what a match asks of requests. Raises Unsupported."""
    path = match.path
    if path.type not in ("Exact", "PathPrefix", "RegularExpression"):
        raise Unsupported(f"the path type {path.type!r}")
    is_exact, is_pattern = path.type == "Exact", path.type == "RegularExpression"
    if is_pattern:
        _check_pattern(path.value)
    elif not path.value.startswith("/"):
        raise Unsupported(f"the path {path.value!r}")
    headers, header_patterns = _values(match.headers, str.lower)
    queries, query_patterns = _values(match.query_params, str)
    return Matched(
        path=path.value if is_exact or is_pattern else path.value.rstrip("/") or "/",
        is_exact=is_exact,
        is_pattern=is_pattern,
        method=match.method,
        headers=headers,
        queries=queries,
        header_patterns=header_patterns,
        query_patterns=query_patterns,
    )


def _values(matches: Sequence[ValueMatch], name_of: Callable[[str], str]) -> tuple[Pairs, Pairs]:
    """Return names with exact values and with patterns; of those with one name only the first counts."""
    found: dict[str, ValueMatch] = {}
    for one in matches:
        if one.type == "RegularExpression":
            _check_pattern(one.value)
        elif one.type != "Exact":
            raise Unsupported(f"the match type {one.type!r} of {one.name!r}")
        found.setdefault(name_of(one.name), one)
    exact = [(name, one.value) for name, one in found.items() if one.type == "Exact"]
    patterns = [(name, one.value) for name, one in found.items() if one.type != "Exact"]
    return tuple(exact), tuple(patterns)


def _check_pattern(text: str) -> None:
    """Raise Unsupported for what is no regular expression, and for one that is too costly."""
    from kubelite.regexp.patterns import find_problem

    # Alone it must be whole, or else its brackets could close those that are put around it.
    if problem := find_problem(text) or find_problem(whole_text(text)):
        raise Unsupported(f"the regular expression {text!r}: {problem}")


def seconds_of(rule: RouteRule) -> float:
    """Return the time for an exchange: the shorter of both timeouts; 0: no limit. Raises Unsupported."""
    found = []
    for text in (rule.timeouts.request, rule.timeouts.backend_request):
        if not text:
            continue
        try:
            seconds = parse_duration(text).total_seconds()
        except ValueError:
            raise Unsupported(f"the timeout {text!r}") from None
        if not 0 <= seconds <= SECONDS_MAX:
            raise Unsupported(f"the timeout {text!r}")
        if seconds:
            found.append(seconds)
    return min(found, default=0.0)
