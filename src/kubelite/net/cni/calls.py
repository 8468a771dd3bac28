"""What a CNI plugin is given and what it answers, after the CNI specification 1.1. Pure."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from kubelite.api.machinery.quantity import parse_quantity
from kubelite.net.cni.configuration import JSON, Network

INTERFACE: Final = "eth0"
INGRESS, EGRESS = "kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"
BANDWIDTH_MIN, BANDWIDTH_MAX = 1_000, 10**15  # bits a second, as the kubelet has them


class PluginFailed(Exception):
    """A plugin reported an error, or gave no usable answer."""


class InvalidBandwidth(Exception):
    """An annotation with a bandwidth that cannot be had."""


class HostPort(Protocol):
    """A port of the node that leads to a pod's port."""

    @property
    def host_port(self) -> int: ...
    @property
    def container_port(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def host_ip(self) -> str: ...


class Attachment(Struct, frozen=True):
    """A pod's connection, as it was made and as it must be told when it ends; kept on disk."""

    pod_uid: str  # the container id that plugins are told
    pod_key: str
    netns: str
    namespace: tuple[int, int]  # device and inode of the namespace
    network: Network
    capabilities: JSON = {}
    result: JSON = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """The pod's addresses, in the order of the result."""
        return addresses_of(self.result)


def capabilities_of(ports: Sequence[HostPort], annotations: Mapping[str, str]) -> JSON:
    """Return what plugins with these capabilities are told of a pod. Raises InvalidBandwidth."""
    told: JSON = {}
    if ports:
        told["portMappings"] = [
            {
                "hostPort": port.host_port,
                "containerPort": port.container_port,
                "protocol": port.protocol.lower(),
                "hostIP": port.host_ip,
            }
            for port in ports
        ]
    bandwidth = {
        **_rate(annotations, INGRESS, "ingressRate", "ingressBurst"),
        **_rate(annotations, EGRESS, "egressRate", "egressBurst"),
    }
    if bandwidth:
        told["bandwidth"] = bandwidth
    return told


def _rate(annotations: Mapping[str, str], name: str, rate: str, burst: str) -> dict[str, int]:
    text = annotations.get(name)
    if text is None:
        return {}
    try:
        bits = parse_quantity(text).value()
    except ValueError as error:
        raise InvalidBandwidth(f"annotation {name}: {error}") from error
    if not BANDWIDTH_MIN <= bits <= BANDWIDTH_MAX:
        raise InvalidBandwidth(f"annotation {name}: {text} is not from 1k to 1P bits a second")
    return {rate: bits, burst: 2**31 - 1}  # a burst of any length, as container engines tell


def environment(
    command: str, attachment: Attachment | None, programs: Sequence[str]
) -> dict[str, str]:
    """Return the variables of a call; without an attachment, those of GC and STATUS."""
    variables = {"CNI_COMMAND": command, "CNI_PATH": ":".join(programs)}
    if attachment is not None:
        namespace, _, name = attachment.pod_key.partition("/")
        variables |= {
            "CNI_CONTAINERID": attachment.pod_uid,
            "CNI_NETNS": attachment.netns,
            "CNI_IFNAME": INTERFACE,
            "CNI_ARGS": (
                f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};"
                f"K8S_POD_INFRA_CONTAINER_ID={attachment.pod_uid};K8S_POD_UID={attachment.pod_uid}"
            ),
        }
    return variables


def plugin_input(
    network: Network,
    plugin: JSON,
    *,
    capabilities: JSON | None = None,
    previous: JSON | None = None,
    valid: Sequence[JSON] | None = None,
) -> bytes:
    """Return what a plugin reads: its configuration, with the network's name and version and what it is capable of."""
    document = {key: value for key, value in plugin.items() if key != "capabilities"}
    document |= {"name": network.name, "cniVersion": network.version}
    document.pop("cniVersions", None)
    can = plugin.get("capabilities")
    told = {
        name: value
        for name, value in (capabilities or {}).items()
        if isinstance(can, dict) and can.get(name) is True
    }
    if told:
        document["runtimeConfig"] = told
    if previous:
        document["prevResult"] = previous
    if valid is not None:
        document["cni.dev/valid-attachments"] = list(valid)
    return msgspec.json.encode(document)


def read_result(kind: str, code: int, output: bytes, errors: bytes) -> JSON:
    """Return what a plugin answered; empty where it has nothing to say. Raises PluginFailed."""
    document: JSON = {}
    try:
        document = msgspec.json.decode(output or b"{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        if not code:
            raise PluginFailed(f"plugin type={kind!r}: its answer is no JSON: {error}") from error
    if code:
        text = errors.decode(errors="replace").strip()[:1024]
        message = document.get("msg") or text or f"netplugin failed with exit code {code}"
        details = document.get("details")
        raise PluginFailed(
            f"plugin type={kind!r} failed: {message}{f'; {details}' if details else ''}"[:2048]
        )
    return document


def addresses_of(result: JSON) -> tuple[str, ...]:
    """Return the addresses of a result that are in the pod, one of each family, in their order.

    A plugin lists interfaces of the host, too; an address belongs to the pod if it names none or one in its namespace.
    """
    interfaces = result.get("interfaces") or []
    found: dict[int, str] = {}
    for entry in result.get("ips") or []:
        if not isinstance(entry, dict) or not _is_inside(entry.get("interface"), interfaces):
            continue
        try:
            address = ipaddress.ip_interface(str(entry.get("address"))).ip
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_multicast):
            found.setdefault(address.version, str(address))
    return tuple(found.values())


def _is_inside(index: object, interfaces: list[Any]) -> bool:
    if not isinstance(index, int):
        return True
    known = interfaces[index] if 0 <= index < len(interfaces) else None
    return isinstance(known, dict) and bool(known.get("sandbox"))
