"""The resource of every built-in kind, for those who must not import the registry and need not ask a server.

A unit test compares them with the table of the registry.
"""

from typing import NamedTuple

from kubelite.api.kinds.model import GroupVersionKind


class ResourceName(NamedTuple):
    """What names a resource in a path."""

    group: str
    version: str
    plural: str

    @property
    def path(self) -> str:
        """The path of all its objects: ``/api/v1/pods`` or ``/apis/apps/v1/deployments``."""
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/{self.version}/{self.plural}"


# By group and version.
_KINDS = {
    "v1": "Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume "
    "PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
    "admissionregistration.k8s.io/v1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding "
    "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
    "ValidatingWebhookConfiguration",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "APIService",
    "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "authentication.k8s.io/v1": "SelfSubjectReview TokenReview",
    "authorization.k8s.io/v1": "LocalSubjectAccessReview SelfSubjectAccessReview "
    "SelfSubjectRulesReview SubjectAccessReview",
    "autoscaling/v1": "HorizontalPodAutoscaler",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "batch/v1": "CronJob Job",
    "certificates.k8s.io/v1": "CertificateSigningRequest",
    "coordination.k8s.io/v1": "Lease",
    "discovery.k8s.io/v1": "EndpointSlice",
    "events.k8s.io/v1": "Event",
    "flowcontrol.apiserver.k8s.io/v1": "FlowSchema PriorityLevelConfiguration",
    "networking.k8s.io/v1": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
    "node.k8s.io/v1": "RuntimeClass",
    "policy/v1": "PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "resource.k8s.io/v1": "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
    "scheduling.k8s.io/v1": "PriorityClass",
    "storage.k8s.io/v1": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment "
    "VolumeAttributesClass",
}


def built_in(kind: GroupVersionKind) -> ResourceName | None:
    """Return the resource of a built-in kind; None for any other kind."""
    if kind.kind not in _KINDS.get(kind.api_version, "").split():
        return None
    return ResourceName(kind.group, kind.version, plural_of(kind.kind))


def plural_of(kind: str) -> str:
    """Return the plural that Kubernetes gives a kind by rule: ``policies``, ``ingresses``, ``pods``."""
    singular = kind.lower()
    if singular.endswith("endpoints"):
        return singular
    if singular.endswith("s"):
        return f"{singular}es"
    return f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"


def built_in_resources() -> frozenset[tuple[str, str]]:
    """Return group and plural of every built-in resource."""
    return frozenset(
        (api_version.rpartition("/")[0], plural_of(kind))
        for api_version, kinds in _KINDS.items()
        for kind in kinds.split()
    )


def is_built_in(name: ResourceName) -> bool:
    """Return whether a resource is built in, at whatever version."""
    return (name.group, name.plural) in built_in_resources()
