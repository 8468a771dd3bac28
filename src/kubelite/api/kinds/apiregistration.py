"""API services served by other servers."""

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
    merge_by,
)


class ServiceReference(Model):
    """The service an aggregated API runs behind."""

    name: str = ""
    namespace: str = ""
    port: Int32 | None = None


class APIServiceSpec(Model):
    """What is wanted of an API service."""

    groupPriorityMinimum: Annotated[Int32, REQUIRED] = 0
    versionPriority: Annotated[Int32, REQUIRED] = 0
    caBundle: Annotated[Base64, ATOMIC] = ""
    group: str = ""
    insecureSkipTLSVerify: bool = False
    service: ServiceReference | None = None
    version: str = ""


class APIServiceCondition(Model):
    """One aspect of an API service's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class APIServiceStatus(Model):
    """What was last observed of an API service."""

    conditions: Annotated[list[APIServiceCondition], list_map("type"), merge_by("type")] = []


class APIService(Kind):
    """A group version that another server answers for, or this one."""

    gvk: ClassVar = GroupVersionKind("apiregistration.k8s.io", "v1", "APIService")

    metadata: ObjectMeta = ObjectMeta()
    spec: APIServiceSpec = APIServiceSpec()
    status: APIServiceStatus = APIServiceStatus()


class APIServiceList(Kind):
    """A list of API services."""

    gvk: ClassVar = GroupVersionKind("apiregistration.k8s.io", "v1", "APIServiceList")

    items: Annotated[list[APIService], REQUIRED] = []
    metadata: ListMeta = ListMeta()
