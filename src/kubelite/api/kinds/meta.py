"""The metadata every object has, lists, options, and the Status that reports errors."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    SET,
    Int32,
    Int64,
    Kind,
    Model,
    RawExtension,
    Time,
    list_map,
    merge_by,
)
from kubelite.api.kinds.model import GroupVersionKind as Name


class GroupVersionForDiscovery(Model):
    """GroupVersionForDiscovery."""

    groupVersion: Annotated[str, REQUIRED] = ""
    version: Annotated[str, REQUIRED] = ""


class ServerAddressByClientCIDR(Model):
    """ServerAddressByClientCIDR."""

    clientCIDR: Annotated[str, REQUIRED] = ""
    serverAddress: Annotated[str, REQUIRED] = ""


class APIGroup(Kind):
    """APIGroup."""

    gvk: ClassVar = Name("", "v1", "APIGroup")

    name: Annotated[str, REQUIRED] = ""
    versions: Annotated[list[GroupVersionForDiscovery], REQUIRED, ATOMIC] = []
    preferredVersion: GroupVersionForDiscovery = GroupVersionForDiscovery()
    serverAddressByClientCIDRs: Annotated[list[ServerAddressByClientCIDR], ATOMIC] = []


class APIGroupList(Kind):
    """APIGroupList."""

    gvk: ClassVar = Name("", "v1", "APIGroupList")

    groups: Annotated[list[APIGroup], REQUIRED, ATOMIC] = []


class APIResource(Model):
    """APIResource."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    namespaced: Annotated[bool, REQUIRED] = False
    singularName: Annotated[str, REQUIRED] = ""
    verbs: Annotated[list[str], REQUIRED] = []
    categories: Annotated[list[str], ATOMIC] = []
    group: str = ""
    shortNames: Annotated[list[str], ATOMIC] = []
    storageVersionHash: str = ""
    version: str = ""


class APIResourceList(Kind):
    """APIResourceList."""

    gvk: ClassVar = Name("", "v1", "APIResourceList")

    groupVersion: Annotated[str, REQUIRED] = ""
    resources: Annotated[list[APIResource], REQUIRED, ATOMIC] = []


class APIVersions(Kind):
    """APIVersions."""

    gvk: ClassVar = Name("", "v1", "APIVersions")

    serverAddressByClientCIDRs: Annotated[list[ServerAddressByClientCIDR], REQUIRED, ATOMIC] = []
    versions: Annotated[list[str], REQUIRED, ATOMIC] = []


class Condition(Model):
    """Condition."""

    lastTransitionTime: Annotated[Time, REQUIRED] = ""
    message: Annotated[str, REQUIRED] = ""
    reason: Annotated[str, REQUIRED] = ""
    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    observedGeneration: Int64 = 0


class Preconditions(Model):
    """Preconditions."""

    resourceVersion: str | None = None
    uid: str | None = None


class DeleteOptions(Kind):
    """DeleteOptions."""

    gvk: ClassVar = Name("", "v1", "DeleteOptions")

    dryRun: Annotated[list[str], ATOMIC] = []
    gracePeriodSeconds: Int64 | None = None
    ignoreStoreReadErrorWithClusterBreakingPotential: bool | None = None
    orphanDependents: bool | None = None
    preconditions: Preconditions | None = None
    propagationPolicy: str | None = None


class GetOptions(Kind):
    """Which revision of an object to read."""

    gvk: ClassVar = Name("", "v1", "GetOptions")

    resourceVersion: str = ""


class ListOptions(Kind):
    """What to list or watch, from which revision, and how much of it."""

    gvk: ClassVar = Name("", "v1", "ListOptions")

    labelSelector: str = ""
    fieldSelector: str = ""
    watch: bool = False
    allowWatchBookmarks: bool = False
    resourceVersion: str = ""
    resourceVersionMatch: str = ""
    timeoutSeconds: Int64 | None = None
    limit: Int64 = 0
    continue_: str = field(name="continue", default="")
    sendInitialEvents: bool | None = None
    shardSelector: str = ""


class CreateOptions(Kind):
    """How to create an object."""

    gvk: ClassVar = Name("", "v1", "CreateOptions")

    dryRun: Annotated[list[str], ATOMIC] = []
    fieldManager: str = ""
    fieldValidation: str = ""


