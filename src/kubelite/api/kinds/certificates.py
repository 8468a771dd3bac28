"""Certificate signing requests."""

from __future__ import annotations

from typing import Annotated, ClassVar

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
    """CertificateSigningRequestSpec."""

    request: Annotated[Base64, REQUIRED] = ""
    signerName: Annotated[str, REQUIRED] = ""
    expirationSeconds: Int32 | None = None
    extra: dict[str, list[str]] = {}
    groups: Annotated[list[str], ATOMIC] = []
    uid: str = ""
    usages: Annotated[list[str], ATOMIC] = []
    username: str = ""


class CertificateSigningRequestCondition(Model):
    """CertificateSigningRequestCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    lastUpdateTime: Time = ""
    message: str = ""
    reason: str = ""


class CertificateSigningRequestStatus(Model):
    """CertificateSigningRequestStatus."""

    certificate: Base64 = ""
    conditions: Annotated[list[CertificateSigningRequestCondition], list_map("type")] = []


class CertificateSigningRequest(Kind):
    """CertificateSigningRequest."""

    gvk: ClassVar = GroupVersionKind("certificates.k8s.io", "v1", "CertificateSigningRequest")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CertificateSigningRequestSpec, REQUIRED] = CertificateSigningRequestSpec()
    status: CertificateSigningRequestStatus = CertificateSigningRequestStatus()


class CertificateSigningRequestList(Kind):
    """CertificateSigningRequestList."""

    gvk: ClassVar = GroupVersionKind("certificates.k8s.io", "v1", "CertificateSigningRequestList")

    items: Annotated[list[CertificateSigningRequest], REQUIRED] = []
    metadata: ListMeta = ListMeta()
