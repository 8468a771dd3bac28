"""Roles and role bindings."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Kind,
    Model,
    NilList,
)


class AggregationRule(Model):
    """Which cluster roles are added up into this one."""

    clusterRoleSelectors: Annotated[list[LabelSelector], ATOMIC] = []


class PolicyRule(Model):
    """Verbs that are allowed on some resources or paths."""

    verbs: Annotated[list[str], REQUIRED, ATOMIC] = []
    apiGroups: Annotated[list[str], ATOMIC] = []
    nonResourceURLs: Annotated[list[str], ATOMIC] = []
    resourceNames: Annotated[list[str], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []


class ClusterRole(Kind):
    """Permissions, for the cluster or for use in any namespace."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRole")

    metadata: ObjectMeta = ObjectMeta()
    aggregationRule: AggregationRule | None = None
    rules: Annotated[NilList[PolicyRule], ATOMIC] = []


class RoleRef(Model):
    """The role a binding grants."""

    map_type: ClassVar = "atomic"

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: Annotated[str, ALWAYS] = ""


class Subject(Model):
    """Who is granted a role: a user, a group or a service account."""

    map_type: ClassVar = "atomic"

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str = ""
    namespace: str = ""


class ClusterRoleBinding(Kind):
    """Grants a cluster role everywhere."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding")

    roleRef: Annotated[RoleRef, REQUIRED] = RoleRef()
    metadata: ObjectMeta = ObjectMeta()
    subjects: Annotated[list[Subject], ATOMIC] = []


class ClusterRoleBindingList(Kind):
    """A list of cluster role bindings."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleBindingList")

    items: Annotated[list[ClusterRoleBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ClusterRoleList(Kind):
    """A list of cluster roles."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleList")

    items: Annotated[list[ClusterRole], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class Role(Kind):
    """Permissions within a namespace."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "Role")

    metadata: ObjectMeta = ObjectMeta()
    rules: Annotated[NilList[PolicyRule], ATOMIC] = []


class RoleBinding(Kind):
    """Grants a role within a namespace."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "RoleBinding")

    roleRef: Annotated[RoleRef, REQUIRED] = RoleRef()
    metadata: ObjectMeta = ObjectMeta()
    subjects: Annotated[list[Subject], ATOMIC] = []


class RoleBindingList(Kind):
    """A list of role bindings."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "RoleBindingList")

    items: Annotated[list[RoleBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RoleList(Kind):
    """A list of roles."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "RoleList")

    items: Annotated[list[Role], REQUIRED] = []
    metadata: ListMeta = ListMeta()
