"""The rows of the core group, and of the events of events.k8s.io that are stored as those of the core."""

from collections.abc import Mapping
from typing import Any

from kubelite.api.kinds import authentication, autoscaling_v1, events_v1, policy
from kubelite.api.kinds.core import (
    component_status,
    config,
    endpoints,
    events,
    namespaces,
    nodes,
    persistent_volumes,
    pods,
    quota,
    replication_controllers,
    service_accounts,
    services,
)
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import names
from kubelite.api.machinery.columns import cluster as cluster_columns
from kubelite.api.machinery.columns import extensions as extensions_columns
from kubelite.api.machinery.columns import networking as networking_columns
from kubelite.api.machinery.columns import pods as pods_columns
from kubelite.api.machinery.columns import workloads as workloads_columns
from kubelite.api.machinery.defaults import core as core_defaults
from kubelite.api.machinery.defaults import pods as pods_defaults
from kubelite.api.machinery.defaults import volumes as volumes_defaults
from kubelite.api.machinery.field_selectors import METADATA, NAME_ONLY, Fields, at, path_of, paths
from kubelite.api.registry.builtin.row import ALL, CHANGE, CONNECT, CREATE, PROXY, row
from kubelite.api.registry.component_status import component_statuses
from kubelite.api.registry.resource import STANDARD, Subresource
from kubelite.api.registry.rules import cluster as cluster_rules
from kubelite.api.registry.rules import config as config_rules
from kubelite.api.registry.rules import pods as pods_rules
from kubelite.api.registry.rules import services as services_rules
from kubelite.api.registry.rules import storage as storage_rules
from kubelite.api.registry.rules import workloads as workloads_rules
from kubelite.api.registry.rules.sets import Rules, Warnings, always
from kubelite.api.registry.rules.warnings import cluster as cluster_warnings
from kubelite.api.registry.rules.warnings import networking as networking_warnings
from kubelite.api.registry.rules.warnings import pods as pods_warnings
from kubelite.api.registry.rules.warnings import storage as storage_warnings
from kubelite.api.registry.rules.warnings import workloads as workloads_warnings
from kubelite.api.registry.strategies.namespaces import NamespaceStrategy
from kubelite.api.registry.strategies.pods import PodStrategy
from kubelite.api.registry.strategies.services import ServiceStrategy
from kubelite.api.registry.strategies.storage import SecretStrategy, VolumeStrategy
from kubelite.api.registry.strategy import Conduct
from kubelite.api.registry.subresources.binding import bind_by_body, bind_pod
from kubelite.api.registry.subresources.eviction import evict_pod
from kubelite.api.registry.subresources.scale import WorkloadScale
from kubelite.api.registry.subresources.token import issue_token
from kubelite.api.registry.views import EVENTS_V1

SCALE = Subresource("scale", CHANGE, autoscaling_v1.Scale.gvk, projection=WorkloadScale())
PODS_MADE = Warnings(workloads_warnings.create, workloads_warnings.update)

INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def event_source(fields: Mapping[str, Any]) -> str:
    """Return the component that wrote an event, of the old or the new API."""
    return at("source", "component")(fields) or at("reportingComponent")(fields)


def pod_address(fields: Mapping[str, Any]) -> str:
    """Return the first address of a pod."""
    addresses = (fields.get("status") or {}).get("podIPs") or ()
    return addresses[0].get("ip", "") if addresses else at("status", "podIP")(fields)


def nothing(_: Mapping[str, Any]) -> str:
    """Return "", as Kubernetes reads a field of which it stores a list."""
    return ""


