"""Decides what the cluster's DNS answers. Pure; after the Kubernetes DNS specification 1.1.0."""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Protocol, TypeVar

from msgspec import Struct

from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import Endpoint, EndpointPort, EndpointSlice
from kubelite.limits import DNS_STEPS
from kubelite.net.dns_wire import (
    AAAA,
    ANY,
    CNAME,
    NAME_ERROR,
    NO_ERROR,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Name,
    ResourceRecord,
    encode_name,
    is_encodable,
    parse_name,
)
from kubelite.net.families import IPV4, IPV6, Address, Network, family_of
from kubelite.net.trusted_text import address_text, is_address

TTL_SECONDS = 5
SPECIFICATION_VERSION = b"1.1.0"
WEIGHTS = struct.Struct("!HHH")  # priority, weight, port
SRV_PRIORITY, SRV_WEIGHT_TOTAL = 0, 100

T = TypeVar("T")


class Zone(Protocol):
    """The objects that DNS names resolve to."""

    def has_namespace(self, name: str) -> bool:
        """Return whether a namespace exists."""
        ...

    def service(self, namespace: str, name: str) -> Service | None:
        """Return a service, None if it does not exist."""
        ...

    def slices(self, namespace: str, name: str) -> Sequence[EndpointSlice]:
        """Return the slices of a service."""
        ...

    def services_at(self, address: str) -> Sequence[Service]:
        """Return the services with this cluster address."""
        ...

    def slices_of_host(self, namespace: str, name: str, host: str) -> Sequence[EndpointSlice]:
        """Return the slices of a service with an endpoint whose `host_name` is this."""
        ...

    def slices_at(self, address: str) -> Sequence[EndpointSlice]:
        """Return the slices with an endpoint whose first address this is."""
        ...


