"""The policies of examples/policies: what each of them refuses, tells or changes, and what it lets pass."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.server import Server

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import APIError
from kubelite.api.registry.admission.policies.plugin import (
    MutatingAdmissionPolicies,
    ValidatingAdmissionPolicies,
)
from kubelite.api.registry.options import WriteOptions
from kubelite.offload import AtOnce

JSON = dict[str, Any]
EXAMPLE = Path(__file__).parents[6] / "examples" / "policies" / "policies.yaml"
DOCUMENTS = list(yaml.safe_load_all(EXAMPLE.read_text()))
PODS, DEPLOYMENTS = "v1/pods", "apps/v1/deployments"
ENDS = {"Policy": "policies", "PolicyBinding": "policybindings"}


def path_of(document: JSON) -> str:
    kind = document["kind"]
    end = "PolicyBinding" if kind.endswith("Binding") else "Policy"
    return f"{document['apiVersion']}/{kind.removesuffix(end).lower()}{ENDS[end]}"


@pytest.fixture(name="server")
async def server_with_the_example() -> Server:
    made = Server()
    parts = (made.mirrors, made.resources, UnionAuthorizer(RBAC(made.mirrors)), made.mirrors)
    made.admit_by(
        MutatingAdmissionPolicies(*parts, AtOnce()), ValidatingAdmissionPolicies(*parts, AtOnce())
    )
    labels = {"default": {"policies": "on"}, "free": {}}
    for name, own in labels.items():
        await made.create("v1/namespaces", {"metadata": {"name": name, "labels": own}})
    for document in DOCUMENTS:
        await made.create(path_of(document), document)
    return made


def pod(*images: str, inits: tuple[JSON, ...] = (), **fields: Any) -> JSON:
    containers = [
        {"name": f"c{number}", "image": image, **fields} for number, image in enumerate(images)
    ]
    spec: JSON = {"containers": containers}
    if inits:
        spec["initContainers"] = [
            {"name": f"i{number}", "image": "nginx:1", **each} for number, each in enumerate(inits)
        ]
    return {"metadata": {"name": "p"}, "spec": spec}


def deployment(replicas: int, **labels: str) -> JSON:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("nginx:1")["spec"]}
    selector = {"matchLabels": {"app": "web"}}
    return {
        "metadata": {"name": "web", "labels": labels},
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }


PRIVILEGED: JSON = {"securityContext": {"privileged": True}}
UNTAGGED, PRIVILEGES = "images need a tag: ", "privileged containers are not allowed"


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (pod("nginx:1"), ""),
        (pod("example.com:5000/team/nginx:1.2"), ""),
        (pod("nginx@sha256:" + "0" * 64), ""),
        (pod("nginx"), f"{UNTAGGED}nginx"),
        (pod("nginx:latest"), f"{UNTAGGED}nginx:latest"),
        (pod("nginx:1", "example.com:5000/a"), f"{UNTAGGED}example.com:5000/a"),
        (pod("nginx:1", inits=({"image": "busybox"},)), f"{UNTAGGED}busybox"),
        (pod("nginx:1", securityContext={"privileged": False}), ""),
        (pod("nginx:1", **PRIVILEGED), PRIVILEGES),
        (pod("nginx:1", inits=(PRIVILEGED,)), PRIVILEGES),
        (pod("nginx:1", inits=({},)), ""),
    ],
)
async def test_pods(server: Server, made: JSON, problem: str) -> None:
    if not problem:
        await server.create(PODS, made)
        return
    with pytest.raises(APIError) as refused:
        await server.create(PODS, made)
    assert refused.value.message.endswith(f"denied request: {problem}")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, ""),
        ({"image": "busybox"}, f"{UNTAGGED}busybox"),
        (PRIVILEGED, PRIVILEGES),
    ],
)
async def test_containers_that_are_added_to_debug(
    server: Server, fields: JSON, problem: str
) -> None:
    await server.create(PODS, pod("nginx:1"))
    patch = {"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox:1", **fields}]}}
    asked = server.patch(f"{PODS}/ephemeralcontainers", "p", patch, "strategic")
    if not problem:
        await asked
        return
    with pytest.raises(APIError) as refused:
        await asked
    assert refused.value.message.endswith(f"denied request: {problem}")


async def test_images_that_are_changed(server: Server) -> None:
    await server.create(PODS, pod("nginx:1"))
    for image, is_allowed in (("nginx:2", True), ("nginx:latest", False)):
        patch = {"spec": {"containers": [{"name": "c0", "image": image}]}}
        if is_allowed:
            await server.patch(PODS, "p", patch, "strategic")
        else:
            with pytest.raises(APIError, match=UNTAGGED):
                await server.patch(PODS, "p", patch, "strategic")


async def test_replicas(server: Server) -> None:
    await server.create(DEPLOYMENTS, deployment(9, owner="me"))  # there is no limit yet
    await server.create(
        "v1/configmaps", {"metadata": {"name": "replica-limit"}, "data": {"max": "4"}}
    )
    for replicas, is_allowed in ((4, True), (5, False), (0, True)):
        scale = {"spec": {"replicas": replicas}}
        for path in (f"{DEPLOYMENTS}/scale", DEPLOYMENTS):
            if is_allowed:
                await server.patch(path, "web", scale)
            else:
                with pytest.raises(APIError, match="at most 4 replicas are allowed"):
                    await server.patch(path, "web", scale)


@pytest.mark.parametrize("labels", [{}, {"owner": "me"}])
async def test_a_missing_owner_is_told_and_allowed(server: Server, labels: dict[str, str]) -> None:
    allowed = server.allowed("create", DEPLOYMENTS)
    written = await server.verbs.create(allowed, deployment(1, **labels), WriteOptions())
    told = [text for text in written.warnings if "owner-label" in text]
    assert [text.endswith("the label owner is missing") for text in told] == (
        [] if labels else [True]
    )


async def test_pods_are_labelled_with_who_made_them(server: Server) -> None:
    made = await server.create(PODS, pod("nginx:1"))
    assert made["metadata"]["labels"] == {"made-by": "admin"}
    named = pod("nginx:1")
    named["metadata"] = {"name": "q", "labels": {"made-by": "hand"}}
    assert (await server.create(PODS, named))["metadata"]["labels"] == {"made-by": "hand"}


async def test_namespaces_without_the_label_are_left_alone(server: Server) -> None:
    made = pod("nginx", **PRIVILEGED)
    made["metadata"]["namespace"] = "free"
    created = await server.create(PODS, made)
    assert "labels" not in created["metadata"]


def test_every_policy_has_a_binding() -> None:
    def names(end: str) -> set[tuple[str, str]]:
        return {
            (each["kind"].removesuffix(end), each["metadata"]["name"])
            for each in DOCUMENTS
            if each["kind"].endswith(end)
        }

    assert names("Policy") == names("PolicyBinding")
