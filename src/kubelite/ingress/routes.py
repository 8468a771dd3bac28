"""What is routed where: matches of requests and the backends behind them, compiled for look-up. Pure.

Nothing here knows Ingresses: `plan` makes routes of them, and other kinds of routing objects can make the same.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

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
    scope: str | None = None  # host names of the listener; None: of no listener
    is_http_only: bool = False
    queries: tuple[tuple[str, str], ...] = ()  # names and exact values of parameters
    request_edits: Edits | None = None
    response_edits: Edits | None = None
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    total_seconds: float = 0.0  # for the whole exchange; 0: no limit


class _Paths:
    """The routes of one host pattern."""

    __slots__ = ("depth", "exact", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, list[Route]] = {}
        self.prefixes: dict[str, list[Route]] = {}
        self.depth = 0  # of the deepest prefix, in elements

    def add(self, route: Route) -> None:
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
        self.has_conditions = any(one.method or one.headers or one.queries for one in routes)
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
                if route.scope in (None, scope) and _agrees(
                    route, method, headers or {}, queries or {}
                ):
                    return route
        return self._default

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


def _specificity(route: Route) -> tuple[bool, int, int]:
    """Order routes of one path: those with more conditions come first; the sort is stable for the rest."""
    return (not route.method, -len(route.headers), -len(route.queries))


def _agrees(
    route: Route, method: str, headers: Mapping[str, str], queries: Mapping[str, str]
) -> bool:
    if route.method and route.method != method:
        return False
    return all(headers.get(name) == value for name, value in route.headers) and all(
        queries.get(name) == value for name, value in route.queries
    )


def matches_host(pattern: str, host: str) -> bool:
    """Return whether a pattern of exactly one label or a name matches a host."""
    if pattern.startswith("*."):
        _, dot, domain = host.partition(".")
        return bool(dot) and bool(host.partition(".")[0]) and domain == pattern[2:]
    return pattern == host