class ZoneSettings(Struct, frozen=True):
    """The domain and the address ranges the cluster is authoritative for."""

    domain: Name = (b"cluster", b"local")
    networks: tuple[Network, ...] = (IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16"))


class Answer(Struct, frozen=True):
    """The records and the code of an answer; `chase` is a CNAME target outside, whose records follow these."""

    code: int = NO_ERROR
    records: tuple[ResourceRecord, ...] = ()
    additionals: tuple[ResourceRecord, ...] = ()
    chase: Name = ()


class Host(Struct, frozen=True, order=True):
    """An endpoint's name below its service, and its address."""

    name: bytes
    address: str
    port: int = 0


REVERSE_DOMAINS = ((b"in-addr", b"arpa"), (b"ip6", b"arpa"))
NIBBLES = 32  # of an IPv6 address
NOTHING_HERE = Answer()  # NODATA: the name exists, but has no record of the type
NO_SUCH_NAME = Answer(NAME_ERROR)


def answer(name: Name, record_type: int, zone: Zone, settings: ZoneSettings) -> Answer | None:
    """Return the authoritative answer; None if the name is outside the zone and goes upstream."""
    if name[-2:] in REVERSE_DOMAINS:
        return _answer_address(name, record_type, zone, settings)
    depth = len(settings.domain)
    if name[-depth:] != settings.domain:
        return None
    try:
        labels = [label.decode("ascii") for label in name[:-depth]]
    except UnicodeDecodeError:
        return NO_SUCH_NAME
    return _answer_below(name, labels, record_type, zone, settings)


def _answer_below(
    name: Name, labels: list[str], record_type: int, zone: Zone, settings: ZoneSettings
) -> Answer:
    match labels:
        case [] | ["svc"] | ["pod"]:
            if record_type == SOA and not labels:
                return Answer(records=(start_of_authority(settings),))
            return NOTHING_HERE
        case ["dns-version"]:
            text = bytes((len(SPECIFICATION_VERSION),)) + SPECIFICATION_VERSION
            return _of_type(record_type, ResourceRecord(name, TXT, text, TTL_SECONDS))
        case [namespace, "svc" | "pod"]:
            return NOTHING_HERE if zone.has_namespace(namespace) else NO_SUCH_NAME
        case [dashed, namespace, "pod"]:
            return _answer_pod(name, dashed, namespace, record_type, zone)
        case [*below, service_name, namespace, "svc"] if len(below) <= 2:
            service = zone.service(namespace, service_name)
            if service is None:
                return NO_SUCH_NAME
            return _answer_service(name, below, service, record_type, zone)
    return NO_SUCH_NAME


def start_of_authority(settings: ZoneSettings) -> ResourceRecord:
    """Return the SOA record of negative answers; it says how long they may be cached (RFC 2308)."""
    data = encode_name((b"ns", b"dns", *settings.domain))
    data += encode_name((b"hostmaster", *settings.domain))
    data += struct.pack("!IIIII", 1, 7200, 1800, 86400, TTL_SECONDS)
    return ResourceRecord(settings.domain, SOA, data, TTL_SECONDS)


def _answer_pod(name: Name, dashed: str, namespace: str, record_type: int, zone: Zone) -> Answer:
    address = _undashed(dashed)
    if not address or not zone.has_namespace(namespace):
        return NO_SUCH_NAME
    return _of_type(record_type, _address_record(name, address))


def _undashed(label: str) -> str:
    """Return the address that a label writes with dashes; "" if it writes none."""
    parts = label.split("-")
    if len(parts) == 4 and all(part.isdecimal() and len(part) <= 3 for part in parts):
        return address_text(".".join(str(int(part)) for part in parts), IPV4) or ""
    return address_text(label.replace("-", ":"), IPV6) or ""


def _answer_service(
    name: Name, below: list[str], service: Service, record_type: int, zone: Zone
) -> Answer:
    spec = service.spec
    if spec.type == "ExternalName":
        if below:
            return NO_SUCH_NAME
        target = parse_name(spec.externalName)
        if not is_encodable(target):
            return NOTHING_HERE
        alias = ResourceRecord(name, CNAME, encode_name(target), TTL_SECONDS)
        return Answer(records=(alias,), chase=() if record_type == CNAME else target)
    if below and not (len(below) == 2 and below[0].startswith("_")):
        return _answer_host(name, below, service, record_type, zone)
    if spec.clusterIP == "None":
        return _answer_headless(name, below, service, record_type, zone)
    addresses = [text for text in spec.clusterIPs or [spec.clusterIP] if is_address(text)]
    if not addresses:
        return NOTHING_HERE
    if not below and record_type in (A, AAAA, ANY):
        return _of_type(record_type, *(_address_record(name, address) for address in addresses))
    ports = [
        port
        for port in _bounded(spec.ports)
        if port is not None and (not below or _is_port(below, port.name, port.protocol))
    ]
    if not ports:
        return NO_SUCH_NAME if below else NOTHING_HERE
    if record_type not in (SRV, ANY):
        return NOTHING_HERE
    target = name[len(below) :]
    return Answer(
        records=tuple(
            _service_record(name, port.port, target, SRV_WEIGHT_TOTAL // len(ports))
            for port in ports
        ),
        additionals=tuple(_address_record(target, address) for address in addresses),
    )


def _answer_host(
    name: Name, below: list[str], service: Service, record_type: int, zone: Zone
) -> Answer:
    """Answer for an endpoint by its host name, or by its address with dashes."""
    if len(below) != 1:
        return NO_SUCH_NAME
    label = below[0].encode()
    metadata = service.metadata
    slices = zone.slices_of_host(metadata.namespace, metadata.name, below[0])
    addresses = {host.address for host in _hosts(slices, []) if host.name == label}
    if not addresses:
        return NO_SUCH_NAME
    return _of_type(record_type, *(_address_record(name, address) for address in sorted(addresses)))


def _answer_headless(
    name: Name, below: list[str], service: Service, record_type: int, zone: Zone
) -> Answer:
    hosts = sorted(set(_hosts(_slices(service, zone), below)))
    if not hosts:
        return NO_SUCH_NAME
    if record_type in (A, AAAA, ANY) and not below:
        addresses = dict.fromkeys(host.address for host in hosts)
        return _of_type(record_type, *(_address_record(name, address) for address in addresses))
    if record_type not in (SRV, ANY):
        return NOTHING_HERE
    parent = name[len(below) :]
    weight = max(1, SRV_WEIGHT_TOTAL // len(hosts))
    found = [host for host in hosts if host.port]
    return Answer(
        records=tuple(  # one for an endpoint that has an address of each family
            dict.fromkeys(
                _service_record(name, host.port, (host.name, *parent), weight) for host in found
            )
        ),
        additionals=tuple(
            dict.fromkeys(_address_record((host.name, *parent), host.address) for host in found)
        ),
    )


def _slices(service: Service, zone: Zone) -> Sequence[EndpointSlice]:
    return zone.slices(service.metadata.namespace, service.metadata.name)


def _hosts(slices: Iterable[EndpointSlice], below: list[str]) -> Iterator[Host]:
    """Return the ready endpoints, once for each port that `below` (_port, _protocol), if any, matches."""
    return (host for host in _bounded(_host_steps(slices, below)) if host is not None)


def _bounded(steps: Iterable[T | None]) -> Iterator[T | None]:
    """Yield at most the limit's number of steps over ports and endpoints; the rest is left out of the answer."""
    for number, step in enumerate(steps):
        if number >= DNS_STEPS.value:
            DNS_STEPS.reached()
            return
        yield step


def _host_steps(slices: Iterable[EndpointSlice], below: list[str]) -> Iterator[Host | None]:
    """Yield a host for each usable endpoint and port, None for one that is not: each counts as a step."""
    for entry in slices:
        if entry.addressType not in (IPV4.slices, IPV6.slices):
            yield None
            continue
        ports: list[EndpointPort | None] = []
        for port in entry.ports:
            if not below or _is_port(below, port.name or "", port.protocol or ""):
                ports.append(port)
            yield None
        if not entry.ports and not below:
            ports = [None]
        for endpoint in entry.endpoints:
            if endpoint.conditions.ready is False or not _is_told(endpoint):
                yield None
                continue
            for wanted in ports:
                number = (wanted.port or 0) if wanted else 0
                yield Host(_host_name(endpoint), endpoint.addresses[0], number)


def _is_told(endpoint: Endpoint) -> bool:
    """Return whether an endpoint can be encoded in a record; validation should reject any other."""
    return (
        bool(endpoint.addresses)
        and is_address(endpoint.addresses[0])
        and is_encodable((_host_name(endpoint),))
    )


def host_name(endpoint: Endpoint) -> str:
    """Return an endpoint's name below its service: its host name, or its address with dashes."""
    return (endpoint.hostname or dashed(endpoint.addresses[0])).lower()


def dashed(address: str) -> str:
    """Return an address as a label: with dashes, and no dash at either end."""
    label = address.replace(".", "-").replace(":", "-")
    return f"0{label}" if label.startswith("-") else label


def _host_name(endpoint: Endpoint) -> bytes:
    return host_name(endpoint).encode()


def _is_port(below: list[str], name: str, protocol: str) -> bool:
    return below == [f"_{name}".lower(), f"_{(protocol or 'TCP').lower()}"]


def _answer_address(
    name: Name, record_type: int, zone: Zone, settings: ZoneSettings
) -> Answer | None:
    address = _reversed_address(name)
    if address is None or not any(address in network for network in settings.networks):
        return None
    targets: list[Name] = [
        (service.metadata.name.encode(), service.metadata.namespace.encode())
        for service in zone.services_at(str(address))
    ]
    if not targets:
        targets = list(_headless_names(str(address), zone))
    if not targets:
        return NO_SUCH_NAME
    full = [(*target, b"svc", *settings.domain) for target in targets]
    return _of_type(
        record_type,
        *(ResourceRecord(name, PTR, encode_name(target), TTL_SECONDS) for target in full),
    )


def _headless_names(address: str, zone: Zone) -> Iterator[Name]:
    return (name for name in _bounded(_name_steps(address, zone)) if name is not None)


def _name_steps(address: str, zone: Zone) -> Iterator[Name | None]:
    for entry in zone.slices_at(address):
        namespace = entry.metadata.namespace
        service = zone.service(
            namespace, entry.metadata.labels.get("kubernetes.io/service-name", "")
        )
        if service is None or service.spec.clusterIP != "None":
            yield None
            continue
        for endpoint in entry.endpoints:
            if _is_told(endpoint) and endpoint.addresses[0] == address:
                yield _host_name(endpoint), service.metadata.name.encode(), namespace.encode()
            else:
                yield None


def _reversed_address(name: Name) -> Address | None:
    parts, domain = name[:-2], name[-2:]
    try:
        if domain == REVERSE_DOMAINS[0] and len(parts) == 4:
            return IPv4Address(b".".join(reversed(parts)).decode("ascii"))
        if domain == REVERSE_DOMAINS[1] and len(parts) == NIBBLES == sum(map(len, parts)):
            return IPv6Address(bytes.fromhex(b"".join(reversed(parts)).decode("ascii")))
    except ValueError:
        return None
    return None


def _of_type(record_type: int, *records: ResourceRecord) -> Answer:
    return Answer(
        records=tuple(record for record in records if record_type in (record.record_type, ANY))
    )


def _address_record(name: Name, address: str) -> ResourceRecord:
    if family_of(address) is IPV4:
        return ResourceRecord(name, A, socket.inet_aton(address), TTL_SECONDS)
    return ResourceRecord(name, AAAA, socket.inet_pton(socket.AF_INET6, address), TTL_SECONDS)


def _service_record(name: Name, port: int, target: Name, weight: int) -> ResourceRecord:
    data = WEIGHTS.pack(SRV_PRIORITY, weight, port) + encode_name(target)
    return ResourceRecord(name, SRV, data, TTL_SECONDS)
