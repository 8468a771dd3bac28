"""CertificateApproval, CertificateSigning, CertificateSubjectRestriction: the rights to approve and sign requests."""

import base64
from typing import Any, ClassVar

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import SYSTEM_MASTERS, Attributes, Caller
from kubelite.api.auth.signing import Request, RequestInvalid, read_request
from kubelite.api.registry.admission.refusal import forbidden
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

GROUP = "certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateApproval:
    """Requires the right to approve for the signer."""

    name: ClassVar = "CertificateApproval"

    def __init__(self, authorizer: UnionAuthorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        """Check the right to approve; raises Forbidden."""
        if request.old is None or not _concerns(request, "approval", Verb.UPDATE):
            return
        signer = _signer(request.old)
        if not may(self._authorizer, request.caller, "approve", signer):
            raise forbidden(
                request, f'user not permitted to approve requests with signerName "{signer}"'
            )


class CertificateSigning:
    """Requires the right to sign for the signer."""

    name: ClassVar = "CertificateSigning"

    def __init__(self, authorizer: UnionAuthorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        """Check the right to sign if the certificate or the conditions change; raises Forbidden."""
        if (
            request.old is None
            or request.object is None
            or not _concerns(request, "status", Verb.UPDATE)
        ):
            return
        before, after = (item.get("status") or {} for item in (request.old, request.object))
        if all(before.get(field) == after.get(field) for field in ("certificate", "conditions")):
            return
        signer = _signer(request.old)
        if not may(self._authorizer, request.caller, "sign", signer):
            raise forbidden(
                request, f'user not permitted to sign requests with signerName "{signer}"'
            )


class CertificateSubjectRestriction:
    """Rejects requests for client certificates of the group system:masters."""

    name: ClassVar = "CertificateSubjectRestriction"

    async def validate(self, request: AdmissionRequest) -> None:
        """Check the subject of a new request; raises Forbidden."""
        if request.object is None or not _concerns(request, "", Verb.CREATE):
            return
        if _signer(request.object) != CLIENT_SIGNER:
            return
        try:
            groups = read_spec(request.object.get("spec") or {}).wanted.organizations
        except RequestInvalid as error:
            raise forbidden(request, f"failed to parse CSR: {error}") from error
        if SYSTEM_MASTERS in groups:
            raise forbidden(
                request, f"use of {CLIENT_SIGNER} signer with system:masters group is not allowed"
            )


def read_spec(spec: dict[str, Any]) -> Request:
    """Parse the request in a CertificateSigningRequest's spec; raises RequestInvalid."""
    try:
        pem = base64.b64decode(spec.get("request") or "")
    except ValueError as error:  # also raised for non-ASCII characters
        raise RequestInvalid(str(error)) from error
    return read_request(pem)


def may(authorizer: UnionAuthorizer, caller: Caller, verb: str, signer: str) -> bool:
    """Return whether a caller may `verb` (approve, sign) for a signer, or for all signers of its domain."""
    names = (signer, f"{signer.partition('/')[0]}/*")
    return any(
        authorizer.decide(caller, Attributes(verb, GROUP, "*", "signers", name=name)).allowed
        for name in names
    )


def _concerns(request: AdmissionRequest, subresource: str, verb: Verb) -> bool:
    return (
        request.resource.plural == "certificatesigningrequests"
        and request.resource.group == GROUP
        and request.attributes.subresource == subresource
        and request.operation is verb
    )


def _signer(item: dict[str, Any]) -> str:
    name: str = (item.get("spec") or {}).get("signerName", "")
    return name
