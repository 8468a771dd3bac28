"""The compiled table finds what a search through all routes finds."""

from hypothesis import given
from hypothesis import strategies as st

from kubelite.ingress.routes import Route, Table, matches_host

ELEMENTS = st.lists(st.sampled_from(["", "a", "b", "ab"]), max_size=4)
HOSTS = st.sampled_from(["", "a.x", "b.x", "*.x", "*.a.x", "x"])


@st.composite
def routes(draw: st.DrawFn) -> list[Route]:
    found: dict[tuple[str, bool, str], Route] = {}
    for number in range(draw(st.integers(0, 6))):
        host, is_exact = draw(HOSTS), draw(st.booleans())
        path = "/" + "/".join(draw(ELEMENTS))
        key = host, is_exact, path if is_exact else path.rstrip("/")
        found.setdefault(key, Route(owner=str(number), host=host, path=path, is_exact=is_exact))
    return list(found.values())


def matches_path(route: Route, path: str) -> bool:
    if route.is_exact:
        return route.path == path
    prefix = route.path.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")


def rank(route: Route) -> tuple[bool, bool, bool, int]:
    """Order routes by Kubernetes' rules: host, wildcard, none; then exact, then the longest."""
    return (
        route.host != "",
        not route.host.startswith("*"),
        route.is_exact,
        len(route.path.rstrip("/")),
    )


@given(routes(), st.sampled_from(["a.x", "b.x", "x", "c.a.x", "y", ""]), ELEMENTS)
def test_the_table_agrees_with_a_search_through_all(
    given_routes: list[Route], host: str, elements: list[str]
) -> None:
    path = "/" + "/".join(elements)
    matching = [
        one
        for one in given_routes
        if matches_path(one, path) and (not one.host or matches_host(one.host, host))
    ]
    wanted = max(matching, key=rank, default=None)
    assert Table(given_routes).find(host, path) == wanted
