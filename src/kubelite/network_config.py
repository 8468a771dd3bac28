"""The settings of a node's and a cluster's network: addresses and ranges, one or one of each family.

They are spelt as Kubernetes and k3s spell them. Two values of one setting have a comma between them, and the family of
the first is the primary one.
"""

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Protocol

from msgspec import Struct

from kubelite.address_pool import check_pool
from kubelite.engine_config import EngineConfig
from kubelite.settings import Setting
from kubelite.settings import unusable as _unusable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

OWN_NETWORK, CNI_NETWORK = "kubelite", "cni"
LINK_LENGTH_MAX = 15  # of the name of a network interface
NODE_PREFIX_MAX = {4: 30, 6: 126}  # room for a gateway and a pod, by version of the family
NODE_PREFIX_DEFAULT = {4: 24, 6: 64}
RANGE_PREFIX_MIN = {4: 8, 6: 16}  # of a range; a shorter one is most of all addresses
RANGE_PREFIX_MAX = {4: 24, 6: 120}  # a range of at least 256 addresses
DNS_OFFSET = 10  # of the address of cluster DNS in its range


# Parts of every node's network that a cluster may do without, spelt as in k3s.
DNS, NETWORK_POLICY, KUBE_PROXY = "coredns", "network-policy", "kube-proxy"


class ClusterSettings(Struct, frozen=True):
    """What all nodes of a cluster must agree on."""

    cluster_cidr: str  # one range, or one of each family with a comma between them
    service_cidr: str  # the same of Services, with the same families in the same order
    dns_address: str  # of the primary family
    cluster_domain: str
    dns_secondary: str = (
        ""  # address of cluster DNS of the other family; "" in a single-stack cluster
    )
    disabled: tuple[str, ...] = ()  # of DNS, NETWORK_POLICY and KUBE_PROXY

    @property
    def cluster_cidrs(self) -> tuple[str, ...]:
        """The ranges of pods, the primary one first."""
        return parts(self.cluster_cidr)

    @property
    def service_cidrs(self) -> tuple[str, ...]:
        """The ranges of Services, the primary one first."""
        return parts(self.service_cidr)

    @property
    def dns_addresses(self) -> tuple[str, ...]:
        """The addresses of cluster DNS, one of each family of the cluster."""
        return tuple(filter(None, (self.dns_address, self.dns_secondary)))

    @property
    def served_addresses(self) -> tuple[str, ...]:
        """The addresses of cluster DNS that every node serves itself; none if the cluster brings its own DNS."""
        return () if DNS in self.disabled else self.dns_addresses


class NetworkConfig(EngineConfig, frozen=True, kw_only=True):
    """A part of the configuration of every node."""

    node_ip: Annotated[
        str,
        Setting(
            "Address of this node, or one of each family with a comma "
            "(default: that of the default route)",
            "IP",
        ),
    ] = ""
    node_external_ip: Annotated[
        str,
        Setting(
            "Address at which this node is reached from outside, or one of each family with a comma",
            "IP",
        ),
    ] = ""
    interface: Annotated[
        str, Setting("Network interface whose address this node has, instead of --node-ip", "NAME")
    ] = ""

    network_plugin: Annotated[
        str,
        Setting(
            "Who connects pods: kubelite itself, or cni: the plugins configured on this host",
            "NAME",
        ),
    ] = OWN_NETWORK
    cni_conf_dir: Annotated[
        str, Setting("Folder of network configurations, with --network-plugin=cni", "DIR")
    ] = "/etc/cni/net.d"
    cni_bin_dir: Annotated[
        str,
        Setting("Folders of CNI plugins with commas between them, searched in this order", "DIR"),
    ] = "/opt/cni/bin,/usr/lib/cni"

    @property
    def cni_bin_dirs(self) -> tuple[str, ...]:
        """The folders of CNI plugins."""
        return parts(self.cni_bin_dir)

    @property
    def node_ips(self) -> tuple[str, ...]:
        """The addresses in `node_ip`, the primary one first; none: to be found."""
        return _texts(self.node_ip)

    @property
    def node_external_ips(self) -> tuple[str, ...]:
        """The addresses in `node_external_ip`."""
        return _texts(self.node_external_ip)


