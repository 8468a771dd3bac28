"""Roles and role bindings."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import ALWAYS, ATOMIC, REQUIRED, GroupVersionKind, Kind, Model


class AggregationRule(Model):
    """AggregationRule."""

    clusterRoleSelectors: Annotated[list[LabelSelector], ATOMIC] = []


class PolicyRule(Model):
    """PolicyRule."""

    verbs: Annotated[list[str], REQUIRED, ATOMIC] = []
    apiGroups: Annotated[list[str], ATOMIC] = []
    nonResourceURLs: Annotated[list[str], ATOMIC] = []
    resourceNames: Annotated[list[str], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []


class ClusterRole(Kind):
    """ClusterRole."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRole")

    metadata: ObjectMeta = ObjectMeta()
    aggregationRule: AggregationRule | None = None
    rules: Annotated[list[PolicyRule], ATOMIC, ALWAYS] = []


class RoleRef(Model):
    """RoleRef."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: Annotated[str, ALWAYS] = ""


class Subject(Model):
    """Subject."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str = ""
    namespace: str = ""


class ClusterRoleBinding(Kind):
    """ClusterRoleBinding."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding")

    roleRef: Annotated[RoleRef, REQUIRED] = RoleRef()
    metadata: ObjectMeta = ObjectMeta()
    subjects: Annotated[list[Subject], ATOMIC] = []


class ClusterRoleBindingList(Kind):
    """ClusterRoleBindingList."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleBindingList")

    items: Annotated[list[ClusterRoleBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ClusterRoleList(Kind):
    """ClusterRoleList."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleList")

    items: Annotated[list[ClusterRole], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class Role(Kind):
    """Role."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "Role")

    metadata: ObjectMeta = ObjectMeta()
    rules: Annotated[list[PolicyRule], ATOMIC, ALWAYS] = []


class RoleBinding(Kind):
    """RoleBinding."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "RoleBinding")

    roleRef: Annotated[RoleRef, REQUIRED] = RoleRef()
    metadata: ObjectMeta = ObjectMeta()
    subjects: Annotated[list[Subject], ATOMIC] = []


class RoleBindingList(Kind):
    """RoleBindingList."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "RoleBindingList")

    items: Annotated[list[RoleBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RoleList(Kind):
    """RoleList."""

    gvk: ClassVar = GroupVersionKind("rbac.authorization.k8s.io", "v1", "RoleList")

    items: Annotated[list[Role], REQUIRED] = []
    metadata: ListMeta = ListMeta()
