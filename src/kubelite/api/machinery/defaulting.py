"""Sets the defaults of built-in kinds that depend on other fields: the table of defaulting functions by kind.

Constant defaults of single fields are notes of the types and set by `structural`. Here are also the fields that
Kubernetes' conversions keep in sync: old and new names of one fact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.defaults import (
    admissionregistration,
    apps,
    autoscaling,
    batch,
    core,
    extensions,
    flowcontrol,
    networking,
    pods,
    rbac,
    resource,
    singles,
    storage,
    volumes,
)

Defaulter = Callable[[dict[str, Any]], None]


def default(gvk: GroupVersionKind, value: dict[str, Any]) -> None:
    """Set the defaults of `value` in place; call `structure` before. Idempotent."""
    if (fill := DEFAULTERS.get(gvk)) is not None:
        fill(value)


def _of_group(
    group: str, version: str = "v1", **fills: Defaulter
) -> dict[GroupVersionKind, Defaulter]:
    return {GroupVersionKind(group, version, kind): fill for kind, fill in fills.items()}


DEFAULTERS: Mapping[GroupVersionKind, Defaulter] = MappingProxyType(
    _of_group(
        "",
        Pod=pods.default_pod,
        PodTemplate=core.default_pod_template,
        ReplicationController=core.default_replication_controller,
        Service=core.default_service,
        Secret=core.default_secret,
        Endpoints=core.default_endpoints,
        Namespace=core.default_namespace,
        Node=core.default_node,
        LimitRange=core.default_limit_range,
        ResourceQuota=core.default_resource_quota,
        PersistentVolume=volumes.default_persistent_volume,
        PersistentVolumeClaim=volumes.default_claim,
    )
    | _of_group(
        "apps",
        Deployment=apps.default_deployment,
        ReplicaSet=apps.default_replica_set,
        StatefulSet=apps.default_stateful_set,
        DaemonSet=apps.default_daemon_set,
    )
    | _of_group("batch", Job=batch.default_job, CronJob=batch.default_cron_job)
    | _of_group("autoscaling", HorizontalPodAutoscaler=autoscaling.default_autoscaler)
    | _of_group("autoscaling", "v2", HorizontalPodAutoscaler=autoscaling.default_autoscaler_v2)
    | _of_group(
        "networking.k8s.io",
        NetworkPolicy=networking.default_network_policy,
        IngressClass=networking.default_ingress_class,
    )
    | _of_group("discovery.k8s.io", EndpointSlice=networking.default_endpoint_slice)
    | _of_group(
        "rbac.authorization.k8s.io",
        RoleBinding=rbac.default_binding,
        ClusterRoleBinding=rbac.default_binding,
    )
    | _of_group(
        "storage.k8s.io",
        StorageClass=storage.default_storage_class,
        CSIDriver=storage.default_csi_driver,
        VolumeAttachment=storage.default_volume_attachment,
    )
    | _of_group(
        "admissionregistration.k8s.io",
        ValidatingWebhookConfiguration=admissionregistration.default_validating_webhooks,
        MutatingWebhookConfiguration=admissionregistration.default_mutating_webhooks,
        ValidatingAdmissionPolicy=admissionregistration.default_policy,
        ValidatingAdmissionPolicyBinding=admissionregistration.default_policy_binding,
        MutatingAdmissionPolicy=admissionregistration.default_policy,
        MutatingAdmissionPolicyBinding=admissionregistration.default_policy_binding,
    )
    | _of_group(
        "apiextensions.k8s.io",
        CustomResourceDefinition=extensions.default_custom_resource_definition,
    )
    | _of_group("apiregistration.k8s.io", APIService=extensions.default_api_service)
    | _of_group(
        "flowcontrol.apiserver.k8s.io",
        FlowSchema=flowcontrol.default_flow_schema,
        PriorityLevelConfiguration=flowcontrol.default_priority_level,
    )
    | _of_group(
        "resource.k8s.io",
        ResourceClaim=resource.default_resource_claim,
        ResourceClaimTemplate=resource.default_resource_claim_template,
    )
    | _of_group("scheduling.k8s.io", PriorityClass=singles.default_priority_class)
    | _of_group("authentication.k8s.io", TokenRequest=singles.default_token_request)
)
