"""Everybody in the process has an identity of its own, with just its rights."""

import base64
from collections.abc import Awaitable
from datetime import UTC, datetime

import pytest

from kubelite.api.auth.bootstrap_tokens import new_token
from kubelite.api.auth.caller import Attributes, Caller, Credentials
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.errors import Forbidden, Unauthorized
from kubelite.api.kinds.authentication import (
    BoundObjectReference,
    TokenRequest,
    TokenRequestSpec,
)
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.core.volumes import SecretVolumeSource, Volume
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.rbac import ClusterRoleBinding, RoleRef, Subject
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

ROOT = Caller("root", ("system:masters",))
GROUP = "rbac.authorization.k8s.io"


@pytest.fixture
async def plane() -> ControlPlane:
    clock, randomness = SetClock(datetime(2026, 9, 1, tzinfo=UTC)), SeededRandomness(1)
    plane = ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=randomness,
        signing_keys=[new_key()],
        certificates=ClientCertificates([], clock),
        config=Config(),
    )
    await plane.bootstrap("192.0.2.1", 6443)
    root = plane.client(ROOT, "test")
    for name in ("one", "two"):
        await root.create(Secret(metadata=ObjectMeta(name=f"of-{name}", namespace="default")))
        await root.create(Node(metadata=ObjectMeta(name=name)))
    await root.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
    for name in ("one", "two"):
        volume = Volume(name="v", secret=SecretVolumeSource(secretName=f"of-{name}"))
        spec = PodSpec(nodeName=name, volumes=[volume], containers=[Container(name="c", image="i")])
        await root.create(
            Pod(metadata=ObjectMeta(name=f"on-{name}", namespace="default"), spec=spec)
        )
    return plane


async def refused(write: Awaitable[object]) -> str:
    with pytest.raises(Forbidden) as error:
        await write
    return error.value.message


async def test_a_controller_may_only_do_its_work(plane: ControlPlane) -> None:
    client = plane.controller_client("deployment-controller")
    assert await client.list(Pod)
    assert 'cannot list resource "secrets"' in await refused(client.list(Secret))
    config = ConfigMap(metadata=ObjectMeta(name="a", namespace="default"))
    assert "system:serviceaccount:kube-system:deployment-controller" in await refused(
        client.create(config)
    )


async def test_an_unknown_controller_may_nothing(plane: ControlPlane) -> None:
    await refused(plane.controller_client("invented").list(Pod))


async def test_the_scheduler_may_not_delete_nodes(plane: ControlPlane) -> None:
    client = plane.client(Caller("system:kube-scheduler", ("system:authenticated",)), "scheduler")
    assert await client.list(Node)
    await refused(client.delete(Node, "one"))


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        *(
            (Attributes(verb, "", "v1", "nodes", part, "", "one"), True)
            for verb in ("get", "create")
            for part in ("proxy", "log", "metrics", "stats", "pods", "configz", "healthz")
        ),
        (Attributes("get", "", "v1", "nodes", "", "", "one"), True),
        (Attributes("update", "", "v1", "nodes", "", "", "one"), False),
        (Attributes("list", "", "v1", "secrets"), False),
        (Attributes("get", "", "v1", "secrets", "", "default", "of-one"), False),
        (Attributes("create", "", "v1", "pods", "exec", "default", "on-one"), False),
        (Attributes("get", "", "v1", "pods", "log", "default", "on-one"), False),
        (Attributes("impersonate", "", "", "groups", name="system:masters"), False),
        (Attributes("get", path="/metrics"), False),
    ],
)
async def test_what_the_api_server_shows_nodes_opens_nodes_alone(
    plane: ControlPlane, wanted: Attributes, allowed: bool
) -> None:
    caller = Caller("kube-apiserver-kubelet-client", ("system:authenticated",))
    assert plane.authorizer.decide(caller, wanted).allowed is allowed


async def test_a_node_reads_what_its_pods_need(plane: ControlPlane) -> None:
    node = plane.client(
        Caller("system:node:one", ("system:nodes", "system:authenticated")), "kubelet"
    )
    assert (await node.get(Secret, "of-one", "default")).metadata.name == "of-one"
    assert "no relationship found between node 'one' and this object" in await refused(
        node.get(Secret, "of-two", "default")
    )
    await refused(node.list(Secret))
    await refused(node.list(Secret, "default"))
    await refused(node.get(Pod, "on-two", "default"))
    await refused(node.get(Node, "two"))
    assert [
        pod.metadata.name for pod in await node.list(Pod, field_selector="spec.nodeName=one")
    ] == ["on-one"]


async def test_a_node_writes_only_what_is_its_own(plane: ControlPlane) -> None:
    node = plane.client(
        Caller("system:node:one", ("system:nodes", "system:authenticated")), "kubelet"
    )
    status = {"status": {"phase": "Running"}}
    await node.patch(Pod, "on-one", status, "default", subresource="status")
    assert "can only update pod status for pods with spec.nodeName set to itself" in await refused(
        node.patch(Pod, "on-two", status, "default", subresource="status")
    )
    assert "is not allowed to modify node" in await refused(
        node.patch(Node, "two", {"metadata": {"labels": {"a": "b"}}})
    )
    await refused(
        node.patch(Node, "one", {"metadata": {"labels": {"node-restriction.kubernetes.io/a": "b"}}})
    )


