"""Machines join while the server is killed and started again: one name, one machine; one token, one machine."""

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from kubelite.api.auth.certificates import (
    Authority,
    Wanted,
    new_authority,
    new_key,
    signing_request,
)
from kubelite.api.auth.signing import CertificateSigner, read_request
from kubelite.api.client.local import LocalClient
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestSpec,
)
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import KIND_GROUPS, binding_of, encoded
from kubelite.control.options import ServerIdentity
from kubelite.randomness import SeededRandomness
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import START, run_simulated

AGENTS = ("system:bootstrappers", KIND_GROUPS["agent"])
NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
AUTHORITY = new_authority("ca", START, SeededRandomness(1))
KEYS = [new_key() for _ in range(4)]


class Keys:
    """The part of a Pki that signs."""

    authority: Authority = AUTHORITY


class Clock:
    def now(self) -> Any:
        return START


def options() -> dict[str, Any]:
    keys: Any = Keys()
    return {
        "signer": CertificateSigner(keys, Clock(), SeededRandomness(2)),
        "read_request": read_request,
        "server": lambda: ServerIdentity(node_name="server"),
    }


async def ask(client: LocalClient, name: str, node: str, key: Any) -> None:
    pem = signing_request(key, Wanted(f"system:node:{node}", ("system:nodes",)))
    await client.create(
        CertificateSigningRequest(
            metadata=ObjectMeta(name=name),
            spec=CertificateSigningRequestSpec(
                request=b64encode(pem).decode(),
                signerName=NODE_CLIENT,
                usages=["digital signature", "client auth"],
            ),
        )
    )


def approved(cluster: SimulatedCluster) -> list[str]:
    return sorted(
        request.metadata.name
        for request in cluster.all(CertificateSigningRequest)
        if any(one.type == "Approved" for one in request.status.conditions)
    )


def is_decided(cluster: SimulatedCluster) -> bool:
    requests = cluster.all(CertificateSigningRequest)
    return all(
        any(one.type == "Denied" for one in request.status.conditions) or request.status.certificate
        for request in requests
    )


async def tell(seed: int) -> None:
    async with SimulatedCluster(seed, nodes=0, options=options()) as cluster:
        data = {"token-id": "abcdef", "usage-once": "true", "description": "one machine"}
        meta = ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system")
        await cluster.client.create(
            Secret(metadata=meta, type="bootstrap.kubernetes.io/token", data=encoded(data))
        )
        # Machine 0 and 1 want one name, each with a token of its own; 2 and 3 have one token for one machine.
        wanted = [("a", "one", 0), ("b", "one", 1), ("abcdef", "two", 2), ("abcdef", "three", 3)]
        cluster.random.shuffle(wanted)
        for token, node, number in wanted:
            client = cluster.client_of(f"system:bootstrap:{token}", *AGENTS)
            if token != "abcdef":
                meta = ObjectMeta(name=f"bootstrap-token-{token}", namespace="kube-system")
                await cluster.client.create(
                    Secret(metadata=meta, type="bootstrap.kubernetes.io/token")
                )
            await ask(client, f"csr-{number}", node, KEYS[number])
            if cluster.random.random() < 0.7:
                await asyncio.sleep(cluster.random.random() * 0.03)  # somewhere within the approval
                await cluster.restart(cluster.random.choice([0.0, 0.01, 5.0]))
        await cluster.restart()
        await cluster.until(lambda: is_decided(cluster), seconds=60)
        let_in = approved(cluster)
        assert len({"csr-0", "csr-1"} & set(let_in)) == 1
        assert len({"csr-2", "csr-3"} & set(let_in)) == 1
        await registers_and_goes(cluster)


async def registers_and_goes(cluster: SimulatedCluster) -> None:
    """A node that registers is known by its binding, which is released with it, also across a restart."""
    await cluster.add_node("one")
    await cluster.until(lambda: binding(cluster, "one").node_uid, seconds=60)
    await cluster.restart()
    await cluster.lose_node("one")
    await cluster.client.delete(Node, "one")
    if cluster.random.random() < 0.5:
        await cluster.restart()
    await cluster.until(lambda: binding(cluster, "one").released_at, seconds=60)
    # Whoever bound a name and never came loses it after an hour.
    name = "two" if "csr-2" in approved(cluster) else "three"
    assert binding(cluster, name).released_at is None
    await cluster.until(lambda: binding(cluster, name).released_at, seconds=4000, step=10)
    # Meanwhile the used token has expired and is gone, and soon the decided requests are.
    tokens = [one.metadata.name for one in cluster.all(Secret, "kube-system")]
    assert "bootstrap-token-abcdef" not in tokens
    assert "bootstrap-token-a" in tokens
    await cluster.until(lambda: not cluster.all(CertificateSigningRequest), seconds=600, step=10)


def binding(cluster: SimulatedCluster, node: str) -> Any:
    for secret in cluster.all(Secret, "kube-system"):
        if secret.metadata.name == f"{node}.node-identity":
            return binding_of(secret)
    raise AssertionError(f"{node} is bound to no machine")


@pytest.mark.parametrize("seed", range(10))
def test_one_name_and_one_token_for_one_machine(seed: int) -> None:
    run_simulated(seed, lambda: tell(seed))
