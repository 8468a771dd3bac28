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
    """A version of a group."""

    groupVersion: Annotated[str, REQUIRED] = ""
    version: Annotated[str, REQUIRED] = ""


class ServerAddressByClientCIDR(Model):
    """The address at which clients of a network reach the server."""

    clientCIDR: Annotated[str, REQUIRED] = ""
    serverAddress: Annotated[str, REQUIRED] = ""


class APIGroup(Kind):
    """A group and its versions, the preferred one apart."""

    gvk: ClassVar = Name("", "v1", "APIGroup")

    name: Annotated[str, REQUIRED] = ""
    versions: Annotated[list[GroupVersionForDiscovery], REQUIRED, ATOMIC] = []
    preferredVersion: GroupVersionForDiscovery = GroupVersionForDiscovery()
    serverAddressByClientCIDRs: Annotated[list[ServerAddressByClientCIDR], ATOMIC] = []


class APIGroupList(Kind):
    """A list of API groups."""

    gvk: ClassVar = Name("", "v1", "APIGroupList")

    groups: Annotated[list[APIGroup], REQUIRED, ATOMIC] = []


class APIResource(Model):
    """A resource and what may be done with it."""

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
    """A list of API resources."""

    gvk: ClassVar = Name("", "v1", "APIResourceList")

    groupVersion: Annotated[str, REQUIRED] = ""
    resources: Annotated[list[APIResource], REQUIRED, ATOMIC] = []


class APIVersions(Kind):
    """The versions of the core group."""

    gvk: ClassVar = Name("", "v1", "APIVersions")

    serverAddressByClientCIDRs: Annotated[list[ServerAddressByClientCIDR], REQUIRED, ATOMIC] = []
    versions: Annotated[list[str], REQUIRED, ATOMIC] = []


class Condition(Model):
    """One aspect of an object's state."""

    lastTransitionTime: Annotated[Time, REQUIRED] = ""
    message: Annotated[str, REQUIRED] = ""
    reason: Annotated[str, REQUIRED] = ""
    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    observedGeneration: Int64 = 0


class Preconditions(Model):
    """What must be so for the request to be carried out."""

    resourceVersion: str | None = None
    uid: str | None = None


class DeleteOptions(Kind):
    """How to delete: how long to wait, and what becomes of dependents."""

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
    """What a field must be like."""

    key: Annotated[str, REQUIRED] = ""
    operator: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], ATOMIC] = []


class GroupResource(Model):
    """A resource by group and name."""

    group: Annotated[str, REQUIRED] = ""
    resource: Annotated[str, REQUIRED] = ""


class LabelSelectorRequirement(Model):
    """What a label must be like."""

    key: Annotated[str, REQUIRED] = ""
    operator: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], ATOMIC] = []


class LabelSelector(Model):
    """Picks objects by their labels; an empty one picks all."""

    map_type: ClassVar = "atomic"

    matchExpressions: Annotated[list[LabelSelectorRequirement], ATOMIC] = []
    matchLabels: dict[str, str] = {}


class ShardInfo(Model):
    """Which part of a collection a list holds."""

    selector: Annotated[str, REQUIRED] = ""


class ListMeta(Model):
    """The metadata of a list: revision, and how to go on."""

    continue_: str = field(name="continue", default="")
    remainingItemCount: Int64 | None = None
    resourceVersion: str = ""
    selfLink: str = ""
    shardInfo: ShardInfo | None = None


class ManagedFieldsEntry(Model):
    """The fields one manager owns, in one version."""

    apiVersion: str = ""
    fieldsType: str = ""
    fieldsV1: RawExtension | None = None
    manager: str = ""
    operation: str = ""
    subresource: str = ""
    time: Time | None = None


class OwnerReference(Model):
    """An object this one depends on and goes with."""

    map_type: ClassVar = "atomic"

    apiVersion: Annotated[str, REQUIRED] = ""
    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    uid: Annotated[str, REQUIRED] = ""
    blockOwnerDeletion: bool | None = None
    controller: bool | None = None


class ObjectMeta(Model):
    """The metadata that every object carries."""

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
    """One of the reasons for a refusal."""

    field: str = ""
    message: str = ""
    reason: str = ""


class StatusDetails(Model):
    """More about a refusal: which object, and why."""

    causes: Annotated[list[StatusCause], ATOMIC] = []
    group: str = ""
    kind: str = ""
    name: str = ""
    retryAfterSeconds: Int32 = 0
    uid: str = ""


class Status(Kind):
    """The outcome of a request that answers with no object."""

    gvk: ClassVar = Name("", "v1", "Status")

    metadata: ListMeta = ListMeta()
    status: str = ""
    code: Int32 = 0
    details: StatusDetails | None = None
    message: str = ""
    reason: str = ""


class WatchEvent(Model):
    """A change seen by a watch, and the object after it."""

    object: Annotated[RawExtension | None, REQUIRED] = None
    type: Annotated[str, REQUIRED] = ""


class PartialObjectMetadata(Kind):
    """The metadata of any object; `apiVersion` and `kind` are those of the object."""

    gvk: ClassVar = Name("meta.k8s.io", "v1", "PartialObjectMetadata")

    metadata: ObjectMeta = ObjectMeta()
