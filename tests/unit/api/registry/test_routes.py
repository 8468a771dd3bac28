"""Every kind, verb and form of path, against the routes that Kubernetes registers."""

import pytest
from fakes.custom_resources import custom_resource

from kubelite.api.auth.caller import Attributes
from kubelite.api.errors import APIError, MethodNotAllowed, NotFound, PageNotFound
from kubelite.api.http.request import RequestPath, parse
from kubelite.api.registry.builtin import RESOURCES, builtin_table
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.routes import check_scope, check_verb

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
# The verbs a method stands for, on a collection and on an item.
ON_COLLECTIONS = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
ON_ITEMS = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
ON_SUBRESOURCES = {**ON_ITEMS, "POST": "create"}
TABLE = builtin_table()


def answer(method: str, path: str) -> int:
    """Return 200 for a path that is routed, else the status that refuses it."""
    asked: RequestPath = parse(method, path)
    attributes = asked.attributes
    row = TABLE.find(attributes.group, attributes.version, attributes.resource)
    if row is None:
        return 404
    try:
        check_scope(row, attributes, below_namespace=asked.is_below_namespace)
        check_verb(row, attributes)
    except APIError as error:
        return error.code
    return 200


def root(row: Resource) -> str:
    return f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"


def expected(method: str, verbs: dict[str, str], served: tuple[str, ...]) -> int:
    """Return what Kubernetes answers on a form of path: nothing routed is 404, another method 405."""
    routed = {verb for verb in verbs.values() if verb in served}
    if not routed:
        return 404
    return 200 if verbs.get(method) in routed else 405


def forms(row: Resource) -> dict[str, tuple[dict[str, str], tuple[str, ...]]]:
    """Return each path of a kind with the verbs of its methods and those served; none for one that leads nowhere."""
    top = root(row)
    nowhere: tuple[dict[str, str], tuple[str, ...]] = ({}, ())
    collection, item = (ON_COLLECTIONS, row.verbs), (ON_ITEMS, row.verbs)
    below, bare = f"{top}/namespaces/team/{row.plural}", f"{top}/{row.plural}"
    reading = ({"GET": "list", "HEAD": "list"}, row.verbs)
    paths = {
        below: collection if row.namespaced else nowhere,
        f"{below}/x": item if row.namespaced else nowhere,
        bare: reading if row.namespaced else collection,
        f"{bare}/x": nowhere if row.namespaced else item,
        f"{below}/x/nonsense": nowhere,
        f"{bare}/x/nonsense": nowhere,
    }
    for subresource in row.subresources.values():
        within = (ON_SUBRESOURCES, subresource.verbs)
        paths[f"{below}/x/{subresource.name}"] = within if row.namespaced else nowhere
        paths[f"{bare}/x/{subresource.name}"] = nowhere if row.namespaced else within
        paths[f"{below}/x/{subresource.name}/more"] = nowhere
    if row.plural == "namespaces":  # the path of a namespace reads as what is in it
        for suffix in ("", "/x/nonsense", *(f"/x/{one.name}" for one in row.subresources.values())):
            paths.pop(f"{bare}{suffix}", None)
        for subresource in row.subresources.values():
            paths[f"{bare}/x/{subresource.name}"] = (ON_SUBRESOURCES, subresource.verbs)
        paths[bare] = collection
    return paths


@pytest.mark.parametrize(
    "row", RESOURCES, ids=lambda row: f"{row.plural}.{row.version}.{row.group}"
)
def test_every_path_of_a_kind_is_routed_as_kubernetes_routes_it(row: Resource) -> None:
    wrong = [
        (method, path, answer(method, path), wanted)
        for path, (verbs, served) in forms(row).items()
        for method in METHODS
        if (wanted := expected(method, verbs, served)) != answer(method, path)
        # The proxy hands every method on, under whatever name.
        and not path.endswith(("/proxy", "/proxy/more"))
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("plural", "namespace", "name", "verb", "error"),
    [
        ("namespaces", "team", "team", "get", None),
        ("namespaces", "team", "other", "get", NotFound),
        ("namespaces", "team", "", "list", NotFound),
        ("nodes", "team", "", "list", NotFound),
        ("nodes", "", "n1", "create", MethodNotAllowed),
        ("pods", "", "x", "get", NotFound),
        ("pods", "", "", "create", MethodNotAllowed),
        ("pods", "", "", "deletecollection", MethodNotAllowed),
        ("pods", "", "x", "list", None),  # a list of one name, by field selector
        ("pods", "team", "", "update", MethodNotAllowed),
        ("pods", "team", "", "patch", MethodNotAllowed),
    ],
)
def test_attributes_alone_are_enough_to_refuse(
    plural: str, namespace: str, name: str, verb: str, error: type[APIError] | None
) -> None:
    row = TABLE.find("", "v1", plural)
    assert row is not None
    attributes = Attributes(
        verb=verb, version="v1", resource=plural, namespace=namespace, name=name
    )

    def check() -> None:
        check_scope(row, attributes)
        check_verb(row, attributes)

    if error is None:
        check()
        return
    with pytest.raises(error):
        check()


CATS = custom_resource("cats", subresources=("status",))


@pytest.mark.parametrize(
    ("verb", "name", "subresource", "said"),
    [
        ("create", "x", "", None),  # creates the object of the body
        ("create", "", "", None),
        ("get", "x", "status", None),
        ("get", "x", "scale", 'cats.example.com "x" not found'),
        ("delete", "x", "status", "delete is not supported on resources of kind"),
        ("create", "x", "status", "create is not supported on resources of kind"),
        ("update", "", "", "does not allow this method"),
    ],
)
def test_the_server_of_custom_resources_knows_no_routes(
    verb: str, name: str, subresource: str, said: str | None
) -> None:
    attributes = Attributes(
        verb=verb,
        group="example.com",
        version="v1",
        resource="cats",
        namespace="team",
        name=name,
        subresource=subresource,
    )
    if said is None:
        check_verb(CATS, attributes)
        return
    with pytest.raises((NotFound, MethodNotAllowed), match=said):
        check_verb(CATS, attributes)


@pytest.mark.parametrize("verb", ["create", "deletecollection"])
def test_what_lies_in_namespaces_is_written_in_one(verb: str) -> None:
    attributes = Attributes(verb=verb, group="example.com", version="v1", resource="cats")
    with pytest.raises(PageNotFound):
        check_verb(CATS, attributes)
