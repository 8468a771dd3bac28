"""The rows of networking.k8s.io."""

from kubelite.api.kinds import networking
from kubelite.api.machinery import names
from kubelite.api.machinery.columns import networking as networking_columns
from kubelite.api.machinery.defaults import networking as networking_defaults
from kubelite.api.registry.builtin.row import row
from kubelite.api.registry.rules import networking as networking_rules
from kubelite.api.registry.rules.sets import Rules, Warnings, always
from kubelite.api.registry.rules.warnings import networking as networking_warnings
from kubelite.api.registry.strategy import Conduct

NETWORKING = (
    row(
        networking.IngressClass,
        "ingressclasses",
        cluster=True,
        rules=Rules(networking_rules.ingress_class, networking_rules.ingress_class_update),
        defaults=networking_defaults.default_ingress_class,
        layout=networking_columns.INGRESS_CLASS,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        networking.Ingress,
        "ingresses",
        "status",
        short=("ing",),
        rules=Rules(
            networking_rules.ingress,
            networking_rules.ingress_update,
            networking_rules.ingress_status,
        ),
        warnings=Warnings(networking_warnings.ingress, None, networking_warnings.balancer_status),
        layout=networking_columns.INGRESS,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        networking.IPAddress,
        "ipaddresses",
        cluster=True,
        short=("ip",),
        rules=Rules(
            networking_rules.address_object,
            networking_rules.address_object_update,
            name=names.path_segment,  # an IPv6 address is no DNS subdomain
        ),
        layout=networking_columns.IP_ADDRESS,
    ),
    row(
        networking.NetworkPolicy,
        "networkpolicies",
        short=("netpol",),
        rules=Rules(networking_rules.policy),
        warnings=always(networking_warnings.policy),
        defaults=networking_defaults.default_network_policy,
        layout=networking_columns.NETWORK_POLICY,
        conduct=Conduct(counts_generation=True),
    ),
    row(
        networking.ServiceCIDR,
        "servicecidrs",
        "status",
        cluster=True,
        rules=Rules(networking_rules.service_range, networking_rules.service_range_update),
        layout=networking_columns.SERVICE_CIDR,
    ),
)