CORE = (
    row(
        pods.Binding,
        "bindings",
        verbs=CREATE,
        post=bind_by_body,
        rules=Rules(pods_rules.validate_binding, name=names.path_segment),
    ),
    row(
        component_status.ComponentStatus,
        "componentstatuses",
        cluster=True,
        short=("cs",),
        verbs=("get", "list"),
        computed=component_statuses,
        deprecation="v1 ComponentStatus is deprecated in v1.19+",
        layout=cluster_columns.COMPONENT_STATUS,
    ),
    row(
        config.ConfigMap,
        "configmaps",
        short=("cm",),
        rules=Rules(config_rules.config_map, config_rules.config_map_update),
        layout=cluster_columns.CONFIG_MAP,
    ),
    row(
        endpoints.Endpoints,
        "endpoints",
        short=("ep",),
        deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        rules=Rules(services_rules.endpoints, services_rules.endpoints_update),
        warnings=always(networking_warnings.endpoints),
        defaults=core_defaults.default_endpoints,
        layout=networking_columns.ENDPOINTS,
        conduct=Conduct(created_by_update=True),
    ),
    row(
        events.Event,
        "events",
        short=("ev",),
        rules=Rules(cluster_rules.event, name=names.path_segment),
        layout=cluster_columns.EVENT,
        fields=Fields(
            {
                **METADATA,
                **paths(*(f"involvedObject.{name}" for name in INVOLVED)),
                **paths("reason", "reportingComponent", "type"),
                "source": event_source,
            }
        ),
        conduct=Conduct(created_by_update=True, collected=False),
    ),
    row(
        quota.LimitRange,
        "limitranges",
        short=("limits",),
        rules=Rules(cluster_rules.limit_range),
        defaults=core_defaults.default_limit_range,
        conduct=Conduct(created_by_update=True),
    ),
    row(
        namespaces.Namespace,
        "namespaces",
        Subresource("finalize", ("update",), namespaces.Namespace.gvk),
        "status",
        cluster=True,
        short=("ns",),
        verbs=tuple(verb for verb in STANDARD if verb != "deletecollection"),
        rules=Rules(
            cluster_rules.namespace,
            cluster_rules.namespace_update,
            cluster_rules.namespace_status,
            name=names.dns_label,
        ),
        defaults=core_defaults.default_namespace,
        layout=cluster_columns.NAMESPACE,
        fields=Fields({**NAME_ONLY, "status.phase": path_of("status.phase")}),
        strategy=NamespaceStrategy,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        nodes.Node,
        "nodes",
        Subresource("proxy", PROXY, GroupVersionKind("", "v1", "NodeProxyOptions")),
        "status",
        cluster=True,
        short=("no",),
        rules=Rules(cluster_rules.node, cluster_rules.node_update, cluster_rules.node_update),
        warnings=always(cluster_warnings.node),
        defaults=core_defaults.default_node,
        layout=cluster_columns.NODE,
        fields=Fields({**NAME_ONLY, "spec.unschedulable": path_of("spec.unschedulable", "false")}),
        conduct=Conduct(created_with_status=True),
    ),
    row(
        persistent_volumes.PersistentVolumeClaim,
        "persistentvolumeclaims",
        "status",
        short=("pvc",),
        rules=Rules(storage_rules.claim, storage_rules.claim_update, storage_rules.claim_status),
        warnings=always(storage_warnings.claim),
        defaults=volumes_defaults.default_claim,
        layout=extensions_columns.PERSISTENT_VOLUME_CLAIM,
        strategy=VolumeStrategy,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        persistent_volumes.PersistentVolume,
        "persistentvolumes",
        "status",
        cluster=True,
        short=("pv",),
        rules=Rules(storage_rules.volume, storage_rules.volume_update),
        warnings=always(storage_warnings.volume),
        defaults=volumes_defaults.default_persistent_volume,
        layout=extensions_columns.PERSISTENT_VOLUME,
        strategy=VolumeStrategy,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        pods.Pod,
        "pods",
        Subresource("attach", CONNECT, GroupVersionKind("", "v1", "PodAttachOptions")),
        Subresource("binding", CREATE, pods.Binding.gvk, bind_pod),
        "ephemeralcontainers",
        Subresource("eviction", CREATE, policy.Eviction.gvk, evict_pod),
        Subresource("exec", CONNECT, GroupVersionKind("", "v1", "PodExecOptions")),
        Subresource("log", ("get",), pods.Pod.gvk),
        Subresource("portforward", CONNECT, GroupVersionKind("", "v1", "PodPortForwardOptions")),
        Subresource("proxy", PROXY, GroupVersionKind("", "v1", "PodProxyOptions")),
        "resize",
        "status",
        short=("po",),
        categories=ALL,
        rules=Rules(
            pods_rules.validate,
            pods_rules.validate_update,
            pods_rules.validate_status_update,
            subresources={"ephemeralcontainers": pods_rules.validate_ephemeral_update},
        ),
        warnings=Warnings(pods_warnings.create, None, pods_warnings.status),
        defaults=pods_defaults.default_pod,
        layout=pods_columns.POD,
        fields=Fields(
            {
                **METADATA,
                **paths(
                    "spec.nodeName",
                    "spec.restartPolicy",
                    "spec.schedulerName",
                    "spec.serviceAccountName",
                    "status.phase",
                    "status.nominatedNodeName",
                ),
                "spec.host": path_of("spec.nodeName"),
                "spec.hostNetwork": path_of("spec.hostNetwork", "false"),
                "status.podIP": pod_address,
                "status.podIPs": nothing,
            }
        ),
        strategy=PodStrategy,
        conduct=Conduct(counts_generation=True, answered_whole=True),
    ),
    row(
        pods.PodTemplate,
        "podtemplates",
        rules=Rules(workloads_rules.stored_template),
        warnings=Warnings(
            workloads_warnings.stored_template, workloads_warnings.stored_template_update
        ),
        defaults=core_defaults.default_pod_template,
        layout=pods_columns.POD_TEMPLATE,
        conduct=Conduct(counts_generation=True, answered_whole=True),
    ),
    row(
        replication_controllers.ReplicationController,
        "replicationcontrollers",
        SCALE,
        "status",
        short=("rc",),
        categories=ALL,
        rules=Rules(
            workloads_rules.replication_controller,
            validate_status_update=workloads_rules.replica_set_status,
        ),
        warnings=PODS_MADE,
        defaults=core_defaults.default_replication_controller,
        layout=workloads_columns.REPLICATION_CONTROLLER,
        fields=Fields({**METADATA, "status.replicas": path_of("status.replicas", "0")}),
        conduct=Conduct(counts_generation=True, default_orphan=True),
    ),
    row(
        quota.ResourceQuota,
        "resourcequotas",
        "status",
        short=("quota",),
        rules=Rules(cluster_rules.quota, cluster_rules.quota_update, cluster_rules.quota_status),
        warnings=Warnings(cluster_warnings.quota),
        defaults=core_defaults.default_resource_quota,
        layout=cluster_columns.RESOURCE_QUOTA,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        config.Secret,
        "secrets",
        rules=Rules(config_rules.secret, config_rules.secret_update),
        warnings=always(cluster_warnings.secret),
        defaults=core_defaults.default_secret,
        layout=cluster_columns.SECRET,
        fields=Fields({**METADATA, "type": path_of("type")}),
        strategy=SecretStrategy,
    ),
    row(
        service_accounts.ServiceAccount,
        "serviceaccounts",
        Subresource("token", CREATE, authentication.TokenRequest.gvk, issue_token),
        short=("sa",),
        rules=Rules(config_rules.service_account),
        warnings=Warnings(
            cluster_warnings.service_account, cluster_warnings.service_account_update
        ),
        layout=cluster_columns.SERVICE_ACCOUNT,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        services.Service,
        "services",
        Subresource("proxy", PROXY, GroupVersionKind("", "v1", "ServiceProxyOptions")),
        "status",
        short=("svc",),
        categories=ALL,
        rules=Rules(
            services_rules.service,
            services_rules.service_update,
            services_rules.service_status,
            name=names.dns_label,
        ),
        warnings=always(networking_warnings.service, networking_warnings.balancer_status),
        defaults=core_defaults.default_service,
        layout=networking_columns.SERVICE,
        fields=Fields({**METADATA, **paths("spec.clusterIP", "spec.type")}),
        strategy=ServiceStrategy,
        conduct=Conduct(created_by_update=True, answered_whole=True),
    ),
)

EVENTS = (
    row(
        events_v1.Event,
        "events",
        short=("ev",),
        stored_as=next(one for one in CORE if one.plural == "events"),
        conversion=EVENTS_V1,
        layout=cluster_columns.EVENT,
        fields=Fields(
            {
                **METADATA,
                **{f"regarding.{name}": path_of(f"regarding.{name}") for name in INVOLVED},
                **paths("reason", "reportingController", "type"),
            }
        ),
        conduct=Conduct(created_by_update=True, collected=False),
    ),
)
