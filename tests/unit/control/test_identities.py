import asyncio
from base64 import b64decode, b64encode
from typing import Any

from fakes.harness import Harness
from msgspec import Struct
from simulation.simulated_loop import simulated

from kubelite.api.kinds.authorization import SubjectAccessReview
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestSpec,
)
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.rbac import AggregationRule, ClusterRole, PolicyRule
from kubelite.api.machinery.join_secrets import Machine
from kubelite.control.certificate_approval import CertificateApprover
from kubelite.control.certificates import CertificateCleaner, CertificateSigningController
from kubelite.control.cluster_role_aggregation import ClusterRoleAggregationController
from kubelite.control.options import Options
from kubelite.control.token_cleaner import TokenCleaner
from kubelite.control.token_secrets import TokenSecretsController


def rule(resource: str) -> PolicyRule:
    return PolicyRule(apiGroups=[""], resources=[resource], verbs=["get"])


async def test_aggregating_roles_follow_the_others() -> None:
    async with Harness(ClusterRoleAggregationController) as harness:
        selector = LabelSelector(matchLabels={"into": "all"})
        await harness.client.create(
            ClusterRole(
                metadata=ObjectMeta(name="all"),
                aggregationRule=AggregationRule(clusterRoleSelectors=[selector]),
            )
        )
        for name in ("b", "a", "c"):
            labels = {"into": "all"} if name != "c" else {}
            await harness.client.create(
                ClusterRole(
                    metadata=ObjectMeta(name=name, labels=labels), rules=[rule(name), rule("x")]
                )
            )
        await harness.settle()
        role = await harness.client.get(ClusterRole, "all")
        assert [one.resources[0] for one in role.rules] == ["a", "x", "b"]
        await harness.client.delete(ClusterRole, "a")
        await harness.settle()
        role = await harness.client.get(ClusterRole, "all")
        assert [one.resources[0] for one in role.rules] == ["b", "x"]


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


async def pass_seconds(harness: Harness, seconds: int) -> None:
    harness.clock.advance(seconds)
    await asyncio.sleep(seconds)


@simulated
async def test_bootstrap_tokens_go_when_they_expire() -> None:
    async with Harness(TokenCleaner) as harness:
        for name, expiration in (
            ("soon", "2026-01-01T01:00:00Z"),
            ("never", ""),
            ("odd", "soonish"),
        ):
            await harness.client.create(
                Secret(
                    metadata=ObjectMeta(name=name, namespace="kube-system"),
                    type="bootstrap.kubernetes.io/token",
                    data={"expiration": encoded(expiration)} if expiration else {},
                )
            )
        await pass_seconds(harness, 3599)
        assert len(harness.client.all(Secret)) == 3
        await pass_seconds(harness, 2)
        assert [one.metadata.name for one in harness.client.all(Secret)] == ["never", "odd"]


class Issuer:
    def issue_legacy(self, namespace: str, name: str, uid: str, secret: str) -> str:
        return f"token of {namespace}/{name}"


async def test_token_secrets_are_filled_and_go_with_their_account() -> None:
    options = Options(cluster_ca="PEM", token_issuer=Issuer())
    async with Harness(TokenSecretsController, options=options) as harness:
        client = harness.client
        await client.create(ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default")))
        annotations = {"kubernetes.io/service-account.name": "robot"}
        await client.create(
            Secret(
                metadata=ObjectMeta(name="s", namespace="default", annotations=annotations),
                type="kubernetes.io/service-account-token",
            )
        )
        await harness.settle()
        secret = await client.get(Secret, "s", "default")
        assert b64decode(secret.data["token"]) == b"token of default/robot"
        assert b64decode(secret.data["ca.crt"]) == b"PEM"
        assert secret.metadata.annotations["kubernetes.io/service-account.uid"]
        await client.delete(ServiceAccount, "robot", "default")
        await harness.settle()
        assert client.all(Secret) == []


class Names(Struct):
    common_name: str
    organizations: tuple[str, ...] = ("system:nodes",)
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class Asked(Struct):
    wanted: Names
    emails: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    key_hash: str = "k1"


class Signer:
    def sign(
        self,
        pem: bytes,
        *,
        usages: tuple[str, ...],
        expiration_seconds: int | None = None,
        machine: Machine | None = None,
    ) -> bytes:
        return b"signed " + pem


def read(pem: bytes) -> Asked:
    if pem == b"junk":
        raise ValueError("junk")
    return Asked(Names(pem.decode()))


def request(name: str, text: str, signer: str, usages: list[str], user: str) -> Any:
    return CertificateSigningRequest(
        metadata=ObjectMeta(name=name),
        spec=CertificateSigningRequestSpec(
            request=encoded(text), signerName=signer, usages=usages, username=user
        ),
    )


NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
USAGES = ["digital signature", "client auth"]


@simulated
async def test_node_certificates_are_approved_signed_and_cleared_away() -> None:
    options = Options(signer=Signer(), read_request=read)
    controllers = (CertificateApprover, CertificateSigningController, CertificateCleaner)
    async with Harness(*controllers, options=options) as harness:
        client = harness.client
        plain_create = client.create

        async def create(item: Any) -> Any:
            if isinstance(item, SubjectAccessReview):
                allowed = item.spec.user == "system:node:n1"
                return SubjectAccessReview(
                    spec=item.spec, status=type(item.status)(allowed=allowed)
                )
            return await plain_create(item)

        client.create = create  # type: ignore[method-assign]  # reviews answer at once
        await client.create(request("own", "system:node:n1", NODE_CLIENT, USAGES, "system:node:n1"))
        await client.create(request("other", "system:node:n1", NODE_CLIENT, USAGES, "mallory"))
        await client.create(
            request(
                "wide", "system:node:n1", NODE_CLIENT, [*USAGES, "server auth"], "system:node:n1"
            )
        )
        await client.create(request("junk", "junk", NODE_CLIENT, USAGES, "system:node:n1"))
        await asyncio.sleep(1)
        signed = {
            one.metadata.name: one.status.certificate
            for one in client.all(CertificateSigningRequest)
        }
        assert b64decode(signed.pop("own")) == b"signed system:node:n1"
        assert set(signed.values()) == {""}
        await pass_seconds(harness, 3601)
        left = {one.metadata.name for one in client.all(CertificateSigningRequest)}
        assert left == {"other", "wide", "junk"}
        await pass_seconds(harness, 86400)
        assert client.all(CertificateSigningRequest) == []
