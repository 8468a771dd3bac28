"""What is sent to an admission webhook, and what it answers."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.authentication import UserInfo
from kubelite.api.kinds.meta import GroupVersionKind as WireGroupVersionKind
from kubelite.api.kinds.meta import GroupVersionResource, Status
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    Base64,
    GroupVersionKind,
    Kind,
    Model,
    RawExtension,
)


class AdmissionRequest(Model):
    """The request a webhook is asked about."""

    uid: Annotated[str, REQUIRED] = ""
    kind: Annotated[WireGroupVersionKind, REQUIRED] = WireGroupVersionKind()
    resource: Annotated[GroupVersionResource, REQUIRED] = GroupVersionResource()
    subResource: str = ""
    requestKind: WireGroupVersionKind | None = None
    requestResource: GroupVersionResource | None = None
    requestSubResource: str = ""
    name: str = ""
    namespace: str = ""
    operation: Annotated[str, REQUIRED] = ""
    userInfo: Annotated[UserInfo, REQUIRED] = UserInfo()
    object: RawExtension | None = None
    oldObject: RawExtension | None = None
    dryRun: bool | None = None
    options: RawExtension | None = None


class AdmissionResponse(Model):
    """A webhook's answer: allowed or not, with a patch or with words."""

    uid: Annotated[str, REQUIRED] = ""
    allowed: Annotated[bool, REQUIRED] = False
    status: Status | None = None
    patch: Base64 = ""
    patchType: str | None = None
    auditAnnotations: dict[str, str] = {}
    warnings: Annotated[list[str], ATOMIC] = []


class AdmissionReview(Kind):
    """A question to a webhook, or its answer."""

    gvk: ClassVar = GroupVersionKind("admission.k8s.io", "v1", "AdmissionReview")

    request: AdmissionRequest | None = None
    response: AdmissionResponse | None = None
