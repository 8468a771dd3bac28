"""A control plane that machines join: real verbs, rights and controllers, real keys and requests, no network."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from fakes.harness import Harness
from kubelite.api.auth.bootstrap_tokens import new_token
from kubelite.api.auth.caller import Caller, Credentials
from kubelite.api.auth.certificates import Wanted, new_key, signing_request
from kubelite.api.auth.pki import Pki
from kubelite.api.auth.signing import CertificateSigner, read_request
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.local import LocalClient
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestSpec,
)
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import KIND_GROUPS, encoded
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control import CONTROLLERS
from kubelite.control.options import Options, ServerIdentity
from kubelite.control.runtime import Runtime
from kubelite.control_plane import ControlPlane
from kubelite.net.host_addresses import HostView
from kubelite.offload import AtOnce
from kubelite.preparation import pki_arguments, server_identity
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

NOW = datetime(2026, 9, 1, tzinfo=UTC)
ROOT = Caller("root", ("system:masters",))
NODES = ("system:nodes",)
CLIENT_USAGES = ["digital signature", "client auth"]
SERVING_USAGES = ["digital signature", "server auth"]
NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING = "kubernetes.io/kubelet-serving"
CLIENT = "kubernetes.io/kube-apiserver-client"
RUNNING = ("csrapproving", "csrsigning", "csrcleaner", "node-identity", "token-cleaner")
VIEW = HostView(primary="192.0.2.1", addresses=("192.0.2.1",))

Key = ec.EllipticCurvePrivateKey


class JoiningCluster(Harness):
    """A server at 192.0.2.1 whose node is called ``server``; use it as an async context."""

    def __init__(self, folder: Path) -> None:
        self.clock: Any = SetClock(NOW)
        self.config = Config(node_name="server")
        randomness = self.randomness = SeededRandomness(1)
        self.pki = Pki.ensure(
            folder / "pki",
            clock=self.clock,
            randomness=randomness,
            **pki_arguments(self.config, VIEW),
        )
        self.plane = ControlPlane(
            EmbeddedStore(MemoryEngine(), clock=self.clock),
            clock=self.clock,
            randomness=randomness,
            signing_keys=self.pki.signing_keys,
            certificates=ClientCertificates(self.pki.trusted, self.clock),
            config=self.config,
        )
        self.runtime = Runtime(
            [entry for entry in CONTROLLERS if entry.name in RUNNING],
            client_for=self.plane.controller_client,
            mirrors=self.plane.client(
                Caller("system:kube-controller-manager"), "kube-controller-manager"
            ),
            clock=self.clock,
            offload=AtOnce(),
            randomness=randomness,
            options=Options(
                signer=CertificateSigner(self.pki, self.clock, randomness),
                read_request=read_request,
                server=self.server_identity,
            ),
        )
        self.root = self.plane.client(ROOT, "test")
        self._count = 0

    def server_identity(self) -> ServerIdentity:
        return server_identity(self.config, VIEW, self.plane.service_addresses)

    async def __aenter__(self) -> Self:
        await self.plane.bootstrap("192.0.2.1", 6443)
        return await super().__aenter__()

    async def token(self, kind: str = "agent", **data: str) -> str:
        """Make a bootstrap token as ``kubelite token create`` does; return its bearer form."""
        identifier, secret = new_token(self.randomness)
        data = {
            "token-id": identifier,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": KIND_GROUPS.get(kind, kind),
            **{name.replace("_", "-"): value for name, value in data.items()},
        }
        meta = ObjectMeta(name=f"bootstrap-token-{identifier}", namespace="kube-system")
        secrets = Secret(metadata=meta, type="bootstrap.kubernetes.io/token", data=encoded(data))
        await self.root.create(secrets)
        return f"{identifier}.{secret}"

    async def joiner(self, token: str) -> LocalClient:
        """Return the client of a machine that has a token; raises Unauthorized."""
        caller = await self.plane.authenticator.authenticate(Credentials(bearer_token=token))
        return self.plane.client(caller, "joiner")

    def node(self, name: str) -> LocalClient:
        """Return the client of a node that has joined."""
        return self.plane.client(
            Caller(f"system:node:{name}", (*NODES, "system:authenticated")), "kubelet"
        )

    async def ask(
        self,
        client: LocalClient,
        wanted: Wanted,
        signer: str = NODE_CLIENT,
        usages: Sequence[str] = CLIENT_USAGES,
        key: Key | None = None,
    ) -> str:
        """Ask for a certificate; return the name of the request, which is not decided yet."""
        self._count += 1
        name = f"csr-{self._count}"
        pem = signing_request(key or new_key(), wanted)
        await client.create(
            CertificateSigningRequest(
                metadata=ObjectMeta(name=name),
                spec=CertificateSigningRequestSpec(
                    request=b64encode(pem).decode(), signerName=signer, usages=list(usages)
                ),
            )
        )
        return name

    async def outcome(self, name: str) -> str:
        """Return ``Approved``, ``Denied: <message>`` or "" (undecided) of a request."""
        await self.settle()
        request = await self.root.get(CertificateSigningRequest, name)
        for condition in request.status.conditions:
            if condition.type == "Denied":
                return f"Denied: {condition.message}"
            if condition.type == "Approved":
                return "Approved"
        return ""

    async def join(self, token: str, name: str, key: Key | None = None) -> str:
        """Ask for the certificate of a node's name with a token; return the outcome."""
        return await self.outcome(
            await self.ask(await self.joiner(token), Wanted(f"system:node:{name}", NODES), key=key)
        )

    async def serve(
        self, name: str, names: Sequence[str], addresses: Sequence[str] = (), **wanted: Any
    ) -> str:
        """Ask for a serving certificate as a node; return the outcome."""
        described = Wanted(
            wanted.get("cn", f"system:node:{name}"), NODES, tuple(names), tuple(addresses)
        )
        client = self.node(name)
        return await self.outcome(await self.ask(client, described, NODE_SERVING, SERVING_USAGES))

    async def certificate(self, request: str) -> bytes:
        """Return the DER of the certificate that a request got."""
        await self.settle()
        found = await self.root.get(CertificateSigningRequest, request)
        pem = b64decode(found.status.certificate)
        return load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    async def user(self, der: bytes) -> str:
        """Return the user that a certificate proves; raises Unauthorized."""
        return (await self.plane.authenticator.authenticate(Credentials(certificate=der))).user

    async def register(self, name: str, *addresses: str) -> Node:
        """Create a Node as its machine does, with the addresses of its status."""
        client = self.node(name)
        await client.create(Node(metadata=ObjectMeta(name=name)))
        node = await self.report(name, *addresses)
        await self.settle()
        return node

    async def report(self, name: str, *addresses: str) -> Node:
        """Write the addresses of a Node's status, as the node does."""
        listed = [{"type": "InternalIP", "address": address} for address in addresses]
        patch = {"status": {"addresses": [*listed, {"type": "Hostname", "address": name}]}}
        return await self.node(name).patch(Node, name, patch, subresource="status")

    async def secret(self, name: str) -> dict[str, str] | None:
        """Return the data of a Secret in kube-system as texts, or None."""
        for secret in await self.root.list(Secret, "kube-system"):
            if secret.metadata.name == name:
                return {key: b64decode(value).decode() for key, value in secret.data.items()}
        return None
