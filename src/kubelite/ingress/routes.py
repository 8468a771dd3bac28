"""What is routed where: matches of requests and the backends behind them, compiled for look-up. Pure.

Nothing here knows Ingresses: `plan` makes routes of them, and other kinds of routing objects can make the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from kubelite.regexp.patterns import Pattern

ANY_DEPTH = "**."  # before a domain: one label or more; "*." is exactly one


class Backend(Struct, frozen=True):
    """A set of endpoints, by its key, and its share of the requests."""

    key: str  # namespace/service:port; "": none that may be used, for which the answer is 500
    weight: int = 1


class Edits(Struct, frozen=True):
    """Changes of header fields: names in lower case, with values that may stand in a head."""

    replaced: tuple[tuple[bytes, bytes], ...] = ()
    added: tuple[tuple[bytes, bytes], ...] = ()
    removed: tuple[bytes, ...] = ()

    def apply(self, fields: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the fields with the changes made; an added field follows those of its name."""
        dropped = {name for name, _ in self.replaced}.union(self.removed)
        kept = [field for field in fields if field[0].lower() not in dropped]
        return [*kept, *self.replaced, *self.added]


class NewPath(Struct, frozen=True):
    """What takes the place of a path, or of the prefix of it that matched."""

    text: str
    is_prefix: bool = False

    def apply(self, path: bytes, matched: str) -> bytes:
        """Return the new path; `matched` is the path of the route."""
        if not self.is_prefix:
            return self.text.encode() or b"/"
        rest = path[len(matched.rstrip("/")) :]
        return self.text.rstrip("/").encode() + rest or b"/"


class Redirect(Struct, frozen=True):
    """An answer that sends the client elsewhere; what is empty stays as it was asked for."""

    status: int = 302
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: NewPath | None = None


class Rewrite(Struct, frozen=True):
    """What the backend is asked for instead."""

    host: str = ""
    path: NewPath | None = None


class MirroredTo(Struct, frozen=True):
    """A set of endpoints that gets copies of requests, and of how many: numerator of denominator."""

    key: str
    numerator: int = 1
    denominator: int = 1


class Scope(Struct, frozen=True):
    """A listener of a Gateway: a port and host names as a route has them; "": all."""

    port: int
    host: str = ""
    is_extra: bool = False  # the port is none of those of Ingresses


class Route(Struct, frozen=True, kw_only=True):
    """Requests that match, and what is done with them."""

    owner: str  # kind-specific name of the object behind the route, namespace/name; the label of metrics
    host: str = ""  # "": every host; *.domain, **.domain
    path: str = "/"
    is_exact: bool = False  # else a prefix of path elements
    is_default: bool = False  # for requests that match no other route
    method: str = ""  # "": every one
    headers: tuple[tuple[str, str], ...] = ()  # names in lower case, and their exact values
    backends: tuple[Backend, ...] = ()
    redirects_to_https: bool = False
    body_bytes_max: int = 0  # 0: no limit
    read_seconds: float = 60.0  # between two reads from the backend
    # Of routes of Gateways:
    port: int = 0  # of the listener; 0: the ports of Ingresses
    scope: str | None = None  # host names of the listener; None: of no listener
    is_pattern: bool = False  # the path is a regular expression for a whole path
    queries: tuple[tuple[str, str], ...] = ()  # names and exact values of parameters
    header_patterns: tuple[tuple[str, str], ...] = ()  # regular expressions for whole values
    query_patterns: tuple[tuple[str, str], ...] = ()
    mirrors: tuple[MirroredTo, ...] = ()
    request_edits: Edits | None = None
    response_edits: Edits | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    total_seconds: float = 0.0  # for the whole exchange; 0: no limit


class _Paths:
    """The routes of one host pattern."""

    __slots__ = ("depth", "exact", "patterns", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, list[Route]] = {}
        self.prefixes: dict[str, list[Route]] = {}
        self.patterns: list[tuple[Pattern, Route]] = []
        self.depth = 0  # of the deepest prefix, in elements

    def add(self, route: Route) -> None:
        if route.is_pattern:
            self.patterns.append((whole(route.path), route))
            # The longest one first; the sort is stable for those of one length.
            self.patterns.sort(key=lambda one: -len(one[1].path))
            return
        if route.is_exact:
            self.exact.setdefault(route.path, []).append(route)
            return
        prefix = route.path.rstrip("/")
        self.depth = max(self.depth, prefix.count("/"))
        self.prefixes.setdefault(prefix, []).append(route)

    def candidates(self, path: str) -> Iterable[Route]:
        """Yield the routes of a path, the most specific first."""
        if path in self.exact:
            yield from self.exact[path]
        for pattern, route in self.patterns:
            if pattern.matches(path):
                yield route
        # Only as many elements as the deepest prefix has: a path of a thousand slashes costs no more.
        elements = path.split("/", self.depth + 1)[: self.depth + 1]
        while elements:
            if (found := self.prefixes.get("/".join(elements))) is not None:
                yield from found
            elements.pop()