class UpdateOptions(Kind):
    """How to update an object."""

    gvk: ClassVar = Name("", "v1", "UpdateOptions")

    dryRun: Annotated[list[str], ATOMIC] = []
    fieldManager: str = ""
    fieldValidation: str = ""


class PatchOptions(Kind):
    """How to patch an object."""

    gvk: ClassVar = Name("", "v1", "PatchOptions")

    dryRun: Annotated[list[str], ATOMIC] = []
    force: bool | None = None
    fieldManager: str = ""
    fieldValidation: str = ""


class GroupVersionKind(Model):
    """A type, where it is a field of an object."""

    group: Annotated[str, REQUIRED] = ""
    version: Annotated[str, REQUIRED] = ""
    kind: Annotated[str, REQUIRED] = ""


class GroupVersionResource(Model):
    """A resource, where it is a field of an object."""

    group: Annotated[str, REQUIRED] = ""
    version: Annotated[str, REQUIRED] = ""
    resource: Annotated[str, REQUIRED] = ""


class FieldSelectorRequirement(Model):
    """FieldSelectorRequirement."""

    key: Annotated[str, REQUIRED] = ""
    operator: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], ATOMIC] = []


class GroupResource(Model):
    """GroupResource."""

    group: Annotated[str, REQUIRED] = ""
    resource: Annotated[str, REQUIRED] = ""


class LabelSelectorRequirement(Model):
    """LabelSelectorRequirement."""

    key: Annotated[str, REQUIRED] = ""
    operator: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], ATOMIC] = []


class LabelSelector(Model):
    """LabelSelector."""

    matchExpressions: Annotated[list[LabelSelectorRequirement], ATOMIC] = []
    matchLabels: dict[str, str] = {}


class ShardInfo(Model):
    """ShardInfo."""

    selector: Annotated[str, REQUIRED] = ""


class ListMeta(Model):
    """ListMeta."""

    continue_: str = field(name="continue", default="")
    remainingItemCount: Int64 | None = None
    resourceVersion: str = ""
    selfLink: str = ""
    shardInfo: ShardInfo | None = None


class ManagedFieldsEntry(Model):
    """ManagedFieldsEntry."""

    apiVersion: str = ""
    fieldsType: str = ""
    fieldsV1: RawExtension | None = None
    manager: str = ""
    operation: str = ""
    subresource: str = ""
    time: Time | None = None


class OwnerReference(Model):
    """OwnerReference."""

    apiVersion: Annotated[str, REQUIRED] = ""
    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    uid: Annotated[str, REQUIRED] = ""
    blockOwnerDeletion: bool | None = None
    controller: bool | None = None


class ObjectMeta(Model):
    """ObjectMeta."""

    annotations: dict[str, str] = {}
    creationTimestamp: Time = ""
    deletionGracePeriodSeconds: Int64 | None = None
    deletionTimestamp: Time | None = None
    finalizers: Annotated[list[str], SET, merge_by("")] = []
    generateName: str = ""
    generation: Int64 = 0
    labels: dict[str, str] = {}
    managedFields: Annotated[list[ManagedFieldsEntry], ATOMIC] = []
    name: str = ""
    namespace: str = ""
    ownerReferences: Annotated[list[OwnerReference], list_map("uid"), merge_by("uid")] = []
    resourceVersion: str = ""
    selfLink: str = ""
    uid: str = ""


class StatusCause(Model):
    """StatusCause."""

    field: str = ""
    message: str = ""
    reason: str = ""


class StatusDetails(Model):
    """StatusDetails."""

    causes: Annotated[list[StatusCause], ATOMIC] = []
    group: str = ""
    kind: str = ""
    name: str = ""
    retryAfterSeconds: Int32 = 0
    uid: str = ""


class Status(Kind):
    """Status."""

    gvk: ClassVar = Name("", "v1", "Status")

    metadata: ListMeta = ListMeta()
    status: str = ""
    code: Int32 = 0
    details: StatusDetails | None = None
    message: str = ""
    reason: str = ""


class WatchEvent(Model):
    """WatchEvent."""

    object: Annotated[RawExtension | None, REQUIRED] = None
    type: Annotated[str, REQUIRED] = ""


class PartialObjectMetadata(Kind):
    """The metadata of any object; `apiVersion` and `kind` are those of the object."""

    gvk: ClassVar = Name("meta.k8s.io", "v1", "PartialObjectMetadata")

    metadata: ObjectMeta = ObjectMeta()
