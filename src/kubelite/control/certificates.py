"""Signs and deletes certificate signing requests of the cluster's own signers."""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import NotFound
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
)
from kubelite.api.kinds.core.config import Secret
from kubelite.api.machinery.join_secrets import NAMESPACE, Machine, binding_of, identity_name
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.control.certificate_decisions import (
    BASIC,
    CLIENT,
    NODE_CLIENT,
    NODE_PREFIX,
    NODE_SERVING,
    NODES_GROUP,
    has_usages,
    is_network_client,
    is_node_client,
    node_of,
)
from kubelite.control.options import SigningRequest
from kubelite.control.runtime import Context, Key, Watch

LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({CLIENT, NODE_CLIENT, NODE_SERVING, LEGACY})
PENDING_LIFETIME = timedelta(hours=24)
DECIDED_LIFETIME = timedelta(hours=1)


def condition(
    request: CertificateSigningRequest, condition_type: str
) -> CertificateSigningRequestCondition | None:
    """Return the request's condition of a type, or None."""
    return next((one for one in request.status.conditions if one.type == condition_type), None)


def fault(asked: SigningRequest, request: CertificateSigningRequest) -> str:
    """Return why the signer must not sign a request; "" if it may."""
    usages = request.spec.usages
    names = asked.wanted
    match request.spec.signerName:
        case "kubernetes.io/kube-apiserver-client":
            # Only requests of nodes must have the usage "digital signature".
            is_right = {"client auth"} <= set(usages) <= {"client auth", *BASIC}
            return "" if is_right else "usages did not match"
        case "kubernetes.io/kube-apiserver-client-kubelet":
            return "" if is_node_client(asked, usages) else "is not a node's client request"
        case "kubernetes.io/kubelet-serving":
            if list(names.organizations) != [NODES_GROUP]:
                return "organization is not system:nodes"
            if not names.common_name.startswith(NODE_PREFIX):
                return "common name does not begin with system:node:"
            if names.common_name != request.spec.username:
                return "common name is not the requester's"
            if not (names.dns_names or names.addresses) or asked.emails or asked.uris:
                return "subject alternative names must be DNS names or addresses"
            return "" if has_usages(usages, "server auth") else "usages did not match"
        case _:
            return ""


def lifetime(request: CertificateSigningRequest) -> timedelta:
    """Return how long a request is kept after its creation, or after the decision."""
    decided = request.status.conditions or request.status.certificate
    return DECIDED_LIFETIME if decided else PENDING_LIFETIME


def read(context: Context, request: CertificateSigningRequest) -> SigningRequest | None:
    """Parse the request; None if it is malformed or no parser is configured."""
    if context.options.read_request is None:
        return None
    try:
        return context.options.read_request(b64decode(request.spec.request, validate=True))
    except (Error, ValueError):
        return None


def is_open(request: CertificateSigningRequest) -> bool:
    """Return whether a request is neither approved nor denied."""
    return not request.status.certificate and not any(
        condition(request, name) for name in ("Approved", "Denied")
    )


class CertificateSigningController:
    """Signs approved requests."""

    name = "csrsigning"
    identity = "certificate-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._requests = context.mirror(CertificateSigningRequest)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch requests for the signers of kube-controller-manager."""
        return (
            Watch(
                CertificateSigningRequest,
                where=lambda _, after: after is not None and after.spec.signerName in SIGNERS,
            ),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Sign an approved request, or set the Failed condition."""
        request = self._requests.get(key.name)
        signer = self._context.options.signer
        if request is None or signer is None or request.status.certificate:
            return None
        if condition(request, "Approved") is None or condition(request, "Failed") is not None:
            return None
        if condition(request, "Denied") is not None:
            return None
        asked = read(self._context, request)
        reason = "cannot be read" if asked is None else fault(asked, request)
        if asked is None or reason:
            await self._fail(request, reason)
            return None
        chain = signer.sign(
            b64decode(request.spec.request),
            usages=tuple(request.spec.usages),
            expiration_seconds=request.spec.expirationSeconds,
            machine=await self._machine(request, asked),
        )
        status = replace(request.status, certificate=b64encode(chain).decode())
        await self._context.client.update(replace(request, status=status), "status")
        return None

    async def _machine(
        self, request: CertificateSigningRequest, asked: SigningRequest
    ) -> Machine | None:
        """Return the machine whose network parts ask; None for others, whose certificates are their own matter."""
        node = node_of(request.spec.username, request.spec.groups)
        if not node or not is_network_client(asked, request.spec.usages):
            return None
        try:
            secret = await self._context.client.get(Secret, identity_name(node), NAMESPACE)
        except NotFound:
            return None
        binding = binding_of(secret)
        return None if binding is None else Machine(node, binding.key_hash)

    async def _fail(self, request: CertificateSigningRequest, reason: str) -> None:
        # The legacy signer never sets Failed: a request of unknown purpose stays unsigned.
        if request.spec.signerName == LEGACY:
            return
        date = format_time(self._context.clock.now())
        failed = CertificateSigningRequestCondition(
            type="Failed",
            status="True",
            reason="SignerValidationFailure",
            message=reason,
            lastUpdateTime=date,
            lastTransitionTime=date,
        )
        status = replace(request.status, conditions=[*request.status.conditions, failed])
        await self._context.client.update(replace(request, status=status), "status")


class CertificateCleaner:
    """Deletes requests an hour after the decision; without one, a day after their creation."""

    name = "csrcleaner"
    identity = "certificate-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._requests = context.mirror(CertificateSigningRequest)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch all requests."""
        return (Watch(CertificateSigningRequest, where=lambda _, after: after is not None),)

    async def reconcile(self, key: Key) -> float | None:
        """Delete the request once its lifetime is over; else return the seconds until then."""
        request = self._requests.get(key.name)
        if request is None:
            return None
        left_seconds = (
            _since(request) + lifetime(request) - self._context.clock.now()
        ).total_seconds()
        if left_seconds > 0:
            return left_seconds
        try:
            await self._context.client.delete(
                CertificateSigningRequest, key.name, uid=request.metadata.uid
            )
        except NotFound:
            return None
        return None


def _since(request: CertificateSigningRequest) -> datetime:
    dates = [one.lastUpdateTime for one in request.status.conditions if one.lastUpdateTime]
    return parse_time(max(dates, default=request.metadata.creationTimestamp))
