"""Machines join, and others try to pass for them: by real requests through the real verbs."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.joining import CLIENT, CLIENT_USAGES, NODE_CLIENT, NODE_SERVING, NODES, JoiningCluster

from kubelite.api.auth.certificates import Wanted, new_key
from kubelite.api.errors import Forbidden, Unauthorized
from kubelite.api.kinds.certificates import CertificateSigningRequest
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, RoleRef, Subject


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[JoiningCluster]:
    async with JoiningCluster(tmp_path) as cluster:
        yield cluster


async def test_a_machine_joins_and_is_bound_to_its_name(cluster: JoiningCluster) -> None:
    token, key = await cluster.token(), new_key()
    client = await cluster.joiner(token)
    request = await cluster.ask(client, Wanted("system:node:one", NODES), key=key)
    assert await cluster.outcome(request) == "Approved"
    assert (await client.get(CertificateSigningRequest, request)).status.certificate
    assert await cluster.user(await cluster.certificate(request)) == "system:node:one"
    binding = await cluster.secret("one.node-identity")
    assert binding is not None
    assert len(binding["public-key-sha256"]) == 64
    assert "node-uid" not in binding
    node = await cluster.register("one", "192.0.2.7")
    binding = await cluster.secret("one.node-identity")
    assert binding is not None
    assert binding["node-uid"] == node.metadata.uid


async def test_the_same_machine_may_ask_again_and_another_may_not(cluster: JoiningCluster) -> None:
    token, key = await cluster.token(), new_key()
    assert await cluster.join(token, "one", key) == "Approved"
    assert await cluster.join(token, "one", key) == "Approved"
    denied = await cluster.join(token, "one")
    assert 'another machine is joining as "one"' in denied
    assert "kubectl delete secret --namespace kube-system one.node-identity" in denied
    await cluster.register("one", "192.0.2.7")
    denied = await cluster.join(token, "one")
    assert denied.startswith('Denied: the name "one" belongs to another machine')
    assert denied.endswith("run: kubectl delete node one")
    assert await cluster.join(token, "one", key) == "Approved"


async def test_two_machines_at_once_get_one_name_once(cluster: JoiningCluster) -> None:
    clients = [await cluster.joiner(await cluster.token()) for _ in range(8)]
    wanted = Wanted("system:node:one", NODES)
    requests = await asyncio.gather(*(cluster.ask(client, wanted) for client in clients))
    outcomes = [await cluster.outcome(request) for request in requests]
    assert outcomes.count("Approved") == 1
    assert sum(outcome.startswith("Denied") for outcome in outcomes) == 7


async def test_a_binding_that_another_server_made_first_wins(cluster: JoiningCluster) -> None:
    """The approver reads, decides and binds; a machine that is bound in between keeps the name."""
    token, theirs = await cluster.token(), new_key()
    plain = cluster.plane.verbs.create
    done = False

    async def create(allowed, body, *rest, **more):  # type: ignore[no-untyped-def]  # as the verb
        nonlocal done
        if body.get("metadata", {}).get("name") == "one.node-identity" and not done:
            done = True
            data = {"public-key-sha256": b64encode(b"0" * 64).decode()}
            meta = ObjectMeta(name="one.node-identity", namespace="kube-system")
            await cluster.root.create(
                Secret(metadata=meta, type="kubelite.io/node-identity", data=data)
            )
        return await plain(allowed, body, *rest, **more)

    cluster.plane.verbs.create = create  # type: ignore[method-assign]  # another server's write comes first
    request = await cluster.ask(
        await cluster.joiner(token), Wanted("system:node:one", NODES), key=theirs
    )
    await asyncio.sleep(0.1)  # the retry after the conflict comes after a few milliseconds
    assert (await cluster.outcome(request)).startswith("Denied: another machine is joining")
    assert done


async def test_a_deleted_node_gives_its_name_back_and_its_machine_is_out(
    cluster: JoiningCluster,
) -> None:
    token, key = await cluster.token(), new_key()
    request = await cluster.ask(
        await cluster.joiner(token), Wanted("system:node:one", NODES), key=key
    )
    assert await cluster.outcome(request) == "Approved"
    old = await cluster.certificate(request)
    await cluster.register("one", "192.0.2.7")
    assert await cluster.user(old) == "system:node:one"
    await cluster.root.delete(Node, "one")
    await cluster.settle()
    with pytest.raises(Unauthorized, match='the node "one" was deleted'):
        await cluster.user(old)
    successor = await cluster.ask(await cluster.joiner(token), Wanted("system:node:one", NODES))
    assert await cluster.outcome(successor) == "Approved"
    assert await cluster.user(await cluster.certificate(successor)) == "system:node:one"
    with pytest.raises(Unauthorized, match='the node "one" is another machine now'):
        await cluster.user(old)
    assert (await cluster.join(token, "one", key)).startswith("Denied")


async def test_a_deleted_machine_comes_back_with_a_token(cluster: JoiningCluster) -> None:
    token, key = await cluster.token(), new_key()
    wanted = Wanted("system:node:one", NODES)
    first = await cluster.ask(await cluster.joiner(token), wanted, key=key)
    old = await cluster.certificate(first)
    await cluster.register("one")
    await cluster.root.delete(Node, "one")
    await cluster.settle()
    assert await cluster.join(token, "one", key) == "Approved"
    assert await cluster.user(old) == "system:node:one"


async def test_a_node_made_anew_at_once_does_not_keep_the_name(cluster: JoiningCluster) -> None:
    """A machine that creates its Node again faster than anyone looks is out all the same."""
    token = await cluster.token()
    request = await cluster.ask(await cluster.joiner(token), Wanted("system:node:one", NODES))
    old = await cluster.certificate(request)
    await cluster.register("one")
    await cluster.root.delete(Node, "one")
    await cluster.node("one").create(Node(metadata=ObjectMeta(name="one")))
    await cluster.settle()
    with pytest.raises(Unauthorized):
        await cluster.user(old)
    assert (await cluster.join(token, "one")).endswith("run: kubectl delete node one")
    await cluster.root.delete(Node, "one")
    await cluster.settle()
    assert await cluster.join(token, "one") == "Approved"


async def test_a_node_without_a_binding_keeps_its_name(cluster: JoiningCluster) -> None:
    await cluster.root.create(Node(metadata=ObjectMeta(name="theirs")))
    denied = await cluster.join(await cluster.token(), "theirs")
    assert denied.startswith('Denied: a node "theirs" exists')
    assert denied.endswith("kubectl delete node theirs")
    assert await cluster.secret("theirs.node-identity") is None


async def test_a_secret_in_the_place_of_a_binding_is_not_overwritten(
    cluster: JoiningCluster,
) -> None:
    meta = ObjectMeta(name="one.node-identity", namespace="kube-system")
    await cluster.root.create(Secret(metadata=meta, type="Opaque"))
    denied = await cluster.join(await cluster.token(), "one")
    assert denied == "Denied: the Secret kube-system/one.node-identity is not one of kubelite's"


@pytest.mark.parametrize(
    "name",
    [
        "server",
        "localhost",
        "kubernetes",
        "kubernetes.default.svc",
        "webhook.default.svc",
        "a.default.svc.cluster.local",
        "192.0.2.1",
        "10.43.0.1",
        "127.0.0.1",
        "UPPER",
        "a/b",
        "",
        "-a",
        "a" * 52,
    ],
)
async def test_names_of_the_server_and_of_services_are_not_given_away(
    cluster: JoiningCluster, name: str
) -> None:
    outcome = await cluster.join(await cluster.token(), name)
    assert outcome.startswith("Denied: ") == (name != "a" * 52)
    assert (await cluster.secret(f"{name}.node-identity") is None) == (name != "a" * 52)


async def test_one_time_tokens_let_one_machine_in(cluster: JoiningCluster) -> None:
    token, key = await cluster.token(usage_once="true"), new_key()
    assert await cluster.join(token, "one", key) == "Approved"
    data = await cluster.secret("bootstrap-token-" + token[:6])
    assert data is not None
    assert data["used-by-node"] == "one"
    assert data["expiration"] == "2026-09-01T00:10:00Z"
    assert await cluster.join(token, "one", key) == "Approved"
    for name in ("one", "two"):
        assert await cluster.join(token, name) == (
            'Denied: the token is for one machine, and the node "one" has used it'
        )
    assert await cluster.join(token, "two", key) != "Approved"
    assert await cluster.secret("two.node-identity") is None
    cluster.clock.date = cluster.clock.date.replace(minute=11)
    with pytest.raises(Unauthorized):
        await cluster.joiner(token)


async def test_a_one_time_token_is_not_used_by_a_request_that_is_denied(
    cluster: JoiningCluster,
) -> None:
    token = await cluster.token(usage_once="true")
    assert (await cluster.join(token, "server")).startswith("Denied")
    assert await cluster.join(token, "one") == "Approved"


async def test_two_requests_at_once_with_a_one_time_token(cluster: JoiningCluster) -> None:
    client = await cluster.joiner(await cluster.token(usage_once="true"))
    requests = [
        await cluster.ask(client, Wanted(f"system:node:{name}", NODES)) for name in ("one", "two")
    ]
    outcomes = [await cluster.outcome(request) for request in requests]
    assert sorted(outcome[:6] for outcome in outcomes) == ["Approv", "Denied"]


async def test_a_request_outlives_no_deleted_token(cluster: JoiningCluster) -> None:
    token = await cluster.token(usage_once="true")
    client = await cluster.joiner(token)
    await cluster.runtime.stop()
    await cluster.root.delete(Secret, "bootstrap-token-" + token[:6], "kube-system")
    await cluster.ask(client, Wanted("system:node:one", NODES))
    cluster.runtime._running.clear()
    await cluster.runtime.start()
    assert await cluster.outcome("csr-1") == "Denied: the token has been deleted or has expired"


@pytest.mark.parametrize("kind", ["server", "system:bootstrappers:kubeadm:default-node-token", ""])
async def test_tokens_of_other_kinds_join_no_agent(cluster: JoiningCluster, kind: str) -> None:
    client = await cluster.joiner(await cluster.token(kind))
    with pytest.raises(Forbidden):
        await cluster.ask(client, Wanted("system:node:one", NODES))


async def test_a_kind_that_may_ask_but_not_join_is_told(cluster: JoiningCluster) -> None:
    await cluster.root.create(
        ClusterRoleBinding(
            metadata=ObjectMeta(name="servers-may-ask"),
            roleRef=RoleRef(
                apiGroup="rbac.authorization.k8s.io",
                kind="ClusterRole",
                name="system:node-bootstrapper",
            ),
            subjects=[
                Subject(
                    kind="Group",
                    name="system:bootstrappers:kubelite:server",
                    apiGroup="rbac.authorization.k8s.io",
                )
            ],
        )
    )
    assert await cluster.join(await cluster.token("server"), "one") == (
        "Denied: the token is not for agents; make one with: kubelite token create"
    )


async def test_a_joining_machine_reads_its_settings_and_nothing_else(
    cluster: JoiningCluster,
) -> None:
    client = await cluster.joiner(await cluster.token())
    settings = await client.get(ConfigMap, "kubelite-cluster", "kube-system")
    assert settings.data["cluster-cidr"] == "10.42.0.0/16"
    for kind in (Secret, Node, Pod, ServiceAccount, ConfigMap, ClusterRole):
        with pytest.raises(Forbidden):
            await client.list(kind)
    for name in ("kubelite-other", "extension-apiserver-authentication"):
        with pytest.raises(Forbidden):
            await client.get(ConfigMap, name, "kube-system")
    with pytest.raises(Forbidden):
        await client.create(Node(metadata=ObjectMeta(name="one")))
    request = await cluster.ask(client, Wanted("system:node:one", NODES))
    with pytest.raises(Forbidden):
        await client.delete(CertificateSigningRequest, request)
    with pytest.raises(Forbidden):
        await client.patch(
            CertificateSigningRequest,
            request,
            {"status": {"conditions": [{"type": "Approved", "status": "True"}]}},
            subresource="approval",
        )


@pytest.mark.parametrize(
    ("wanted", "signer", "usages"),
    [
        (Wanted("system:node:one", ("system:nodes", "system:masters")), NODE_CLIENT, None),
        (Wanted("system:node:one", ("system:masters",)), NODE_CLIENT, None),
        (Wanted("admin", NODES), NODE_CLIENT, None),
        (Wanted("system:node:one", NODES, ("kubernetes",)), NODE_CLIENT, None),
        (Wanted("system:node:one", NODES, (), ("192.0.2.1",)), NODE_CLIENT, None),
        (Wanted("system:node:one", NODES), NODE_CLIENT, [*CLIENT_USAGES, "server auth"]),
        (Wanted("system:node:one", NODES), CLIENT, None),
        (Wanted("system:kube-proxy"), CLIENT, None),
        (Wanted("kube-apiserver-kubelet-client"), CLIENT, None),
        (
            Wanted("system:node:one", NODES, ("one",)),
            NODE_SERVING,
            ["digital signature", "server auth"],
        ),
    ],
)
async def test_a_token_gets_no_certificate_but_that_of_a_node(
    cluster: JoiningCluster, wanted: Wanted, signer: str, usages: list[str] | None
) -> None:
    client = await cluster.joiner(await cluster.token())
    request = await cluster.ask(client, wanted, signer, usages or CLIENT_USAGES)
    assert await cluster.outcome(request) == ""
    found = await cluster.root.get(CertificateSigningRequest, request)
    assert not found.status.certificate


async def test_a_token_never_gets_system_masters(cluster: JoiningCluster) -> None:
    client = await cluster.joiner(await cluster.token())
    with pytest.raises(Forbidden, match="system:masters"):
        await cluster.ask(client, Wanted("root", ("system:masters",)), CLIENT)


async def test_renewal_keeps_the_key(cluster: JoiningCluster) -> None:
    token, key = await cluster.token(), new_key()
    assert await cluster.join(token, "one", key) == "Approved"
    wanted, node = Wanted("system:node:one", NODES), cluster.node("one")
    assert await cluster.outcome(await cluster.ask(node, wanted, key=key)) == "Approved"
    denied = await cluster.outcome(await cluster.ask(node, wanted))
    assert denied == (
        'Denied: the node "one" must renew its certificate with the key it has joined with'
    )
    with pytest.raises(Forbidden, match="can only create a node CSR with CN=system:node:one"):
        await cluster.ask(node, Wanted("system:node:two", NODES))


async def test_a_node_that_an_administrator_let_in_renews_as_in_kubernetes(
    cluster: JoiningCluster,
) -> None:
    request = await cluster.ask(cluster.node("theirs"), Wanted("system:node:theirs", NODES))
    assert await cluster.outcome(request) == "Approved"
    assert await cluster.user(await cluster.certificate(request)) == "system:node:theirs"
    assert await cluster.secret("theirs.node-identity") is None


async def test_serving_certificates_are_for_the_nodes_own_name_and_addresses(
    cluster: JoiningCluster,
) -> None:
    assert await cluster.serve("one", ["one"]) == "Approved"
    await cluster.register("one", "192.0.2.7", "2001:db8::7")
    assert await cluster.serve("one", ["one"], ["192.0.2.7", "2001:db8::7"]) == "Approved"
    assert await cluster.serve("one", ["one"], ["192.0.2.8"]) == ""


async def test_a_request_waits_until_its_node_reports_the_address(cluster: JoiningCluster) -> None:
    await cluster.register("one", "192.0.2.7")
    assert await cluster.serve("one", ["one"], ["192.0.2.8"]) == ""
    await cluster.report("one", "192.0.2.8")
    assert await cluster.outcome("csr-1") == "Approved"
    assert await cluster.serve("one", ["one"], ["192.0.2.7"]) == ""


@pytest.mark.parametrize(
    ("names", "addresses", "message"),
    [
        (["kubernetes"], [], "the DNS name 'kubernetes' is not the node's name"),
        (["one", "kubernetes.default.svc"], [], "the DNS name 'kubernetes.default.svc' is not"),
        (["one", "localhost"], [], "the DNS name 'localhost' is not the node's name"),
        (["*.one"], [], "the DNS name '*.one' is not"),
        (["ONE"], [], "the DNS name 'ONE' is not"),
        ([], ["192.0.2.7"], 'the DNS name "one" is missing'),
        (["one"], ["192.0.2.1"], "the address 192.0.2.1 is one of the server's"),
        (["one"], ["192.0.2.7", "192.0.2.1"], "the address 192.0.2.1 is one of the server's"),
        (["one"], ["::ffff:192.0.2.1"], "is one of the server's"),
        (["one"], ["10.43.0.1"], "the address 10.43.0.1 is one of the server's"),
        (["one"], ["10.43.0.10"], "the address 10.43.0.10 is one of pods and Services"),
        (["one"], ["10.42.0.5"], "the address 10.42.0.5 is one of pods and Services"),
        (["one"], ["127.0.0.1"], "the address 127.0.0.1 is not the address of a machine"),
        (["one"], ["127.0.0.2"], "the address 127.0.0.2 is not the address of a machine"),
        (["one"], ["192.0.2.9"], 'the address 192.0.2.9 is one of the node "two"'),
        (["one"], [f"192.0.2.{n}" for n in range(100, 200)], "more than 64 names and addresses"),
    ],
)
async def test_a_node_gets_no_serving_certificate_for_what_is_not_its_own(
    cluster: JoiningCluster, names: list[str], addresses: list[str], message: str
) -> None:
    """Even if its status claims the addresses."""
    await cluster.register("two", "192.0.2.9")
    claimed = ["192.0.2.7", "192.0.2.1", "::ffff:192.0.2.1", "10.43.0.1", "10.43.0.10"]
    await cluster.register("one", *claimed, "10.42.0.5", "127.0.0.1", "127.0.0.2", "192.0.2.9")
    outcome = await cluster.serve("one", names, addresses)
    assert outcome.startswith("Denied: ")
    assert message in outcome


async def test_no_node_gets_a_serving_certificate_for_a_name_of_the_server(
    cluster: JoiningCluster,
) -> None:
    """A node of such a name can only come from an administrator, and has the names that it was given."""
    for name in ("kubernetes.default.svc", "server", "localhost"):
        assert (await cluster.serve(name, [name])).startswith("Denied: the name")


async def test_the_network_parts_of_a_node_get_their_certificate(cluster: JoiningCluster) -> None:
    request = await cluster.ask(cluster.node("one"), Wanted("system:kube-proxy"), CLIENT)
    assert await cluster.outcome(request) == "Approved"
    assert await cluster.user(await cluster.certificate(request)) == "system:kube-proxy"


async def test_the_network_parts_of_a_machine_are_out_with_it(cluster: JoiningCluster) -> None:
    token, key = await cluster.token(), new_key()
    assert await cluster.join(token, "one", key) == "Approved"
    await cluster.register("one", "192.0.2.7")
    request = await cluster.ask(cluster.node("one"), Wanted("system:kube-proxy"), CLIENT)
    network = await cluster.certificate(request)
    assert await cluster.user(network) == "system:kube-proxy"
    await cluster.root.delete(Node, "one")
    await cluster.settle()
    with pytest.raises(Unauthorized, match='the node "one" was deleted'):
        await cluster.user(network)
    assert await cluster.join(token, "one") == "Approved"
    with pytest.raises(Unauthorized, match='the node "one" is another machine now'):
        await cluster.user(network)


@pytest.mark.parametrize(
    ("wanted", "usages"),
    [
        (Wanted("system:kube-proxy", NODES), CLIENT_USAGES),
        (Wanted("system:kube-proxy", (), ("kubernetes",)), CLIENT_USAGES),
        (Wanted("system:kube-scheduler"), CLIENT_USAGES),
        (Wanted("kubernetes"), CLIENT_USAGES),
        (Wanted("system:node:two", NODES), CLIENT_USAGES),
        (Wanted("kubernetes-admin"), CLIENT_USAGES),
    ],
)
async def test_a_node_gets_no_other_client_certificate(
    cluster: JoiningCluster, wanted: Wanted, usages: list[str]
) -> None:
    request = await cluster.ask(cluster.node("one"), wanted, CLIENT, usages)
    assert await cluster.outcome(request) == ""


async def test_wrong_tokens_say_nothing_of_right_ones(cluster: JoiningCluster) -> None:
    token = await cluster.token()
    answers = set()
    for wrong in (f"{token[:-1]}{'a' if token[-1] != 'a' else 'b'}", "zzzzzz" + token[6:]):
        with pytest.raises(Unauthorized) as raised:
            await cluster.joiner(wrong)
        answers.add(raised.value.message)
    assert answers == {"Unauthorized"}


async def test_a_joined_node_reads_the_settings(cluster: JoiningCluster) -> None:
    settings = await cluster.node("one").get(ConfigMap, "kubelite-cluster", "kube-system")
    assert settings.data["cluster-domain"] == "cluster.local"
    with pytest.raises(Forbidden):
        await cluster.node("one").get(Secret, "one.node-identity", "kube-system")


async def test_machines_that_never_register_do_not_fill_the_store(
    cluster: JoiningCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubelite.limits import JOINING

    monkeypatch.setattr(JOINING, "value", 3)
    token = await cluster.token()
    assert [await cluster.join(token, f"n{number}") for number in range(4)] == [
        *["Approved"] * 3,
        "",
    ]
    assert await cluster.secret("n3.node-identity") is None
    await cluster.register("n0")
    assert await cluster.join(token, "n4") == "Approved"
