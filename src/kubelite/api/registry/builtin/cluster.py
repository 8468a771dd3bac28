"""The rows of the groups with few kinds: scheduling, leases, runtimes, slices, devices and flow control."""

from kubelite.api.kinds import coordination, discovery, flowcontrol, node, resource, scheduling
from kubelite.api.machinery.columns import cluster as cluster_columns
from kubelite.api.machinery.columns import extensions as extensions_columns
from kubelite.api.machinery.columns import networking as networking_columns
from kubelite.api.machinery.defaults import flowcontrol as flowcontrol_defaults
from kubelite.api.machinery.defaults import networking as networking_defaults
from kubelite.api.machinery.defaults import resource as resource_defaults
from kubelite.api.machinery.defaults import singles as singles_defaults
from kubelite.api.machinery.field_selectors import NAME_ONLY, Fields, paths
from kubelite.api.registry.builtin.row import row
from kubelite.api.registry.rules import cluster as cluster_rules
from kubelite.api.registry.rules import device_claim_status, device_slices
from kubelite.api.registry.rules import devices as devices_rules
from kubelite.api.registry.rules import flow_control as flow_control_rules
from kubelite.api.registry.rules import services as services_rules
from kubelite.api.registry.rules.sets import COMPILING, Rules, Warnings, always
from kubelite.api.registry.rules.warnings import cluster as cluster_warnings
from kubelite.api.registry.rules.warnings import networking as networking_warnings
from kubelite.api.registry.strategies.devices import ResourceClaimStrategy, ResourceSliceStrategy
from kubelite.api.registry.strategy import Conduct

OTHERS = (
    row(
        scheduling.PriorityClass,
        "priorityclasses",
        cluster=True,
        short=("pc",),
        rules=Rules(cluster_rules.priority_class, cluster_rules.priority_class_update),
        defaults=singles_defaults.default_priority_class,
        layout=cluster_columns.PRIORITY_CLASS,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        coordination.Lease,
        "leases",
        rules=Rules(cluster_rules.lease),
        layout=cluster_columns.LEASE,
        conduct=Conduct(created_by_update=True, conditional=True),
    ),
    row(
        node.RuntimeClass,
        "runtimeclasses",
        cluster=True,
        rules=Rules(cluster_rules.runtime_class, cluster_rules.runtime_class_update),
        warnings=always(cluster_warnings.runtime_class),
        layout=cluster_columns.RUNTIME_CLASS,
        conduct=Conduct(created_by_update=True, conditional=True),
    ),
    row(
        discovery.EndpointSlice,
        "endpointslices",
        rules=Rules(services_rules.endpoint_slice, services_rules.endpoint_slice_update),
        warnings=Warnings(
            networking_warnings.endpoint_slice,
            lambda thing, _: networking_warnings.endpoint_slice_addresses(thing),
        ),
        defaults=networking_defaults.default_endpoint_slice,
        layout=networking_columns.ENDPOINT_SLICE,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        resource.DeviceClass,
        "deviceclasses",
        cluster=True,
        rules=Rules(
            devices_rules.device_class, devices_rules.device_class_update, passes=COMPILING
        ),
        layout=extensions_columns.DEVICE_CLASS,
        conduct=Conduct(counts_generation=True, answered_whole=True),
    ),
    row(
        resource.ResourceClaim,
        "resourceclaims",
        "status",
        rules=Rules(
            devices_rules.resource_claim,
            devices_rules.fixed_spec,
            device_claim_status.resource_claim_status,
            passes=COMPILING,
        ),
        strategy=ResourceClaimStrategy,
        defaults=resource_defaults.default_resource_claim,
        layout=extensions_columns.RESOURCE_CLAIM,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        resource.ResourceClaimTemplate,
        "resourceclaimtemplates",
        rules=Rules(
            devices_rules.resource_claim_template, devices_rules.fixed_spec, passes=COMPILING
        ),
        defaults=resource_defaults.default_resource_claim_template,
        layout=extensions_columns.DEVICE_CLASS,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        resource.ResourceSlice,
        "resourceslices",
        cluster=True,
        rules=Rules(device_slices.resource_slice, device_slices.resource_slice_update),
        strategy=ResourceSliceStrategy,
        warnings=always(cluster_warnings.resource_slice),
        layout=extensions_columns.RESOURCE_SLICE,
        fields=Fields(
            {
                **NAME_ONLY,
                **paths("spec.nodeName", "spec.driver"),
            },
            "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}",
        ),
        conduct=Conduct(counts_generation=True, answered_whole=True),
    ),
    row(
        flowcontrol.FlowSchema,
        "flowschemas",
        "status",
        cluster=True,
        rules=Rules(flow_control_rules.flow_schema),
        defaults=flowcontrol_defaults.default_flow_schema,
        layout=extensions_columns.FLOW_SCHEMA,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        flowcontrol.PriorityLevelConfiguration,
        "prioritylevelconfigurations",
        "status",
        cluster=True,
        rules=Rules(flow_control_rules.priority_level),
        defaults=flowcontrol_defaults.default_priority_level,
        layout=extensions_columns.PRIORITY_LEVEL_CONFIGURATION,
        conduct=Conduct(counts_generation=True),
    ),
)
