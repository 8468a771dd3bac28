"""What is routed where: matches of requests and the backends behind them, compiled for look-up. Pure.

Nothing here knows Ingresses: `plan` makes routes of them, and other kinds of routing objects can make the same.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

ANY_DEPTH = "**."  # before a domain: one label or more; "*." is exactly one


class Backend(Struct, frozen=True):
    """A set of endpoints, by its key, and its share of the requests."""

    key: str  # namespace/service:port
    weight: int = 1


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
    """Routes, compiled: exact hosts come first, then wildcards with the longest domain, then routes of every host."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._hosts: dict[str, _Paths] = {}
        self._single: dict[str, _Paths] = {}  # by domain with its leading dot
        self._deep: dict[str, _Paths] = {}
        self._any = _Paths()
        self.has_conditions = any(one.method or one.headers for one in routes)
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
        self, host: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Route | None:
        """Return the route of a request; `headers` by names in lower case are needed only for routes that have some."""
        for paths in self._of_host(host):
            for route in paths.candidates(path):
                if _agrees(route, method, headers or {}):
                    return route
        return self._default

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


def _specificity(route: Route) -> tuple[bool, int]:
    """Order routes of one path: those with more conditions come first; the sort is stable for the rest."""
    return (not route.method, -len(route.headers))


def _agrees(route: Route, method: str, headers: Mapping[str, str]) -> bool:
    if route.method and route.method != method:
        return False
    return all(headers.get(name) == value for name, value in route.headers)


def matches_host(pattern: str, host: str) -> bool:
    """Return whether a pattern of exactly one label or a name matches a host."""
    if pattern.startswith("*."):
        _, dot, domain = host.partition(".")
        return bool(dot) and bool(host.partition(".")[0]) and domain == pattern[2:]
    return pattern == host
