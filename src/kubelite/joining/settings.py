"""What a cluster says of itself to machines that join: addresses, domain, version; and whether they agree with it."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from msgspec import Struct

from kubelite import __version__
from kubelite.config import AgentConfig, ClusterSettings
from kubelite.joining.refusal import JoinFailed
from kubelite.network_config import parts

NAMESPACE, NAME = "kube-system", "kubelite-cluster"  # of the ConfigMap


class ClusterInfo(Struct, frozen=True):
    """The settings and the version of a cluster's server."""

    settings: ClusterSettings
    version: str  # of kubelite


def read_info(server: str, data: Mapping[str, str]) -> ClusterInfo:
    """Return what the ConfigMap's data say. Raises JoinFailed if something is missing or malformed."""

    def text(key: str) -> str:
        if not data.get(key):
            raise JoinFailed(
                f"cannot join {server}: ConfigMap {NAMESPACE}/{NAME} does not say its {key}",
                may_pass=True,
            )
        return data[key]

    try:
        dns = [str(ip_address(part)) for part in parts(text("cluster-dns"))]
        pods, services = (_ranges(text(key)) for key in ("cluster-cidr", "service-cidr"))
        if not len(dns) == len(pods) == len(services) <= 2:
            raise ValueError("it does not have one range of pods and of Services by family")
        return ClusterInfo(
            ClusterSettings(
                cluster_cidr=",".join(pods),
                service_cidr=",".join(services),
                dns_address=dns[0],
                cluster_domain=text("cluster-domain"),
                dns_secondary="".join(dns[1:]),
                disabled=tuple(parts(data.get("disabled", ""))),  # older servers do not say it
            ),
            version=text("version"),
        )
    except ValueError as error:
        raise JoinFailed(
            f"cannot join {server}: ConfigMap {NAMESPACE}/{NAME} is malformed: {error}"
        ) from error


def require_agreement(
    server: str, info: ClusterInfo, config: AgentConfig, own_version: str = __version__
) -> None:
    """Raise JoinFailed if version or settings given to the agent contradict the cluster's."""
    if _minor(info.version) != _minor(own_version):
        raise JoinFailed(
            f"cannot join {server}: it runs kubelite {info.version}, and this is kubelite {own_version}; "
            "their minor versions must be equal"
        )
    settings = info.settings
    for flag, given, value in (
        ("--cluster-cidr", config.cluster_cidr, settings.cluster_cidr),
        ("--service-cidr", config.service_cidr, settings.service_cidr),
        ("--cluster-dns", config.cluster_dns, ",".join(settings.dns_addresses)),
        ("--cluster-domain", config.cluster_domain, settings.cluster_domain),
    ):
        if given and _canonical(given) != value:
            raise JoinFailed(
                f"cannot join {server}: the cluster has {flag} {value}, and this agent was given {given}"
            )


def _ranges(text: str) -> list[str]:
    return [str(ip_network(part)) for part in parts(text)]


def _canonical(given: str) -> str:
    """Return what an agent was given as the cluster writes it: ranges and addresses in their usual form."""
    try:
        return ",".join(
            str(ip_network(part) if "/" in part else ip_address(part)) for part in parts(given)
        )
    except ValueError:  # a domain
        return given


def _minor(version: str) -> tuple[str, ...]:
    """Return major and minor version."""
    return tuple(version.split(".")[:2])