class Table:
    """Routes, compiled: exact hosts come first, then wildcards with the longest domain, then routes of every host.

    `scopes` are the host names of all listeners. A host belongs to the most specific of them, so that a route which
    another listener lets in does not get its requests.
    """

    def __init__(self, routes: Sequence[Route], scopes: Iterable[str] = ()) -> None:
        self._scopes = frozenset(scopes)
        self._hosts: dict[str, _Paths] = {}
        self._single: dict[str, _Paths] = {}  # by domain with its leading dot
        self._deep: dict[str, _Paths] = {}
        self._any = _Paths()
        self.has_conditions = any(_has_conditions(one) for one in routes)
        self._patterns = {
            text: whole(text)
            for one in routes
            for _, text in (*one.header_patterns, *one.query_patterns)
        }
        self._default: Route | None = None
        for route in sorted(routes, key=_specificity):
            if route.is_default:
                self._default = self._default or route
            else:
                self._paths(route.host).add(route)

    def _paths(self, host: str) -> _Paths:
        if not host:
            return self._any
        if host.startswith(ANY_DEPTH):
            return self._deep.setdefault(host[2:], _Paths())
        if host.startswith("*."):
            return self._single.setdefault(host[1:], _Paths())
        return self._hosts.setdefault(host, _Paths())

    def find(
        self,
        host: str,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        queries: Mapping[str, str] | None = None,
    ) -> Route | None:
        """Return the route of a request; `headers` by names in lower case are needed only for routes that have some."""
        scope = self._scope_of(host) if self._scopes else None
        for paths in self._of_host(host):
            for route in paths.candidates(path):
                if route.scope in (None, scope) and self._agrees(
                    route, method, headers or {}, queries or {}
                ):
                    return route
        return self._default

    def _agrees(
        self,
        route: Route,
        method: str,
        headers: Mapping[str, str],
        queries: Mapping[str, str],
    ) -> bool:
        if route.method and route.method != method:
            return False
        return (
            all(headers.get(name) == value for name, value in route.headers)
            and all(queries.get(name) == value for name, value in route.queries)
            and all(self._fits(headers, one) for one in route.header_patterns)
            and all(self._fits(queries, one) for one in route.query_patterns)
        )

    def _fits(self, values: Mapping[str, str], condition: tuple[str, str]) -> bool:
        value = values.get(condition[0])
        return value is not None and self._patterns[condition[1]].matches(value)

    def _scope_of(self, host: str) -> str | None:
        """Return the most specific listener's host names that a host is among."""
        if host in self._scopes:
            return host
        dot = host.find(".")
        while dot > 0:
            if (found := ANY_DEPTH + host[dot + 1 :]) in self._scopes:
                return found
            dot = host.find(".", dot + 1)
        return "" if "" in self._scopes else None

    def _of_host(self, host: str) -> Iterable[_Paths]:
        if (found := self._hosts.get(host)) is not None:
            yield found
        dot = host.find(".")
        if dot > 0 and (found := self._single.get(host[dot:])) is not None:
            yield found
        if self._deep:
            while dot > 0:
                if (found := self._deep.get(host[dot:])) is not None:
                    yield found
                dot = host.find(".", dot + 1)
        yield self._any


def _has_conditions(route: Route) -> bool:
    return bool(
        route.method
        or route.headers
        or route.queries
        or route.header_patterns
        or route.query_patterns
    )


def _specificity(route: Route) -> tuple[bool, int, int]:
    """Order routes of one path: those with more conditions come first; the sort is stable for the rest."""
    return (
        not route.method,
        -len(route.headers) - len(route.header_patterns),
        -len(route.queries) - len(route.query_patterns),
    )


def whole(text: str) -> "Pattern":
    """Return a regular expression that must match all of a text."""
    # Only those who have one need the rest.
    from kubelite.regexp.patterns import Pattern

    return Pattern(whole_text(text))


def whole_text(text: str) -> str:
    """Return the regular expression that another one is as a whole; the other must be valid by itself."""
    return rf"\A(?:{text})\z"


class Tables:
    """The routes of each port: those of listeners, and of Ingresses on the ports that they have."""

    def __init__(self, routes: Sequence[Route] = (), scopes: Iterable[Scope] = ()) -> None:
        scopes = tuple(scopes)
        of_ingresses = [one for one in routes if not one.port]
        self._shared = Table(of_ingresses)
        self._tables: dict[int, Table] = {}
        for port, is_extra in {one.port: one.is_extra for one in scopes}.items():
            own = [one for one in routes if one.port == port]
            hosts = {one.host for one in scopes if one.port == port}
            self._tables[port] = Table(own if is_extra else (*of_ingresses, *own), hosts)

    def of(self, port: int, *, is_extra: bool) -> Table:
        """Return the routes of a port; `is_extra`: it is none of those of Ingresses."""
        return self._tables.get(port) or (_NO_ROUTES if is_extra else self._shared)


_NO_ROUTES = Table(())


def matches_host(pattern: str, host: str) -> bool:
    """Return whether a pattern of exactly one label or a name matches a host."""
    if pattern.startswith("*."):
        _, dot, domain = host.partition(".")
        return bool(dot) and bool(host.partition(".")[0]) and domain == pattern[2:]
    return pattern == host