async def test_a_token_ends_with_its_pod(plane: ControlPlane) -> None:
    root = plane.client(ROOT, "test")
    ref = BoundObjectReference(apiVersion="v1", kind="Pod", name="on-one")
    body = TokenRequest(spec=TokenRequestSpec(boundObjectRef=ref))
    answer = await root.post(ServiceAccount, "default", "token", body, "default")
    credentials = Credentials(bearer_token=answer["status"]["token"])
    caller = await plane.authenticator.authenticate(credentials)
    assert caller.user == "system:serviceaccount:default:default"
    await root.delete(Pod, "on-one", "default", grace_seconds=0)
    with pytest.raises(Unauthorized):
        await plane.authenticator.authenticate(credentials)


async def test_nobody_binds_a_role_stronger_than_their_own(plane: ControlPlane) -> None:
    root = plane.client(ROOT, "test")

    def binding(name: str, role: str) -> ClusterRoleBinding:
        return ClusterRoleBinding(
            metadata=ObjectMeta(name=name),
            roleRef=RoleRef(apiGroup=GROUP, kind="ClusterRole", name=role),
            subjects=[Subject(apiGroup=GROUP, kind="User", name="anna")],
        )

    await root.create(binding("binder", "system:controller:clusterrole-aggregation-controller"))
    anna = plane.client(Caller("anna", ("system:authenticated",)), "test")
    await refused(anna.create(binding("mine", "cluster-admin")))


async def test_a_bootstrap_token_opens_the_door_to_join_only(plane: ControlPlane) -> None:
    root = plane.client(ROOT, "test")
    identifier, secret = new_token(SeededRandomness(5))
    data = {
        "token-id": identifier,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
    }
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    meta = ObjectMeta(name=f"bootstrap-token-{identifier}", namespace="kube-system")
    await root.create(Secret(metadata=meta, type="bootstrap.kubernetes.io/token", data=encoded))
    credentials = Credentials(bearer_token=f"{identifier}.{secret}")
    caller = await plane.authenticator.authenticate(credentials)
    assert caller.user == f"system:bootstrap:{identifier}"
    client = plane.client(caller, "joiner")
    await refused(client.list(Secret))
    await refused(client.list(Node))
    with pytest.raises(Unauthorized):
        await plane.authenticator.authenticate(
            Credentials(bearer_token=f"{identifier}.{secret[::-1]}")
        )


async def test_admission_plugins_are_those_of_the_configuration() -> None:
    clock = SetClock(datetime(2026, 9, 1, tzinfo=UTC))
    plane = ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=SeededRandomness(1),
        signing_keys=[new_key()],
        certificates=ClientCertificates([], clock),
        config=Config(
            enable_admission_plugins=("DenyServiceExternalIPs",),
            disable_admission_plugins=("PodSecurity",),
        ),
    )
    admission = plane.verbs.writer.admission
    names = {plugin.name for plugin in admission.mutating}
    names |= {plugin.name for plugin in admission.validating}
    assert "DenyServiceExternalIPs" in names
    assert "PodSecurity" not in names


async def test_everybody_may_read_the_ca_certificates_and_nobody_may_write_them(
    plane: ControlPlane,
) -> None:
    anonymous = Caller("system:anonymous", ("system:unauthenticated",))
    anna = Caller("anna", ("system:authenticated",))
    for caller in (anonymous, anna):
        assert plane.authorizer.decide(caller, Attributes("get", path="/cacerts")).allowed
        assert not plane.authorizer.decide(caller, Attributes("post", path="/cacerts")).allowed
        assert not plane.authorizer.decide(caller, Attributes("get", path="/cacerts/x")).allowed


NETWORK_READS = {
    *(("", plural) for plural in ("services", "endpoints", "pods", "namespaces", "nodes")),
    ("discovery.k8s.io", "endpointslices"),
    *(("networking.k8s.io", name) for name in ("networkpolicies", "servicecidrs", "ipaddresses")),
    *(("networking.k8s.io", name) for name in ("ingresses", "ingressclasses")),
    # Whether custom resources are served: those of the Gateway API come and go.
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
}
EVERYBODYS_WRITES = {
    ("create", "authentication.k8s.io", "selfsubjectreviews"),
    ("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
    ("create", "authorization.k8s.io", "selfsubjectrulesreviews"),
}
NETWORK_WRITES = {
    ("create", "", "events"),
    ("patch", "", "events"),
    ("update", "", "events"),
    ("create", "events.k8s.io", "events"),
    ("patch", "events.k8s.io", "events"),
    ("update", "events.k8s.io", "events"),
}


async def test_the_network_parts_of_a_node_may_do_their_work_only(plane: ControlPlane) -> None:
    """What a remote agent's certificate for system:kube-proxy is worth."""
    network = Caller("system:kube-proxy", ("system:authenticated",))
    reads, writes = set(), set()
    for row in plane.resources.all():
        for part in ("", *row.subresources):
            name = f"{row.plural}/{part}" if part else row.plural
            for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
                wanted = Attributes(verb, row.group, row.version, row.plural, part, "x", "y")
                if plane.authorizer.decide(network, wanted).allowed:
                    if verb in ("get", "list", "watch"):
                        reads.add((row.group, name))
                    else:
                        writes.add((verb, row.group, name))
    assert reads == NETWORK_READS
    assert writes - EVERYBODYS_WRITES == NETWORK_WRITES
