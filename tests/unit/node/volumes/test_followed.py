"""Volumes follow what they show: just the pods that show an object hear of its change."""

from typing import Any

import msgspec
import pytest
from fakes.server import Server

from kubelite import limits
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.node.volumes.followed import (
    FollowedObjects,
    differs_as_shown,
    shown_objects,
    shows_itself,
)

EVERYTHING = [
    {"name": "a", "configMap": {"name": "c"}},
    {"name": "b", "secret": {"secretName": "s"}},
    {
        "name": "d",
        "projected": {
            "sources": [
                {"configMap": {"name": "pc"}},
                {"secret": {"name": "ps"}},
                {"serviceAccountToken": {"path": "token"}},
            ]
        },
    },
    {"name": "e", "emptyDir": {}},
]


def pod_of(uid: str, *config_maps: str, **fields: object) -> Pod:
    volumes = [{"name": f"v{i}", "configMap": {"name": n}} for i, n in enumerate(config_maps)]
    body = {
        "metadata": {"name": uid, "namespace": "default", "uid": uid},
        "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes, **fields},
    }
    return msgspec.convert(body, Pod)


@pytest.fixture
async def server() -> Server:
    made = Server()
    await made.client.create(Namespace(metadata=ObjectMeta(name="default")))
    return made


async def touch(server: Server, name: str) -> None:
    meta = ObjectMeta(name=name, namespace="default")
    await server.client.create(ConfigMap(metadata=meta, data={"k": "v"}))


def test_what_a_pod_shows() -> None:
    assert list(shown_objects(pod_of("u", volumes=EVERYTHING))) == [
        (ConfigMap, "default", "c"),
        (Secret, "default", "s"),
        (ConfigMap, "default", "pc"),
        (Secret, "default", "ps"),
    ]


def test_which_pods_show_themselves() -> None:
    assert not shows_itself(pod_of("u", volumes=EVERYTHING))
    assert shows_itself(pod_of("u", volumes=[{"name": "a", "downwardAPI": {"items": []}}]))
    sources: list[dict[str, Any]] = [{"downwardAPI": {"items": []}}]
    assert shows_itself(pod_of("u", volumes=[{"name": "a", "projected": {"sources": sources}}]))


def test_which_changes_of_a_pod_its_volumes_can_show() -> None:
    pod = pod_of("u")
    structs = msgspec.structs
    labelled = structs.replace(pod, metadata=structs.replace(pod.metadata, labels={"a": "b"}))
    noted = structs.replace(pod, metadata=structs.replace(pod.metadata, annotations={"a": "b"}))
    ready = structs.replace(pod, status=structs.replace(pod.status, phase="Running"))
    more = pod_of(
        "u", containers=[{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}]
    )
    changes = [differs_as_shown(pod, after) for after in (labelled, noted, more, ready)]
    assert changes == [True, True, True, False]


async def test_only_those_who_show_an_object_hear_of_it(server: Server) -> None:
    told: list[str] = []
    followed = FollowedObjects(server.client, told.append)
    before = server.hub.watching
    for pod in (pod_of("u1", "a", "b"), pod_of("u2", "b", "b"), pod_of("u3")):
        assert followed.follow(pod)
        assert followed.follow(pod)  # again, as at each refresh
    assert server.hub.watching == before + 2  # shared, one an object
    await touch(server, "a")
    assert told == ["u1"]
    await touch(server, "b")
    assert told == ["u1", "u1", "u2"]
    await touch(server, "other")
    await server.client.delete(ConfigMap, "a", "default")
    assert told == ["u1", "u1", "u2", "u1"]
    followed.forget("u1")
    assert server.hub.watching == before + 1
    followed.forget("u2")
    followed.forget("u2")
    assert server.hub.watching == before
    assert not followed._pods
    assert not followed._shown


async def test_followed_objects_are_bounded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits.POD_FOLLOWED_OBJECTS, "value", 3)
    monkeypatch.setattr(limits.FOLLOWED_OBJECTS, "value", 4)
    followed = FollowedObjects(server.client, lambda _: None)
    assert not followed.follow(pod_of("greedy", "1", "2", "3", "4"))
    assert not followed._ends
    assert followed.follow(pod_of("u1", "1", "2", "3"))
    assert not followed.follow(pod_of("u2", "3", "4", "5"))
    assert len(followed._ends) == 4
    followed.forget("u1")
    assert followed.follow(pod_of("u2", "3", "4", "5"))
    followed.close()
    assert not followed._ends
