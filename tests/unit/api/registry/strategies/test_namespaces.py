import pytest
from fakes.server import Server

NAMESPACE = {"metadata": {"name": "shop"}}


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_a_namespace_is_labelled_with_its_name(server: Server) -> None:
    made = await server.create("v1/namespaces", NAMESPACE)
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}


async def test_a_namespace_goes_when_it_is_finalized(server: Server) -> None:
    await server.create("v1/namespaces", NAMESPACE)
    going = await server.delete("v1/namespaces", "shop")
    assert going["status"] == {"phase": "Terminating"}
    assert going["metadata"]["deletionTimestamp"]
    await server.patch("v1/namespaces", "shop", {"spec": {"finalizers": None}})
    assert server.names("v1/namespaces") == ["shop"]
    going["spec"] = {}
    going["metadata"].pop("resourceVersion")
    await server.update("v1/namespaces/finalize", "shop", going)
    assert server.names("v1/namespaces") == []


async def test_a_second_deletion_changes_nothing(server: Server) -> None:
    await server.create("v1/namespaces", NAMESPACE)
    first = await server.delete("v1/namespaces", "shop")
    assert await server.delete("v1/namespaces", "shop") == first


async def test_finalizers_of_metadata_hold_a_namespace_too(server: Server) -> None:
    body = {"metadata": {"name": "shop", "finalizers": ["example.com/x"]}}
    await server.create("v1/namespaces", body)
    going = await server.delete("v1/namespaces", "shop")
    await server.update("v1/namespaces/finalize", "shop", {**going, "spec": {}})
    assert server.names("v1/namespaces") == ["shop"]
    await server.patch("v1/namespaces", "shop", {"metadata": {"finalizers": None}})
    assert server.names("v1/namespaces") == []
