"""Filters, matches and timeouts of HTTPRoutes, checked and in the form of routes. Pure.

What a definition's schema lets through must still fit into one line of a head: a header's value with a line break
would be a way to write further headers, or requests, to a backend.
"""

import re
from collections.abc import Callable, Sequence
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
    ValueMatch,
)
from kubelite.ingress.routes import Edits, NewPath, Redirect, Rewrite
from kubelite.ingress.wire import REQUEST_FIELDS, RESPONSE_FIELDS

NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
VALUE = re.compile(r"[\t\x20-\x7e]*")
HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
STATUSES = frozenset((301, 302, 303, 307, 308))
FILTERS = frozenset(
    ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")
)
SCHEMES = frozenset(("", "http", "https"))
# A path keeps what it may have by RFC 3986; all else, a line break above all, is escaped.
PATH_CHARACTERS = "/%-._~!$&'()*+,;=:@"
SECONDS_MAX = 86_400.0


class Unsupported(Exception):
    """A value of a route that is not served; `str()` says which."""


class Actions(Struct, frozen=True, kw_only=True):
    """What the filters of a rule do."""

    request_edits: Edits | None = None
    response_edits: Edits | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None


class Conditions(Struct, frozen=True, kw_only=True):
    """What a match asks of requests."""

    path: str
    is_exact: bool
    method: str
    headers: tuple[tuple[str, str], ...]
    queries: tuple[tuple[str, str], ...]


def actions_of(rule: RouteRule) -> Actions:
    """Return what the filters of a rule do. Raises Unsupported."""
    found: dict[str, Filter] = {}
    for one in rule.filters:
        if found.setdefault(one.type, one) is not one:
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
        else:
            rewrite = _rewrite(one, rule)
    if redirect is not None and rule.backend_refs:
        raise Unsupported("a rule with a redirect has backends")
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


def conditions_of(match: RouteMatch) -> Conditions:
    """Return what a match asks of requests. Raises Unsupported."""
    path = match.path
    if path.type not in ("Exact", "PathPrefix"):
        raise Unsupported(f"the path type {path.type!r}")
    if not path.value.startswith("/"):
        raise Unsupported(f"the path {path.value!r}")
    is_exact = path.type == "Exact"
    return Conditions(
        path=path.value if is_exact else path.value.rstrip("/") or "/",
        is_exact=is_exact,
        method=match.method,
        headers=_values(match.headers, str.lower),
        queries=_values(match.query_params, str),
    )


def _values(
    matches: Sequence[ValueMatch], name_of: Callable[[str], str]
) -> tuple[tuple[str, str], ...]:
    """Return names and values; of those with one name only the first counts."""
    found: dict[str, str] = {}
    for one in matches:
        if one.type != "Exact":
            raise Unsupported(f"the match type {one.type!r} of {one.name!r}")
        found.setdefault(name_of(one.name), one.value)
    return tuple(found.items())


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