def parts(text: str) -> tuple[str, ...]:
    """Return the parts of a setting, which have commas between them."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _texts(addresses: str) -> tuple[str, ...]:
    """Return addresses as the kernel and Kubernetes write them, since they are compared as texts. Raises ValueError."""
    return tuple(str(ipaddress.ip_address(part)) for part in parts(addresses))


class ClusterRanges(Protocol):
    """The settings of a server that are checked here."""

    @property
    def cluster_cidr(self) -> str: ...
    @property
    def service_cidr(self) -> str: ...
    @property
    def cluster_dns(self) -> str: ...
    @property
    def bind_address(self) -> str: ...
    @property
    def node_cidr_mask_size(self) -> int: ...
    @property
    def node_cidr_mask_size_ipv4(self) -> int: ...
    @property
    def node_cidr_mask_size_ipv6(self) -> int: ...


def listening_address(address: str, cluster_cidr: str) -> str:
    """Return where to listen: all addresses of IPv4 mean those of IPv6 too in a cluster that has it."""
    has_ipv6 = any(":" in one for one in parts(cluster_cidr))
    return "::" if has_ipv6 and address == "0.0.0.0" else address  # noqa: S104 - compared


def networks_of(text: str) -> tuple[Network, ...]:
    """Return the ranges of a setting. Raises ValueError."""
    return tuple(ipaddress.ip_network(part) for part in parts(text))


def dns_addresses(service_cidr: str, given: str) -> tuple[str, ...]:
    """Return the addresses of cluster DNS by family of the Services: the given one, else the tenth of the range."""
    chosen = {ipaddress.ip_address(one).version: one for one in _texts(given)}
    return tuple(
        chosen.get(network.version) or str(network[DNS_OFFSET])
        for network in networks_of(service_cidr)
    )


def node_prefixes(config: ClusterRanges) -> dict[int, int]:
    """Return the prefix length of a node's part by version of the family.

    One setting serves the only family of a cluster; its default of 24 is no wish for IPv6.
    """
    of_family = {4: config.node_cidr_mask_size_ipv4, 6: config.node_cidr_mask_size_ipv6}
    if config.node_cidr_mask_size != NODE_PREFIX_DEFAULT[4]:
        return dict.fromkeys(of_family, config.node_cidr_mask_size)
    return of_family


def check_node_network(config: NetworkConfig) -> None:
    """Check the addresses of a node. Raises InvalidConfig."""
    if config.network_plugin not in (OWN_NETWORK, CNI_NETWORK):
        reason = f"must be {OWN_NETWORK} or {CNI_NETWORK}"
        raise _unusable("network_plugin", config.network_plugin, reason)
    for field in ("cni_conf_dir", "cni_bin_dir"):
        for part in parts(getattr(config, field)) or ("",):
            if not part.startswith("/"):
                raise _unusable(field, part, "must be an absolute path")
    for field in ("node_ip", "node_external_ip"):
        value = getattr(config, field)
        for part in parts(value):
            check_address(field, part)
            address = ipaddress.ip_address(part)
            if address.is_unspecified or address.is_multicast:
                raise _unusable(field, part, "must be an address of this host")
        _one_of_each_family(field, value, [ipaddress.ip_address(one) for one in parts(value)])
    if config.interface and config.node_ip:
        raise _unusable("interface", config.interface, "--node-ip is given too")
    if len(config.interface) > LINK_LENGTH_MAX or "/" in config.interface:
        raise _unusable("interface", config.interface, "must be the name of a network interface")


def check_expected(cluster_cidr: str, service_cidr: str, cluster_dns: str) -> None:
    """Check what an agent expects of its cluster; each may be empty. Raises InvalidConfig."""
    for field, value in (("cluster_cidr", cluster_cidr), ("service_cidr", service_cidr)):
        if value:
            _check_ranges(field, value)
    _check_addresses("cluster_dns", cluster_dns)


def check_cluster_network(config: ClusterRanges) -> None:
    """Check the ranges and addresses of a cluster. Raises InvalidConfig."""
    pods = _check_ranges("cluster_cidr", config.cluster_cidr)
    services = _check_ranges("service_cidr", config.service_cidr)
    if [one.version for one in pods] != [one.version for one in services]:
        reason = f"must have the families of --cluster-cidr {config.cluster_cidr} in the same order"
        raise _unusable("service_cidr", config.service_cidr, reason)
    check_address("bind_address", config.bind_address)
    _check_dns(config, services)
    for one, other in zip(pods, services, strict=True):
        if one.overlaps(other):
            raise _unusable("service_cidr", config.service_cidr, "must not overlap --cluster-cidr")
    _check_prefixes(config, pods)


def _check_dns(config: ClusterRanges, services: Sequence[Network]) -> None:
    _check_addresses("cluster_dns", config.cluster_dns)
    for text in parts(config.cluster_dns):
        address = ipaddress.ip_address(text)
        if not any(address in network for network in services):
            raise _unusable("cluster_dns", text, "must be within --service-cidr")
        if any(address == network[1] for network in services):
            raise _unusable("cluster_dns", text, "is the address of the API's Service")


def _check_prefixes(config: ClusterRanges, pods: Sequence[Network]) -> None:
    """Check the prefix lengths of a node's pod ranges. Raises InvalidConfig."""
    is_given = config.node_cidr_mask_size != NODE_PREFIX_DEFAULT[4]
    if is_given and len(pods) > 1:
        reason = (
            "is not for dual-stack clusters: give --node-cidr-mask-size-ipv4 and "
            "--node-cidr-mask-size-ipv6"
        )
        raise _unusable("node_cidr_mask_size", config.node_cidr_mask_size, reason)
    for version, default in NODE_PREFIX_DEFAULT.items():
        field = f"node_cidr_mask_size_ipv{version}"
        size = getattr(config, field)
        if size != default and is_given:
            raise _unusable(field, size, "--node-cidr-mask-size is given too")
        if size != default and not any(network.version == version for network in pods):
            raise _unusable(field, size, f"the cluster has no range of IPv{version}")
    wanted = node_prefixes(config)
    for network in pods:
        size, least, most = (
            wanted[network.version],
            network.prefixlen,
            NODE_PREFIX_MAX[network.version],
        )
        if not least <= size <= most:
            is_one = is_given or (len(pods) == 1 and size == NODE_PREFIX_DEFAULT[4])
            field = f"node_cidr_mask_size{'' if is_one else f'_ipv{network.version}'}"
            reason = f"must be {least} to {most} for pod addresses of {network}"
            raise _unusable(field, size, reason)


