"""The table of rules by group and kind."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from kubelite.api.machinery import names
from kubelite.api.registry.rules import (
    batch,
    cluster,
    config,
    pods,
    services,
    storage,
    workloads,
)
from kubelite.api.registry.rules.metadata import NameRule
from kubelite.api.registry.rules.values import JSON, Out

Check = Callable[[JSON], Out]
UpdateCheck = Callable[[JSON, JSON], Out]


class Rules(Struct, frozen=True):
    """What one kind demands: of its name, of a new object, of a change, of a change of its status."""

    validate: Check | None = None
    validate_update: UpdateCheck | None = None  # without it, a change is checked like a new object
    validate_status_update: UpdateCheck | None = None
    name: NameRule = names.dns_subdomain
    subresources: Mapping[str, UpdateCheck] = {}


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
    ("", "Event"): Rules(cluster.event),
    ("events.k8s.io", "Event"): Rules(cluster.event),
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
}
