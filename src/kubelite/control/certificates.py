"""Approves, signs and deletes certificate signing requests of the cluster's own signers."""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import NotFound
from kubelite.api.kinds.authorization import (
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from kubelite.api.kinds.certificates import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
)
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.control.options import SigningRequest
from kubelite.control.runtime import Context, Key, Watch

CLIENT = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({CLIENT, NODE_CLIENT, NODE_SERVING, LEGACY})
NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
PENDING_LIFETIME = timedelta(hours=24)
DECIDED_LIFETIME = timedelta(hours=1)
BASIC = frozenset({"digital signature", "key encipherment"})


def condition(
    request: CertificateSigningRequest, condition_type: str
) -> CertificateSigningRequestCondition | None:
    """Return the request's condition of a type, or None."""
    return next((one for one in request.status.conditions if one.type == condition_type), None)


def is_node_client(asked: SigningRequest, usages: Sequence[str]) -> bool:
    """Return whether a request has the form of a node's client certificate."""
    names = asked.wanted
    return (
        list(names.organizations) == [NODES_GROUP]
        and names.common_name.startswith(NODE_PREFIX)
        and not (names.dns_names or names.addresses or asked.emails or asked.uris)
        and _has_usages(usages, "client auth")
    )


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
            return "" if _has_usages(usages, "server auth") else "usages did not match"
        case _:
            return ""


def _has_usages(usages: Sequence[str], purpose: str) -> bool:
    """Return whether the usages are the purpose, digital signature and at most key encipherment."""
    given = set(usages)
    return {purpose, "digital signature"} <= given <= {purpose, *BASIC}


def lifetime(request: CertificateSigningRequest) -> timedelta:
    """Return how long a request is kept after its creation, or after the decision."""
    decided = request.status.conditions or request.status.certificate
    return DECIDED_LIFETIME if decided else PENDING_LIFETIME


def _read(context: Context, request: CertificateSigningRequest) -> SigningRequest | None:
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


class CertificateApprover:
    """Approves client certificates of nodes if the requester has the permission to get one."""

    name = "csrapproving"
    identity = "certificate-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._requests = context.mirror(CertificateSigningRequest)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch requests of nodes for client certificates."""
        return (Watch(CertificateSigningRequest, where=_is_of_node),)

    async def reconcile(self, key: Key) -> float | None:
        """Approve if a SubjectAccessReview allows it; otherwise leave the decision to an administrator."""
        request = self._requests.get(key.name)
        if request is None or not is_open(request):
            return None
        asked = _read(self._context, request)
        if asked is None or not is_node_client(asked, request.spec.usages):
            return None
        own = asked.wanted.common_name == request.spec.username
        if own and await self._may(request, "selfnodeclient"):
            text = "Auto approving self kubelet client certificate after SubjectAccessReview."
        elif await self._may(request, "nodeclient"):
            text = "Auto approving kubelet client certificate after SubjectAccessReview."
        else:
            return None
        date = format_time(self._context.clock.now())
        approved = CertificateSigningRequestCondition(
            type="Approved",
            status="True",
            reason="AutoApproved",
            message=text,
            lastUpdateTime=date,
            lastTransitionTime=date,
        )
        status = replace(request.status, conditions=[*request.status.conditions, approved])
        await self._context.client.update(replace(request, status=status), "approval")
        return None

    async def _may(self, request: CertificateSigningRequest, subresource: str) -> bool:
        spec = request.spec
        review = await self._context.client.create(
            SubjectAccessReview(
                spec=SubjectAccessReviewSpec(
                    user=spec.username,
                    uid=spec.uid,
                    groups=spec.groups,
                    extra=spec.extra,
                    resourceAttributes=ResourceAttributes(
                        group="certificates.k8s.io",
                        resource="certificatesigningrequests",
                        verb="create",
                        subresource=subresource,
                        version="*",
                    ),
                )
            )
        )
        return review.status.allowed


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
        asked = _read(self._context, request)
        reason = "cannot be read" if asked is None else fault(asked, request)
        if reason:
            await self._fail(request, reason)
            return None
        chain = signer.sign(
            b64decode(request.spec.request),
            usages=tuple(request.spec.usages),
            expiration_seconds=request.spec.expirationSeconds,
        )
        status = replace(request.status, certificate=b64encode(chain).decode())
        await self._context.client.update(replace(request, status=status), "status")
        return None

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


def _is_of_node(
    _before: CertificateSigningRequest | None, after: CertificateSigningRequest | None
) -> bool:
    return after is not None and after.spec.signerName == NODE_CLIENT