def check_load_balancer_pool(
    pool: Sequence[str], config: ClusterRanges, *, is_disabled: bool
) -> None:
    """Check the pool of load balancers beside the cluster's ranges. Raises InvalidConfig."""
    if pool and is_disabled:
        given = ",".join(pool)
        raise _unusable("load_balancer_pool", given, "--disable servicelb is given too")
    networks = [
        (flag, part)
        for flag, text in (
            ("--cluster-cidr", config.cluster_cidr),
            ("--service-cidr", config.service_cidr),
        )
        for part in parts(text)
    ]
    check_pool(pool, networks)


def _check_ranges(field: str, value: str) -> tuple[Network, ...]:
    """Return the ranges of a setting, one or one of each family. Raises InvalidConfig."""
    texts = parts(value)
    if not texts:
        raise _unusable(field, value or '""', "must be a range of addresses")
    found = tuple(check_network(field, text) for text in texts)
    _one_of_each_family(field, value, found)
    return found


def _check_addresses(field: str, value: str) -> None:
    for text in parts(value):
        check_address(field, text)
    _one_of_each_family(field, value, [ipaddress.ip_address(one) for one in parts(value)])


def _one_of_each_family(field: str, value: str, found: Sequence[Network | Address]) -> None:
    if len({one.version for one in found}) != len(found):
        raise _unusable(field, value, "must be one value, or one of IPv4 and one of IPv6")


def check_network(field: str, value: str) -> Network:
    """Return a range that pods or Services may have. Raises InvalidConfig."""
    try:
        network: Network = ipaddress.ip_network(value)
    except ValueError as error:
        raise _unusable(field, value, str(error)) from None
    family = network.version
    if network.prefixlen > RANGE_PREFIX_MAX[family]:
        raise _unusable(field, value, f"must be an IPv{family} range of at least 256 addresses")
    is_special = network.is_loopback or network.is_multicast or network.is_link_local
    if network.prefixlen < RANGE_PREFIX_MIN[family] or is_special or _is_mapped(network):
        raise _unusable(
            field, value, "must be a range of addresses that pods and Services may have"
        )
    return network


def _is_mapped(network: Network) -> bool:
    """Return whether a range of IPv6 holds IPv4 addresses written as IPv6, which are IPv4 to the kernel."""
    return isinstance(network, ipaddress.IPv6Network) and network.overlaps(
        ipaddress.IPv6Network("::ffff:0:0/96")
    )


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_address(field: str, value: str) -> None:
    """Check an address, which may be empty. Raises InvalidConfig."""
    if not value:
        return
    try:
        address = ipaddress.ip_address(value)
    except ValueError as error:
        raise _unusable(field, value, str(error)) from None
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise _unusable(field, value, "must not have a zone, nor be an address of IPv4 in IPv6")
