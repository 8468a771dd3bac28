from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.reviews import Reviews
from kubelite.api.errors import AlreadyExists, BadRequest, Conflict, MethodNotAllowed, NotFound
from kubelite.api.kinds.authorization import SelfSubjectAccessReview
from kubelite.api.registry.options import DeletionOptions, ReadOptions, WriteOptions

CONFIG = {"metadata": {"name": "app"}, "data": {"a": "1"}}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        },
    },
    "status": {"replicas": 7},
}


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_a_created_object_is_stored_as_it_is_served(server: Server) -> None:
    created = await server.create("v1/configmaps", CONFIG)
    assert created["kind"] == "ConfigMap"
    assert created["apiVersion"] == "v1"
    assert created["metadata"]["namespace"] == "default"
    assert created["metadata"]["creationTimestamp"] == "2026-05-01T12:00:00Z"
    assert created["metadata"]["resourceVersion"] == str(server.store.revision)
    assert server.get("v1/configmaps", "app") == created


async def test_a_name_can_be_taken_once(server: Server) -> None:
    await server.create("v1/configmaps", CONFIG)
    with pytest.raises(AlreadyExists, match='configmaps "app" already exists'):
        await server.create("v1/configmaps", CONFIG)


async def test_generated_names_differ(server: Server) -> None:
    body = {"metadata": {"generateName": "app-"}}
    first = await server.create("v1/configmaps", body)
    second = await server.create("v1/configmaps", body)
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["metadata"]["name"].startswith("app-")


async def test_what_is_not_there_is_not_found(server: Server) -> None:
    with pytest.raises(NotFound, match='pods "x" not found'):
        server.get("v1/pods", "x")
    with pytest.raises(NotFound, match=r'deployments\.apps "x" not found'):
        await server.patch("apps/v1/deployments", "x", {})


async def test_a_resource_without_the_verb_refuses_it(server: Server) -> None:
    allowed = server.allowed("deletecollection", "v1/namespaces")
    with pytest.raises(MethodNotAllowed):
        await server.verbs.delete_collection(allowed, ReadOptions(), DeletionOptions())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"kind": "Secret", "metadata": {"name": "a"}}, "cannot be handled as a ConfigMap"),
        (
            {"apiVersion": "v2", "metadata": {"name": "a"}},
            "does not match the expected API version",
        ),
        ({"metadata": {"name": "a", "resourceVersion": "5"}}, "should not be set on objects"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"name": "a"}, "data": {"a": 1}}, "cannot unmarshal number into Go"),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(
    server: Server, body: dict[str, Any], message: str
) -> None:
    allowed = server.allowed("create", "v1/configmaps")
    with pytest.raises(BadRequest, match=message):
        await server.verbs.create(allowed, body, WriteOptions())


async def test_status_and_spec_are_written_apart(server: Server) -> None:
    created = await server.create("apps/v1/deployments", DEPLOYMENT)
    assert created["status"] == {}
    assert created["metadata"]["generation"] == 1
    created["spec"]["replicas"] = 3
    created["status"] = {"replicas": 1}
    updated = await server.update("apps/v1/deployments", "web", created)
    assert updated["status"] == {}
    assert updated["metadata"]["generation"] == 2
    updated["spec"]["replicas"] = 9
    updated["status"] = {"replicas": 1}
    shown = await server.update("apps/v1/deployments/status", "web", updated)
    assert shown["spec"]["replicas"] == 3
    assert shown["status"] == {"replicas": 1}
    assert shown["metadata"]["generation"] == 2


async def test_an_update_that_changes_nothing_writes_nothing(server: Server) -> None:
    created = await server.create("v1/configmaps", CONFIG)
    before = server.store.revision
    again = await server.update("v1/configmaps", "app", created)
    patched = await server.patch("v1/configmaps", "app", {"data": {"a": "1"}})
    assert again == patched == created
    assert server.store.revision == before


async def test_an_update_from_an_old_state_conflicts(server: Server) -> None:
    created = await server.create("v1/configmaps", CONFIG)
    await server.patch("v1/configmaps", "app", {"data": {"b": "2"}})
    with pytest.raises(Conflict) as caught:
        await server.update("v1/configmaps", "app", created)
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "app": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_an_unconditional_update_wins(server: Server) -> None:
    await server.create("v1/configmaps", CONFIG)
    updated = await server.update("v1/configmaps", "app", {"data": {"b": "2"}})
    assert updated["data"] == {"b": "2"}


async def test_scale_reads_and_writes_replicas(server: Server) -> None:
    await server.create("apps/v1/deployments", DEPLOYMENT)
    scale = server.get("apps/v1/deployments/scale", "web")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    scale["spec"]["replicas"] = 5
    scaled = await server.update("apps/v1/deployments/scale", "web", scale)
    assert scaled["kind"] == "Scale"
    assert server.get("apps/v1/deployments", "web")["spec"]["replicas"] == 5
    await server.patch("apps/v1/deployments/scale", "web", {"spec": {"replicas": 1}})
    assert server.get("apps/v1/deployments", "web")["metadata"]["generation"] == 3


async def test_a_dry_run_leaves_no_trace(server: Server) -> None:
    await server.create("v1/configmaps", CONFIG, dry_run=True)
    assert server.names("v1/configmaps") == []
    await server.create("v1/configmaps", CONFIG)
    before = server.store.revision
    shown = await server.patch("v1/configmaps", "app", {"data": {"z": "z"}}, dry_run=True)
    assert shown["data"] == {"a": "1", "z": "z"}
    await server.delete("v1/configmaps", "app", dry_run=True)
    assert server.store.revision == before


async def test_deletion_answers_a_status(server: Server) -> None:
    created = await server.create("v1/configmaps", CONFIG)
    assert await server.delete("v1/configmaps", "app") == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "app", "kind": "configmaps", "uid": created["metadata"]["uid"]},
    }
    assert server.names("v1/configmaps") == []


async def test_finalizers_hold_an_object_until_the_last_is_gone(server: Server) -> None:
    body = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    await server.create("v1/configmaps", body)
    held = await server.delete("v1/configmaps", "held")
    assert held["metadata"]["deletionTimestamp"] == "2026-05-01T12:00:00Z"
    await server.patch("v1/configmaps", "held", {"metadata": {"finalizers": None}})
    assert server.names("v1/configmaps") == []


async def test_views_share_one_stored_object(server: Server) -> None:
    body = {
        "metadata": {"name": "hpa"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "targetCPUUtilizationPercentage": 70,
        },
    }
    await server.create("autoscaling/v1/horizontalpodautoscalers", body)
    stored = server.get("autoscaling/v2/horizontalpodautoscalers", "hpa")
    assert stored["apiVersion"] == "autoscaling/v2"
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    await server.patch(
        "autoscaling/v1/horizontalpodautoscalers",
        "hpa",
        {"spec": {"targetCPUUtilizationPercentage": 50}},
    )
    shown = server.get("autoscaling/v1/horizontalpodautoscalers", "hpa")
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 50
    assert shown["metadata"]["uid"] == stored["metadata"]["uid"]


class Refusing(Reviews):
    """Refuses all access, with a status that leaves out what is false."""

    def __init__(self) -> None:
        pass

    def self_access(
        self, caller: Caller, review: SelfSubjectAccessReview
    ) -> SelfSubjectAccessReview:
        del caller
        return review


async def test_a_refusal_of_an_access_review_is_written_out() -> None:
    server = Server(reviews=Refusing())
    body = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    path = "authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = await server.create(path, body)
    assert answer["status"] == {"allowed": False}
