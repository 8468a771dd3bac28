"""The compiled table finds the route that the Gateway API's order of precedence puts first."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from unit.ingress.gateways import BACKEND, gateway, listener, planned, route

from kubelite.ingress.routes import Route, Tables

ELEMENTS = st.lists(st.sampled_from(["a", "b"]), max_size=3)
HOSTS = ("a.x", "b.a.x", "*.x", "*.a.x")
PAIRS = st.lists(st.sampled_from([("k", "1"), ("l", "1")]), max_size=2, unique=True)


@st.composite
def matches(draw: st.DrawFn) -> dict[str, Any]:
    def values(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in pairs]

    found: dict[str, Any] = {
        "path": {
            "type": draw(st.sampled_from(["Exact", "PathPrefix"])),
            "value": "/" + "/".join(draw(ELEMENTS)),
        },
        "headers": values(draw(PAIRS)),
        "queryParams": values(draw(PAIRS)),
    }
    if draw(st.booleans()):
        found["method"] = "GET"
    return found


@st.composite
def httproutes(draw: st.DrawFn) -> list[dict[str, Any]]:
    count = draw(st.integers(1, 4))
    return [
        route(
            {
                "matches": draw(st.lists(matches(), min_size=1, max_size=3)),
                "backendRefs": [BACKEND],
            },
            name=f"r{number}",
            age=draw(st.integers(0, 2)),
            hosts=tuple(draw(st.lists(st.sampled_from(HOSTS), max_size=2, unique=True))),
        )
        for number in range(count)
    ]


def fits_host(pattern: str, host: str) -> bool:
    return not pattern or pattern == host or (pattern[0] == "*" and host.endswith(pattern[1:]))


def fits(match: dict[str, Any], path: str, method: str, values: dict[str, str]) -> bool:
    kind, text = match["path"]["type"], match["path"]["value"]
    prefix = text.rstrip("/")
    fits_path = path == text if kind == "Exact" else (path + "/").startswith(prefix + "/")
    return (
        fits_path
        and match.get("method", method) == method
        and all(
            values.get(one["name"]) == one["value"]
            for one in (*match["headers"], *match["queryParams"])
        )
    )


def rank(one: dict[str, Any], pattern: str, match: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the specification orders by; the smallest comes first."""
    metadata, text = one["metadata"], match["path"]["value"]
    return (
        pattern.startswith("*") or not pattern,
        -len(pattern),
        match["path"]["type"] != "Exact",
        -len(text.rstrip("/")),
        "method" not in match,
        -len(match["headers"]),
        -len(match["queryParams"]),
        metadata["creationTimestamp"],
        metadata["name"],
    )


@given(
    httproutes(),
    st.sampled_from(["a.x", "b.a.x", "c.x", "y"]),
    ELEMENTS,
    st.sampled_from(["GET", "POST"]),
    st.dictionaries(st.sampled_from(["k", "l"]), st.just("1")),
)
def test_precedence(
    given_routes: list[dict[str, Any]],
    host: str,
    elements: list[str],
    method: str,
    values: dict[str, str],
) -> None:
    path = "/" + "/".join(elements)
    fitting = [
        (rank(one, pattern, match), one["metadata"]["name"])
        for one in given_routes
        for pattern in one["spec"]["hostnames"] or [""]
        for match in one["spec"]["rules"][0]["matches"]
        if fits_host(pattern, host) and fits(match, path, method, values)
    ]
    found = planned(*given_routes)
    chosen = (
        Tables(found.routes, found.scopes)
        .of(80, is_extra=False)
        .find(host, path, method, values, values)
    )
    assert (chosen.owner if chosen else None) == (f"default/{min(fitting)[1]}" if fitting else None)


@given(
    httproutes(),
    st.lists(st.sampled_from(["", *HOSTS]), min_size=1, max_size=4, unique=True),
    st.sampled_from(["a.x", "b.a.x", "c.x", "y"]),
    st.integers(0, 3),
)
def test_a_host_is_only_served_by_the_listener_that_names_it_most_closely(
    given_routes: list[dict[str, Any]], names: list[str], host: str, closed: int
) -> None:
    """One listener lets no route in; nothing of its hosts may be served."""
    none = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"never": "1"}}}}
    listeners = [
        listener(f"l{number}", name, **({"allowedRoutes": none} if number == closed else {}))
        for number, name in enumerate(names)
    ]
    found = planned(*given_routes, gateways=(gateway(*listeners),))
    chosen: Route | None = (
        Tables(found.routes, found.scopes)
        .of(80, is_extra=False)
        .find(host, "/", "GET", {"k": "1", "l": "1"}, {"k": "1", "l": "1"})
    )
    owners = [name for name in names if fits_host(name, host)]
    owner = min(owners, key=lambda name: (name[:1] in ("", "*"), -len(name)), default=None)
    if closed < len(names) and owner == names[closed]:
        assert chosen is None
    elif chosen is not None:
        assert chosen.scope == (owner.replace("*.", "**.") if owner is not None else None)
