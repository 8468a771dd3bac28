"""Reading what a request asks for from its method and path."""

import pytest

from kubelite.api.auth.caller import Attributes
from kubelite.api.errors import BadRequest
from kubelite.api.http.request import flag, parse, parse_query, split_target


def asks(method: str, target: str) -> Attributes:
    path, query = split_target(target)
    return parse(method, path, parse_query(query)).attributes


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=true", ("watch", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=1", ("watch", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=", ("watch", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=false", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/watch/pods", ("watch", "", "v1", "pods", "", "", "")),
        (
            "GET",
            "/api/v1/watch/namespaces/a/pods/x",
            ("watch", "", "v1", "pods", "", "a", "x"),
        ),
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "v1", "pods", "", "a", "")),
        ("HEAD", "/api/v1/namespaces/a/pods/x", ("get", "", "v1", "pods", "", "a", "x")),
        ("GET", "/api/v1/namespaces/a/pods/x/log", ("get", "", "v1", "pods", "log", "a", "x")),
        ("POST", "/api/v1/namespaces/a/pods/", ("create", "", "v1", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "v1", "namespaces", "", "a", "a")),
        (
            "PUT",
            "/api/v1/namespaces/a/finalize",
            ("update", "", "v1", "namespaces", "finalize", "a", "a"),
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/a/deployments/web/scale",
            ("patch", "apps", "v1", "deployments", "scale", "a", "web"),
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            ("deletecollection", "apps", "v1", "deployments", "", "a", ""),
        ),
        (
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            ("get", "rbac.authorization.k8s.io", "v1", "clusterroles", "", "", "system:node"),
        ),
        (
            "GET",
            "/api/v1/secrets?fieldSelector=metadata.name%3Dx,type%3Dy",
            ("list", "", "v1", "secrets", "", "", "x"),
        ),
        (
            "GET",
            r"/api/v1/secrets?fieldSelector=type!=a\,metadata.name=x",
            ("list", "", "v1", "secrets", "", "", ""),
        ),
        ("TRACE", "/api/v1/pods", ("", "", "v1", "pods", "", "", "")),
    ],
)
def test_resource_paths(method: str, target: str, expected: tuple[str, ...]) -> None:
    found = asks(method, target)
    assert (
        found.verb,
        found.group,
        found.version,
        found.resource,
        found.subresource,
        found.namespace,
        found.name,
    ) == expected


@pytest.mark.parametrize(
    ("method", "path", "fields", "labels"),
    [
        ("GET", "/api/v1/pods", "spec.nodeName=n", "a=b"),
        ("DELETE", "/api/v1/namespaces/a/pods", "spec.nodeName=n", "a=b"),
        ("GET", "/api/v1/watch/pods", "", ""),
        ("GET", "/api/v1/namespaces/a/pods/x", "", ""),
    ],
)
def test_selectors_are_authorized(method: str, path: str, fields: str, labels: str) -> None:
    found = asks(method, f"{path}?fieldSelector=spec.nodeName%3Dn&labelSelector=a%3Db")
    assert (found.field_selector, found.label_selector) == (fields, labels)


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz/ping"]
)
def test_other_paths_are_no_resources(path: str) -> None:
    target = parse("GET", path)
    assert not target.is_resource
    assert (target.attributes.verb, target.attributes.path) == ("get", path)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/a%2fb/pods",
        "/api/v1/namespaces/a/pods/..",
        "/api/v1/namespaces/a/../../secrets",
        "/api/v1/namespaces/%2e%2e/secrets",
        "/api/v1//pods",
        "//api/v1/pods",
        "/api/v1/pods//",
        "/api/v1/namespaces/a/pods/x%00",
        "/api/v1/namespaces/a/pods/x%5Cy",
        "/healthz/%2e%2e/metrics",
        "/api/v1/pods/%ff",
        "/api/v1/nodes/a%2fb/proxy/x",
        "//api/v1/nodes/a/proxy/x",
        "//evil/api/v1/nodes/a/proxy",
        "/api/v1/nodes/../proxy/x",
        "/api/v1/nodes/" + "x" * 300 + "/../y",
    ],
)
def test_paths_with_two_readings_are_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        parse("GET", path)


@pytest.mark.parametrize(
    ("path", "resource", "name", "rest"),
    [
        ("/api/v1/nodes/n1/proxy/stats/summary", "nodes", "n1", "/stats/summary"),
        ("/api/v1/nodes/n1/proxy", "nodes", "n1", ""),
        ("/api/v1/nodes/n1/proxy/", "nodes", "n1", "/"),
        (
            "/api/v1/namespaces/a/pods/http:web:80/proxy/a%2fb//../c/",
            "pods",
            "http:web:80",
            "/a%2fb//../c/",
        ),
        ("/api/v1/namespaces/a/services/web/proxy/x", "services", "web", "/x"),
    ],
)
def test_what_is_behind_a_proxy_is_left_as_it_is(
    path: str, resource: str, name: str, rest: str
) -> None:
    target = parse("GET", path)
    found = target.attributes
    assert (found.resource, found.name, found.subresource) == (resource, name, "proxy")
    assert target.rest == rest


def test_absolute_form_loses_its_origin() -> None:
    assert split_target("http://host:1/api/v1?x=1") == ("/api/v1", "x=1")
    with pytest.raises(BadRequest):
        split_target("host:443")


def test_flags_read_as_in_kubernetes() -> None:
    query = parse_query("a=&b=0&c=False&d=yes")
    assert [flag(query, name) for name in "abcde"] == [True, False, False, True, None]


def test_a_query_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse_query("a=%ff")
