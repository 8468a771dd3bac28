"""What a cluster says of itself to machines that join: addresses, domain, version; and whether they agree with it."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from msgspec import Struct

from kubelite import __version__
from kubelite.config import AgentConfig, ClusterSettings
from kubelite.joining.refusal import JoinFailed

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
        return ClusterInfo(
            ClusterSettings(
                cluster_cidr=str(ip_network(text("cluster-cidr"))),
                service_cidr=str(ip_network(text("service-cidr"))),
                dns_address=str(ip_address(text("cluster-dns"))),
                cluster_domain=text("cluster-domain"),
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
        ("--cluster-dns", config.cluster_dns, settings.dns_address),
        ("--cluster-domain", config.cluster_domain, settings.cluster_domain),
    ):
        if given and given != value:
            raise JoinFailed(
                f"cannot join {server}: the cluster has {flag} {value}, and this agent was given {given}"
            )


def _minor(version: str) -> tuple[str, ...]:
    """Return major and minor version."""
    return tuple(version.split(".")[:2])
