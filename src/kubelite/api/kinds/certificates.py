"""Certificate signing requests."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import KEY_USAGES
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    Base64,
    GroupVersionKind,
    Int32,
    Kind,
    Model,
    Time,
    list_map,
)


class CertificateSigningRequestSpec(Model):
    """What is wanted of a certificate signing request."""

    request: Annotated[Base64, REQUIRED] = ""
    signerName: Annotated[str, REQUIRED] = ""
    expirationSeconds: Int32 | None = None
    extra: dict[str, list[str]] = {}
    groups: Annotated[list[str], ATOMIC] = []
    uid: str = ""
    usages: Annotated[list[Annotated[str, KEY_USAGES]], ATOMIC] = []
    username: str = ""


class CertificateSigningRequestCondition(Model):
    """One aspect of a certificate signing request's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    lastUpdateTime: Time = ""
    message: str = ""
    reason: str = ""


class CertificateSigningRequestStatus(Model):
    """What was last observed of a certificate signing request."""

    certificate: Base64 = ""
    conditions: Annotated[list[CertificateSigningRequestCondition], list_map("type")] = []


class CertificateSigningRequest(Kind):
    """Asks a signer for a certificate."""

    gvk: ClassVar = GroupVersionKind("certificates.k8s.io", "v1", "CertificateSigningRequest")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CertificateSigningRequestSpec, REQUIRED] = CertificateSigningRequestSpec()
    status: CertificateSigningRequestStatus = CertificateSigningRequestStatus()


class CertificateSigningRequestList(Kind):
    """A list of certificate signing requests."""

    gvk: ClassVar = GroupVersionKind("certificates.k8s.io", "v1", "CertificateSigningRequestList")

    items: Annotated[list[CertificateSigningRequest], REQUIRED] = []
    metadata: ListMeta = ListMeta()
