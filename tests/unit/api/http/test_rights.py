"""What rights reach over HTTP, with the real authorizer and the default roles."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from fakes.serving import parts_of, serving

from kubelite.api.auth.caller import Caller, Credentials
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

JSON = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
TEAM = f"{RBAC}/namespaces/team"
CONFIG_MAPS = "/api/v1/namespaces/team/configmaps"
APPLY = "application/apply-patch+yaml"


class ByToken:
    """Takes the bearer token for the user's name."""

    async def authenticate(self, credentials: Credentials) -> Caller:
        user = credentials.bearer_token
        groups = ("system:masters",) if user == "root" else ("system:authenticated",)
        return Caller(user, groups)


class Door:
    """Asks as somebody."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(
        self, user: str, method: str, path: str, body: JSON | None = None, content_type: str = ""
    ) -> tuple[int, JSON]:
        headers = {"Authorization": f"Bearer {user}"}
        if content_type:
            headers["Content-Type"] = content_type
        asking = self._session.request(method, self._url + path, json=body, headers=headers)
        async with asking as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else {"text": await answer.text()}


def role(kind: str, name: str, *rules: JSON) -> JSON:
    return {"kind": kind, "metadata": {"name": name}, "rules": list(rules)}


def binding(user: str, kind: str, name: str) -> JSON:
    return {
        "metadata": {"name": f"{user}-{name}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    clock = SetClock(datetime(2026, 9, 1, tzinfo=UTC))
    plane = ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=SeededRandomness(1),
        signing_keys=[new_key()],
        certificates=ClientCertificates([], clock),
        config=Config(),
    )
    await plane.bootstrap("192.0.2.1", 6443)
    parts = parts_of(plane.verbs, authenticator=ByToken(), authorizer=plane.authorizer)
    async with serving(parts) as (_, port), aiohttp.ClientSession() as session:
        door = Door(session, f"http://127.0.0.1:{port}")
        await door.ask("root", "POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
        changer = {
            "apiGroups": ["", "coordination.k8s.io"],
            "resources": ["configmaps", "leases"],
            "verbs": ["get", "update", "patch"],
        }
        named = {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["mine"],
            "verbs": ["get", "create", "update", "patch"],
        }
        viewer = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
        await door.ask("root", "POST", f"{TEAM}/roles", role("Role", "viewer", viewer))
        await door.ask("root", "POST", f"{TEAM}/roles", role("Role", "changer", changer))
        await door.ask("root", "POST", f"{TEAM}/roles", role("Role", "named", named))
        for user, kind, name in (
            ("owner", "ClusterRole", "cluster-admin"),
            ("viewer", "Role", "viewer"),
            ("changer", "Role", "changer"),
            ("named", "Role", "named"),
        ):
            status, _ = await door.ask(
                "root", "POST", f"{TEAM}/rolebindings", binding(user, kind, name)
            )
            assert status == 201
        yield door


@pytest.mark.parametrize("user", ["owner", "viewer", "nobody", "root"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{TEAM}/clusterrolebindings"),
        ("POST", f"{TEAM}/clusterroles"),
        ("GET", "/api/v1/namespaces/team/namespaces"),
        ("GET", "/api/v1/namespaces/team/namespaces/team"),
        ("GET", "/api/v1/namespaces/team/nodes"),
        ("GET", "/api/v1/watch/namespaces/team/persistentvolumes"),
        ("DELETE", "/api/v1/namespaces/team/nodes/n1/proxy/pods"),
        ("GET", "/api/v1/pods/x"),
    ],
)
async def test_a_path_of_another_scope_leads_nowhere_for_everyone(
    door: Door, user: str, method: str, path: str
) -> None:
    body = binding(user, "ClusterRole", "cluster-admin") if method == "POST" else None
    status, answer = await door.ask(user, method, path, body)
    assert (status, answer) == (404, {"text": "404 page not found\n"})
    _, bindings = await door.ask("root", "GET", f"{RBAC}/clusterrolebindings")
    names = [one["metadata"]["name"] for one in bindings["items"]]
    assert f"{user}-cluster-admin" not in names


async def test_a_namespace_owner_becomes_no_cluster_admin(door: Door) -> None:
    grant = binding("owner", "ClusterRole", "cluster-admin")
    assert (await door.ask("owner", "POST", f"{RBAC}/clusterrolebindings", grant))[0] == 403
    for path in (f"{TEAM}/clusterrolebindings", f"{TEAM}/clusterroles/x"):
        assert (await door.ask("owner", "POST", path, grant))[0] == 404


@pytest.mark.parametrize("content_type", ["", APPLY])
async def test_creating_by_update_or_apply_needs_the_right_to_create(
    door: Door, content_type: str
) -> None:
    if content_type:
        path, method = f"{CONFIG_MAPS}/new?fieldManager=m", "PATCH"
        body: JSON = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}
    else:  # a kind that an update creates
        path = "/apis/coordination.k8s.io/v1/namespaces/team/leases/new"
        method = "PUT"
        body = {"metadata": {"name": "new"}, "spec": {}}
    status, answer = await door.ask("changer", method, path, body, content_type)
    assert status == 403
    assert 'User "changer" cannot create resource' in answer["message"]
    assert (await door.ask("root", "GET", path.partition("?")[0]))[0] == 404
    status, made = await door.ask("owner", method, path, body, content_type)
    assert status == 201
    if method == "PUT":
        body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    body["metadata"]["labels"] = {"a": "b"}
    assert (await door.ask("changer", method, path, body, content_type))[0] == 200


async def test_the_right_to_create_one_name_is_no_right_to_create_another(door: Door) -> None:
    other = {"metadata": {"name": "other"}}
    status, _ = await door.ask("named", "POST", f"{CONFIG_MAPS}/mine", other)
    assert status == 405
    assert (await door.ask("named", "POST", CONFIG_MAPS, other))[0] == 403
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}
    path = f"{CONFIG_MAPS}/mine?fieldManager=m"
    assert (await door.ask("named", "PATCH", path, body, APPLY))[0] == 201
    assert (await door.ask("root", "GET", f"{CONFIG_MAPS}/other"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{CONFIG_MAPS}/mine"),
        ("PUT", CONFIG_MAPS),
        ("PATCH", CONFIG_MAPS),
        ("DELETE", "/api/v1/configmaps"),
        ("POST", "/api/v1/configmaps"),
        ("DELETE", "/api/v1/namespaces"),
        ("POST", "/api/v1/watch/configmaps"),
    ],
)
async def test_methods_that_a_path_does_not_have(door: Door, method: str, path: str) -> None:
    status, answer = await door.ask("root", method, path, {"metadata": {"name": "x"}})
    assert (status, answer["reason"]) == (405, "MethodNotAllowed")
