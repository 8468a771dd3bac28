"""The table of rules by group and kind."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from kubelite.api.machinery import names
from kubelite.api.registry.rules import (
    access,
    batch,
    cluster,
    config,
    devices,
    extensions,
    flow_control,
    networking,
    pods,
    scaling,
    services,
    storage,
    workloads,
)
from kubelite.api.registry.rules.custom_definition_updates import (
    custom_definition_status_update,
    custom_definition_update,
)
from kubelite.api.registry.rules.custom_definitions import custom_definition
from kubelite.api.registry.rules.metadata import NameRule
from kubelite.api.registry.rules.values import JSON, Out

Check = Callable[[JSON], Out]
UpdateCheck = Callable[[JSON, JSON], Out]


class Rules(Struct, frozen=True):
    """The checks of one kind: of its name, a new object, an update, and a status update."""

    validate: Check | None = None
    validate_update: UpdateCheck | None = None  # None: an update is checked like a new object
    validate_status_update: UpdateCheck | None = None
    name: NameRule = names.dns_subdomain
    subresources: Mapping[str, UpdateCheck] = {}


_NETWORKING, _RBAC = "networking.k8s.io", "rbac.authorization.k8s.io"
_ADMISSION, _FLOW = "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"
_DEVICES = "resource.k8s.io"

RULES: dict[tuple[str, str], Rules] = {
    ("", "Pod"): Rules(
        pods.validate,
        pods.validate_update,
        pods.validate_status_update,
        subresources={"ephemeralcontainers": pods.validate_ephemeral_update},
    ),
    ("", "Binding"): Rules(pods.validate_binding, name=names.path_segment),
    ("", "PodTemplate"): Rules(workloads.stored_template),
    ("", "ReplicationController"): Rules(
        workloads.replication_controller,
        validate_status_update=workloads.replica_set_status,
    ),
    ("", "Service"): Rules(
        services.service,
        services.service_update,
        services.service_status,
        name=names.dns_label,
    ),
    ("", "Endpoints"): Rules(services.endpoints, services.endpoints_update),
    ("", "ConfigMap"): Rules(config.config_map, config.config_map_update),
    ("", "Secret"): Rules(config.secret, config.secret_update),
    ("", "ServiceAccount"): Rules(config.service_account),
    ("", "Namespace"): Rules(
        cluster.namespace,
        cluster.namespace_update,
        cluster.namespace_status,
        name=names.dns_label,
    ),
    ("", "Node"): Rules(cluster.node, cluster.node_update, cluster.node_update),
    ("", "PersistentVolume"): Rules(storage.volume, storage.volume_update),
    ("", "PersistentVolumeClaim"): Rules(storage.claim, storage.claim_update, storage.claim_status),
    ("", "LimitRange"): Rules(cluster.limit_range),
    ("", "ResourceQuota"): Rules(cluster.quota, cluster.quota_update, cluster.quota_status),
    ("", "Event"): Rules(cluster.event, name=names.path_segment),
    ("apps", "Deployment"): Rules(
        workloads.deployment, workloads.deployment_update, workloads.deployment_status
    ),
    ("apps", "ReplicaSet"): Rules(
        workloads.replica_set, workloads.replica_set_update, workloads.replica_set_status
    ),
    ("apps", "StatefulSet"): Rules(
        workloads.stateful_set,
        workloads.stateful_set_update,
        workloads.stateful_set_status,
    ),
    ("apps", "DaemonSet"): Rules(
        workloads.daemon_set, workloads.daemon_set_update, workloads.daemon_set_status
    ),
    ("apps", "ControllerRevision"): Rules(
        workloads.controller_revision, workloads.controller_revision_update
    ),
    ("autoscaling", "Scale"): Rules(workloads.scale),
    ("batch", "Job"): Rules(batch.job, batch.job_update, batch.job_status),
    ("batch", "CronJob"): Rules(batch.cron_job, batch.cron_job_update),
    ("discovery.k8s.io", "EndpointSlice"): Rules(
        services.endpoint_slice, services.endpoint_slice_update
    ),
    ("scheduling.k8s.io", "PriorityClass"): Rules(
        cluster.priority_class, cluster.priority_class_update
    ),
    ("node.k8s.io", "RuntimeClass"): Rules(cluster.runtime_class, cluster.runtime_class_update),
    ("coordination.k8s.io", "Lease"): Rules(cluster.lease),
    ("storage.k8s.io", "StorageClass"): Rules(storage.storage_class, storage.storage_class_update),
    ("storage.k8s.io", "VolumeAttachment"): Rules(storage.attachment, storage.attachment_update),
    ("storage.k8s.io", "CSIDriver"): Rules(storage.csi_driver, storage.csi_driver_update),
    ("storage.k8s.io", "CSINode"): Rules(storage.csi_node),
    ("storage.k8s.io", "CSIStorageCapacity"): Rules(storage.capacity, storage.capacity_update),
    ("storage.k8s.io", "VolumeAttributesClass"): Rules(
        storage.attributes_class, storage.attributes_class_update
    ),
    ("policy", "PodDisruptionBudget"): Rules(
        scaling.budget, validate_status_update=scaling.budget_status
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): Rules(
        scaling.autoscaler, validate_status_update=scaling.autoscaler_status
    ),
    (_NETWORKING, "Ingress"): Rules(
        networking.ingress, networking.ingress_update, networking.ingress_status
    ),
    (_NETWORKING, "IngressClass"): Rules(networking.ingress_class, networking.ingress_class_update),
    (_NETWORKING, "NetworkPolicy"): Rules(networking.policy),
    (_NETWORKING, "ServiceCIDR"): Rules(networking.service_range, networking.service_range_update),
    (_NETWORKING, "IPAddress"): Rules(
        networking.address_object,
        networking.address_object_update,
        name=names.path_segment,  # an IPv6 address is no DNS subdomain
    ),
    (_RBAC, "Role"): Rules(access.role, name=names.path_segment),
    (_RBAC, "ClusterRole"): Rules(access.cluster_role, name=names.path_segment),
    (_RBAC, "RoleBinding"): Rules(
        access.role_binding, access.role_binding_update, name=names.path_segment
    ),
    (_RBAC, "ClusterRoleBinding"): Rules(
        access.cluster_role_binding,
        access.cluster_role_binding_update,
        name=names.path_segment,
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): Rules(
        access.signing_request,
        access.signing_request_update,
        access.signing_request_status,
        name=names.path_segment,
        subresources={"approval": access.signing_request_approval},
    ),
    (_ADMISSION, "ValidatingWebhookConfiguration"): Rules(extensions.webhooks),
    (_ADMISSION, "MutatingWebhookConfiguration"): Rules(extensions.webhooks),
    (_ADMISSION, "ValidatingAdmissionPolicy"): Rules(extensions.admission_policy),
    (_ADMISSION, "MutatingAdmissionPolicy"): Rules(extensions.admission_policy),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): Rules(extensions.policy_binding),
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): Rules(extensions.policy_binding),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Rules(
        custom_definition, custom_definition_update, custom_definition_status_update
    ),
    ("apiregistration.k8s.io", "APIService"): Rules(
        extensions.api_service,
        name=names.path_segment,  # that of the core group is named "v1."
    ),
    (_FLOW, "FlowSchema"): Rules(flow_control.flow_schema),
    (_FLOW, "PriorityLevelConfiguration"): Rules(flow_control.priority_level),
    (_DEVICES, "DeviceClass"): Rules(devices.device_class),
    (_DEVICES, "ResourceClaim"): Rules(devices.resource_claim, devices.fixed_spec),
    (_DEVICES, "ResourceClaimTemplate"): Rules(devices.resource_claim_template, devices.fixed_spec),
    (_DEVICES, "ResourceSlice"): Rules(devices.resource_slice, devices.resource_slice_update),
}
