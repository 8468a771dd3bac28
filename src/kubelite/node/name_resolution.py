"""Writes a pod's /etc/hosts, /etc/resolv.conf and host name. All pure.

Each function raises ConfigUnavailable when the pod has text that would break the line it belongs to.
"""

import ipaddress
from collections.abc import Sequence

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.trusted_text import address, host_name_text, is_word, word

HOST_NAME_LIMIT = 63
NAMESERVERS_LIMIT = 3
SEARCHES_LIMIT = 32


class DNSSettings(Struct, frozen=True):
    """The DNS settings of the cluster and of the host."""

    cluster_servers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    host_servers: tuple[str, ...] = ()
    host_searches: tuple[str, ...] = ()
    host_options: tuple[str, ...] = ()


def read_resolv_conf(text: str, settings: DNSSettings) -> DNSSettings:
    """Parse the host's resolv.conf; servers on loopback are left out, since pods cannot reach them.

    So are invalid entries: one odd byte in the host's file must not keep all pods from starting.
    """
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        keyword, *values = line.partition("#")[0].partition(";")[0].split() or [""]
        values = [value for value in values if is_word(value)]
        if keyword == "nameserver" and values and _is_server(values[0]):
            servers.append(values[0])
        elif keyword in {"search", "domain"}:
            searches = values
        elif keyword == "options":
            options = values
    return DNSSettings(
        settings.cluster_servers,
        settings.cluster_domain,
        tuple(servers),
        tuple(searches),
        tuple(options),
    )


def _is_server(text: str) -> bool:
    """Return whether pods can reach a name server at this address of the host's resolv.conf."""
    try:
        return not ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def host_name(pod: Pod, domain: str) -> str:
    """Return `hostnameOverride`, else the pod's host name, fully qualified if `setHostnameAsFQDN` says so."""
    if pod.spec.hostnameOverride:
        return host_name_text(pod.spec.hostnameOverride, "hostnameOverride")
    name = _short_name(pod)
    if pod.spec.setHostnameAsFQDN and (suffix := host_domain(pod, domain)):
        return f"{name}.{suffix}"
    return name


def _short_name(pod: Pod) -> str:
    name = (pod.spec.hostname or pod.metadata.name)[:HOST_NAME_LIMIT].rstrip("-.")
    return host_name_text(name, "hostname")


def host_domain(pod: Pod, domain: str) -> str:
    """Return the domain a pod's subdomain puts it in, or an empty string."""
    if not pod.spec.subdomain:
        return ""
    subdomain = host_name_text(pod.spec.subdomain, "subdomain")
    return f"{subdomain}.{_namespace(pod)}.svc.{domain}"


def _namespace(pod: Pod) -> str:
    return host_name_text(pod.metadata.namespace, "namespace")


def hosts_file(pod: Pod, addresses: Sequence[str], domain: str) -> str:
    """Write /etc/hosts for a pod with a network of its own."""
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    name = _short_name(pod)
    suffix = host_domain(pod, domain)
    names = f"{name}.{suffix}\t{name}" if suffix else name
    lines += [f"{address(own, 'address of the pod')}\t{names}" for own in addresses]
    return "\n".join([*lines, *_alias_lines(pod)]) + "\n"


def host_network_hosts_file(pod: Pod, host_file: str) -> str:
    """Write /etc/hosts for a pod on the host's network: the host's, and the pod's aliases."""
    text = "# Kubernetes-managed hosts file (host network).\n" + host_file
    aliases = _alias_lines(pod)
    return text + ("\n".join(aliases) + "\n" if aliases else "")


def _alias_lines(pod: Pod) -> list[str]:
    if not pod.spec.hostAliases:
        return []
    lines = ["", "# Entries added by HostAliases."]
    for alias in pod.spec.hostAliases:
        names = [host_name_text(name, "hostname in hostAliases") for name in alias.hostnames]
        lines.append("\t".join([address(alias.ip, "ip in hostAliases"), *names]))
    return lines


def resolv_conf(pod: Pod, settings: DNSSettings) -> str:
    """Write /etc/resolv.conf by the pod's DNS policy and its own additions."""
    servers, searches, options = _by_policy(pod, settings)
    config = pod.spec.dnsConfig
    if config is not None:
        servers += [address(server, "nameserver in dnsConfig") for server in config.nameservers]
        searches += [word(search, "search path in dnsConfig") for search in config.searches]
        by_name = {option.partition(":")[0]: option for option in options}
        for extra in config.options:
            option = f"{extra.name}:{extra.value}" if extra.value else extra.name
            by_name[extra.name] = word(option, "option in dnsConfig")
        options = list(by_name.values())
    servers = list(dict.fromkeys(servers))[:NAMESERVERS_LIMIT]
    searches = list(dict.fromkeys(searches))[:SEARCHES_LIMIT]
    lines = []
    if searches:
        lines.append("search " + " ".join(searches))
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def _by_policy(pod: Pod, settings: DNSSettings) -> tuple[list[str], list[str], list[str]]:
    policy = pod.spec.dnsPolicy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.hostNetwork:
        policy = "Default"
    if policy == "None":
        return [], [], []
    if policy == "Default" or not settings.cluster_servers:
        return (
            list(settings.host_servers),
            list(settings.host_searches),
            list(settings.host_options),
        )
    domain = settings.cluster_domain
    searches = [f"{_namespace(pod)}.svc.{domain}", f"svc.{domain}", domain]
    return (
        list(settings.cluster_servers),
        [*searches, *settings.host_searches],
        ["ndots:5"],
    )
