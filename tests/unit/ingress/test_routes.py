"""Which route a request takes: the table of Kubernetes' documentation, and the order of hosts and paths."""

from typing import Any

import pytest

from kubelite.ingress.routes import Route, Table, matches_host


def route(host: str, path: str, owner: str = "", **more: object) -> Route:
    return Route(owner=owner or f"{host}{path}", host=host, path=path, **more)  # type: ignore[arg-type]  # fields by name


def found(table: Table, host: str, path: str) -> str:
    route = table.find(host, path)
    return route.owner if route is not None else ""


@pytest.mark.parametrize(
    ("is_exact", "path", "request_path", "matches"),
    [
        (False, "/", "/any", True),
        (True, "/foo", "/foo", True),
        (True, "/foo", "/bar", False),
        (True, "/foo", "/foo/", False),
        (True, "/foo/", "/foo", False),
        (False, "/foo", "/foo", True),
        (False, "/foo", "/foo/", True),
        (False, "/foo/", "/foo", True),
        (False, "/foo/", "/foo/", True),
        (False, "/aaa/bb", "/aaa/bbb", False),
        (False, "/aaa/bbb", "/aaa/bbb", True),
        (False, "/aaa/bbb/", "/aaa/bbb", True),
        (False, "/aaa/bbb", "/aaa/bbb/", True),
        (False, "/aaa/bbb", "/aaa/bbb/ccc", True),
        (False, "/aaa/bbb", "/aaa/bbbxyz", False),
        (False, "/foo", "/FOO", False),
    ],
)
def test_paths_match_by_elements(
    is_exact: bool, path: str, request_path: str, matches: bool
) -> None:
    table = Table([route("", path, is_exact=is_exact)])
    assert (table.find("a", request_path) is not None) is matches


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("*.foo.com", "bar.foo.com", True),
        ("*.foo.com", "baz.bar.foo.com", False),
        ("*.foo.com", "foo.com", False),
        ("*.foo.com", ".foo.com", False),
        ("foo.com", "foo.com", True),
        ("foo.com", "a.foo.com", False),
        ("**.foo.com", "baz.bar.foo.com", True),
        ("**.foo.com", "foo.com", False),
    ],
)
def test_wildcards_are_one_label_unless_they_say_otherwise(
    pattern: str, host: str, matches: bool
) -> None:
    assert (Table([route(pattern, "/")]).find(host, "/") is not None) is matches
    if not pattern.startswith("**"):
        assert matches_host(pattern, host) is matches


def test_the_most_specific_route_wins() -> None:
    table = Table(
        [
            route("", "/", "any"),
            route("*.x", "/deep/er", "wild"),
            route("**.x", "/", "deep"),
            route("a.x", "/", "root"),
            route("a.x", "/deep", "prefix"),
            route("a.x", "/deep", "exact", is_exact=True),
            Route(owner="default", is_default=True),
        ]
    )
    assert found(table, "a.x", "/deep") == "exact"
    assert found(table, "a.x", "/deep/er") == "prefix"
    assert found(table, "a.x", "/other") == "root"
    assert found(table, "b.x", "/deep/er") == "wild"
    assert found(table, "b.x", "/deep") == "deep"
    assert found(table, "elsewhere", "/deep") == "any"
    assert found(Table([Route(owner="default", is_default=True)]), "a", "/") == "default"
    assert found(Table([]), "a", "/") == ""


def test_a_host_without_a_matching_path_falls_through_to_less_specific_hosts() -> None:
    table = Table([route("a.x", "/only", "exact"), route("*.x", "/", "wild")])
    assert found(table, "a.x", "/else") == "wild"


def test_routes_with_more_conditions_come_first() -> None:
    table = Table(
        [
            route("", "/", "plain"),
            route("", "/", "header", headers=(("x-version", "2"),)),
            route("", "/", "method", method="POST"),
        ]
    )
    assert table.has_conditions
    owners = [
        table.find("a", "/", method, headers).owner  # type: ignore[union-attr]  # there is always one
        for method, headers in (("GET", {}), ("GET", {"x-version": "2"}), ("POST", {}))
    ]
    assert owners == ["plain", "header", "method"]


def test_a_path_of_many_elements_costs_no_more_look_ups_than_the_deepest_route() -> None:
    class Counting(dict[str, list[Route]]):
        looks = 0

        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]  # counts only
            Counting.looks += 1
            return super().get(key, default)

    table = Table([route("", "/a/b/c"), route("", "/")])
    table._any.prefixes = Counting(table._any.prefixes)
    assert found(table, "x", "/a" * 5000) == "/"
    assert Counting.looks <= 4


def test_patterns_match_whole_texts_between_exact_paths_and_prefixes() -> None:
    def with_path(path: str, **more: Any) -> Route:
        return Route(owner=path, path=path, backends=(), **more)

    table = Table(
        [
            with_path("/"),
            with_path("/a/b/c"),
            with_path("/a/x1", is_exact=True),
            with_path("/a/x[0-9][0-9]*", is_pattern=True),
            with_path("/a/.*|/else", is_pattern=True),
        ]
    )

    def found(path: str) -> str:
        route = table.find("h", path)
        return route.owner if route is not None else ""

    assert found("/a/x1") == "/a/x1"
    assert found("/a/x2") == "/a/x[0-9][0-9]*"  # the longer expression
    assert found("/a/b/c") == "/a/.*|/else"
    assert found("/else") == "/a/.*|/else"
    assert found("/z/else") == "/"  # the alternatives are whole too
    assert found("/else/z") == "/"


def test_patterns_of_headers_and_parameters() -> None:
    route = Route(
        owner="x", header_patterns=(("k", "v[0-9]"),), query_patterns=(("q", "a+"),), backends=()
    )
    table = Table([route])
    assert table.has_conditions
    for headers, queries, is_found in (
        ({"k": "v1"}, {"q": "aaa"}, True),
        ({"k": "v12"}, {"q": "aaa"}, False),
        ({"k": "v1"}, {"q": "baa"}, False),
        ({}, {"q": "a"}, False),
    ):
        assert (table.find("h", "/", "GET", headers, queries) is not None) is is_found
