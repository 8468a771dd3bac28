import pytest
from fakes.server import ADMIN, Server

from kubelite.api.auth.caller import Allowed, Attributes, Caller
from kubelite.api.client.local import LocalClient
from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.meta import ObjectMeta


def config(name: str, **labels: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels=labels))


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_objects_are_typed(server: Server) -> None:
    created = await server.client.create(config("a"))
    assert created.metadata.uid
    assert await server.client.get(ConfigMap, "a", "default") == created
    assert await server.client.list(ConfigMap, "default") == [created]
    patched = await server.client.patch(ConfigMap, "a", {"data": {"x": "y"}}, "default")
    assert patched.data == {"x": "y"}
    await server.client.delete(ConfigMap, "a", "default")
    with pytest.raises(NotFound):
        await server.client.get(ConfigMap, "a", "default")


async def test_a_mirror_shows_a_write_when_the_write_returns(server: Server) -> None:
    await server.client.create(config("a"))
    mirror = server.client.mirror(ConfigMap)
    await mirror.synced()
    assert [item.metadata.name for item in mirror.list()] == ["a"]
    created = await server.client.create(config("b"))
    assert mirror.get("b", "default") == created
    await server.client.delete(ConfigMap, "a", "default")
    assert [item.metadata.name for item in mirror.list("default")] == ["b"]


async def test_mirrors_are_shared_by_all_clients(server: Server) -> None:
    other = LocalClient(server.verbs, Nobody(), Caller("x", ("trusted",)), server.mirrors)
    assert other.mirror(ConfigMap) is server.client.mirror(ConfigMap)


async def test_a_selecting_mirror_follows_the_selection(server: Server) -> None:
    mirror = server.client.mirror(ConfigMap, label_selector="app=web")
    await server.client.create(config("a", app="web"))
    await server.client.create(config("b", app="db"))
    assert [item.metadata.name for item in mirror.list()] == ["a"]
    await server.client.patch(ConfigMap, "a", {"metadata": {"labels": {"app": "db"}}}, "default")
    assert list(mirror.list()) == []


async def test_a_mirror_of_one_node_sees_its_pods_only(server: Server) -> None:
    mirror = server.client.mirror(Pod, field_selector="spec.nodeName=n1")
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "")):
        await server.client.create(
            Pod(
                metadata=ObjectMeta(name=name, namespace="default"),
                spec=PodSpec(nodeName=node, containers=[Container(name="c", image="i")]),
            )
        )
    assert [pod.metadata.name for pod in mirror.list()] == ["a"]


class Nobody:
    """Allows only who is trusted."""

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        if "trusted" not in caller.groups:
            raise Forbidden(f"{caller.user} cannot {attributes.verb} {attributes.resource}")
        return Allowed(caller, attributes)


async def test_who_may_not_watch_gets_no_mirror(server: Server) -> None:
    client = LocalClient(server.verbs, Nobody(), ADMIN, server.mirrors)
    with pytest.raises(Forbidden):
        client.mirror(Deployment)
    with pytest.raises(Forbidden):
        client.resource("apps", "v1", "deployments").metadata_mirror()
    with pytest.raises(Forbidden):
        await client.get(Deployment, "a", "default")


async def test_a_dynamic_mirror_holds_metadata(server: Server) -> None:
    await server.client.create(config("a", app="web"))
    mirror = server.client.resource("", "v1", "configmaps").metadata_mirror()
    found = mirror.get("a", "default")
    assert found is not None
    assert (found.metadata.name, found.metadata.labels) == ("a", {"app": "web"})
    with pytest.raises(NotFound):
        server.client.resource("", "v1", "nothings").metadata_mirror()


async def test_one_object_is_followed_without_a_copy(server: Server) -> None:
    told: list[str] = []
    end = server.client.follow(ConfigMap, "a", "default", lambda: told.append("a"))
    other = server.client.follow(ConfigMap, "a", "default", lambda: told.append("b"))
    assert server.mirrors._hub.watching == 2
    await server.client.create(config("a"))
    assert told == ["a", "b"]
    await server.client.create(config("other"))
    await server.client.patch(ConfigMap, "a", {"data": {"x": "y"}}, "default")
    end()
    await server.client.delete(ConfigMap, "a", "default")
    assert told == ["a", "b", "a", "b", "b"]
    other()
    assert server.mirrors._hub.watching == 0


async def test_who_may_not_watch_an_object_cannot_follow_it(server: Server) -> None:
    client = LocalClient(server.verbs, Nobody(), ADMIN, server.mirrors)
    with pytest.raises(Forbidden):
        client.follow(ConfigMap, "a", "default", lambda: None)
