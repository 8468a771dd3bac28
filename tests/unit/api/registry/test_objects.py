import msgspec

from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.objects import (
    encode_object,
    name_of,
    put,
    removal,
    with_revision,
)

DEPLOYMENTS = next(row for row in RESOURCES if row.plural == "deployments")
NODES = next(row for row in RESOURCES if row.plural == "nodes")
ITEM = {
    "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"},
    "spec": {},
    "kind": "ignored",
}


def test_the_version_stands_where_the_store_writes_it() -> None:
    operation = put(DEPLOYMENTS, ITEM, 7)
    assert operation.key == "/deployments.apps/shop/web"
    assert operation.expected == 7
    at = operation.revision_at
    assert at is not None
    spliced = operation.value[:at] + b"42" + operation.value[at:]
    decoded = msgspec.json.decode(spliced)
    assert decoded["metadata"]["resourceVersion"] == "42"
    assert list(decoded) == ["kind", "apiVersion", "metadata", "spec"]
    assert decoded["kind"] == "Deployment"
    assert with_revision(operation.value, 42) == spliced
    assert with_revision(spliced, 7) == encode_object(DEPLOYMENTS, ITEM, "7")


def test_a_removal_shows_the_last_state() -> None:
    operation = removal(NODES, {"metadata": {"name": "n1"}}, 3)
    assert operation.key == "/nodes.core/n1"
    assert operation.value == put(NODES, {"metadata": {"name": "n1"}}).value


def test_a_key_tells_namespace_and_name() -> None:
    assert name_of("/pods.core/shop/web-0") == ("shop", "web-0")
    assert name_of("/nodes.core/n1") == ("", "n1")


def test_what_is_stored_is_escaped_as_go_escapes_it() -> None:
    value = put(NODES, {"metadata": {"name": "a", "labels": {"x": "<a>&"}}}).value
    assert b'"\\u003ca\\u003e\\u0026"' in value
    assert msgspec.json.decode(value)["metadata"]["labels"] == {"x": "<a>&"}
