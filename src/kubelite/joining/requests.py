"""Gets certificates by CertificateSigningRequests: create one, watch it until it is signed or refused."""

import asyncio
import base64
import logging

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestSpec,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.joining.files import AgentFiles, KeyDamaged, Leaf
from kubelite.joining.keys import Subject
from kubelite.joining.refusal import JoinFailed
from kubelite.limits import CERTIFICATE_WAIT

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0  # then the log says what is waited for

NODE_GROUP = "system:nodes"
CLIENT_USAGES = ["digital signature", "client auth"]
SERVER_USAGES = ["digital signature", "server auth"]


class Order(Struct, frozen=True):
    """A certificate to request: its content, signer and usages."""

    wanted: Subject
    signer: str
    usages: list[str]


def node_client(name: str) -> Order:
    """Return the order of a node's certificate towards the API server."""
    wanted = Subject(node_user(name), (NODE_GROUP,))
    return Order(wanted, "kubernetes.io/kube-apiserver-client-kubelet", CLIENT_USAGES)


def node_serving(name: str, addresses: tuple[str, ...]) -> Order:
    """Return the order of the certificate of a node's own HTTPS endpoint."""
    wanted = Subject(node_user(name), (NODE_GROUP,), (name,), addresses)
    return Order(wanted, "kubernetes.io/kubelet-serving", SERVER_USAGES)


def network_client() -> Order:
    """Return the order of the certificate of a node's network parts towards the API server."""
    wanted = Subject("system:kube-proxy")
    return Order(wanted, "kubernetes.io/kube-apiserver-client", CLIENT_USAGES)


def node_user(name: str) -> str:
    """Return the user name of a node."""
    return f"system:node:{name}"


class Denied(JoinFailed):
    """The cluster refused a certificate; `reason` is the approver's or the signer's."""

    def __init__(self, user: str, reason: str) -> None:
        super().__init__(f"cannot get a certificate for {user}: {reason}")
        self.reason = reason


async def obtain(
    client: Client,
    order: Order,
    files: AgentFiles,
    leaf: Leaf,
    *,
    expiration_seconds: int | None = None,
) -> bytes:
    """Return the PEM of a new certificate and its chain for the key of `leaf`, which is made if there is none.

    Raises Denied, JoinFailed if nobody decides in time or the certificate is another's, OSError, KeyDamaged, APIError.
    """
    request = await asyncio.to_thread(files.signing_request, leaf, order.wanted)
    created = await client.create(
        CertificateSigningRequest(
            metadata=ObjectMeta(generateName="node-csr-"),
            spec=CertificateSigningRequestSpec(
                request=base64.b64encode(request).decode(),
                signerName=order.signer,
                usages=order.usages,
                expirationSeconds=expiration_seconds,
            ),
        )
    )
    pem = await _signed(client, created.metadata.name, order, files)
    try:
        certificate = await asyncio.to_thread(files.read_certificate, leaf, pem)
    except KeyDamaged:
        raise
    except ValueError as error:
        raise JoinFailed(
            f"cannot use the certificate for {order.wanted.common_name}: {error}"
        ) from error
    if certificate is None or certificate.common_name != order.wanted.common_name:
        raise JoinFailed(
            f"cannot use the certificate for {order.wanted.common_name}: it is another's"
        )
    return pem


async def _signed(client: Client, name: str, order: Order, files: AgentFiles) -> bytes:
    """Wait until a request is signed. Raises Denied, JoinFailed."""
    decided: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def look(_: object, request: CertificateSigningRequest | None) -> None:
        if request is None or decided.done():
            return
        if reason := _refusal(request):
            decided.set_exception(Denied(order.wanted.common_name, reason))
        elif request.status.certificate:
            decided.set_result(base64.b64decode(request.status.certificate))

    mirror = client.mirror(CertificateSigningRequest, field_selector=f"metadata.name={name}")
    unsubscribe = mirror.subscribe(look)
    try:
        await asyncio.wait([decided], timeout=PATIENCE_SECONDS)
        if not decided.done():
            log.warning(
                "waiting for a certificate; unless the cluster decides, use kubectl certificate approve",
                extra={"request": name, "signer": order.signer},
            )
            await asyncio.to_thread(files.keys.pause)
        async with asyncio.timeout(CERTIFICATE_WAIT.value):
            return await decided
    except TimeoutError:
        CERTIFICATE_WAIT.reached()
        raise JoinFailed(
            f"cannot get a certificate for {order.wanted.common_name}: nobody approved request {name}",
            may_pass=True,
        ) from None
    finally:
        unsubscribe()
        mirror.close()


def _refusal(request: CertificateSigningRequest) -> str:
    """Return why a request is refused; empty if it is not."""
    for condition in request.status.conditions:
        if condition.type in ("Denied", "Failed") and condition.status == "True":
            return condition.message or condition.reason or condition.type
    return ""
